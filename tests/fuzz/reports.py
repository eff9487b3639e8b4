"""Targets around reports: what is sealed, what an operator signs, a line of a ledger file."""

from __future__ import annotations

from msgspec.structs import replace

from kurir_billing.adjust import (
    adjust_message,
    check_adjust,
    check_ruling,
    open_adjust,
    packed_adjust,
)
from kurir_billing.errors import EvidenceError, LedgerError
from kurir_billing.ledger_file import Closed, PriceList, read_part, write_part
from kurir_billing.report import (
    Complaint,
    check_report,
    frank_tag,
    open_complaint,
    open_report,
    packed_report,
)
from kurir_wire.errors import MalformedError
from kurir_wire.ids import BusinessId, Hash
from tests.fuzz.mutate import json_tree, msgpack_tree, some_bytes
from tests.fuzz.target import VALID, Target, attempt, check_again
from tests.protocol.make import TODAY, TestBusiness, TestRelay, public, sign
from tests.protocol.reported import CARD, make_reported, resigned

RELAY, BUSINESS = TestRelay(), TestBusiness()
GOOD = make_reported(RELAY, BUSINESS)
OPERATOR = public(RELAY.operator)


def report(data: bytes) -> bool:
    """A complaint, as it comes out of its seal."""
    made = attempt(MalformedError, lambda: open_complaint(data))
    if made is None:
        return False
    check_again(data, packed_report(made))
    found = made.report
    assert open_report(packed_report(found)) == found
    said = attempt(EvidenceError, lambda: check_report(found, GOOD.leaf, RELAY.id))
    assert (said is not None) == (found == GOOD.report), "one message and no other"
    # Of a business that signed whatever it says.
    if found.business_id == BUSINESS.id and found.category == GOOD.report.category:
        tag = frank_tag(
            found.kf,
            RELAY.id,
            BusinessId(found.business_id),
            Hash(found.place),
            found.category,
            found.content,
        )
        leaf = resigned(GOOD.leaf, RELAY, BUSINESS, frank=tag)
        meant = replace(found, lock=leaf.lock)
        shown = attempt(EvidenceError, lambda: check_report(meant, leaf, RELAY.id))
        assert shown is None or shown.category == leaf.line.category
    return True


def adjust(data: bytes) -> bool:
    """What an operator may sign, and then what it did sign."""
    found = attempt(MalformedError, lambda: open_adjust(data))
    if found is None:
        return False
    check_again(data, packed_adjust(found))
    rest = OPERATOR, RELAY.id, CARD
    attempt(EvidenceError, lambda: check_ruling(found, GOOD.leaf, *rest))
    signature = sign(RELAY.operator, adjust_message(RELAY.id, found))
    signed, agreed = replace(found, signature=signature), True
    try:
        check_adjust(signed, GOOD.leaf, GOOD.report, *rest)
    except EvidenceError:
        agreed = False
    days = range(GOOD.leaf.settled_day, GOOD.leaf.settled_day + 151)
    honest = GOOD.adjust(day=found.day)
    assert not agreed or (found.day in days and signed.delta_micro_usd > 0)
    assert agreed or signed != honest or found.day not in days
    return True


def ledger_line(data: bytes) -> bool:
    """One line of an export; it has one spelling."""
    part = attempt(LedgerError, lambda: read_part(data))
    if part is None:
        return False
    assert write_part(part) == data
    return True


def _report_samples() -> dict[str, bytes]:
    return {
        VALID + "complaint": packed_report(Complaint(GOOD.report, 3, "an ad")),
        VALID + "bare": packed_report(Complaint(GOOD.report)),
    }


def _line_samples() -> dict[str, bytes]:
    note = RELAY.note([GOOD.leaf.hash(RELAY.id)])
    return {
        VALID + "certificate": write_part(RELAY.cert()),
        VALID + "card": write_part(PriceList(b"[]")),
        VALID + "leaf": write_part(GOOD.leaf),
        VALID + "adjust": write_part(GOOD.adjust()),
        VALID + "closed": write_part(Closed(TODAY, note)),
    }


STRUCTURED = (msgpack_tree, msgpack_tree, some_bytes)
TARGETS = (
    Target("report", report, _report_samples, STRUCTURED),
    Target("adjust", adjust, lambda: {VALID + "adjust": packed_adjust(GOOD.adjust())}, STRUCTURED),
    Target("ledger_line", ledger_line, _line_samples, (json_tree, some_bytes)),
)
