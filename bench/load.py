"""The load: pairs of a sender and a reader, by the public frames."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass

from nacl.signing import SigningKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from kurir_wire import entries, frames, proofs
from kurir_wire.gates import token_gate
from kurir_wire.ids import HOUR, mailbox_id_of
from kurir_wire.limits import MAX_FRAME, SUBPROTOCOL

BODY = os.urandom(2_048)


@dataclass(frozen=True, slots=True)
class Figures:
    """``seconds`` of wall time for ``messages``; ``cpu`` seconds that the server spent on them."""

    messages: int
    seconds: float
    cpu: float = 0.0

    @property
    def per_second(self) -> float:
        """Delivered and acknowledged per second."""
        return self.messages / self.seconds

    @property
    def cpu_per_1000(self) -> float:
        """Server CPU seconds for 1,000 delivered."""
        return self.cpu / self.messages * 1_000


async def run(address: str, pairs: int, messages: int, window: int) -> Figures:
    """Deliver ``messages`` over ``pairs``, each with ``window`` unacknowledged at most."""
    each = messages // pairs
    ready = asyncio.Barrier(pairs + 1)
    jobs = [asyncio.create_task(_pair(address, each, window, ready)) for _ in range(pairs)]
    await ready.wait()
    start = time.perf_counter()
    await asyncio.gather(*jobs)
    return Figures(each * pairs, time.perf_counter() - start)


async def _pair(address: str, count: int, window: int, ready: asyncio.Barrier) -> None:
    token = os.urandom(32)
    async with _connected(address) as reader, _connected(address) as sender:
        mailbox = await _make(reader, token)
        await sender.recv()
        await ready.wait()
        free = asyncio.Semaphore(window)
        reading = asyncio.create_task(_read(reader, mailbox, count, free))
        taking = asyncio.create_task(_drain(sender, count))
        for number in range(count):
            await free.acquire()
            entry = entries.Submission(mailbox, os.urandom(16), BODY, 24, token=token)
            await sender.send(frames.encode(frames.Submit(number, [entry])))
        await asyncio.gather(reading, taking)


async def _make(reader: ClientConnection, token: bytes) -> bytes:
    welcome = frames.decode_push(_bytes(await reader.recv()))
    if not isinstance(welcome, frames.Welcome):
        raise RuntimeError("the server does not greet")
    key, gate, hour = SigningKey.generate(), token_gate(token), welcome.now // HOUR
    relay_id, public = welcome.cert.relay_id, bytes(key.verify_key)
    mailbox = mailbox_id_of(relay_id, public, gate, hour)
    made = key.sign(proofs.create_message(relay_id, welcome.nonce, gate, hour)).signature
    opened = key.sign(proofs.open_message(relay_id, welcome.nonce, mailbox)).signature
    entry = entries.NewMailbox(public, gate, hour, made)
    for frame in (
        frames.Create(1, [entry]),
        frames.Open(2, [entries.Opening(mailbox, opened)]),
    ):
        await reader.send(frames.encode(frame))
        answer = frames.decode_push(_bytes(await reader.recv()))
        if not isinstance(answer, frames.Results) or answer.results != [None]:
            raise RuntimeError(f"the server refused: {answer}")
    return mailbox


async def _read(
    reader: ClientConnection, mailbox: bytes, count: int, free: asyncio.Semaphore
) -> None:
    seen = 0
    while seen < count:
        frame = frames.decode_push(_bytes(await reader.recv()))
        if isinstance(frame, frames.Deliver):
            acks = [entries.Ack(mailbox, each.envelope_id) for each in frame.deliveries]
            await reader.send(frames.encode(frames.Acks(seen, acks)))
            seen += len(acks)
            for _ in acks:
                free.release()


async def _drain(sender: ClientConnection, count: int) -> None:
    for _ in range(count):
        answer = frames.decode_push(_bytes(await sender.recv()))
        if not isinstance(answer, frames.Results) or answer.results != [None]:
            raise RuntimeError(f"the server refused: {answer}")


def _connected(address: str) -> connect:
    return connect(
        f"ws://{address}/",
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        max_size=MAX_FRAME,
        proxy=None,
    )


def _bytes(data: str | bytes) -> bytes:
    if isinstance(data, str):
        raise RuntimeError("the server sent text")
    return data
