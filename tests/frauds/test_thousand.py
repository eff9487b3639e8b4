"""A thousand injected frauds: all are caught, and each is named where it is."""

from __future__ import annotations

from random import Random

import pytest

from kurir_billing.total import Why
from kurir_billing.verify import verify_invoice
from tests.frauds import invoices, ledgers, messages, meters
from tests.frauds.registry import KINDS
from tests.frauds.world import FEE, world

MODULES = (invoices, ledgers, messages, meters)
"""Importing them fills the table."""


@pytest.mark.parametrize("name", KINDS)
def test_every_case_is_caught_and_named(name: str) -> None:
    kind, cases = KINDS[name]
    for seed in range(cases):
        caught = kind(Random(f"{name} {seed}"))
        assert caught.found == caught.where, f"case {seed}"


def test_there_are_a_thousand() -> None:
    assert sum(cases for _, cases in KINDS.values()) >= 1_000
    assert len(KINDS) >= 25


def test_the_ledger_is_honest_and_agrees_with_the_invoice() -> None:
    parts, invoice = ledgers.honest()
    assert ledgers.examined(parts, invoice) is None
    assert invoice.head == world(flat=True).honest.head


def test_meter_mailbox_and_desk_take_what_is_honest() -> None:
    assert meters.honest() is None


def test_customers_read_and_settle_what_is_honest() -> None:
    assert messages.honest() == (["welcome"], True)


@pytest.mark.parametrize("flat", [False, True])
def test_the_world_is_honest_and_has_everything(flat: bool) -> None:
    one = world(flat=flat)
    invoice = one.honest
    verify_invoice(invoice, one.records)
    whys = {group.why for group in invoice.groups}
    assert whys == set(Why) - (set() if flat else {Why.FLAT})
    assert invoice.head.fee_micro_usd == (FEE if flat else 0)
    assert invoice.head.adjustments_micro_usd == 2 * (41_100 - 25_000)
    assert len(invoice.charged) == 1
