"""A bot over a real relay: what had come before it was ready is answered all the same."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from kurir_client import business, meeting
from kurir_client.bot import Bot, Incoming
from kurir_client.clock import demo_clock
from tests.e2e.world import PASSPHRASE, Person, Relay


async def test_a_message_that_is_there_before_the_prices_are(
    relay: Relay, shop: Person, customer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(customer.run, "send", "Metro Bus", "hello")
    bot = Bot(shop.home, PASSPHRASE, demo_clock(relay.clock))
    arrived, answered = asyncio.Event(), asyncio.Event()
    changed, fetch = bot._changed, meeting.fetch_rate_card

    async def on_change() -> None:
        await changed()
        arrived.set()

    async def late(*args: Any) -> Any:
        await asyncio.wait_for(arrived.wait(), 20)
        await asyncio.sleep(0.1)
        return await fetch(*args)

    monkeypatch.setattr(bot, "_changed", on_change)
    monkeypatch.setattr(business, "fetch_rate_card", late)

    @bot.message
    async def answer(message: Incoming) -> None:
        await message.reply(f"re {message.text}")
        answered.set()

    serving = asyncio.create_task(bot.serve())
    try:
        waiting = {serving, asyncio.create_task(answered.wait())}
        await asyncio.wait(waiting, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert answered.is_set(), "its handler was called too early, and failed"
        texts: list[str] = []
        for _ in range(20):
            texts = texts or await asyncio.to_thread(customer.texts)
        assert texts == ["re hello"]
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def test_a_bot_without_approval_gets_its_messages_though_it_cannot_answer(
    relay: Relay, shop: Person, customer: Person
) -> None:
    await asyncio.to_thread(customer.run, "send", "Metro Bus", "hello")
    shown = await asyncio.to_thread(shop.run, "business", "status")
    revoke = ("business", "revoke", shown[0]["business_id"], "--db", str(relay.db))
    await asyncio.to_thread(relay.command, *revoke)
    await asyncio.to_thread(shop.run, "business", "status")  # which is how it comes to know
    bot = Bot(shop.home, PASSPHRASE, demo_clock(relay.clock))
    came: asyncio.Queue[tuple[str, int | None]] = asyncio.Queue()

    @bot.message
    async def take(message: Incoming) -> None:
        await came.put((message.text, message.customer.offer.refusal))

    serving = asyncio.create_task(bot.serve())
    try:
        assert await asyncio.wait_for(came.get(), 20) == ("hello", 133_010)
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
