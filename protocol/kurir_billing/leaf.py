"""Leaves: settled charges, as the relay keeps them and the invoice lists them.

A leaf holds no mailbox and no envelope id. Whoever has it can check that the business signed the
line, and that the customer's device opened the message, without learning who that was.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from kurir_billing.charge import Charge, Line, charge_message, charge_name, lock_of
from kurir_billing.dates import show_day
from kurir_billing.errors import EvidenceError
from kurir_billing.kinds import Category, Class
from kurir_billing.lane import Lane
from kurir_billing.listed import KnownLists, Listed, check_signed, listed_hash
from kurir_billing.ratecard import RateCard
from kurir_billing.tariffs import price_of_class
from kurir_wire.codec import pack, unpack
from kurir_wire.ids import DAY, Hash, RelayId, digest, u32
from kurir_wire.prekeys import U32, Bytes32, Bytes64


class Leaf(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, dict=True):
    """One settled charge. ``settled_day`` is unix time // 86400.

    A leaf never changes and is asked for its hashes by whoever sorts, sums, or proves, so it keeps
    them.
    """

    line: Line
    settled_day: U32
    private_hash: Bytes32
    lock: Bytes32
    frank: Bytes32
    secret: Bytes32
    lane: Lane
    listed: Listed | None
    signature: Bytes64

    @classmethod
    def settle(cls, charge: Charge, private_hash: Hash, secret: bytes, day: int) -> Leaf:
        """The leaf of a charge whose secret came back on ``day``."""
        return cls(
            charge.line,
            day,
            private_hash,
            charge.lock,
            charge.frank,
            secret,
            charge.lane,
            charge.listed,
            charge.signature,
        )

    def charge_hash(self, relay_id: RelayId) -> Hash:
        """The name of the charge that was settled."""
        return self._kept("charge", relay_id, lambda: charge_name(self._message(relay_id)))

    def hash(self, relay_id: RelayId) -> Hash:
        """``H(leaf)``: the charge, its day, its secret and its signature."""
        return self._kept("leaf", relay_id, lambda: self._hash(relay_id))

    def check_signature(self, relay_id: RelayId) -> None:
        """:raises EvidenceError: the business never signed this line"""
        self.lane.check_signature()
        self.check_charge_signature(relay_id)

    def check_charge_signature(self, relay_id: RelayId, known: KnownLists | None = None) -> None:
        """The lane's signature alone, for callers that have checked the lane already.

        :param known: lists checked before; a good one is added
        :raises EvidenceError: the lane never signed this line
        """
        try:
            check_signed(
                self._message(relay_id),
                self.charge_hash(relay_id),
                self.lane.lane_pk,
                self.signature,
                self.listed,
                known,
            )
        except EvidenceError as error:
            raise EvidenceError("the business never signed this line") from error

    def check_settlement(self) -> None:
        """:raises EvidenceError: the secret is not the one that the message held"""
        if lock_of(self.secret) != self.lock:
            raise EvidenceError("settled without the secret that only the opened message holds")

    def check_card(self, card: RateCard) -> None:
        """A message is accepted before it is opened: no card that came into force later priced it.

        :param card: the one that the line names
        :raises EvidenceError: it was not in force yet on the day of settlement
        """
        if card.effective_from >= (self.settled_day + 1) * DAY:
            since = show_day(card.effective_from // DAY)
            raise EvidenceError(
                f"settled on {show_day(self.settled_day)}, before the rate card that priced it "
                f"came into force on {since}"
            )

    def check_price(self, card: RateCard) -> None:
        """:param card: the one that the line names
        :raises EvidenceError: the price is not the card's, or the card was not in force yet
        :raises BillingError: a tariff that is not known here, or that does not sell this
        """
        self.check_card(card)
        line = self.line
        category, klass = Category(line.category), Class(line.klass)
        due = price_of_class(line.tariff, line.market, category, klass, card).micro_usd
        if line.list_price != due:
            raise EvidenceError(f"the price is {line.list_price} where the rate card says {due}")

    def _kept(self, what: str, relay_id: RelayId, make: Callable[[], Hash]) -> Hash:
        known: tuple[RelayId, Hash] | None = self.__dict__.get(what)
        if known is None or known[0] != relay_id:
            known = self.__dict__[what] = relay_id, make()
        return known[1]

    def _hash(self, relay_id: RelayId) -> Hash:
        return digest(
            "leaf",
            self.charge_hash(relay_id),
            u32(self.settled_day),
            self.secret,
            listed_hash(self.listed),
            self.signature,
        )

    def _message(self, relay_id: RelayId) -> bytes:
        """What the lane signed of the charge alone."""
        line_hash = self.line.hash(relay_id, self.lane.business_id)
        return charge_message(
            line_hash, self.private_hash, self.lock, self.frank, self.lane.lane_pk
        )


def open_leaf(data: bytes) -> Leaf:
    """:raises MalformedError: not a leaf, or with an unknown category or class"""
    leaf = unpack(data, Leaf, limit=2_048)
    leaf.line.check_form()
    return leaf


def packed_leaf(leaf: Leaf) -> bytes:
    """The transmitted form."""
    return pack(leaf)
