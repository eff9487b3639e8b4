"""A conversation with the bot through a real ``kurir chat``: a line typed, an answer awaited."""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from kurir_client.clock import Clock
from kurir_client.demo.children import failed

ANSWER_LIMIT: Final = 60
"""Seconds until a bot that does not answer counts as failed; a relay that asks to slow down asks
for six."""
LIVELY: Final = 40
"""Answers in a row before the demo's clock moves on: the relay takes 45 to one customer at once,
then one per 6 s, and a file is typed faster than any person types."""


class Who(StrEnum):
    """Whose line it is."""

    YOU = "you"
    THEM = "them"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Said:
    """One line of a conversation as the customer sees it.

    ``mark`` is ✓ once the relay has it. ``label`` is what the envelope was declared to be, if
    somebody pays for it.
    """

    who: Who
    text: str
    at: int
    mark: str = ""
    label: str | None = None


@dataclass(slots=True)
class Chat:
    """A running ``kurir chat``.

    :param edge: what typed text goes through on its way: the disguise of the baseline run
    :param see: told of each line as it is said
    :param check: raises if somebody who has to answer is gone
    """

    process: Process
    clock: Clock
    edge: Callable[[str], str]
    see: Callable[[Said], None]
    check: Callable[[], None]
    said: list[Said] = field(default_factory=list)
    _events: asyncio.Queue[dict[str, Any] | None] = field(default_factory=asyncio.Queue)
    _readers: list[asyncio.Task[None]] = field(default_factory=list)
    _complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Begin to take in what it prints."""
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None  # noqa: S101 - both are pipes
            self._readers.append(asyncio.create_task(self._read(stream)))

    async def type(self, line: str) -> bool:
        """Type a line and wait until it is answered.

        :returns: whether it was sent; if not, why not is in ``said``
        :raises DemoError: the chat ended, or no answer came
        """
        stdin = self.process.stdin
        assert stdin is not None  # noqa: S101 - a pipe
        at = self.clock()
        with contextlib.suppress(ConnectionError):  # why it ended is in its last words, see below
            stdin.write(self.edge(line).encode() + b"\n")
            await stdin.drain()
        events = [await self._next()]
        while not _settles(events[-1]):
            events.append(await self._next())
        sent = events[-1].get("event") == "message"
        self._say(Said(Who.YOU, line, at, "✓" if sent else "✗"))
        for event in events:
            self._take(event)
        return sent

    async def close(self) -> None:
        """End the input; it ends by itself once all is sent."""
        stdin = self.process.stdin
        if stdin is not None:
            stdin.close()
        await asyncio.gather(*self._readers, return_exceptions=True)

    def _take(self, event: dict[str, Any]) -> None:
        match event.get("event"):
            case "message":
                self._say(message_of(event, self.edge))
            case "note":
                self._say(Said(Who.NOTE, str(event.get("text")), int(event.get("at", 0))))
            case _:
                self._say(Said(Who.NOTE, f"error: {event.get('error')}", self.clock()))

    def _say(self, said: Said) -> None:
        self.said.append(said)
        self.see(said)

    async def _next(self) -> dict[str, Any]:
        event = None
        for last in range(ANSWER_LIMIT, 0, -1):
            try:
                event = await asyncio.wait_for(self._events.get(), 1.0)
                break
            except TimeoutError:
                self.check()
                if last == 1:
                    raise failed("the conversation", "no answer came", "") from None
        if event is None:
            raise failed("kurir chat", "it ended", "\n".join(self._complaints))
        return event

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            event = parsed(line.decode(errors="replace"))
            if event is None:
                self._complaints.append(line.decode(errors="replace").rstrip())
            elif event.get("event") in ("message", "note") or "error" in event:
                if "error" in event:
                    self._complaints.append(f"error: {event['error']}")
                self._events.put_nowait(event)
        if stream is self.process.stdout:
            self._events.put_nowait(None)


async def hold(
    chat: Chat,
    lines: AsyncIterator[str],
    pass_on: Callable[[str], None],
    let_time_pass: Callable[[], None],
) -> int:
    """Type lines until there are no more.

    :param pass_on: told of each line before it is typed
    :param let_time_pass: moves the demo's clock by some minutes
    :returns: how many were sent and answered
    """
    answered = 0
    async for line in lines:
        if not line.strip():
            continue  # nobody sends an empty line
        pass_on(line)
        if await chat.type(line):
            answered += 1
            if answered % LIVELY == 0:
                let_time_pass()
    return answered


def message_of(event: dict[str, Any], edge: Callable[[str], str]) -> Said:
    """A message as ``kurir --json`` prints it."""
    category = event.get("category")
    label = "message" if category == "none" else category
    text, at = edge(str(event.get("text"))), int(event.get("at", 0))
    return Said(Who.THEM, text, at, label=str(label) if label else None)


def parsed(line: str) -> dict[str, Any] | None:
    """A line of JSON, or None if it is not an object."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _settles(event: dict[str, Any]) -> bool:
    """Whether what was typed is dealt with: answered, refused at once, or given up."""
    if event.get("event") == "note":
        return "was not sent" in str(event.get("text"))
    return True
