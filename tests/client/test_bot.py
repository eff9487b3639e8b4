"""What a bot asks and says: prices by category, and nothing that was not accepted."""

from __future__ import annotations

import pytest

from kurir_billing.kinds import Category
from kurir_client.bot import Bot, Customer, Incoming
from kurir_client.errors import RefusedError, UsageError
from kurir_client.messenger import Messenger
from tests.client.pair import Pair
from tests.client.verdicts import hashed

MARKETING = 41_100


@pytest.fixture
def bot(pair: Pair) -> Bot:
    pair.open_shop("message-2025")
    made = Bot(pair.bob.home, clock=pair.clock)
    made._messenger = Messenger(pair.bob)
    return made


async def test_a_price_by_category_and_a_message_at_that_price(pair: Pair, bot: Bot) -> None:
    siti = Customer(pair.bob.store.contacts()[0].name, bot)
    assert (siti.offer.price_micro_usd, siti.price("marketing").price_micro_usd) == (0, MARKETING)
    with pytest.raises(RefusedError) as caught:
        await siti.send("an ad", MARKETING - 1, "marketing")
    assert caught.value.quote_micro_usd == MARKETING
    assert pair.prepare(pair.bob) == []
    await siti.send("an ad", MARKETING, "marketing")
    (ready,) = pair.prepare(pair.bob)
    assert hashed(pair, ready)[0].line.category == Category.MARKETING


async def test_a_reply_is_service_unless_it_says_otherwise(pair: Pair, bot: Bot) -> None:
    incoming = Incoming("hello", 0, Customer(pair.bob.store.contacts()[0].name, bot), bytes(16))
    await incoming.reply("welcome")
    await incoming.reply("your parcel is here", category="utility")
    categories = [hashed(pair, item)[0].line.category for item in pair.prepare(pair.bob)]
    assert categories == [Category.SERVICE, Category.UTILITY]
    with pytest.raises(UsageError, match="there is no category"):
        await incoming.reply("hm", category="news")
