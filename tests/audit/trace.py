"""Lists of events for ``kurir-audit bill``, and what it makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kurir_audit.cli import run

DAY = 86_400
HOUR = 3_600
T = 1_767_225_600 + 60  # 2026-01-01T00:01:00Z
NEW_YEAR = 1_798_761_600  # 2027-01-01T00:00:00Z
ASKING = ["message-2025", "message-2026"]

Row = dict[str, Any]
Bill = Callable[..., list[Row]]
FREE, ENTRY, COVERED = "free_customer_service", "free_entry_point", "covered"


def wrote(t: int, name: str = "i", *, ref: bool = False, usr: str = "u") -> Row:
    return {"k": "in", "id": name, "biz": "b", "usr": usr, "t": t, "ref": ref}


def sent(
    t: int, name: str, cls: str | None = "utility", *, cc: str = "ID", usr: str = "u"
) -> list[Row]:
    """A message and, a second later, its settlement."""
    out = {"k": "out", "id": name, "biz": "b", "usr": usr, "t": t, "cls": cls, "cc": cc}
    return [out, {"k": "dlv", "id": name, "t": t + 1}]


def block(k: str, t: int) -> Row:
    return {"k": k, "biz": "b", "usr": "u", "t": t}


def bill_file(folder: Path, tariff: str, lines: list[Row], more: tuple[str, ...] = ()) -> list[Row]:
    file, out = folder / "events.jsonl", folder / "bill.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run(["bill", str(file), "--tariff", tariff, "--out", str(out), *more]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def kinds(rows: list[Row]) -> dict[str, object]:
    """Type, or price of what is charged, or code of what was refused."""
    return {
        row["id"]: row.get("refused")
        or (row["micro_usd"] if row["type"] == "regular" else row["type"])
        for row in rows
    }
