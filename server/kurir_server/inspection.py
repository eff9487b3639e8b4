"""Whether a whole database is what was written: the relay's own invariants, beside SQLite's checks.

Every function gives sentences for what is wrong, without a name of anybody; nothing, if all is
well. They read within one transaction, so that they hold beside a running relay too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, islice
from typing import Protocol

from kurir_billing.adjust import open_adjust
from kurir_billing.charge import charge_hash, open_charge
from kurir_billing.errors import EvidenceError, LedgerError, RateCardError
from kurir_billing.lane import Lane
from kurir_billing.leaf import open_leaf
from kurir_billing.ledger import adjust_hash, entry_hash, open_checkpoint
from kurir_billing.ratecard import open_rate_card
from kurir_billing.terms import Terms
from kurir_server.keys import RelayKeys
from kurir_server.ledger_rows import StoredAdjust
from kurir_server.rows import Rows
from kurir_server.tiles import HASH_BYTES, HEIGHT, WIDTH, Tiles, hashes_of, top_of
from kurir_wire.cards import TIER_NONE, Badge, open_business_card
from kurir_wire.errors import WireError
from kurir_wire.ids import BusinessId, Hash
from kurir_wire.merkle import Growing


class Whole(Protocol):
    """Look-ups over whole tables, as :class:`kurir_server.store.checks.Checks` has them."""

    def damage(self, *, full: bool) -> list[str]: ...

    def miscounted(self) -> int: ...

    def strays(self) -> dict[str, int]: ...

    def tiles(self) -> Iterator[tuple[int, int, bytes]]: ...

    def leaf_days(self) -> list[tuple[BusinessId, int]]: ...

    def leaves(self, business: BusinessId, day: int) -> Iterator[tuple[Hash, bytes]]: ...

    def adjust_days(self) -> list[int]: ...

    def adjusts(self, day: int) -> Iterator[StoredAdjust]: ...

    def wrong_sums(self) -> int: ...

    def pending_days(self) -> list[int]: ...

    def open_charges(self) -> Iterator[tuple[Hash, Hash, bytes]]: ...

    def metered(self) -> Iterator[tuple[Hash, int, bytes]]: ...


def counts(checks: Whole) -> list[str]:
    """Counters of mailboxes, and rows that refer to others."""
    wrong = [f"{count} {what}" for what, count in checks.strays().items()]
    miscounted = checks.miscounted()
    if miscounted:
        wrong.append(f"{miscounted} mailboxes that count other envelopes than they hold")
    unsound = checks.wrong_sums()
    if unsound:
        wrong.append(f"{unsound} envelopes or charges that are not what was written")
    return wrong


def charges(checks: Whole, keys: RelayKeys) -> list[str]:
    """Charges that may still settle are those that were accepted."""
    wrong = 0
    for name, private_hash, body in checks.open_charges():
        try:
            charge = open_charge(body)
        except WireError:
            wrong += 1
            continue
        wrong += charge_hash(*charge.signed_fields(keys.relay_id, private_hash)) != name
    return [f"{wrong} charges that are not what was accepted"] if wrong else []


def tree(rows: Rows, checks: Whole, keys: RelayKeys) -> list[str]:
    """The tree, recomputed from its leaves' hashes, is what every checkpoint signed."""
    return _tiles(checks) or _roots(rows, checks, keys)


def _tiles(checks: Whole) -> list[str]:
    """Each level of tiles follows from the one below."""
    below: list[Hash] = []
    for level, tiles in groupby(checks.tiles(), key=lambda tile: tile[0]):
        found: list[Hash] = []
        full: list[Hash] = []
        for number, (_, n, hashes) in enumerate(tiles):
            begins_right = n == number and number == len(full)
            if not begins_right or not hashes or len(hashes) % HASH_BYTES:
                return [f"tile {n} of level {level} of the ledger's tree is not in order"]
            if level:
                found += hashes_of(hashes)
            if len(hashes) == WIDTH * HASH_BYTES:
                full.append(top_of(hashes))
        if level and found != below:
            return [f"nodes at height {level * HEIGHT} of the ledger's tree are not those below"]
        below = full
    return ["the upper part of the ledger's tree is missing"] if below else []


def _roots(rows: Rows, checks: Whole, keys: RelayKeys) -> list[str]:
    growing = Growing()
    entries = (
        entry for level, _, hashes in checks.tiles() if level == 0 for entry in hashes_of(hashes)
    )
    for checkpoint in rows.checkpoints():
        for entry in islice(entries, checkpoint.size - growing.size):
            growing.append(entry)
        try:
            signed = open_checkpoint(checkpoint.note, keys.cert.checkpoint_pk, keys.relay_id)
        except LedgerError as error:
            return [f"the ledger's checkpoint of {checkpoint.size} leaves: {error}"]
        if (signed.size, signed.root) != (growing.size, growing.root()):
            return [f"the ledger's tree is not the one that was signed at {signed.size} leaves"]
    more = sum(1 for _ in entries)
    return [f"the ledger's tree has {more} leaves that no checkpoint signed"] if more else []


def leaves(rows: Rows, checks: Whole, keys: RelayKeys) -> list[str]:
    """Every settled charge and adjustment stands in the tree or waits for its day's end; nothing
    else does."""
    nodes = Tiles(rows)
    days = {checkpoint.day for checkpoint in rows.checkpoints()}
    by_day: dict[int, list[BusinessId]] = {
        day: [] for day in days.union(checks.pending_days(), checks.adjust_days())
    }
    for business, day in checks.leaf_days():
        by_day.setdefault(day, []).append(business)
    lanes: set[Lane] = set()
    for day, with_leaves in sorted(by_day.items()):
        try:
            entries = [
                entry
                for business in with_leaves
                for entry in _leaf_entries(checks, business, day, keys, lanes)
            ]
            entries += [_adjust_entry(stored, keys) for stored in checks.adjusts(day)]
        except (WireError, EvidenceError) as error:
            return [f"a leaf or an adjustment of day {day} is not as it was signed: {error}"]
        stand = [
            nodes.node(0, index) for first, end in rows.spans(day) for index in range(first, end)
        ]
        if sorted(entries) != sorted(stand + rows.pending(day)):
            return [f"the leaves of day {day} are not those that the ledger has of it"]
    return []


def _leaf_entries(
    checks: Whole, business: BusinessId, day: int, keys: RelayKeys, lanes: set[Lane]
) -> Iterator[Hash]:
    """:param lanes: those whose signature was checked already
    :raises WireError: not a leaf
    :raises EvidenceError: of a lane that the business never enrolled, or stored under another name
    """
    for charge, data in checks.leaves(business, day):
        leaf = open_leaf(data)
        if leaf.lane not in lanes:
            leaf.lane.check_signature()
            lanes.add(leaf.lane)
        named = (leaf.lane.business_id, leaf.settled_day, leaf.charge_hash(keys.relay_id))
        if named != (business, day, charge):
            raise EvidenceError("it is stored under another name than its own")
        yield entry_hash(leaf, keys.relay_id)


def _adjust_entry(stored: StoredAdjust, keys: RelayKeys) -> Hash:
    """:raises WireError: not an adjustment, or not the operator's
    :raises EvidenceError: it is stored under another name, or beside another leaf
    """
    adjust = open_adjust(stored.adjust)
    adjust.verify(keys.cert.operator_pk, keys.relay_id)
    leaf = open_leaf(stored.leaf).hash(keys.relay_id)
    named = (adjust.business_id, adjust.day, adjust.hash(keys.relay_id), adjust.leaf, leaf)
    if named != (stored.business_id, stored.day, stored.hash, stored.leaf_hash, stored.leaf_hash):
        raise EvidenceError("it is stored under another name than its own")
    return adjust_hash(adjust, keys.relay_id)


def businesses(rows: Rows, keys: RelayKeys) -> list[str]:
    """Cards, badges and terms are as they were signed."""
    wrong = 0
    for business in rows.businesses():
        try:
            card = open_business_card(business.card, business.expires - 1)
            right = (card.business_id, card.version, card.expires)
            wrong += right != (business.id, business.version, business.expires)
            if business.tier != TIER_NONE:
                badge = Badge(
                    business.tier,
                    business.legal_name or "",
                    business.badge_not_after or 0,
                    business.badge_signature or b"",
                )
                badge.verify(keys.cert.operator_pk, keys.relay_id, business.id)
            if business.terms_signature is not None:
                terms = Terms(
                    business.tariff,
                    business.tier,
                    business.starts,
                    business.terms_issued or 0,
                    business.terms_signature,
                )
                terms.verify(keys.cert.operator_pk, keys.relay_id, business.id)
        except WireError:
            wrong += 1
    return (
        [f"{wrong} businesses whose card, badge or terms are not as it was signed"] if wrong else []
    )


def prices(rows: Rows, keys: RelayKeys) -> list[str]:
    """Rate cards are as they were signed."""
    wrong = []
    for stored in rows.rate_cards():
        try:
            card, found = open_rate_card(stored.card, keys.cert.operator_pk, keys.relay_id)
            right = (card.version, found, card.effective_from)
            is_right = right == (stored.version, stored.hash, stored.effective_from)
        except (WireError, RateCardError):
            is_right = False
        if not is_right:
            wrong.append(f"version {stored.version} of the rate card is not as it was signed")
    return wrong
