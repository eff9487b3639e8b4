"""The operator's terms: signed for one business of one relay, and read as they were written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kurir_billing.terms import NO_LIMIT, Terms, open_terms, packed_terms, terms_message
from kurir_wire.errors import MalformedError, SignatureError
from tests.protocol.make import TestBusiness, TestRelay, make_terms, public

RELAY, OTHER_RELAY = TestRelay(), TestRelay("other relay")
BUSINESS, OTHER_BUSINESS = TestBusiness(), TestBusiness("other business")


TERMS = make_terms(RELAY, BUSINESS, issued=7)


def check(terms: Terms, relay: TestRelay = RELAY, business: TestBusiness = BUSINESS) -> None:
    terms.verify(public(RELAY.operator), relay.id, business.id)


@given(
    st.sampled_from(["flat", "reply-2018", "x" * 24]),
    st.integers(0, 255),
    st.none() | st.integers(0, NO_LIMIT - 1),
    st.integers(0, 2**63 - 1),
)
def test_round_trip(tariff: str, tier: int, starts: int | None, issued: int) -> None:
    terms = make_terms(RELAY, BUSINESS, tariff, tier, starts, issued)
    assert open_terms(packed_terms(terms)) == terms
    check(terms)


@pytest.mark.parametrize(
    "changed",
    [
        replace(TERMS, tariff="message-2026"),
        replace(TERMS, tier=1),
        replace(TERMS, starts=251),
        replace(TERMS, starts=None),
        replace(TERMS, issued=8),
        replace(TERMS, signature=bytes(64)),
    ],
)
def test_the_signature_covers_every_field(changed: Terms) -> None:
    with pytest.raises(SignatureError):
        check(changed)


def test_terms_are_of_one_business_of_one_relay() -> None:
    check(TERMS)
    with pytest.raises(SignatureError):
        check(TERMS, relay=OTHER_RELAY)
    with pytest.raises(SignatureError):
        check(TERMS, business=OTHER_BUSINESS)
    with pytest.raises(SignatureError):
        TERMS.verify(public(RELAY.receipt_key), RELAY.id, BUSINESS.id)


def test_no_limit_has_one_spelling() -> None:
    """The number that stands for it in the signed bytes is no limit that could be sent."""
    with pytest.raises(MalformedError):
        open_terms(packed_terms(replace(TERMS, starts=NO_LIMIT)))
    assert terms_message(RELAY.id, BUSINESS.id, "flat", 2, None, 7) == terms_message(
        RELAY.id, BUSINESS.id, "flat", 2, NO_LIMIT, 7
    )


def test_a_tariff_fits_its_field() -> None:
    with pytest.raises(MalformedError):
        terms_message(RELAY.id, BUSINESS.id, "x" * 25, 2, None, 7)
    with pytest.raises(MalformedError):
        check(replace(TERMS, tariff="t\u00e4glich"))


def test_layout() -> None:
    message = terms_message(RELAY.id, BUSINESS.id, "flat", 2, 0x01020304, 0x05)
    expected = b"kurir/terms/1\0" + RELAY.id + BUSINESS.id + b"flat" + bytes(20) + b"\2"
    assert message == expected + b"\1\2\3\4" + bytes(7) + b"\5"
