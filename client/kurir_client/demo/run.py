"""``kurir demo``: two runs side by side, three panels, one search, one verdict."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shlex
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.text import Text

from kurir_client.demo.chat import Said, Who, hold
from kurir_client.demo.children import Children, DemoError, runnable
from kurir_client.demo.panels import Bill, conversation_panel, invoice_panel, relay_panel
from kurir_client.demo.search import Verdict, arguments, search
from kurir_client.demo.stage import BUSINESS, CUSTOMER, PASSPHRASE, Stage
from kurir_client.demo.terminal import (
    WIDTH,
    Screen,
    from_file,
    from_keyboard,
    is_watched,
    make_console,
)
from kurir_client.demo.transcript import read_transcript, search_terms
from kurir_client.errors import UsageError

OK: Final = 0
NOT_OK: Final = 1
TERMINATED: Final = 143
"""After SIGTERM or SIGHUP, as a shell reports it."""
GREETING: Final = "Hello!"
"""Typed where a transcript has nothing that can be sent: a business may not write first."""


@dataclass(frozen=True, slots=True)
class Played:
    """What the run that people see came to."""

    said: list[Said]
    answered: int
    reminded: bool
    waiting: dict[str, Any]
    end: dict[str, Any]
    bill: Bill


def demo(transcript: Path | None, out: Path | None) -> int:
    """Run the demo.

    :param transcript: a file whose lines are typed; None: a person types, or the bundled one is
    :param out: where to keep everything; None: nothing is kept
    :returns: the exit code
    :raises ClientError: a step failed
    """
    typing = transcript is None and is_watched()
    lines = None if typing else read_transcript(transcript)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if out is not None:
        _check_empty(out)
        return _run(lines, out.resolve(), kept=True)
    with tempfile.TemporaryDirectory(prefix="kurir-demo-", ignore_cleanup_errors=True) as folder:
        return _run(lines, Path(folder), kept=False)


def _check_empty(out: Path) -> None:
    """:raises UsageError: there is something there, or the folder cannot be made"""
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        if next(out.iterdir(), None) is None:
            return
    except OSError as error:
        raise UsageError(f"cannot use {out}: {error.strerror}", "name another folder") from error
    raise UsageError(
        f"{out} is not empty, and the demo deletes nothing",
        "name a folder that is empty or does not exist yet",
    )


def _run(lines: list[str] | None, folder: Path, *, kept: bool) -> int:
    with asyncio.Runner() as runner:
        try:
            return runner.run(_demo(lines, folder, kept=kept))
        except asyncio.CancelledError:
            return TERMINATED


async def _demo(lines: list[str] | None, folder: Path, *, kept: bool) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    children = Children()
    try:
        return await _play(lines, folder, children, kept=kept)
    except DemoError:
        children.check()  # if somebody is gone, that is the reason
        raise
    finally:
        try:
            await children.stop_all()
        finally:
            children.kill_all()


async def _play(lines: list[str] | None, folder: Path, children: Children, *, kept: bool) -> int:
    console = make_console()
    screen = Screen(console, typing=lines is None)
    stage = Stage(folder, children, disguised=False, told=screen.step)
    baseline = Stage(folder / "baseline", children, disguised=True, told=lambda _: None)
    control = f"kurir-control-{secrets.token_hex(6)}"
    typed: asyncio.Queue[str | None] = asyncio.Queue()
    other = asyncio.create_task(_play_baseline(baseline, typed, control))
    try:
        played = await _play_seen(stage, screen, lines, typed, control)
        screen.step("the same once more in other words, for comparison: the baseline")
        await other
    finally:
        typed.put_nowait(None)
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
    words = folder / "words.txt"
    terms = search_terms([CUSTOMER, *(s.text for s in played.said if s.who is not Who.NOTE)])
    words.write_text("\n".join(terms) + "\n", "utf-8")
    screen.step(f"searching all that the relay could see for {len(terms)} words and lines")
    verdict = await search(children, words, stage, baseline, control)
    parts = _ending(played, verdict)
    for part in parts:
        console.print(part)
    if kept:
        _keep(folder, played, verdict, parts)
        # Not wrapped, so that the commands can be copied.
        console.print(_kept(folder, stage, baseline, control), soft_wrap=True)
    good = played.answered > 0 and played.reminded and played.bill.verified and verdict.clean
    return OK if good else NOT_OK


async def _play_seen(
    stage: Stage,
    screen: Screen,
    lines: list[str] | None,
    typed: asyncio.Queue[str | None],
    control: str,
) -> Played:
    """The run that people see; ``typed`` takes what was typed to the other one."""
    await stage.open()
    chat = await stage.chat(screen.said)
    if lines is None:
        screen.step(f"you are {CUSTOMER}: type and press Enter; Ctrl+D or /quit ends the chat\n")
    else:
        screen.step(f"{CUSTOMER} types the {len(lines)} lines of the transcript")
    source = from_keyboard() if lines is None else from_file(lines)
    answered = await hold(chat, source, typed.put_nowait, stage.let_time_pass)
    if not answered:
        screen.step("nothing could be sent, so that the demo says hello itself")
        answered = await hold(chat, from_file([GREETING]), typed.put_nowait, stage.let_time_pass)
    typed.put_nowait(None)
    await stage.end_chat(chat)
    screen.step(f"{answered} messages sent and answered; {CUSTOMER} closes the app")
    await stage.ping(control)
    stage.shut_window()
    screen.step(f"24 hours pass (demo clock); {BUSINESS} sends a late reminder, which waits")
    waiting = await stage.reminder_waits()
    reminder = await stage.open_reminder()
    screen.step(f"{CUSTOMER} opens it: her device settles the charge")
    month = await stage.fetch_invoice()
    screen.step(f"the next day {BUSINESS} fetches the invoice of {month} and verifies it")
    (verified, answer), end = await asyncio.gather(stage.verify_invoice(), stage.stored())
    await stage.close()
    bill = Bill(json.loads(stage.invoice_file.read_bytes()), verified, answer)
    reminded = any(line.who is Who.THEM for line in reminder) and any(
        line["list_price_micro_usd"] for line in bill.invoice["lines"]
    )
    return Played([*chat.said, *reminder], answered, reminded, waiting, end, bill)


async def _play_baseline(stage: Stage, typed: asyncio.Queue[str | None], control: str) -> None:
    """The same in other words; nobody sees it."""

    async def lines() -> AsyncIterator[str]:
        while (line := await typed.get()) is not None:
            yield line

    await stage.open()
    chat = await stage.chat(lambda _: None)
    await hold(chat, lines(), lambda _: None, stage.let_time_pass)
    await stage.end_chat(chat)
    await stage.ping(control)
    stage.shut_window()
    await stage.reminder_waits()
    await stage.open_reminder()
    await stage.fetch_invoice()
    await stage.close()


def _ending(played: Played, verdict: Verdict) -> list[RenderableType]:
    found = Text("\nThe search for every word of it\n", style="bold")
    found.append(
        "in the relay's database and write-ahead log, its log, and the unmasked bytes of its "
        "sockets; each word as written\nand in lower case, in UTF-8 and UTF-16, against the same "
        "demo with other words\n",
        style="dim",
    )
    last = Text("right after the chat, database with its full write-ahead log: ")
    last.append(verdict.chat_text)
    result = Text()
    if verdict.clean:
        result.append("✓ The relay carried it, billed it, and could not read it.", "bold green")
    else:
        result.append("✗ The search did not come out clean; see above.", "bold red")
    if not played.bill.verified:
        result.append("\n✗ The invoice did not verify; see panel 3.", "bold red")
    if not played.reminded:
        result.append("\n✗ The late reminder was not shown and charged.", "bold red")
    return [
        "",
        conversation_panel(played.said),
        relay_panel(played.waiting, played.end),
        invoice_panel(played.bill),
        found,
        Text(verdict.text),
        last,
        "",
        result,
    ]


def _keep(folder: Path, played: Played, verdict: Verdict, parts: list[RenderableType]) -> None:
    """Write down what was shown, plain and whole."""
    with (folder / "panels.txt").open("w", encoding="utf-8") as file:
        plain = Console(
            file=file, width=WIDTH, color_system=None, highlight=False, emoji=False, markup=False
        )
        for part in parts:
            plain.print(part)
    conversation = [
        {"who": line.who, "text": line.text, "at": line.at, "label": line.label}
        for line in played.said
    ]
    for name, content in (
        ("conversation.json", conversation),
        ("stored-while-waiting.json", played.waiting),
        ("stored-at-the-end.json", played.end),
    ):
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (folder / name).write_text(text + "\n", "utf-8")
    for leftover in ("tap.ready", "relay/ready"):
        for place in (folder, folder / "baseline"):
            with contextlib.suppress(FileNotFoundError):
                (place / leftover).unlink()


def _kept(folder: Path, stage: Stage, baseline: Stage, control: str) -> Text:
    text = Text(f"\nkept in {folder}:\n", style="bold")
    for name, what in (
        ("relay/", "all that the relay has: database, write-ahead log, log, keys"),
        ("relay/after-the-chat/", "its database as it was when the conversation had ended"),
        ("capture", "every byte that crossed its sockets, also unmasked"),
        ("bot/, customer/", f"the other two parties' own files; passphrase: {PASSPHRASE}"),
        ("state/", "what tells their files from old copies of them"),
        ("invoice.json", "the invoice with its evidence"),
        ("baseline/", "the same of the run in other words"),
        ("words.txt", "what was searched for"),
        ("panels.txt", "what stands above; conversation.json and stored-….json in full"),
    ):
        text.append(f"  {name:<22} {what}\n", style="default")
    text.append("look yourself:\n")
    verify = ("--home", str(folder / "bot"), "invoice", "verify", str(stage.invoice_file))
    for line in (
        runnable("kurir-audit", "inventory", "--db", str(stage.db)),
        runnable("kurir-audit", "stored", "--db", str(stage.db), "--log", str(stage.log)),
        f"KURIR_PASSPHRASE={PASSPHRASE} XDG_STATE_HOME={shlex.quote(str(folder / 'state'))} "
        + runnable("kurir", *verify),
        runnable("kurir-audit", *arguments(folder / "words.txt", stage, baseline, control)),
    ):
        text.append(f"  {line}\n", style="default")
    return text


__all__ = ["demo"]
