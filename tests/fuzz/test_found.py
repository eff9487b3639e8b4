"""What fuzzing has found, each with the shortest input that shows it."""

from __future__ import annotations

import pytest

from kurir_billing.errors import InvoiceError, RateCardError
from kurir_billing.invoice_file import from_json, to_json
from kurir_billing.ratecard import parse
from tests.fuzz.billing import INVOICE, SMALL_CARD
from tests.fuzz.target import check_text

HOSTILE = ("\\u001b[2J", "\\u202e", "\\ud800", "x" * 5_000)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_field_of_any_name_in_a_rate_card_is_safe_to_report(name: str) -> None:
    card = f'{{"{name}":1,'.encode() + SMALL_CARD[1:]
    with pytest.raises(RateCardError) as caught:
        parse(card)
    check_text(caught.value)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_currency_of_any_name_is_safe_to_report(name: str) -> None:
    with pytest.raises(RateCardError) as caught:
        parse(SMALL_CARD.replace(b"USD", name.encode()))
    check_text(caught.value)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("twice", [False, True])
def test_a_field_of_any_name_in_an_invoice_is_safe_to_report(name: str, twice: bool) -> None:
    field = f'"{name}": 1,'.encode() * (1 + twice)
    with pytest.raises(InvoiceError) as caught:
        from_json(b"{" + field + to_json(INVOICE)[1:])
    check_text(caught.value)


def test_many_fields_before_a_repeated_one_are_read_once() -> None:
    # Counting each name by walking through all of them took minutes for a file of 2 MB.
    fields = "".join(f'"{number}":1,' for number in range(200_000))
    with pytest.raises(InvoiceError, match="twice: stands there twice"):
        from_json(f'{{{fields}"twice":1,"twice":1}}'.encode())
