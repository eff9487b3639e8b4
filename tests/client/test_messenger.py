"""Staying connected: what a relay puts off ends nothing, and holds up nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from kurir_client import messenger as module
from kurir_client import outbox
from kurir_client.backoff import Backoff
from kurir_client.content import Destination
from kurir_client.errors import RelayError, UsageError
from kurir_client.messenger import Messenger
from kurir_client.pause import FULL_PAUSE
from kurir_client.schema import Kind, Status
from kurir_wire import codes, frames
from kurir_wire.codec import pack, unpack
from kurir_wire.entries import Result
from tests.client.fake_link import FakeLink, results
from tests.client.pair import Pair


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def test_a_full_mailbox_does_not_hold_up_other_contacts(pair: Pair) -> None:
    to_bob, _ = pair.befriend()
    store = pair.alice.store
    with store.transaction():
        address = unpack(to_bob.address or b"", Destination)
        elsewhere = pack(msgspec.structs.replace(address, mailbox_id=bytes(32)))
        carol = store.add_contact("Carol", Kind.PERSON, address=elsewhere)
        store.put_session(bytes(16), carol.id, store.sessions(to_bob.id)[0])
    talk = Messenger(pair.alice)
    for number in range(outbox.BATCH + 1):
        talk.queue_text(to_bob, f"number {number}")
    behind = talk.queue_text(carol, "hello")
    full = Result(codes.FULL, "the mailbox is full")

    def answer(asked: frames.Request) -> Any:
        assert isinstance(asked, frames.Submit)
        return results(
            *(None if item.mailbox_id == bytes(32) else full for item in asked.submissions)
        )

    talk._link = FakeLink(pair, answer)  # type: ignore[assignment]
    with pytest.raises(RelayError) as caught:
        await talk.flush()
    assert caught.value.retry_after == FULL_PAUSE
    sent = store.message_sent(behind)
    assert sent is not None
    assert sent.status is Status.STORED
    assert store.queued() == outbox.BATCH + 1


async def test_a_follower_outlives_what_the_relay_puts_off(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles = [RelayError("the relay cannot write to its disk at present", "", "", 0)] * 3
    said: list[str] = []

    @contextlib.asynccontextmanager
    async def online(self: Messenger, *, reading: bool = True) -> AsyncIterator[None]:
        if troubles:
            raise troubles.pop()
        yield

    async def stay(self: Messenger, *_: object) -> None:
        raise RelayError("the relay is another one")

    monkeypatch.setattr(Messenger, "online", online)
    monkeypatch.setattr(Messenger, "_stay", stay)
    monkeypatch.setattr(module, "BACKOFF", (0.001, 0.001))
    with pytest.raises(RelayError, match="another one"):
        await asyncio.wait_for(Messenger(pair.alice).follow(said.append), 5)
    waits = "reconnecting in 1 s: the relay cannot write to its disk at present"
    assert said == [waits] * 3 + ["online"]


def test_pauses_double_and_differ() -> None:
    longest = Backoff(1.0, 60.0, lambda: 1.0)
    assert [longest.pause() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    longest.reset()
    assert [longest.pause() for _ in range(2)] == [1, 2]
    shortest = Backoff(1.0, 60.0, lambda: 0.0)
    assert [shortest.pause() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    rng = random.Random(7)
    some = Backoff(1.0, 60.0, rng.random)
    pauses = [some.pause() for _ in range(100)]
    assert len(set(pauses)) == 100
    assert all(30 <= pause <= 60 for pause in pauses[6:])


async def test_what_the_relay_puts_off_is_said_once_and_when_it_is_over(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_bob, _ = pair.befriend()
    talk = Messenger(pair.alice)
    full = Result(codes.UNAVAILABLE, "the disk", 1)
    answers = [full] * 5
    said: list[str] = []

    def answer(asked: frames.Request) -> Any:
        if isinstance(asked, frames.Submit):
            return results(answers.pop() if answers else None)
        return None

    link = FakeLink(pair, answer)
    link.wait_closed = asyncio.Event().wait  # type: ignore[attr-defined]
    talk._link = link  # type: ignore[assignment]
    monkeypatch.setattr(module, "WATCH", 0.001)
    monkeypatch.setattr(module, "BACKOFF", (0.001, 0.001))
    inner_id = talk.queue_text(to_bob, "hello")
    settled: list[None] = []
    staying = asyncio.create_task(talk._stay(said.append, lambda: settled.append(None)))

    def is_over() -> bool:
        sent = pair.alice.store.message_sent(inner_id)
        return sent is not None and sent.status is Status.STORED and "online" in said

    await until(is_over)
    staying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await staying
    assert said == ["the relay cannot write to its disk at present; trying again", "online"]
    assert settled


async def test_acknowledgements_that_were_not_written_down_come_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the relay would hold back what follows, for as long as this connection lasts."""
    to_bob, _ = pair.befriend()
    for number in range(3):
        Messenger(pair.alice).queue_text(to_bob, f"number {number}")
    deliveries = [pair.delivery(ready) for ready in pair.prepare(pair.alice)]
    monkeypatch.setattr(module, "ACK_AGAIN", 0.001)
    monkeypatch.setattr(module, "MAX_ITEMS", 2)
    failing = Result(codes.UNAVAILABLE, "the disk", 5)
    acked: list[list[bytes]] = []
    shown: list[int] = []

    def answer(asked: frames.Request) -> Any:
        assert isinstance(asked, frames.Acks)
        acked.append([ack.envelope_id for ack in asked.acks])
        return results(*(failing if len(acked) < 4 else None for _ in asked.acks))

    bob = Messenger(pair.bob)

    async def show() -> None:
        shown.append(len(bob.unread()))

    bob.on_change = show
    bob._waiting = 3
    taking = asyncio.create_task(bob._take_in(FakeLink(pair, answer)))  # type: ignore[arg-type]
    bob._taker = taking
    await bob._on_deliver(deliveries)
    everything = {delivery.envelope_id for delivery in deliveries}
    await until(lambda: {one for acks in acked[3:] for one in acks} == everything)
    count = len(acked)
    await asyncio.sleep(0.02)
    taking.cancel()
    assert len(acked) == count, "and then no more"
    assert shown == [2, 3], "nobody waits for it"
    assert bob._waiting == 0
    assert all(len(acks) <= 2 for acks in acked)


def test_a_text_that_is_no_text_is_refused(pair: Pair) -> None:
    to_bob, _ = pair.befriend()
    with pytest.raises(UsageError, match="UTF-8"):
        Messenger(pair.alice).queue_text(to_bob, "\udcff")
