"""What stands on the terminal while the demo runs, and what is typed there."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterable
from typing import Final

from rich.console import Console
from rich.text import Text

from kurir_client.demo.chat import Said, Who
from kurir_client.demo.stage import BUSINESS
from kurir_client.display import harmless

WIDTH: Final = 100
PROMPT: Final = "you: "
QUIT: Final = "/quit"
"""Ends the conversation where it is typed by a person; in a file it is a line like any other."""
READ_BYTES: Final = 65_536


def make_console() -> Console:
    """At most 100 columns; exactly 100 and plain where nobody is watching."""
    console = Console(highlight=False, emoji=False, markup=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console


def is_watched() -> bool:
    """Whether a person sits there who can type."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class Screen:
    """Progress, one line a step, and the conversation as it goes.

    :param typing: a person types, so that their own lines stand there already
    """

    def __init__(self, console: Console, *, typing: bool) -> None:
        self._console, self._typing = console, typing

    def step(self, text: str) -> None:
        """One step of the demo has begun or is done."""
        self._console.print(Text.assemble(("· ", "cyan"), text))

    def said(self, said: Said) -> None:
        """One line of the conversation."""
        if self._typing:
            if said.who is Who.YOU:
                return
            name = BUSINESS if said.who is Who.THEM else "!"
            text = harmless(said.text).replace("\n", "\n" + " " * len(PROMPT))
            self._console.print(Text.assemble((f"{name}\n", "bold cyan"), " " * len(PROMPT), text))
            return
        head, style = {
            Who.YOU: ("  you: ", "bold"),
            Who.THEM: (f"  {BUSINESS}: ", "cyan"),
            Who.NOTE: ("  ! ", "yellow"),
        }[said.who]
        line = harmless(said.text.split("\n", 1)[0][:WIDTH])
        text_ = Text.assemble((head, style), line, no_wrap=True, overflow="ellipsis")
        if said.text != line:
            text_.append(" …")
        text_.truncate(self._console.width, overflow="ellipsis")
        self._console.print(text_)


async def from_file(lines: Iterable[str]) -> AsyncIterator[str]:
    """The lines of a transcript."""
    for line in lines:
        yield line


async def from_keyboard() -> AsyncIterator[str]:
    """What a person types, until Ctrl+D or /quit."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    stdin = sys.stdin.fileno()
    # In a thread a read could not be left behind on Ctrl+C; a terminal can be waited for.
    loop.add_reader(stdin, lambda: typed.put_nowait(os.read(stdin, READ_BYTES)))
    kept = b""
    try:
        _prompt()
        while data := await typed.get():
            kept += data
            while b"\n" in kept:
                line, _, kept = kept.partition(b"\n")
                text = line.decode(errors="replace").strip()
                if text == QUIT:
                    return
                yield text
                if b"\n" not in kept:
                    _prompt()
        if kept:
            yield kept.decode(errors="replace")
    finally:
        loop.remove_reader(stdin)
        print(flush=True)


def _prompt() -> None:
    print(PROMPT, end="", flush=True)
