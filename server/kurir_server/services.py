"""The rules and shared state that every connection calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from kurir_server.blobs import Blobs
from kurir_server.hub import Hub
from kurir_server.keys import RelayKeys
from kurir_server.ledger import Ledger
from kurir_server.mailboxes import Mailboxes
from kurir_server.reading import Reading
from kurir_server.registry import Registry
from kurir_server.submitting import Submitting
from kurir_server.tally import Tally


@dataclass(frozen=True, slots=True)
class Services:
    """One of each, for the whole relay. ``blobs`` is missing where the operator allows none."""

    keys: RelayKeys
    mailboxes: Mailboxes
    submitting: Submitting
    reading: Reading
    registry: Registry
    ledger: Ledger
    hub: Hub
    blobs: Blobs | None = None
    tally: Tally = field(default_factory=Tally)
