"""Staying connected: what a relay puts off ends nothing, and holds up nobody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from kurir_client import messenger as module
from kurir_client import outbox
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

    async def stay(self: Messenger) -> None:
        raise RelayError("the relay is another one")

    monkeypatch.setattr(Messenger, "online", online)
    monkeypatch.setattr(Messenger, "_stay", stay)
    monkeypatch.setattr(module, "BACKOFF", (0.001, 0.001))
    with pytest.raises(RelayError, match="another one"):
        await asyncio.wait_for(Messenger(pair.alice).follow(said.append), 5)
    assert len(said) == 4
    assert said[-1] == "online"


def test_a_text_that_is_no_text_is_refused(pair: Pair) -> None:
    to_bob, _ = pair.befriend()
    with pytest.raises(UsageError, match="UTF-8"):
        Messenger(pair.alice).queue_text(to_bob, "\udcff")
