"""The file form of an invoice: JSON that a person can read, and change only to be found out.

Hashes, keys' ids and secrets are lower-case hex; what somebody signed as a whole is base64; money
is a decimal integer of micro-USD; days are ISO dates, UTC. Every value has one spelling, unknown
fields and repeated fields are refused, and each line of the invoice is one line of text.
Source: docs/protocol.md, "Invoice file".
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from datetime import date
from enum import IntEnum
from typing import Any, Final, TypeVar

import msgspec

from kurir_billing.charge import Line
from kurir_billing.errors import InvoiceError
from kurir_billing.invoice import EPOCH_ORDINAL, MAX_DAY, Invoice, InvoiceHead, show_day
from kurir_billing.kinds import Category, Class
from kurir_billing.lane import Lane
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import MAX_NOTE
from kurir_billing.listed import Listed
from kurir_billing.standing import PlaceInLedger, Standing
from kurir_wire.cards import check_name
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import MalformedError, WireError
from kurir_wire.ids import NO_HASH
from kurir_wire.limits import MAX_NAME, MAX_PROOF
from kurir_wire.relaycert import RelayCert

FORMAT: Final = "kurir-invoice/2"
CURRENCY: Final = "USD"

_MAX_INTEGER: Final = 0x7FFF_FFFF_FFFF_FFFF
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
EnumT = TypeVar("EnumT", bound=IntEnum)
BlobT = TypeVar("BlobT", RelayCert, Lane)


def to_json(invoice: Invoice) -> bytes:
    """The file of an invoice, UTF-8.

    :raises InvoiceError: a field has no form in a file, such as a month that does not exist
    """
    head = invoice.head
    _check_legal_name(invoice.legal_name)
    lanes: dict[Lane, int] = {}
    lines = []
    standing = invoice.standing
    places = standing.places if standing else ()
    if len(places) != len(invoice.leaves):
        raise InvoiceError("lines", "are not as many as their places in the ledger")
    for number, (leaf, place) in enumerate(zip(invoice.leaves, places, strict=True), 1):
        lane = lanes.setdefault(leaf.lane, len(lanes) + 1)
        line = _line_object(leaf, lane, f"line {number}")
        proof = [step.hex() for step in place.proof]
        lines.append(json.dumps(line | {"index": place.index, "proof": proof}))
    header = {
        "format": FORMAT,
        "relay": invoice.cert.relay_id.hex(),
        "business": head.business_id.hex(),
        "legal_name": invoice.legal_name,
        "month": _show_month(head.month),
        "through": _show_day(head.through_day, "through"),
        "currency": CURRENCY,
        "count": head.count,
        "total_micro_usd": head.total_micro_usd,
        "lines_hash": head.lines_hash.hex(),
        "signature": _base64(head.signature),
        "certificate": _base64(pack(invoice.cert)),
        "checkpoint": _show_note(standing.checkpoint if standing else None, "checkpoint"),
        "since": _show_note(standing.since if standing else None, "since"),
        "growth": [step.hex() for step in standing.growth] if standing else [],
        "rate_cards": [_base64(card) for card in invoice.rate_cards],
        "lanes": [_base64(pack(lane)) for lane in lanes],
    }
    text = json.dumps(header, indent=1, ensure_ascii=False)
    rows = ",".join(f"\n  {line}" for line in lines)
    return f'{text[:-2]},\n "lines": [{rows}\n ]\n}}\n'.encode()


def from_json(data: bytes) -> Invoice:
    """Read an invoice file. Only its form is checked here; see
    :func:`~kurir_billing.invoice.verify_invoice` for what it says.

    :raises InvoiceError: the first place that is not as it should be
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_Pairs)
    except UnicodeDecodeError as error:
        raise InvoiceError("file", "is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        where = f"file, text line {error.lineno}"
        raise InvoiceError(where, f"is not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise InvoiceError("file", "is not JSON that an invoice could be") from error
    top = _Object(value, None)
    if (format_ := top.text("format")) != FORMAT:
        raise InvoiceError("format", f"is {format_[:40]!r}, and this reads {FORMAT!r}")
    cert = _blob(top.base64("certificate"), RelayCert, "certificate")
    if top.hex("relay", 32) != cert.relay_id:
        raise InvoiceError("relay", "is not the one whose certificate is in this file")
    if (currency := top.text("currency")) != CURRENCY:
        raise InvoiceError("currency", f"is {currency[:40]!r}, and this reads {CURRENCY!r}")
    legal_name = top.text("legal_name")
    _check_legal_name(legal_name)
    head = InvoiceHead(
        top.hex("business", 32),
        top.month("month"),
        top.day("through"),
        top.integer("count"),
        top.integer("total_micro_usd"),
        top.hex("lines_hash", 32),
        top.base64("signature", 64),
    )
    cards = tuple(
        _decode_base64(card, f"rate card {number}", "")
        for number, card in enumerate(top.items("rate_cards"), 1)
    )
    lanes = [
        _blob(_decode_base64(lane, f"lane {number}", ""), Lane, f"lane {number}")
        for number, lane in enumerate(top.items("lanes"), 1)
    ]
    checkpoint, since = top.note("checkpoint"), top.note("since")
    growth = top.proof("growth")
    leaves: list[Leaf] = []
    places: list[PlaceInLedger] = []
    used: set[int] = set()
    for number, item in enumerate(top.items("lines"), 1):
        leaf, index, place = _leaf(_Object(item, f"line {number}"), lanes)
        places.append(place)
        if index > len(used) + 1:
            raise InvoiceError(f"line {number}", "lane: lanes are numbered in order of first use")
        used.add(index)
        leaves.append(leaf)
    if len(used) != len(lanes):
        raise InvoiceError(f"lane {len(used) + 1}", "no line uses it")
    if len(set(lanes)) != len(lanes):
        raise InvoiceError("lanes", "the same lane stands there twice")
    top.finish()
    if checkpoint is None and (leaves or since or growth):
        raise InvoiceError("checkpoint", "is missing, and the rest of the file needs it")
    standing = None
    if checkpoint is not None:
        standing = Standing(checkpoint, tuple(places), since, growth)
    return Invoice(cert, legal_name, head, tuple(leaves), cards, standing)


def _line_object(leaf: Leaf, lane: int, where: str) -> dict[str, object]:
    line = leaf.line
    try:
        line.check_form()
    except MalformedError as error:
        raise InvoiceError(where, str(error)) from error
    return {
        "day": _show_day(leaf.settled_day, where),
        "market": line.market,
        "tariff": line.tariff,
        "category": Category(line.category).name.lower(),
        "class": Class(line.klass).name.lower(),
        "list_price_micro_usd": line.list_price,
        "rate_card": line.rate_card.hex(),
        "opener": None if line.opener == NO_HASH else line.opener.hex(),
        "private": leaf.private_hash.hex(),
        "lock": leaf.lock.hex(),
        "frank": leaf.frank.hex(),
        "secret": leaf.secret.hex(),
        "lane": lane,
        "listed": _show_listed(leaf.listed),
        "signature": _base64(leaf.signature),
    }


def _leaf(row: _Object, lanes: list[Lane]) -> tuple[Leaf, int, PlaceInLedger]:
    """:returns: the leaf, the number of its lane, and where it stands in the ledger"""
    line = Line(
        row.text("market"),
        row.text("tariff"),
        row.hex("rate_card", 32),
        int(row.enum("category", Category)),
        int(row.enum("class", Class)),
        row.integer("list_price_micro_usd"),
        row.optional_hash("opener"),
    )
    try:
        line.check_form()
    except MalformedError as error:
        raise row.fault(None, str(error)) from error
    index = row.integer("lane")
    if not 1 <= index <= len(lanes):
        raise row.fault("lane", f"there is no lane {index} in this file")
    leaf = Leaf(
        line,
        row.day("day"),
        row.hex("private", 32),
        row.hex("lock", 32),
        row.hex("frank", 32),
        row.hex("secret", 32),
        lanes[index - 1],
        row.listed("listed"),
        row.base64("signature", 64),
    )
    place = PlaceInLedger(row.integer("index"), row.proof("proof"))
    row.finish()
    return leaf, index, place


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as written, so that a repeated field is noticed where its place is known."""


class _Object:
    """Takes the fields of one JSON object; each fault names the place."""

    def __init__(self, value: object, where: str | None) -> None:
        self._where = where
        if not isinstance(value, _Pairs):
            raise InvoiceError(where or "file", "is not a JSON object")
        self._fields: dict[str, Any] = dict(value)
        if len(self._fields) != len(value):
            counts = Counter(name for name, _ in value)
            twice = next(name for name, count in counts.items() if count > 1)
            raise self.fault(_name(twice), "stands there twice")

    def fault(self, name: str | None, what: str) -> InvoiceError:
        """The error for a field (``None``: for the whole object)."""
        if self._where is None:
            return InvoiceError(name or "file", what)
        return InvoiceError(self._where, f"{name}: {what}" if name else what)

    def finish(self) -> None:
        """All fields must have been taken."""
        for name in self._fields:
            raise self.fault(_name(name), "is not a field of an invoice")

    def _take(self, name: str) -> Any:
        try:
            return self._fields.pop(name)
        except KeyError:
            raise self.fault(name, "is missing") from None

    def text(self, name: str) -> str:
        value = self._take(name)
        if not isinstance(value, str):
            raise self.fault(name, "is not text")
        return value

    def integer(self, name: str) -> int:
        value = self._take(name)
        # A bool is an int in Python, and is no number in an invoice.
        if type(value) is not int or not 0 <= value <= _MAX_INTEGER:
            raise self.fault(name, "is not a whole number of 0 or more that fits 63 bits")
        return value

    def hex(self, name: str, length: int) -> bytes:
        return self._hex(name, self.text(name), length)

    def optional_hash(self, name: str) -> bytes:
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
        data = _decode_base64(self._take(name), self._where or name, name if self._where else "")
        if length is not None and len(data) != length:
            raise self.fault(name, f"is not {length} bytes in base64")
        return data

    def month(self, name: str) -> int:
        match = _MONTH.fullmatch(self.text(name))
        if match is None:
            raise self.fault(name, "is not a month such as 2026-01")
        return int(match[1]) * 100 + int(match[2])

    def day(self, name: str) -> int:
        text = self.text(name)
        try:
            day = date.fromisoformat(text)
        except ValueError:
            day = date.min
        if day.isoformat() != text or day.toordinal() < EPOCH_ORDINAL:
            raise self.fault(name, "is not a day such as 2026-01-31")
        return day.toordinal() - EPOCH_ORDINAL

    def enum(self, name: str, type_: type[EnumT]) -> EnumT:
        text = self.text(name)
        for member in type_:
            if member.name.lower() == text:
                return member
        names = ", ".join(member.name.lower() for member in type_)
        raise self.fault(name, f"is none of {names}")

    def note(self, name: str) -> bytes | None:
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
        steps = self.items(name)
        if len(steps) > MAX_PROOF:
            raise self.fault(name, f"has more than {MAX_PROOF} hashes")
        if not all(isinstance(step, str) for step in steps):
            raise self.fault(name, "is not a list of hashes in hex")
        return tuple(self._hex(name, step, 32) for step in steps)

    def listed(self, name: str) -> Listed | None:
        value = self._take(name)
        if value is None:
            return None
        try:
            # Its limits are those of the wire; one spelling, so that the file has one too.
            place = msgspec.convert(dict(value), _ListedRow, strict=True)
            found = Listed(place.index, place.size, [bytes.fromhex(step) for step in place.proof])
            msgspec.convert(msgspec.to_builtins(found, builtin_types=(bytes,)), Listed)
        except (TypeError, ValueError, msgspec.ValidationError):
            found = None
        if found is None or _show_listed(found) != dict(value):
            raise self.fault(name, "is not a place in a list of charges")
        return found

    def items(self, name: str) -> list[Any]:
        value = self._take(name)
        if not isinstance(value, list) or isinstance(value, _Pairs):
            raise self.fault(name, "is not a list")
        return value


def _name(name: str) -> str:
    """A field's name for an error: short, and escaped if a terminal could not show it."""
    return name[:40] if name[:40].isprintable() else ascii(name[:40])


class _ListedRow(msgspec.Struct, forbid_unknown_fields=True):
    index: int
    size: int
    proof: list[str]


def _show_listed(listed: Listed | None) -> dict[str, object] | None:
    if listed is None:
        return None
    proof = [step.hex() for step in listed.proof]
    return {"index": listed.index, "size": listed.size, "proof": proof}


def _show_note(note: bytes | None, where: str) -> str | None:
    try:
        return None if note is None else note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvoiceError(where, "is not text") from error


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode_base64(value: object, where: str, name: str) -> bytes:
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if not data or _base64(data) != value:
        raise InvoiceError(where, f"{name}: is not base64" if name else "is not base64")
    return data


def _blob(data: bytes, type_: type[BlobT], where: str) -> BlobT:
    try:
        value = unpack(data, type_, limit=2_048)
    except WireError as error:
        raise InvoiceError(where, f"cannot be read: {error}") from error
    if pack(value) != data:
        raise InvoiceError(where, "is not in its one spelling")
    return value


def _check_legal_name(name: str) -> None:
    try:
        check_name(name, "the business")
    except MalformedError as error:
        raise InvoiceError("legal_name", str(error)) from error
    if len(name) > MAX_NAME:
        raise InvoiceError("legal_name", f"is longer than {MAX_NAME} characters")


def _show_month(month: int) -> str:
    text = f"{month // 100:04}-{month % 100:02}"
    if _MONTH.fullmatch(text) is None:
        raise InvoiceError("month", f"{month} is not a month")
    return text


def _show_day(day: int, where: str) -> str:
    if day > MAX_DAY:
        raise InvoiceError(where, f"day {day} has no date")
    return show_day(day)
