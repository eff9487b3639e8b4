"""Takes the fields of a JSON object one by one, each in its one spelling; a fault names the place.

Source: docs/protocol.md, "Invoice file".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from datetime import date
from enum import Enum
from typing import Any, Final, TypeVar

from kurir_billing.dates import EPOCH_ORDINAL
from kurir_billing.errors import InvoiceError
from kurir_billing.ledger import MAX_NOTE
from kurir_wire.ids import NO_HASH, Hash
from kurir_wire.limits import MAX_PROOF

MAX_INTEGER: Final = 0x7FFF_FFFF_FFFF_FFFF
MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
EnumT = TypeVar("EnumT", bound=Enum)


class Pairs(list[tuple[str, Any]]):
    """A JSON object as written, so that a repeated field is noticed where its place is known."""


class Fields:
    """Takes the fields of one JSON object; each fault names the place."""

    def __init__(self, value: object, where: str | None) -> None:
        self._where = where
        if not isinstance(value, Pairs):
            raise InvoiceError(where or "file", "is not a JSON object")
        self._fields: dict[str, Any] = dict(value)
        if len(self._fields) != len(value):
            counts = Counter(name for name, _ in value)
            twice = next(name for name, count in counts.items() if count > 1)
            raise self.fault(field_name(twice), "stands there twice")

    def fault(self, name: str | None, what: str) -> InvoiceError:
        """The error for a field (``None``: for the whole object)."""
        if self._where is None:
            return InvoiceError(name or "file", what)
        return InvoiceError(self._where, f"{name}: {what}" if name else what)

    def finish(self) -> None:
        """All fields must have been taken."""
        for name in self._fields:
            raise self.fault(field_name(name), "is not a field of an invoice")

    def _take(self, name: str) -> Any:
        try:
            return self._fields.pop(name)
        except KeyError:
            raise self.fault(name, "is missing") from None

    def text(self, name: str) -> str:
        """Any text."""
        value = self._take(name)
        if not isinstance(value, str):
            raise self.fault(name, "is not text")
        return value

    def integer(self, name: str) -> int:
        """0 or more, 63 bits."""
        value = self._take(name)
        # A bool is an int in Python, and is no number in an invoice.
        if type(value) is not int or not 0 <= value <= MAX_INTEGER:
            raise self.fault(name, "is not a whole number of 0 or more that fits 63 bits")
        return value

    def hex(self, name: str, length: int) -> bytes:
        """So many bytes."""
        return self._hex(name, self.text(name), length)

    def optional_hash(self, name: str) -> bytes:
        """null reads as zeros."""
        value = self._take(name)
        if value is None:
            return NO_HASH
        found = self._hex(name, value, 32) if isinstance(value, str) else NO_HASH
        if found == NO_HASH:
            raise self.fault(name, "is neither a hash in hex nor null")
        return found

    def _hex(self, name: str, text: str, length: int) -> bytes:
        try:
            data = bytes.fromhex(text)
        except ValueError:
            data = b""
        if len(data) != length or data.hex() != text:
            raise self.fault(name, f"is not {length} bytes in lower-case hex")
        return data

    def base64(self, name: str, length: int | None = None) -> bytes:
        """So many bytes, or any number but none."""
        data = decode_base64(self._take(name), self._where or name, name if self._where else "")
        if length is not None and len(data) != length:
            raise self.fault(name, f"is not {length} bytes in base64")
        return data

    def month(self, name: str) -> int:
        """year * 100 + month."""
        match = MONTH.fullmatch(self.text(name))
        if match is None:
            raise self.fault(name, "is not a month such as 2026-01")
        return int(match[1]) * 100 + int(match[2])

    def day(self, name: str) -> int:
        """unix time // 86400."""
        text = self.text(name)
        try:
            day = date.fromisoformat(text)
        except ValueError:
            day = date.min
        if day.isoformat() != text or day.toordinal() < EPOCH_ORDINAL:
            raise self.fault(name, "is not a day such as 2026-01-31")
        return day.toordinal() - EPOCH_ORDINAL

    def enum(self, name: str, type_: type[EnumT]) -> EnumT:
        """A member, by its name in small letters."""
        text = self.text(name)
        for member in type_:
            if member.name.lower() == text:
                return member
        names = ", ".join(member.name.lower() for member in type_)
        raise self.fault(name, f"is none of {names}")

    def note(self, name: str) -> bytes | None:
        """A checkpoint; ``None`` for null."""
        value = self._take(name)
        if value is None:
            return None
        try:
            data = value.encode() if isinstance(value, str) else b""
        except UnicodeEncodeError:
            data = b""
        if not 0 < len(data) <= MAX_NOTE:
            raise self.fault(name, "is not a checkpoint")
        return data

    def proof(self, name: str) -> tuple[bytes, ...]:
        """Hashes of one proof."""
        steps = self.hashes(name)
        if len(steps) > MAX_PROOF:
            raise self.fault(name, f"has more than {MAX_PROOF} hashes")
        return steps

    def hashes(self, name: str) -> tuple[Hash, ...]:
        """A list of hashes in hex, as long as it may be."""
        steps = self.items(name)
        if not all(isinstance(step, str) for step in steps):
            raise self.fault(name, "is not a list of hashes in hex")
        return tuple(Hash(self._hex(name, step, 32)) for step in steps)

    def optional_text(self, name: str) -> str:
        """Text that is not empty; null reads as empty."""
        value = self._take(name)
        if value is None:
            return ""
        if not isinstance(value, str) or not value:
            raise self.fault(name, "is neither text nor null")
        return value

    def optional_base64(self, name: str) -> bytes:
        """null reads as empty."""
        if name in self._fields and self._fields[name] is None:
            self._fields.pop(name)
            return b""
        return self.base64(name)

    def value(self, name: str) -> Any:
        """Whatever it is."""
        return self._take(name)

    def items(self, name: str) -> list[Any]:
        """A list, whatever is in it."""
        value = self._take(name)
        if not isinstance(value, list) or isinstance(value, Pairs):
            raise self.fault(name, "is not a list")
        return value


def field_name(name: str) -> str:
    """A field's name for an error: short, and escaped if a terminal could not show it."""
    return name[:40] if name[:40].isprintable() else ascii(name[:40])


def show_base64(data: bytes) -> str:
    """With padding."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(value: object, where: str, name: str) -> bytes:
    """At least one byte, from its one spelling.

    :raises InvoiceError: anything else
    """
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if not data or show_base64(data) != value:
        raise InvoiceError(where, f"{name}: is not base64" if name else "is not base64")
    return data
