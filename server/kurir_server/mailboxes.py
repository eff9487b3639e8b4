"""Mailboxes: the rules of making and deleting them, and of what lies with one: a card, and which
categories it takes no more.

Each method is one request's work inside a transaction, in the store's thread.
"""

from __future__ import annotations

from collections.abc import Sequence

from kurir_billing.kinds import Category
from kurir_server.limits import BORN_HOUR_SLACK, CARD_HOURS, UNUSED_HOURS
from kurir_server.rows import Moment, Rows
from kurir_wire import codes
from kurir_wire.entries import NewMailbox, Result
from kurir_wire.errors import SignatureError
from kurir_wire.gates import OPEN_GATE, opens, token_gate
from kurir_wire.ids import HOUR, Hash, MailboxId, RelayId, mailbox_id_of
from kurir_wire.proofs import create_message
from kurir_wire.signing import verify

NO_MAILBOX = Result(codes.NO_MAILBOX, "there is no such mailbox, or this does not open it")
NOT_AUTHORISED = Result(
    codes.NOT_AUTHORISED, "the signature is not the mailbox's, or was made for another connection"
)


class Mailboxes:
    """The mailboxes of one relay."""

    def __init__(self, relay_id: RelayId) -> None:
        self._relay_id = relay_id

    def create(
        self, rows: Rows, moment: Moment, nonce: bytes, mailboxes: Sequence[NewMailbox]
    ) -> list[Result | None]:
        """Make mailboxes; one that exists is made again with success."""
        results: list[Result | None] = []
        for new in mailboxes:
            if opens(OPEN_GATE, Hash(new.gate)):
                detail = "an address is made by registering a business"
                results.append(Result(codes.NOT_AUTHORISED, detail))
            else:
                results.append(self.make(rows, moment, nonce, new))
        return results

    def make(self, rows: Rows, moment: Moment, nonce: bytes, new: NewMailbox) -> Result | None:
        """Make one mailbox, whatever its gate."""
        message = create_message(self._relay_id, nonce, new.gate, new.born_hour)
        try:
            verify(new.read_pk, message, new.signature, "the mailbox")
        except SignatureError:
            return NOT_AUTHORISED
        mailbox_id = self.id_of(new)
        if rows.mailbox(mailbox_id) is not None:
            return None
        hour = moment.now // HOUR
        # A client whose clock is right knows nothing of ours having leapt.
        hours = (hour, moment.sure // HOUR)
        if min(abs(new.born_hour - present) for present in hours) > BORN_HOUR_SLACK:
            return Result(codes.STALE, "the hour of birth is not the present hour")
        rows.add_mailbox(mailbox_id, new.read_pk, Hash(new.gate), hour + UNUSED_HOURS + 1)
        return None

    def id_of(self, new: NewMailbox) -> MailboxId:
        """The id that follows from a new mailbox's fields."""
        return mailbox_id_of(self._relay_id, new.read_pk, Hash(new.gate), new.born_hour)

    def delete(self, rows: Rows, mailboxes: Sequence[int]) -> None:
        """Delete mailboxes that the connection has opened, with all that waits in them."""
        for row in mailboxes:
            rows.delete_mailbox(row)

    def put_card(self, rows: Rows, moment: Moment, row: int, card: bytes) -> Result | None:
        """Leave a card with a mailbox that the connection has opened."""
        if rows.mailbox_at(row) is None:
            return NO_MAILBOX
        rows.put_card(row, card, moment.now // HOUR + CARD_HOURS)
        return None

    def get_card(
        self, rows: Rows, moment: Moment, mailbox_id: MailboxId, token: bytes
    ) -> bytes | Result:
        """The card that waits with a mailbox, for whoever has its token."""
        mailbox = rows.mailbox(mailbox_id)
        if mailbox is None or not opens(mailbox.gate, token_gate(token)):
            return NO_MAILBOX
        card = rows.card(mailbox.row, moment.sure // HOUR)
        return card or Result(codes.NOT_FOUND, "no card waits with this mailbox")

    def set_refused(self, rows: Rows, row: int, categories: int) -> Result | None:
        """Note which categories a mailbox takes no more, of those that the connection has opened.
        Only marketing can be refused: the rest answers what the customer asked for, and who wants
        none of it deletes the mailbox."""
        if categories & ~(1 << Category.MARKETING):
            return Result(codes.MALFORMED, "only marketing can be refused")
        if rows.mailbox_at(row) is None:
            return NO_MAILBOX
        rows.set_refused(row, categories)
        return None
