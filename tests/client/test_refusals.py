"""What a signed refusal says of prices, and of what to do."""

from __future__ import annotations

import msgspec
import pytest

from kurir_billing.kinds import Category, RefusalCode
from kurir_client.schema import Status
from kurir_wire.ids import digest
from tests.client.pair import Pair
from tests.client.verdicts import answer, hashed, refusal, say, status

DEARER = 99_000


@pytest.mark.parametrize(("max_price", "becomes"), [(0, Status.FAILED), (DEARER, Status.QUEUED)])
def test_a_card_that_a_quote_names_is_asked_for_whether_it_is_accepted_or_not(
    pair: Pair, max_price: int, becomes: Status
) -> None:
    _, siti = pair.open_shop()
    inner_id = say(pair, pair.bob, siti, "hello", max_price)
    (ready,) = pair.prepare(pair.bob)
    line, card = hashed(pair, ready)[0].line, digest("another card")
    quote = msgspec.structs.replace(line, rate_card=card, list_price=DEARER)
    answer(pair, ready, refusal(pair, ready, RefusalCode.OUTSIDE_WINDOW, quote))
    assert status(pair.bob, inner_id) is becomes
    assert pair.bob.store.get("rate_card_wanted") == card


def test_terms_that_a_quote_names_are_asked_for_also_if_it_is_not_accepted(pair: Pair) -> None:
    _, siti = pair.open_shop()
    say(pair, pair.bob, siti, "hello")
    (ready,) = pair.prepare(pair.bob)
    line = hashed(pair, ready)[0].line
    quote = msgspec.structs.replace(line, tariff="message-2026", list_price=DEARER)
    answer(pair, ready, refusal(pair, ready, RefusalCode.BAD_PARAMETER, quote))
    assert pair.bob.store.get("terms_wanted")


@pytest.mark.parametrize(
    ("code", "words", "asks"),
    [
        (
            RefusalCode.STOPPED_MARKETING,
            "the customer takes no marketing (131050); send nothing more that is marketing",
            False,
        ),
        (
            RefusalCode.NOT_APPROVED,
            "the operator no longer approves this business (133010); take it up with the operator",
            True,
        ),
    ],
)
def test_a_refusal_that_no_price_helps_says_what_to_do(
    pair: Pair, code: RefusalCode, words: str, asks: bool
) -> None:
    _, siti = pair.open_shop("message-2025")
    inner_id = say(pair, pair.bob, siti, "an ad", DEARER, Category.MARKETING)
    (ready,) = pair.prepare(pair.bob)
    answer(pair, ready, refusal(pair, ready, code, None))
    assert status(pair.bob, inner_id) is Status.FAILED
    assert words in pair.bob.store.unread()[-1].text
    assert bool(pair.bob.store.get("terms_wanted")) is asks
