"""Who stands on an invoice: the seller, who runs the relay, and the buyer, a business."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from kurir_wire.cards import check_name
from kurir_wire.codec import pack
from kurir_wire.errors import MalformedError
from kurir_wire.ids import Hash, digest
from kurir_wire.limits import MAX_NAME

MAX_LINES: Final = 6
"""Lines of an address, and of notes: what fits the head of a page."""

Text = Annotated[str, Meta(max_length=MAX_NAME)]
Lines = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]], Meta(max_length=MAX_LINES)
]


class Party(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """As the operator recorded it. Nothing of it is needed; what is not known is empty.

    ``notes`` are lines that the other side needs: how to pay, a tax notice, a purchase order.
    """

    legal_name: Text = ""
    address: Lines = []
    tax_id: Text = ""
    notes: Lines = []

    def check(self, what: str) -> None:
        """:raises MalformedError: text that cannot be shown safely, or more of it than fits"""
        lines = [*self.address, *self.notes]
        for text in (*filter(None, (self.legal_name, self.tax_id)), *lines):
            check_name(text, what)
            if len(text) > MAX_NAME:
                raise MalformedError(f"{what} has a line of more than {MAX_NAME} characters")
        if max(len(self.address), len(self.notes)) > MAX_LINES:
            raise MalformedError(f"{what} has more than {MAX_LINES} lines of address or notes")

    def hash(self) -> Hash:
        """``H(party)``."""
        return digest("invoice-party", pack(self))
