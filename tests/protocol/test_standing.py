"""Invoices and the ledger: lines that are not in it, ledgers that fork, and what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from kurir_billing.errors import InvoiceError
from kurir_billing.standing import Standing, check_standing
from kurir_billing.verify import verify_invoice
from kurir_wire.ids import Hash
from kurir_wire.merkle import Growing
from tests.protocol.make import (
    TestBusiness,
    TestRelay,
    hash_of,
    make_hashes,
    make_invoice,
    make_leaves,
    make_records,
    make_standing,
)

RELAY, BUSINESS = TestRelay(), TestBusiness()
LEAVES = make_leaves(RELAY, BUSINESS)
HASHES = make_hashes(RELAY, LEAVES)
STANDING = make_standing(RELAY, LEAVES, HASHES, since=2)


def root(hashes: Sequence[bytes]) -> Hash:
    return Growing(hashes).root()


def fault(standing: Standing | None, known: Mapping[int, Hash] | None = None) -> InvoiceError:
    with pytest.raises(InvoiceError) as caught:
        check_standing(standing, LEAVES, RELAY.cert(), known or {})
    return caught.value


def test_an_honest_ledger() -> None:
    for known in (
        {},
        {2: root(HASHES[:2])},
        {8: root(HASHES)},
        {1: root(HASHES[:1]), 2: root(HASHES[:2]), 8: root(HASHES), 20: hash_of("later")},
    ):
        check_standing(STANDING, LEAVES, RELAY.cert(), known)
    check_standing(make_standing(RELAY, LEAVES, HASHES), LEAVES, RELAY.cert(), {})
    check_standing(None, [], RELAY.cert(), {})


def test_the_invoice_says_it_last() -> None:
    """A changed line is named as such, not as a broken proof."""
    invoice = make_invoice(RELAY, BUSINESS, LEAVES)
    records = make_records(RELAY, BUSINESS, LEAVES)
    verify_invoice(invoice, replace(records, checkpoints={2: root(HASHES[:2])}))
    with pytest.raises(InvoiceError, match="another ledger"):
        verify_invoice(invoice, replace(records, checkpoints={2: hash_of("fork")}))
    with pytest.raises(InvoiceError, match="is missing"):
        verify_invoice(replace(invoice, standing=None), records)


def test_a_dropped_leaf() -> None:
    """The relay lists and bills a charge that its ledger does not hold."""
    honest = make_standing(RELAY, LEAVES, HASHES)
    without = HASHES[:4] + HASHES[5:]
    rest = [leaf for n, leaf in enumerate(LEAVES) if honest.places[n].index != 4]
    standing = make_standing(RELAY, rest, without)
    number = next(n for n, place in enumerate(honest.places) if place.index == 4)
    places = list(standing.places)
    places.insert(number, honest.places[number])
    found = fault(replace(standing, places=tuple(places)))
    assert found.where == f"line {number + 1}"
    assert "does not show it at place 4" in found.what


def test_an_altered_leaf_and_a_reordered_tree() -> None:
    altered = [hash_of("altered") if n == 5 else entry for n, entry in enumerate(HASHES)]
    turned = [*HASHES[:3], HASHES[4], HASHES[3], *HASHES[5:]]
    honest = make_standing(RELAY, LEAVES, HASHES)
    for other in (altered, turned):
        found = fault(replace(honest, checkpoint=RELAY.note(other)))
        assert found.where == "line 1"


def test_a_forked_ledger() -> None:
    """What the business saw before is not what the new checkpoint grew from."""
    forked = [hash_of("other way"), *HASHES[1:]]
    for known in ({2: root(forked[:2])}, {8: root(forked)}):
        found = fault(STANDING, known)
        assert "of another ledger than yours" in found.what
    cut = replace(STANDING, since=RELAY.note(forked[:2]))
    assert fault(cut).where == "growth"
    assert fault(make_standing(RELAY, LEAVES, HASHES), {2: root(HASHES[:2])}).where == "checkpoint"
    assert fault(STANDING, {3: root(HASHES[:3])}).what.startswith("nothing ties it")
    assert fault(replace(STANDING, growth=())).where == "growth"
    assert fault(replace(STANDING, since=None)).where == "growth"


def test_signatures_of_others() -> None:
    other = TestRelay("other relay")
    assert fault(replace(STANDING, checkpoint=other.note(HASHES))).where == "checkpoint"
    assert fault(replace(STANDING, since=other.note(HASHES[:2]))).where == "since"


def test_missing_parts() -> None:
    assert fault(None).where == "checkpoint"
    assert fault(replace(STANDING, places=STANDING.places[:-1])).where == "lines"
    with pytest.raises(InvoiceError, match="you have seen this ledger before"):
        check_standing(None, [], RELAY.cert(), {1: hash_of("root")})
