"""Entry tickets: what the operator signs so that an ad or link of a business opens an entry window.

Source: docs/protocol.md, "Entry tickets".
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from kurir_billing.kinds import PassKind
from kurir_billing.tariffs import TARIFFS, tariff_named
from kurir_billing.windows import WINDOW
from kurir_server.admin import find_business, same_relay
from kurir_server.errors import ConfigError
from kurir_server.keys import RelayKeys
from kurir_server.limits import TICKET_DAYS
from kurir_server.rows import Rows, StoredTicket
from kurir_server.writer import offline
from kurir_wire.cards import TIER_NONE
from kurir_wire.errors import LinkError
from kurir_wire.ids import DAY, BusinessId
from kurir_wire.limits import MAX_TICKETS
from kurir_wire.links import ENTRY_ID_BYTES, BusinessLink, LinkEntry, RelayAddress, pin_of


@dataclass(frozen=True, slots=True)
class EntryLink:
    """A ticket as an operator hands it out. ``not_after`` in seconds."""

    link: BusinessLink
    entry_id: bytes
    not_after: int


def give(
    db: Path, keys: RelayKeys, business_id: BusinessId, days: int, relay: str, now: int
) -> EntryLink:
    """Sign and store a ticket; the business gets it with its terms.

    :param days: for how long customers may come by it
    :param relay: HOST[:PORT] at which customers reach the relay
    :raises ConfigError: not an approved business under a tariff with entry windows, too many
        tickets, or no such address
    """
    if not 1 <= days <= TICKET_DAYS:
        raise ConfigError(f"a ticket holds for 1 to {TICKET_DAYS} days")
    try:
        address = RelayAddress.parse(relay)
    except LinkError as error:
        raise ConfigError(str(error), "give HOST[:PORT] as customers reach this relay") from error
    signed = keys.ticket(business_id, secrets.token_bytes(ENTRY_ID_BYTES), now + days * DAY)

    def work(rows: Rows) -> None:
        business = find_business(rows, business_id)
        if business.tier == TIER_NONE:
            raise ConfigError("this business is not approved", "see: kurir-relay business approve")
        if PassKind.ENTRY not in tariff_named(business.tariff).passes:
            with_entry = [name for name, t in TARIFFS.items() if PassKind.ENTRY in t.passes]
            raise ConfigError(
                f"the tariff {business.tariff} has no entry windows",
                f"those of {' and '.join(with_entry)} have",
            )
        if len(rows.tickets(business_id, now - WINDOW)) >= MAX_TICKETS:
            raise ConfigError(
                f"this business has {MAX_TICKETS} entry tickets that hold",
                "one link serves any number of customers; wait until others end",
            )
        ticket = StoredTicket(signed.entry_id, signed.not_after, signed.signature)
        rows.add_ticket(business_id, ticket)

    with offline(db) as store:
        same_relay(store.relay_id, keys)
        store.transact(work)
    entry = LinkEntry(signed.entry_id, signed.not_after)
    link = BusinessLink(address, business_id, pin_of(keys.relay_id), entry)
    return EntryLink(link, signed.entry_id, signed.not_after)
