"""Grants: not forged, not moved, not stretched; the window is exact to the second."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kurir_billing.errors import EvidenceError
from kurir_billing.grant import Grant, check_grant, grant_message
from kurir_billing.kinds import GrantKind
from kurir_wire.ids import NO_HASH
from tests.protocol.make import (
    NOW,
    TestBusiness,
    TestMailbox,
    TestRelay,
    b16,
    b32,
    key,
    public,
    sign,
)

RELAY, OTHER_RELAY = TestRelay(), TestRelay("other relay")
BUSINESS, OTHER = TestBusiness(), TestBusiness("other business")
MAILBOX = TestMailbox(RELAY, BUSINESS)
MINUTE = NOW // 60
GRANT = MAILBOX.grant(MINUTE)


def check(
    grant: Grant,
    relay: TestRelay = RELAY,
    business: TestBusiness = BUSINESS,
    mailbox: TestMailbox = MAILBOX,
) -> None:
    check_grant(grant, relay.id, business.id, mailbox.id, public(mailbox.read_key), relay.nonce)


def test_an_honest_grant() -> None:
    check(GRANT)
    check_grant(GRANT, RELAY.id, BUSINESS.id, MAILBOX.id, public(MAILBOX.read_key))


@pytest.mark.parametrize("minute", [0, 1, MINUTE, 2**32 - 1])
def test_the_window(minute: int) -> None:
    grant = MAILBOX.grant(minute)
    start = minute * 60
    assert (grant.opens_at, grant.closes_at) == (start, start + 86_400)
    assert not grant.is_open(start - 1)
    assert grant.is_open(start)
    assert grant.is_open(start + 86_399)
    assert not grant.is_open(start + 86_400)
    assert not grant.is_open(start + 86_401)


@pytest.mark.parametrize(
    "fields",
    [
        {"signature": bytes(64)},
        {"kind": GrantKind.ENTRY},
        {"kind": 77},
        {"ticket": b32("ticket")},
        {"nonce": b16("x")},
        {"minute": MINUTE + 1},
        {"minute": MINUTE + 1, "nonce": RELAY.nonce(MINUTE + 1)},
        {"minute": MINUTE - 1, "nonce": RELAY.nonce(MINUTE - 1)},
    ],
)
def test_changed(fields: dict[str, Any]) -> None:
    changed = replace(GRANT, **fields)
    with pytest.raises(EvidenceError):
        check(changed)
    if "nonce" in fields or "minute" in fields:
        assert changed.hash != GRANT.hash
    with pytest.raises(EvidenceError):
        check_grant(changed, RELAY.id, BUSINESS.id, MAILBOX.id, public(MAILBOX.read_key))


def test_moved() -> None:
    elsewhere = TestMailbox(RELAY, BUSINESS, "other mailbox")
    with pytest.raises(EvidenceError):
        check(GRANT, business=OTHER)
    with pytest.raises(EvidenceError):
        check(GRANT, mailbox=elsewhere)
    with pytest.raises(EvidenceError):
        check_grant(
            GRANT, RELAY.id, BUSINESS.id, elsewhere.id, public(MAILBOX.read_key), RELAY.nonce
        )
    with pytest.raises(EvidenceError):
        check_grant(
            GRANT, RELAY.id, BUSINESS.id, MAILBOX.id, public(elsewhere.read_key), RELAY.nonce
        )
    with pytest.raises(EvidenceError):
        check(GRANT, relay=OTHER_RELAY)
    with pytest.raises(EvidenceError):
        check_grant(
            GRANT, OTHER_RELAY.id, BUSINESS.id, MAILBOX.id, public(MAILBOX.read_key), RELAY.nonce
        )


def test_made_in_advance() -> None:
    # The reader signs a beacon that the relay has not given out: no nonce fits.
    minute, nonce = MINUTE + 5, b16("guess")
    message = grant_message(
        RELAY.id, BUSINESS.id, MAILBOX.id, GrantKind.SERVICE, minute, nonce, NO_HASH
    )
    grant = Grant(0, minute, nonce, NO_HASH, sign(MAILBOX.read_key, message))
    check_grant(grant, RELAY.id, BUSINESS.id, MAILBOX.id, public(MAILBOX.read_key))
    with pytest.raises(EvidenceError, match="beacon"):
        check(grant)


@pytest.mark.parametrize(
    ("kind", "ticket"), [(GrantKind.ENTRY, NO_HASH), (GrantKind.SERVICE, b32("ticket"))]
)
def test_kinds_of_later_versions_are_refused(kind: GrantKind, ticket: bytes) -> None:
    nonce = RELAY.nonce(MINUTE)
    message = grant_message(RELAY.id, BUSINESS.id, MAILBOX.id, kind, MINUTE, nonce, ticket)
    with pytest.raises(EvidenceError, match="kind"):
        check(Grant(kind, MINUTE, nonce, ticket, sign(MAILBOX.read_key, message)))


def test_signed_by_another() -> None:
    message = grant_message(
        RELAY.id, BUSINESS.id, MAILBOX.id, GrantKind.SERVICE, MINUTE, GRANT.nonce
    )
    with pytest.raises(EvidenceError):
        check(replace(GRANT, signature=sign(key("somebody"), message)))


@given(st.data())
def test_the_hash_covers_every_field(data: st.DataObject) -> None:
    fields = {
        "kind": data.draw(st.integers(0, 255)),
        "minute": data.draw(st.integers(0, 2**32 - 1)),
        "nonce": data.draw(st.binary(min_size=16, max_size=16)),
        "ticket": data.draw(st.binary(min_size=32, max_size=32)),
        "signature": data.draw(st.binary(min_size=64, max_size=64)),
    }
    for name, value in fields.items():
        changed = replace(GRANT, **{name: value})
        assert (changed.hash == GRANT.hash) == (changed == GRANT)


def test_layout() -> None:
    message = grant_message(
        RELAY.id, BUSINESS.id, MAILBOX.id, GrantKind.ENTRY, 0x01020304, b16("n"), b32("t")
    )
    expected = b"kurir/grant/1\0" + RELAY.id + BUSINESS.id + MAILBOX.id
    assert message == expected + b"\1" + b"\1\2\3\4" + b16("n") + b32("t")
