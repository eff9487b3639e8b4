"""The head of an invoice against what follows from its lines: which field is wrong, and whether
somebody edited it or the relay signed it so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import structs

from kurir_billing.dates import MAX_DAY, first_day, month_of_day, show_day
from kurir_billing.errors import InvoiceError
from kurir_billing.head import CURRENCY, InvoiceHead
from kurir_billing.party import Party
from kurir_wire.errors import SignatureError
from kurir_wire.ids import RelayId

PLACES: Final = {
    "business_id": "business",
    "month": "month",
    "revision": "number",
    "issued_day": "issued",
    "through_day": "through",
    "currency": "currency",
    "seller": "seller",
    "buyer": "buyer",
    "count": "count",
    "subtotal_micro_usd": "subtotal",
    "fee_micro_usd": "fee",
    "adjustments_micro_usd": "adjustments",
    "total_micro_usd": "total",
    "lines_hash": "lines_hash",
    "adjustments_hash": "adjustments_hash",
    "charged_hash": "charged_hash",
}
"""How an error names a field."""

_DAYS_TRIED: Final = 400
_REVISIONS_TRIED: Final = 100


def head_fault(
    head: InvoiceHead,
    due: InvoiceHead,
    operator_pk: bytes,
    relay_id: RelayId,
    kept: Mapping[str, InvoiceHead],
) -> InvoiceError | None:
    """Why the relay's signature does not hold: the one field that was changed, if it is one.

    :param due: the head with everything recomputed that can be
    :param kept: heads that were seen before, by number
    :returns: ``None`` if the signature holds
    """
    try:
        head.verify(operator_pk, relay_id)
    except SignatureError as error:
        fault = InvoiceError("signature", str(error))
    else:
        return None
    for name, value in _candidates(head, due, kept):
        other = structs.replace(head, **{name: value})
        try:
            other.verify(operator_pk, relay_id)
        except SignatureError:
            continue
        return InvoiceError(
            PLACES[name], _differs(name, getattr(head, name), value, "the relay signed")
        )
    return fault


def check_kept(head: InvoiceHead, kept: Mapping[str, InvoiceHead]) -> None:
    """One number, one invoice.

    :raises InvoiceError: another one of this number was seen, also signed
    """
    before = kept.get(head.number)
    if before is None:
        return
    for name in PLACES:
        if getattr(before, name) != getattr(head, name):
            what = _differs(name, getattr(head, name), getattr(before, name), "it said")
            raise InvoiceError(
                "number", f"the relay signed another invoice of this number before: {name} {what}"
            )


def check_head(head: InvoiceHead, due: InvoiceHead) -> None:
    """What the relay signed is what follows from the lines.

    :raises InvoiceError: the first field that is not
    """
    for name, where, what in (
        ("charged_hash", "charged", "are not the conversations that the relay signed"),
        ("adjustments_hash", "adjustments", "are not those that the relay signed"),
    ):
        if getattr(head, name) != getattr(due, name):
            raise InvoiceError(where, what)
    for name, source in (
        ("count", "there are {} lines"),
        ("subtotal_micro_usd", "the lines come to {}"),
        ("fee_micro_usd", "the rate cards and tariffs of the lines give {}"),
        ("adjustments_micro_usd", "the adjustments add up to {}"),
        ("total_micro_usd", "the lines, fee and adjustments add up to {}"),
    ):
        said, found = getattr(head, name), getattr(due, name)
        if said != found:
            raise InvoiceError(PLACES[name], f"says {said} where {source.format(found)}")
    if head.lines_hash != due.lines_hash:
        raise InvoiceError("lines", "are not those that the relay signed")
    if head.currency != CURRENCY:
        raise InvoiceError("currency", f"is {head.currency!r}, and prices are in {CURRENCY}")
    first = first_day(head.month)
    if first is None or month_of_day(max(head.through_day, first)) != head.month:
        raise InvoiceError("through", f"{show_day(head.through_day)} is not a day of its month")
    if head.issued_day <= head.through_day:
        raise InvoiceError("issued", "is not after the last day counted")
    if head.revision == 0:
        raise InvoiceError("number", "revisions are counted from 1")


def _candidates(
    head: InvoiceHead, due: InvoiceHead, kept: Mapping[str, InvoiceHead]
) -> Iterator[tuple[str, object]]:
    """Values that one field may have had."""
    for name in PLACES:
        value = getattr(due, name)
        if value != getattr(head, name):
            yield name, value
    for before in kept.values():
        others = [name for name in PLACES if getattr(before, name) != getattr(head, name)]
        if len(others) == 1:
            yield others[0], getattr(before, others[0])
    yield from (("month", month) for month in _months_around(head))
    yield from (("through_day", day) for day in _days_around(head.month))
    later = range(head.through_day + 1, min(head.through_day + _DAYS_TRIED, MAX_DAY + 1))
    yield from (("issued_day", day) for day in later)
    yield from (("revision", number) for number in range(1, _REVISIONS_TRIED))


def _months_around(head: InvoiceHead) -> set[int]:
    """Where the last day counted is, or the first one not counted."""
    return {month_of_day(head.through_day), month_of_day(head.through_day + 1)}


def _days_around(month: int) -> Iterable[int]:
    """The days of a month (year * 100 + month), and the one before it."""
    first = first_day(month)
    if first is None:
        return ()
    return range(max(0, first - 1), min(first + 31, MAX_DAY + 1))


def _differs(name: str, said: object, other: object, source: str) -> str:
    if isinstance(said, Party) and isinstance(other, Party):
        for part in said.__struct_fields__:
            one, two = getattr(said, part), getattr(other, part)
            if one != two:
                return f"{part} says {_text(one)} where {source} {_text(two)}"
    is_day = name in ("through_day", "issued_day")
    shown = [
        show_day(value) if is_day and isinstance(value, int) else show_fact(value)
        for value in (said, other)
    ]
    return f"says {shown[0]} where {source} {shown[1]}"


def _text(value: str | list[str]) -> str:
    return repr(value if isinstance(value, str) else ", ".join(value))


def show_fact(value: object) -> str:
    """A value of a head or a line as errors show it."""
    return value.hex() if isinstance(value, bytes) else str(value)
