"""A slow second opinion on a replay: every question is answered by looking through all events.

It shares nothing with the code but the names in the file. No state is carried along, no window is
kept: each message asks anew who wrote when, and rates are typed in here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

# Marketing, utility = authentication, in micro-USD.
RATES = {"ID": (41_100, 25_000), "DE": (136_500, 55_000), "US": (25_000, 3_400)}
RATES["CA"] = RATES["US"]
OTHER = (60_400, 7_700)
DAY = 24 * 60 * 60

Row = dict[str, Any]
Cards = dict[int, tuple[int, int]]
ONE_CARD: Cards = {1: (0, 1)}
"""Of each version: from when it holds, and how many times as dear as the typed rates it is."""


def expected(lines: list[Row], tariff: str, quota: int, cards: Cards | None = None) -> list[Row]:
    """What ``kurir-audit bill`` should print, in order.

    :param quota: conversations or service messages that are free in a month
    """
    return _Oracle(lines, tariff, quota, cards or ONE_CARD).outcomes()


class _Oracle:
    def __init__(self, lines: list[Row], tariff: str, quota: int, cards: Cards) -> None:
        self.tariff, self.quota, self.cards = tariff, quota, cards
        self.ins = self._once(lines, "in")
        self.outs = self._once(lines, "out")
        self.dlvs = [row for row in lines if row["k"] == "dlv"]
        self.blocks = [row for row in lines if row["k"] in ("block", "unblock")]

    @staticmethod
    def _once(lines: list[Row], k: str) -> list[Row]:
        rows = [row for row in lines if row["k"] == k]
        names = {row["id"] for row in rows}
        return [
            min((row for row in rows if row["id"] == name), key=lambda row: row["t"])
            for name in sorted(names)
        ]

    def refusal(self, out: Row) -> int | None:
        before = [row for row in self.blocks if same_chat(row, out) and row["t"] <= out["t"]]
        if before:
            last = max(row["t"] for row in before)
            if any(row["k"] == "block" for row in before if row["t"] == last):
                return 131_026
        by_message = self.tariff.startswith("message")
        if by_message and out["cls"] == "service" and not self.answered(out):
            return 131_047
        return None

    def answered(self, out: Row) -> bool:
        """Whether the customer wrote in the 24 hours before."""
        return any(same_chat(row, out) and 0 <= out["t"] - row["t"] < DAY for row in self.ins)

    def taken(self, chat: Row) -> list[Row]:
        rows = [out for out in self.outs if same_chat(out, chat) and self.refusal(out) is None]
        return sorted(rows, key=lambda out: out["t"])

    def settled(self, out: Row) -> int | None:
        """When, if it did: at the first settlement after it, and no block in between."""
        dlvs = [row["t"] for row in self.dlvs if row["id"] == out["id"] and row["t"] >= out["t"]]
        if not dlvs or min(dlvs) > out["t"] + 30 * DAY:
            return None
        for row in self.blocks:
            if row["k"] == "block" and same_chat(row, out) and out["t"] <= row["t"] <= min(dlvs):
                return None
        return int(min(dlvs))

    def in_entry(self, out: Row) -> bool:
        came = min((row["t"] for row in self.ins if same_chat(row, out)), default=0)
        first = [row for row in self.ins if same_chat(row, out) and row["t"] == came]
        if not any(row["ref"] for row in first):
            return False
        answers = [o["t"] for o in self.taken(out) if 0 <= o["t"] - came < DAY]
        return bool(answers) and 0 <= out["t"] - min(answers) < 3 * DAY

    def opener(self, out: Row) -> Row:
        """Cut the chat into conversations from its beginning; the one that holds this message."""
        rest = self.taken(out)
        while True:
            first = rest[0]
            if out["t"] - first["t"] < DAY:
                return first
            rest = [other for other in rest if other["t"] - first["t"] >= DAY]

    def free_by_rule(self, out: Row) -> str | None:
        inside = self.answered(out)
        match self.tariff:
            case "flat":
                return "covered"
            case "reply-2018":
                return "free_customer_service" if inside else None
            case "conversation-2022":
                return None
        if self.in_entry(out):
            return "free_entry_point"
        if self.tariff == "message-2025" and inside and out["cls"] in ("service", "utility"):
            return "free_customer_service"
        return None

    def rate(self, out: Row) -> int:
        marketing, utility = (self.times(out) * n for n in RATES.get(out["cc"].upper(), OTHER))
        match self.tariff:
            case "reply-2018":
                return utility
            case "conversation-2022":
                return utility if self.answered(self.opener(out)) else marketing
        return marketing if out["cls"] == "marketing" else utility

    def times(self, out: Row) -> int:
        """How dear the card is that is in force."""
        begun = [version for version, (since, _) in self.cards.items() if since <= out["t"]]
        if not begun:
            earliest = min(since for since, _ in self.cards.values())
            begun = [version for version, (since, _) in self.cards.items() if since == earliest]
        return self.cards[max(begun)][1]

    def outcomes(self) -> list[Row]:
        """All of it."""
        refused = {out["id"]: self.refusal(out) for out in self.outs}
        result = [{"id": name, "refused": code} for name, code in refused.items() if code]
        settled = {out["id"]: self.settled(out) for out in self.outs}
        due = [
            (at, out["id"], out)
            for out in self.outs
            if refused[out["id"]] is None and (at := settled[out["id"]]) is not None
        ]
        due.sort(key=lambda one: one[:2])
        counted: list[tuple[Any, ...]] = []
        paid: list[tuple[Any, ...]] = []
        for at, _, out in due:
            type_, micro_usd = self.free_by_rule(out), 0
            chat = (out["biz"], out["usr"])
            month = datetime.fromtimestamp(at, UTC).strftime("%Y%m")
            if type_ is None and self.tariff == "conversation-2022":
                talk = (*chat, self.opener(out)["t"])
                type_ = "covered" if talk in paid else None
                paid.append(talk)
            if type_ is None and self.has_quota(out):
                if counted.count((out["biz"], month)) < self.quota:
                    type_ = "free_customer_service"
                counted.append((out["biz"], month))
            if type_ is None:
                type_, micro_usd = "regular", self.rate(out)
            result.append(
                {
                    "id": out["id"],
                    "type": type_,
                    "category": out["cls"],
                    "cc": out["cc"],
                    "micro_usd": micro_usd,
                }
            )
        return sorted(result, key=lambda row: row["id"])

    def has_quota(self, out: Row) -> bool:
        return self.tariff == "conversation-2022" or (
            self.tariff == "message-2026" and out["cls"] == "service"
        )


def same_chat(one: Row, other: Row) -> bool:
    return bool(one["biz"] == other["biz"] and one["usr"] == other["usr"])
