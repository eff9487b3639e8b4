"""The canary search over what a run left, against the baseline run."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from kurir_client.demo.children import Children, failed
from kurir_client.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the search said: of everything at the end, and of the database after the chat."""

    text: str
    chat_text: str
    clean: bool


def arguments(words: Path, stage: Stage, baseline: Stage, control: str) -> list[str]:
    """The search of everything, as it can be run again on kept files."""
    options = {
        "--words": words,
        "--db": stage.db,
        "--log": stage.log,
        "--capture": stage.capture,
        "--baseline-db": baseline.db,
        "--baseline-log": baseline.log,
        "--baseline-capture": baseline.capture,
        "--control": control,
    }
    return ["canary", *(str(part) for option in options.items() for part in option)]


async def search(
    children: Children, words: Path, stage: Stage, baseline: Stage, control: str
) -> Verdict:
    """Search twice: all that is there at the end; and the database as it was right after the
    conversation, when its write-ahead log still held every page that had been written.

    :raises DemoError: a search could not be carried out
    """
    whole, chat = await asyncio.gather(
        children.run("kurir-audit", *arguments(words, stage, baseline, control), may_fail=True),
        children.run(
            *("kurir-audit", "canary", "--words", words, "--db", stage.chat_db),
            *("--baseline-db", baseline.chat_db, "--json"),
            may_fail=True,
        ),
    )
    for done in (whole, chat):
        if done.code not in (0, 1, 3):
            raise failed("kurir-audit canary", f"exit code {done.code}", done.err)
    outcome = json.loads(chat.out)
    size = sum(place["bytes"] for place in outcome["places"])
    if outcome["clean"]:
        said = f"clean: 0 of {len(outcome['terms'])} terms beyond the baseline in {size:,} bytes"
    else:
        leaks = [f"{leak['term']!r} in {leak['place']}" for leak in outcome["leaks"]]
        said = "found: " + "; ".join([*leaks, *outcome["blind"]])
    return Verdict(whole.out.strip("\n"), said, whole.code == 0 and chat.code == 0)
