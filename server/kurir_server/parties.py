"""Who stands on invoices: what the operator records about itself and about businesses."""

from __future__ import annotations

from msgspec import structs

from kurir_billing.party import Party
from kurir_server.errors import ConfigError
from kurir_server.rows import Rows
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import MalformedError
from kurir_wire.ids import BusinessId, RelayId


def party_of(rows: Rows, party_id: BusinessId | RelayId) -> Party:
    """What is recorded; an empty party if nothing is."""
    stored = rows.party(party_id)
    return unpack(stored, Party) if stored else Party()


def note_name(rows: Rows, business_id: BusinessId, legal_name: str) -> None:
    """The certified name of a business; it stays on invoices if the badge ends."""
    record(rows, business_id, structs.replace(party_of(rows, business_id), legal_name=legal_name))


def record(rows: Rows, party_id: BusinessId | RelayId, party: Party) -> None:
    """:raises ConfigError: text that cannot stand on an invoice"""
    try:
        party.check("this")
    except MalformedError as error:
        raise ConfigError(str(error), "give plain text, a line for each --address") from error
    rows.put_party(party_id, pack(party))
