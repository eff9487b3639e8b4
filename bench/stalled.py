"""``make bench-stalled``: what readers that never read do to everybody else.

In one run: pairs send messages at fixed times, each from a network of its own, first alone, then
beside many readers that open a full mailbox and never read from their sockets, then alone again.
Printed is the time from when a message was due to its delivery, so that a relay that stands still
counts with every message that it held up, and the ratio of the 99th percentiles.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench.servers import Relay
from kurir_wire import entries, frames, proofs
from kurir_wire.gates import token_gate
from kurir_wire.ids import HOUR, mailbox_id_of
from kurir_wire.limits import MAX_FRAME, SUBPROTOCOL

OUT = Path(__file__).parent / "out"
SMALL, LARGE = os.urandom(2_048), os.urandom(65_536)
OF_A_FRAME = 15
AIM = 3.0
"""By which the 99th percentile may rise."""
PAUSE = 0.1
"""Seconds between two messages of a pair."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds of many deliveries."""

    count: int
    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, seconds: list[float]) -> Spread:
        """:param seconds: of each delivery"""
        marks = statistics.quantiles(seconds, n=100)
        return cls(len(seconds), marks[49] * 1_000, marks[98] * 1_000, max(seconds) * 1_000)


class Mailbox:
    """A personal mailbox and its key."""

    def __init__(self, welcome: frames.Welcome) -> None:
        self.token, self.key = os.urandom(32), SigningKey.generate()
        self.hour, self.relay_id = welcome.now // HOUR, welcome.cert.relay_id
        self.gate = token_gate(self.token)
        self.id = mailbox_id_of(self.relay_id, bytes(self.key.verify_key), self.gate, self.hour)

    def creation(self, nonce: bytes) -> frames.Create:
        """For a connection with this nonce."""
        message = proofs.create_message(self.relay_id, nonce, self.gate, self.hour)
        public, signature = bytes(self.key.verify_key), self.key.sign(message).signature
        return frames.Create(1, [entries.NewMailbox(public, self.gate, self.hour, signature)])

    def opening(self, nonce: bytes) -> frames.Open:
        """For a connection with this nonce."""
        message = proofs.open_message(self.relay_id, nonce, self.id)
        return frames.Open(2, [entries.Opening(self.id, self.key.sign(message).signature)])

    def envelopes(self, n: int, count: int, body: bytes) -> frames.Submit:
        """Some that are addressed to it."""
        return frames.Submit(
            n,
            [
                entries.Submission(self.id, os.urandom(16), body, 24, self.token)
                for _ in range(count)
            ],
        )


class Stranger:
    """A connection from a network that nobody else has."""

    _last = 0

    def __init__(self, address: str, **options: object) -> None:
        Stranger._last += 1
        name = f"198.{18 + Stranger._last // 65_536}.{Stranger._last // 256 % 256}"
        self._connect = connect(
            f"ws://{address}/",
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers={"X-Forwarded-For": f"{name}.{Stranger._last % 256}"},
            compression=None,
            max_size=MAX_FRAME,
            ping_interval=None,
            proxy=None,
            **options,  # type: ignore[arg-type]
        )

    async def __aenter__(self) -> Stranger:
        self.socket: ClientConnection = await self._connect.__aenter__()
        welcome = await self.read()
        if not isinstance(welcome, frames.Welcome):
            raise RuntimeError("the relay does not greet")
        self.welcome = welcome
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.transport.abort()

    async def read(self) -> frames.Push:
        """The next frame."""
        data = await self.socket.recv()
        if isinstance(data, str):
            raise RuntimeError("the relay sent text")
        return frames.decode_push(data)

    async def ask(self, request: frames.Request) -> None:
        """One request that has to succeed."""
        await self.socket.send(frames.encode(request))
        answer = await self.read()
        if not isinstance(answer, frames.Results) or any(
            result is not None and result.code != "ok" for result in answer.results
        ):
            raise RuntimeError(f"the relay refused: {answer}")


async def measure(
    address: str, pairs: int, stalled: int, mebibytes: int, seconds: float
) -> dict[str, Spread]:
    """:returns: before, beside and after the stalled readers"""
    full = await asyncio.gather(*(_fill(address, mebibytes) for _ in range(stalled)))
    here, begin = asyncio.Barrier(stalled + 1), asyncio.Event()
    hoarders = [asyncio.create_task(_hoard(address, mailbox, here, begin)) for mailbox in full]
    # They are connected from the beginning: what connecting costs is not the question.
    await here.wait()
    found = {"alone": await _traffic(address, pairs, seconds)}
    begin.set()
    found["beside"] = await _traffic(address, pairs, seconds)
    for task in hoarders:
        task.cancel()
    await asyncio.gather(*hoarders, return_exceptions=True)
    found["after"] = await _traffic(address, pairs, seconds)
    return found


async def _fill(address: str, mebibytes: int) -> Mailbox:
    async with Stranger(address) as writer:
        mailbox = Mailbox(writer.welcome)
        await writer.ask(mailbox.creation(writer.welcome.nonce))
        left = mebibytes * 16
        while left > 0:
            await writer.ask(mailbox.envelopes(3, min(left, OF_A_FRAME), LARGE))
            left -= OF_A_FRAME
        return mailbox


async def _hoard(
    address: str, mailbox: Mailbox, here: asyncio.Barrier, begin: asyncio.Event
) -> None:
    """Open a mailbox and never read from the socket; come again when cut."""
    while True:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        narrow.setblocking(False)
        host, _, port = address.rpartition(":")
        await asyncio.get_running_loop().sock_connect(narrow, (host, int(port)))
        async with Stranger(address, sock=narrow) as reader:
            if not begin.is_set():
                await here.wait()
                await begin.wait()
            await reader.socket.send(frames.encode(mailbox.opening(reader.welcome.nonce)))
            reader.socket.transport.pause_reading()
            await reader.socket.wait_closed()


async def _traffic(address: str, pairs: int, seconds: float) -> Spread:
    times: list[float] = []
    start = time.perf_counter() + 0.5
    await asyncio.gather(
        *(_pair(address, start + PAUSE * number / pairs, seconds, times) for number in range(pairs))
    )
    return Spread.of(times)


async def _pair(address: str, start: float, seconds: float, times: list[float]) -> None:
    async with Stranger(address) as reader, Stranger(address) as writer:
        mailbox = Mailbox(reader.welcome)
        await reader.ask(mailbox.creation(reader.welcome.nonce))
        await reader.ask(mailbox.opening(reader.welcome.nonce))
        for n in range(int(seconds / PAUSE)):
            due = start + n * PAUSE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await writer.ask(mailbox.envelopes(n, 1, SMALL))
            frame = await reader.read()
            times.append(time.perf_counter() - due)
            if not isinstance(frame, frames.Deliver):
                raise RuntimeError(f"no delivery: {frame}")
            acks = [entries.Ack(mailbox.id, each.envelope_id) for each in frame.deliveries]
            await reader.ask(frames.Acks(n, acks))


def main() -> None:
    """Print a table and write bench/out/stalled.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.stalled")
    parser.add_argument("--pairs", type=int, default=20, help="sender and reader, each its own")
    parser.add_argument("--stalled", type=int, default=100, help="readers that never read")
    parser.add_argument("--mebibytes", type=int, default=3, help="waiting for each of them")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    options = parser.parse_args()
    with Relay("--behind-proxy") as relay:
        work = measure(
            relay.address, options.pairs, options.stalled, options.mebibytes, options.seconds
        )
        found = asyncio.run(work)
    print(f"{options.pairs} pairs, {options.stalled} readers that never read")
    print(f"{'':10}{'delivered':>10}{'p50 ms':>10}{'p99 ms':>10}{'worst':>10}")
    for name, spread in found.items():
        print(f"{name:10}{spread.count:10}{spread.p50:10.2f}{spread.p99:10.2f}{spread.worst:10.2f}")
    ratio = found["beside"].p99 / found["alone"].p99
    said = "reached" if ratio <= AIM else "MISSED"
    print(f"{'beside / alone':30}{ratio:10.2f}  aim at most {AIM:g}: {said}")
    OUT.mkdir(exist_ok=True)
    rows = {
        name: {"p50_ms": round(spread.p50, 3), "p99_ms": round(spread.p99, 3)}
        for name, spread in found.items()
    }
    aim = {"at_most": AIM, "reached": ratio <= AIM}
    text = json.dumps({"ratio": round(ratio, 2), "aim": aim, **rows}, indent=1)
    (OUT / "stalled.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
