"""Fetching an invoice: the relay answers for the month that was asked, or is not believed."""

from __future__ import annotations

from typing import Any

import pytest

from kurir_billing.dates import month_of_day
from kurir_billing.head import head_for, packed_head
from kurir_billing.leaf import packed_leaf
from kurir_client import invoices
from kurir_client.errors import RelayError
from kurir_wire import frames
from kurir_wire.ids import DAY, BusinessId
from tests.client.fake_link import FakeLink
from tests.client.pair import Pair
from tests.client.verdicts import say, settled


async def test_an_invoice_of_another_month(pair: Pair) -> None:
    other = head_for(BusinessId(bytes(32)), 202512, 20_453, [], pair.relay.id, {})

    def answer(request: frames.Request) -> Any:
        match request:
            case frames.GetSettlements(n):
                return frames.SettlementsAre(n, [], False)
            case frames.GetInvoice(n):
                return frames.InvoiceIs(n, packed_head(other))
        raise AssertionError(request)

    link: Any = FakeLink(pair, answer)
    with pytest.raises(RelayError, match="of another month"):
        await invoices.fetch_invoice(pair.bob, link, 202601)


async def test_a_charge_on_another_day_than_it_settled(pair: Pair) -> None:
    """It is not noted: the days on which charges settled are what invoices are held against."""
    _, siti = pair.open_shop()
    say(pair, pair.bob, siti, "welcome")
    (ready,) = pair.prepare(pair.bob)
    leaf = settled(pair, ready)
    pair.clock.now += 3 * DAY
    listed = leaf.settled_day + 1

    def answer(request: frames.Request) -> Any:
        assert isinstance(request, frames.GetSettlements)
        leaves = [packed_leaf(leaf)] if request.day == listed else []
        return frames.SettlementsAre(request.n, leaves, False)

    link: Any = FakeLink(pair, answer)
    with pytest.raises(RelayError, match="on another day than it was settled"):
        await invoices.fetch_settlements(pair.bob, link, month_of_day(listed))
    assert [row.settled_day for row in pair.bob.store.charges()] == [None]
    listed = leaf.settled_day
    assert await invoices.fetch_settlements(pair.bob, link, month_of_day(listed)) == [leaf]
    assert [row.settled_day for row in pair.bob.store.charges()] == [listed]
