"""The command chat: lines are sent as they are typed, what comes is shown as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import Final

import click

from kurir_client.cli.output import Output
from kurir_client.cli.people import link_state, show_unread
from kurir_client.cli.session import Options, pass_options, run
from kurir_client.errors import ClientError, OfflineError, RelayError, UsageError
from kurir_client.messenger import Messenger
from kurir_client.schema import Contact, Kind

DRAIN: Final = 1.0
"""Seconds that a chat waits for answers after its input has ended."""


@click.command()
@click.argument("name")
@pass_options
def chat(options: Options, name: str) -> None:
    """Talk with NAME: what you type is sent, what comes is shown. /quit or Ctrl+D ends."""
    with options.profile() as profile:
        messenger = Messenger(profile)
        contact = messenger.contact(name)
        if contact.kind == Kind.CUSTOMER:
            raise UsageError(f"{contact.name} is a customer", "use: kurir business send")
        with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
            run(_chat(options.out, messenger, contact))


async def _chat(out: Output, messenger: Messenger, contact: Contact) -> None:
    async def show() -> None:
        show_unread(out, messenger, contact)

    typed = _typed_lines()
    messenger.on_change = show
    await show()
    following = asyncio.create_task(
        messenger.follow(lambda state: out.note(link_state(messenger, state)))
    )
    try:
        while True:
            next_line = asyncio.ensure_future(typed.get())
            await asyncio.wait({next_line, following}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                next_line.cancel()
                following.result()
            line = next_line.result()
            if line is None:
                break
            try:
                if not _is_command(line):
                    messenger.queue_text(
                        contact, line.removeprefix("/") if _escaped(line) else line
                    )
                elif line.split()[0] == "/quit":
                    break
                else:
                    raise UsageError(
                        f"there is no command {line.split()[0]}", "/quit ends the chat"
                    )
            except ClientError as error:
                out.error(error.what, error.hint, error.exit_code)
        with contextlib.suppress(OfflineError, RelayError):
            await messenger.flush()
        await asyncio.sleep(DRAIN)
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError, ClientError):
            await following


def _is_command(line: str) -> bool:
    """Commands are for people at a terminal; a file's lines are all text."""
    return sys.stdin.isatty() and line.startswith("/") and not line.startswith("//")


def _escaped(line: str) -> bool:
    return sys.stdin.isatty() and line.startswith("//")


def _typed_lines() -> asyncio.Queue[str | None]:
    """Lines of standard input as they come, then None. Blank ones are left out."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read_all() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before the input
            for line in sys.stdin:
                if line.strip():
                    loop.call_soon_threadsafe(lines.put_nowait, line.rstrip("\n"))
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read_all, daemon=True).start()
    return lines
