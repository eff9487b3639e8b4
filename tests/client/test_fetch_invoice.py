"""Fetching an invoice: the relay answers for the month that was asked, or is not believed."""

from __future__ import annotations

from typing import Any

import pytest

from kurir_billing.head import head_for, packed_head
from kurir_client import invoices
from kurir_client.errors import RelayError
from kurir_wire import frames
from kurir_wire.ids import BusinessId
from tests.client.fake_link import FakeLink
from tests.client.pair import Pair


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
