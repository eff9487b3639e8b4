"""Marks: the relay's own memory of which windows are paid or free already.

One opaque row per window, keyed by a PRF of kind and mailbox, erased when it ends. The pass in it
is sealed, so that the database alone names neither mailbox, second nor opener.
"""

from __future__ import annotations

from kurir_billing.kinds import PassKind
from kurir_billing.passes import Pass
from kurir_billing.tariffs import TARIFFS
from kurir_billing.windows import PASS_LENGTH
from kurir_server.keys import RelayKeys
from kurir_server.rows import Rows
from kurir_wire.ids import HOUR, BusinessId, Hash, MailboxId


class Marks:
    """The passes of one relay."""

    def __init__(self, keys: RelayKeys) -> None:
        self._keys = keys

    def find(self, rows: Rows, tariff: str, mailbox_id: MailboxId) -> Pass | None:
        """The pass that was last made for a mailbox under a tariff, open or not."""
        known = TARIFFS.get(tariff)
        # No tariff has more than one kind.
        for kind in known.passes if known else ():
            sealed = rows.mark(self._keys.mark_tag(kind, mailbox_id))
            if sealed is not None:
                return self._keys.open_mark(kind, mailbox_id, sealed)
        return None

    def earn(
        self,
        rows: Rows,
        business_id: BusinessId,
        mailbox_id: MailboxId,
        kind: PassKind,
        opener: Hash,
        klass: int,
        now: int,
    ) -> Pass:
        """Make the pass that a charge accepted at ``now`` earns, and remember it."""
        until = now + PASS_LENGTH[kind]
        earned = self._keys.make_pass(business_id, mailbox_id, kind, opener, klass, now, until)
        sealed = self._keys.seal_mark(kind, mailbox_id, earned)
        rows.put_mark(self._keys.mark_tag(kind, mailbox_id), -(-until // HOUR), sealed)
        return earned
