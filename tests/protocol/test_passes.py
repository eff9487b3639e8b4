"""Passes and entry tickets: for whom they are made, and how long they hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kurir_billing.errors import EvidenceError
from kurir_billing.grant import Grant
from kurir_billing.kinds import GrantKind, PassKind
from kurir_billing.passes import Pass, pass_hash, pass_kind, pass_message
from kurir_billing.ticket import (
    Entry,
    Ticket,
    check_entry,
    open_ticket,
    packed_ticket,
    ticket_message,
)
from kurir_wire.errors import MalformedError, SignatureError
from kurir_wire.ids import DAY, HOUR, MINUTE, NO_HASH, digest
from tests.protocol.make import (
    NOW,
    TestBusiness,
    TestMailbox,
    TestRelay,
    b16,
    b32,
    make_pass,
    make_ticket,
    public,
)

RELAY, OTHER_RELAY = TestRelay(), TestRelay("other relay")
BUSINESS, OTHER = TestBusiness(), TestBusiness("other business")
MAILBOX = TestMailbox(RELAY, BUSINESS)
PASS = make_pass(MAILBOX)
TICKET = make_ticket(RELAY, BUSINESS)
BORN = NOW // HOUR


# Passes


def test_a_pass_is_for_one_mailbox_of_one_business() -> None:
    key = public(RELAY.receipt_key)
    PASS.verify(key, RELAY.id, BUSINESS.id, MAILBOX.id)
    elsewhere = TestMailbox(RELAY, BUSINESS, "elsewhere")
    for relay_id, business_id, mailbox_id in (
        (OTHER_RELAY.id, BUSINESS.id, MAILBOX.id),
        (RELAY.id, OTHER.id, MAILBOX.id),
        (RELAY.id, BUSINESS.id, elsewhere.id),
    ):
        with pytest.raises(SignatureError):
            PASS.verify(key, relay_id, business_id, mailbox_id)
    with pytest.raises(SignatureError):
        PASS.verify(public(RELAY.operator), RELAY.id, BUSINESS.id, MAILBOX.id)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": 1},
        {"opener": b32("another")},
        {"klass": 1},
        {"opened_at": NOW - 1},
        {"until": NOW + 2 * DAY},
        {"signature": bytes(64)},
    ],
)
def test_hash_and_signature_cover_every_field(change: dict[str, Any]) -> None:
    changed = replace(PASS, **change)
    assert changed.hash != PASS.hash
    with pytest.raises(SignatureError):
        changed.verify(public(RELAY.receipt_key), RELAY.id, BUSINESS.id, MAILBOX.id)


@given(st.integers(NOW - 10, NOW + DAY + 10))
def test_a_pass_is_half_open(now: int) -> None:
    assert PASS.is_open(now) == (NOW <= now < NOW + DAY)


def test_layout() -> None:
    known = Pass(PassKind.ENTRY, b32("opener"), 2, 0x0102, 0x0304, b"s" * 64)
    fields = b"\1" + b32("opener") + b"\2" + bytes(6) + b"\1\2" + bytes(6) + b"\3\4"
    message = pass_message(RELAY.id, BUSINESS.id, MAILBOX.id, known)
    assert message == b"kurir/pass/1\0" + RELAY.id + BUSINESS.id + MAILBOX.id + fields
    assert pass_hash(known) == digest("pass-hash", fields + b"s" * 64)
    assert pass_hash(None) == NO_HASH
    assert pass_kind(known) is PassKind.ENTRY
    assert pass_kind(replace(known, kind=7)) is None


# Entry tickets


def check(
    entry: Entry,
    grant: Grant,
    *,
    relay: TestRelay = RELAY,
    business: TestBusiness = BUSINESS,
) -> None:
    check_entry(
        entry,
        grant,
        relay.id,
        public(relay.operator),
        business.id,
        MAILBOX.id,
        public(MAILBOX.read_key),
        MAILBOX.gate,
    )


GRANT = MAILBOX.grant(ticket=TICKET)
ENTRY = Entry(TICKET, BORN)


def test_an_entry_that_counts() -> None:
    assert (GRANT.kind, GRANT.ticket) == (GrantKind.ENTRY, TICKET.hash(RELAY.id, BUSINESS.id))
    check(ENTRY, GRANT)
    TICKET.verify(public(RELAY.operator), RELAY.id, BUSINESS.id)


@pytest.mark.parametrize(
    ("entry", "grant"),
    [
        (ENTRY, MAILBOX.grant()),
        (ENTRY, replace(GRANT, kind=0)),
        (ENTRY, replace(GRANT, ticket=bytes(32))),
        (Entry(make_ticket(RELAY, BUSINESS, name="another"), BORN), GRANT),
        (Entry(replace(TICKET, not_after=TICKET.not_after + 1), BORN), GRANT),
        (Entry(replace(TICKET, signature=bytes(64)), BORN), GRANT),
        (Entry(TICKET, BORN + 1), GRANT),
        (Entry(TICKET, BORN - 1), GRANT),
    ],
)
def test_an_entry_that_does_not(entry: Entry, grant: Grant) -> None:
    with pytest.raises(EvidenceError):
        check(entry, grant)


def test_an_entry_is_of_one_relay_and_business() -> None:
    with pytest.raises(EvidenceError):
        check(ENTRY, GRANT, relay=OTHER_RELAY)
    with pytest.raises(EvidenceError):
        check(ENTRY, GRANT, business=OTHER)


def test_the_hour_of_birth_is_that_of_the_mailbox() -> None:
    """Reader and gate are what the relay knows of it; the grant's signature says which it is."""
    elsewhere = TestMailbox(RELAY, BUSINESS, "elsewhere")
    operator = public(RELAY.operator)
    for read_pk, gate in (
        (public(elsewhere.read_key), MAILBOX.gate),
        (public(MAILBOX.read_key), elsewhere.gate),
    ):
        with pytest.raises(EvidenceError, match="another hour"):
            check_entry(ENTRY, GRANT, RELAY.id, operator, BUSINESS.id, MAILBOX.id, read_pk, gate)


@pytest.mark.parametrize(("ends", "counts"), [(NOW + 1, True), (NOW, False), (NOW - 1, False)])
def test_a_ticket_has_to_hold_when_the_customer_comes(ends: int, counts: bool) -> None:
    ticket = make_ticket(RELAY, BUSINESS, not_after=ends)
    grant = MAILBOX.grant(ticket=ticket)
    if counts:
        check(Entry(ticket, BORN), grant)
        return
    with pytest.raises(EvidenceError, match="expired"):
        check(Entry(ticket, BORN), grant)


@pytest.mark.parametrize(
    ("minute", "counts"),
    [
        (BORN * 60 - 1, False),
        (BORN * 60, True),
        ((BORN * HOUR + DAY) // MINUTE - 1, True),
        ((BORN * HOUR + DAY) // MINUTE, False),
    ],
)
def test_the_mailbox_is_of_the_last_24_hours(minute: int, counts: bool) -> None:
    grant = MAILBOX.grant(minute, TICKET)
    if counts:
        check(ENTRY, grant)
        return
    with pytest.raises(EvidenceError, match="24 hours"):
        check(ENTRY, grant)


def test_tickets_travel_and_have_one_layout() -> None:
    assert open_ticket(packed_ticket(TICKET)) == TICKET
    with pytest.raises(MalformedError):
        open_ticket(packed_ticket(TICKET)[:-1])
    message = ticket_message(RELAY.id, BUSINESS.id, b16("x"), 0x0102)
    expected = RELAY.id + BUSINESS.id + b16("x") + bytes(6) + b"\1\2"
    assert message == b"kurir/ticket/1\0" + expected
    ticket = Ticket(b16("x"), 0x0102, bytes(64))
    assert ticket.hash(RELAY.id, BUSINESS.id) == digest("ticket-hash", expected)
