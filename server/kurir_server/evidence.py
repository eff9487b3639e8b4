"""Evidence: the signatures with which a charge is shown, each verified once.

What was verified is remembered in memory, bounded: a lane signs thousands of charges, a grant
answers many times, and one signature covers a whole list.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from kurir_billing.charge import Charge
from kurir_billing.errors import EvidenceError
from kurir_billing.grant import Grant, check_grant
from kurir_billing.lane import Lane
from kurir_billing.listed import check_signed, signed_message
from kurir_billing.ticket import Entry, check_entry
from kurir_server.keys import RelayKeys
from kurir_server.limits import BEACON_AGE, GRANT_CACHE, LANE_CACHE, LIST_CACHE
from kurir_server.rows import Mailbox
from kurir_wire.ids import MINUTE, BusinessId, Hash, MailboxId

Key = TypeVar("Key", bound=Hashable)


class Verified(Generic[Key]):
    """What was found to be in order; beyond ``most`` the one found first is forgotten."""

    __slots__ = ("_keys", "_most")

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._keys: OrderedDict[Key, None] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def add(self, key: Key) -> None:
        self._keys[key] = None
        if len(self._keys) > self._most:
            self._keys.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the evidence of a charge says at a time. ``entry``: the window is open, and was opened
    by a customer who came by an entry ticket."""

    window_open: bool = False
    entry: bool = False


class Evidence:
    """The checks of what businesses show to one relay."""

    def __init__(self, keys: RelayKeys) -> None:
        self._keys = keys
        self._lanes: Verified[Lane] = Verified(LANE_CACHE)
        self._lists: Verified[tuple[bytes, bytes]] = Verified(LIST_CACHE)
        self._grants: Verified[tuple[Grant, BusinessId, MailboxId]] = Verified(GRANT_CACHE)
        self._entries: Verified[tuple[Entry, Grant, BusinessId, MailboxId]] = Verified(GRANT_CACHE)

    def check_signed(self, charge: Charge, message: bytes, name: Hash, now: int) -> None:
        """
        :param message: what the lane signs of the charge alone
        :param name: the charge's hash
        :raises EvidenceError: its lane is not the business's or has ended, or signed neither the
            charge nor a list that holds it
        """
        lane = charge.lane
        if lane not in self._lanes:
            lane.check_signature()
            self._lanes.add(lane)
        lane.check_time(now)
        if charge.listed is None:
            check_signed(message, name, lane.lane_pk, charge.signature, None)
            return
        # The message names root, length and lane key.
        root = (
            signed_message(message, name, lane.lane_pk, charge.listed),
            charge.signature,
        )
        if root not in self._lists:
            check_signed(message, name, lane.lane_pk, charge.signature, charge.listed)
            self._lists.add(root)

    def check_beacon(self, charge: Charge, now: int) -> None:
        """:raises EvidenceError: the charge is not fresh"""
        expected = self._keys.beacon_nonce(charge.beacon_minute)
        if not hmac.compare_digest(expected, charge.beacon_nonce):
            raise EvidenceError("the charge rests on a beacon that this relay never gave out")
        age = now - charge.beacon_minute * MINUTE
        if age < 0:
            raise EvidenceError("the charge rests on a beacon from the future")
        if age > BEACON_AGE:
            raise EvidenceError("the charge's beacon is older than 24 hours; sign anew")

    def shown(self, charge: Charge, mailbox: Mailbox, now: int) -> Shown:
        """What the grant and the entry ticket of a charge say at ``now``. A grant whose window is
        shut, or not open yet, is in order and says nothing.

        :raises EvidenceError: one of them is forged or moved, or the entry does not count
        """
        grant = charge.grant
        if grant is None:
            if charge.entry is not None:
                raise EvidenceError("an entry ticket is shown with the grant that names it")
            return Shown()
        self._check_grant(grant, charge.business_id, mailbox)
        if charge.entry is not None:
            self._check_entry(charge.entry, grant, charge.business_id, mailbox)
        is_open = grant.is_open(now)
        return Shown(is_open, is_open and charge.entry is not None)

    def _check_grant(self, grant: Grant, business_id: BusinessId, mailbox: Mailbox) -> None:
        key = (grant, business_id, mailbox.id)
        if key in self._grants:
            return
        check_grant(
            grant,
            self._keys.relay_id,
            business_id,
            mailbox.id,
            mailbox.read_pk,
            self._keys.beacon_nonce,
        )
        self._grants.add(key)

    def _check_entry(
        self, entry: Entry, grant: Grant, business_id: BusinessId, mailbox: Mailbox
    ) -> None:
        key = (entry, grant, business_id, mailbox.id)
        if key in self._entries:
            return
        check_entry(
            entry,
            grant,
            self._keys.relay_id,
            self._keys.cert.operator_pk,
            business_id,
            mailbox.id,
            mailbox.read_pk,
            mailbox.gate,
        )
        self._entries.add(key)
