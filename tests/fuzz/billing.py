"""Targets in kurir_billing: rate cards, charges and the answers to them, invoices."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace as dataclass_replace
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from kurir_billing.answers import (
    Quote,
    Receipt,
    Refusal,
    open_receipt,
    open_refusal,
    receipt_message,
    refusal_message,
)
from kurir_billing.charge import (
    charge_hash,
    charge_message,
    check_charge_signature,
    open_charge,
    packed,
)
from kurir_billing.errors import EvidenceError, InvoiceError, RateCardError
from kurir_billing.grant import check_grant
from kurir_billing.head import invoice_message, open_head, packed_head
from kurir_billing.invoice import Invoice
from kurir_billing.invoice_file import from_json, to_json
from kurir_billing.kinds import Category, Class, RefusalCode
from kurir_billing.lane import Lane, lane_message, open_lane
from kurir_billing.leaf import open_leaf, packed_leaf
from kurir_billing.listed import Listed, signed_message
from kurir_billing.passes import pass_hash
from kurir_billing.ratecard import (
    bundled,
    canonical,
    open_rate_card,
    parse,
    rate_card_message,
    signed_rate_card,
)
from kurir_billing.tariffs import DEFAULT_TARIFF, price_of_class
from kurir_billing.terms import open_terms, packed_terms
from kurir_billing.ticket import Entry, check_entry, open_ticket, packed_ticket
from kurir_billing.verify import verify_invoice
from kurir_wire.codec import pack
from kurir_wire.errors import MalformedError, SignatureError
from kurir_wire.ids import HOUR
from tests.frauds.world import world
from tests.fuzz.mutate import json_tree, msgpack_tree, of_words, some_bytes
from tests.fuzz.target import VALID, Target, attempt, check_again
from tests.protocol.make import (
    NOW,
    TODAY,
    Envelope,
    TestBusiness,
    TestMailbox,
    TestRelay,
    b32,
    make_charge,
    make_invoice,
    make_leaf,
    make_leaves,
    make_line,
    make_pass,
    make_records,
    make_terms,
    make_ticket,
    public,
    sign,
    sign_charge,
)

RELAY = TestRelay()
BUSINESS = TestBusiness()
MAILBOX = TestMailbox(RELAY, BUSINESS)
ENVELOPE = Envelope(MAILBOX)
LEAVES = make_leaves(RELAY, BUSINESS)
INVOICE = make_invoice(RELAY, BUSINESS, LEAVES)
RECORDS = make_records(RELAY, BUSINESS, LEAVES)
ALL = world(flat=True)


# Rate cards


CARD_WORDS = (
    b'"OTHER"', b'"USD"', b'"version":', b'"currency":', b'"markets":', b'"countries":[]',
    b'"effective_from":', b'"marketing":0', b"1e3", b"1.0", b"-0", b"01", b"null", b"true",
    b'"\\u0041"', b'"\\ud800"', b" ", b"{", b"}", b"[", b"]", b",", b"9223372036854775808",
)  # fmt: skip
SMALL_CARD: Final = (
    b'{"currency":"USD","effective_from":1767225600,"markets":{"ID":{"authentication":3,'
    b'"countries":["ID"],"marketing":5,"utility":4},"OTHER":{"authentication":1,'
    b'"countries":["DE","FR"],"marketing":2,"utility":1}},"version":7}'
)


def rate_card(data: bytes) -> bool:
    """The JSON alone and as it comes signed."""
    card = attempt(RateCardError, lambda: parse(data))
    attempt(RateCardError, lambda: open_rate_card(data, public(RELAY.operator), RELAY.id))
    signature = sign(RELAY.operator, rate_card_message(RELAY.id, data))
    signed = signed_rate_card(data, signature)
    opened = attempt(
        RateCardError, lambda: open_rate_card(signed, public(RELAY.operator), RELAY.id)
    )
    if card is None:
        assert opened is None
        return False
    assert opened is None or opened[0] == card  # None: longer than a card may be
    assert canonical(card) == data
    for name, rates in card.markets.items():
        assert (
            price_of_class(DEFAULT_TARIFF, name, Category.NONE, Class.OUT_OF_WINDOW, card).micro_usd
            >= 0
        )
        for country in rates.countries:
            assert card.market_of(country.lower()) in card.markets
    return True


# Charges and what the relay says to them


def charge(data: bytes) -> bool:
    found = attempt(MalformedError, lambda: open_charge(data))
    if found is None:
        return False
    check_again(data, packed(found))
    assert open_charge(packed(found)) == found
    assert open_charge(packed(found.without_evidence())).grant is None
    body, life = ENVELOPE.body, ENVELOPE.life
    where = RELAY.id, MAILBOX.id, ENVELOPE.envelope_id
    private = found.private_hash(*where, body, life)
    attempt(EvidenceError, lambda: check_charge_signature(found, RELAY.id, private))
    attempt(EvidenceError, lambda: found.lane.verify(NOW))
    grant = found.grant
    if grant is not None:
        reader = public(MAILBOX.read_key)
        attempt(
            EvidenceError,
            lambda: check_grant(grant, RELAY.id, BUSINESS.id, MAILBOX.id, reader, RELAY.nonce),
        )
        grant.is_open(NOW)
        entry = found.entry
        if entry is not None:
            operator = public(RELAY.operator)
            attempt(
                EvidenceError,
                lambda: check_entry(
                    entry,
                    grant,
                    RELAY.id,
                    operator,
                    BUSINESS.id,
                    MAILBOX.id,
                    reader,
                    MAILBOX.gate,
                ),
            )
    # With the signatures made right, it is as good as any.
    lane = _sign_lane(found.lane)
    right = replace(found, lane=lane)
    private = right.private_hash(*where, body, life)
    fields = right.signed_fields(RELAY.id, private)
    name, lane_pk = charge_hash(*fields), right.lane.lane_pk
    right.lane.check_signature()
    message = attempt(
        EvidenceError,
        lambda: signed_message(charge_message(*fields), name, lane_pk, right.listed),
    )
    right = replace(right, signature=sign(BUSINESS.lane_key, message or b""))
    if message is None:  # it stands in no list
        assert not attempt(
            EvidenceError, lambda: bool(check_charge_signature(right, RELAY.id, private))
        )
        return True
    assert check_charge_signature(right, RELAY.id, private) == name
    return True


def _sign_lane(lane: Lane) -> Lane:
    lane_pk = public(BUSINESS.lane_key)
    message = lane_message(BUSINESS.id, lane_pk, lane.not_after)
    return Lane(public(BUSINESS.root), lane_pk, lane.not_after, sign(BUSINESS.root, message))


def evidence(data: bytes) -> bool:
    """Receipt, refusal, lane, leaf, invoice head, terms and ticket: seven shapes, so no bytes are
    two of them."""
    found = 0
    lane = attempt(EvidenceError, lambda: open_lane(data, NOW))
    if lane is not None:
        found += 1
        assert open_lane(packed(lane), NOW) == lane
    readers: tuple[Callable[[bytes], Struct], ...] = (
        open_receipt, open_refusal, open_leaf, open_head, open_terms, open_ticket,
    )  # fmt: skip
    for read in readers:
        value = attempt(MalformedError, lambda read=read: read(data))  # type: ignore[misc]
        if value is not None:
            found += 1
            assert read(pack(value)) == value
            check_again(data, pack(value))
    assert found <= 1
    terms = attempt(MalformedError, lambda: open_terms(data))
    if terms is not None:
        attempt(
            (SignatureError, MalformedError),
            lambda: terms.verify(public(RELAY.operator), RELAY.id, BUSINESS.id),
        )
    refusal = attempt(MalformedError, lambda: open_refusal(data))
    if refusal is not None:
        assert refusal.code in set(RefusalCode)
        _verify_refusal(refusal)
    leaf = attempt(MalformedError, lambda: open_leaf(data))
    if leaf is not None:
        attempt(EvidenceError, lambda: leaf.check_signature(RELAY.id))
        attempt(EvidenceError, leaf.check_settlement)
        assert len(leaf.hash(RELAY.id)) == 32
        assert open_leaf(packed_leaf(leaf)) == leaf
    return found == 1


def _verify_refusal(refusal: Refusal) -> None:
    quote = refusal.quote.hash(RELAY.id, BUSINESS.id) if refusal.quote else bytes(32)
    held = pass_hash(refusal.held)
    message = refusal_message(refusal.charge, refusal.code, refusal.now, quote, held)
    right = replace(refusal, signature=sign(RELAY.receipt_key, message))
    right.verify(public(RELAY.receipt_key), RELAY.id, BUSINESS.id)


def _charge_samples() -> dict[str, bytes]:
    plain = make_charge(ENVELOPE)
    ticket = make_ticket(RELAY, BUSINESS)
    grant = MAILBOX.grant(ticket=ticket)
    entered = replace(plain, grant=grant, entry=Entry(ticket, NOW // HOUR), pass_hash=b32("pass"))
    place = Listed(2, 5, [b32("a"), b32("b"), b32("c")])
    return {
        VALID + "charge": packed(plain),
        VALID + "with-grant": packed(make_charge(ENVELOPE, grant=MAILBOX.grant())),
        VALID + "with-entry": packed(sign_charge(entered, ENVELOPE, BUSINESS.lane_key)),
        VALID + "in-a-list": packed(replace(plain, listed=place)),
    }


def _evidence_samples() -> dict[str, bytes]:
    name = b32("charge")
    receipt = Receipt(name, NOW, None, sign(RELAY.receipt_key, receipt_message(name, NOW)))
    held = make_pass(MAILBOX)
    message = receipt_message(name, NOW, held.hash)
    earned = Receipt(name, NOW, held, sign(RELAY.receipt_key, message))
    quote = Quote(make_line(klass=Class.IN_WINDOW))
    asked = quote.hash(RELAY.id, BUSINESS.id)
    message = refusal_message(name, 131_047, NOW, asked)
    refusal = Refusal(name, 131_047, NOW, quote, None, sign(RELAY.receipt_key, message))
    message = refusal_message(name, 100, NOW, asked, held.hash)
    told = Refusal(name, 100, NOW, quote, held, sign(RELAY.receipt_key, message))
    return {
        VALID + "receipt": pack(receipt),
        VALID + "receipt-with-pass": pack(earned),
        VALID + "refusal": pack(refusal),
        VALID + "refusal-with-pass": pack(told),
        VALID + "terms": packed_terms(make_terms(RELAY, BUSINESS)),
        VALID + "ticket": packed_ticket(make_ticket(RELAY, BUSINESS)),
        VALID + "lane": packed(BUSINESS.lane()),
        VALID + "leaf": packed_leaf(make_leaf(RELAY, BUSINESS, "a")),
        VALID + "head": packed_head(INVOICE.head),
    }


# Invoice files


FILE_WORDS = (
    *(f'"{name}"'.encode() for name in json.loads(to_json(INVOICE))),
    b'"lane": 2', b'"opener": null', b'"in_window"', b'"none"', b'"2026-02-29"', b'"0001-01-01"',
    b'"9999-12-31"', b'"9999-12"', b'"\\ud800"', b'"\\u001b[2J"', b"NaN", b"-1", b"1e9", b"true",
    b"null", b"{", b"}", b"[", b"]", b",", b":", b"[" * 50, b"9" * 5_000,
)  # fmt: skip


def invoice_file(data: bytes) -> bool:
    found = attempt(InvoiceError, lambda: from_json(data))
    if found is None:
        return False
    file = to_json(found)
    assert from_json(file) == found
    # White space is free; every value has one spelling. A bool is no number.
    assert _typed(json.loads(file)) == _typed(json.loads(data))
    assert to_json(from_json(file)) == file
    accepted = attempt(InvoiceError, lambda: _verified(found))
    if accepted:
        # There is one invoice, and what proves its place in the ledger is all that may differ.
        assert dataclass_replace(found, standing=INVOICE.standing) == INVOICE
        assert found.head == INVOICE.head
    # The operator may sign anything; the business's records are what it has to agree with.
    signature = sign(RELAY.operator, invoice_message(RELAY.id, found.head))
    lie = replace(found.head, signature=signature)
    forged = dataclass_replace(found, cert=RELAY.cert(), head=lie)
    agreed = attempt(InvoiceError, lambda: _verified(forged))
    if agreed and (lie.month, lie.through_day) >= (INVOICE.head.month, TODAY):
        # An earlier day covers less, and another month nothing.
        due = INVOICE.head.total_micro_usd if lie.month == INVOICE.head.month else 0
        assert lie.total_micro_usd == due
    return True


def _typed(value: object) -> object:
    if isinstance(value, dict):
        return {name: _typed(field) for name, field in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return type(value), value


def _verified(invoice: Invoice) -> bool:
    verify_invoice(invoice, RECORDS)
    return True


def _invoice_samples() -> dict[str, bytes]:
    return {
        VALID + "one-line": to_json(make_invoice(RELAY, BUSINESS, LEAVES[:1])),
        VALID + "five-lines": to_json(INVOICE),
        VALID + "empty": to_json(make_invoice(RELAY, BUSINESS, [])),
        VALID + "adjusted": to_json(ALL.bill(ALL.leaves[:2], ALL.adjustments[:1])),
    }


STRUCTURED = (msgpack_tree, msgpack_tree, some_bytes)
TARGETS = (
    Target(
        "rate_card", rate_card,
        lambda: {VALID + "small": SMALL_CARD, VALID + "bundled": canonical(bundled())},
        (json_tree, some_bytes, of_words(CARD_WORDS)), CARD_WORDS,
    ),
    Target("charge", charge, _charge_samples, STRUCTURED, max_bytes=2_100),
    Target("evidence", evidence, _evidence_samples, STRUCTURED, max_bytes=2_100),
    Target(
        "invoice_file", invoice_file, _invoice_samples,
        (json_tree, json_tree, some_bytes, of_words(FILE_WORDS)), FILE_WORDS, mutations=2_000,
    ),
)  # fmt: skip
