"""``kurir-audit bill``: what a list of events would have cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kurir_audit.cli import run
from kurir_billing.tariffs import TARIFFS
from tests.audit.trace import (
    ASKING,
    COVERED,
    DAY,
    ENTRY,
    FREE,
    HOUR,
    NEW_YEAR,
    Bill,
    Row,
    T,
    block,
    kinds,
    sent,
    wrote,
)

# Each tariff on one conversation


@pytest.mark.parametrize(
    ("tariff", "answer", "late", "service"),
    [
        ("flat", COVERED, COVERED, COVERED),
        ("reply-2018", FREE, 25_000, 25_000),
        ("conversation-2022", FREE, FREE, COVERED),
        ("message-2025", FREE, 25_000, 131_047),
        ("message-2026", 25_000, 25_000, 131_047),
    ],
)
def test_the_tariffs(bill: Bill, tariff: str, answer: Any, late: Any, service: Any) -> None:
    rows = bill(
        tariff,
        wrote(T),
        sent(T + 60, "answer"),
        sent(T + 2 * DAY, "late"),
        sent(T + 2 * DAY + 1, "service", "service"),
    )
    assert kinds(rows) == {"answer": answer, "late": late, "service": service}


def test_the_form_of_the_output(
    tmp_path: Path, bill: Bill, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = bill("message-2025", sent(T, "b", "service"), sent(T, "a", "marketing", cc="ca"))
    assert rows == [
        {"id": "a", "type": "regular", "category": "marketing", "cc": "ca", "micro_usd": 25_000},
        {"id": "b", "refused": 131_047},
    ]
    text = capsys.readouterr().out
    assert text == "1 settled, 1 refused\n25,000 micro-USD under message-2025\n"
    assert run(["bill", str(tmp_path / "events.jsonl"), "--tariff", "message-2025"]) == 0
    printed = capsys.readouterr()
    assert printed.out == (tmp_path / "bill.jsonl").read_text()
    assert printed.err == ""


@pytest.mark.parametrize("tariff", [name for name in TARIFFS if name not in ASKING])
def test_the_category_may_be_missing_where_the_tariff_has_none(bill: Bill, tariff: str) -> None:
    out, settled = sent(T, "m")
    del out["cls"]
    assert [row["category"] for row in bill(tariff, out, settled)] == [None]


def test_ids_are_numbers_or_texts_and_come_out_in_order(bill: Bill) -> None:
    rows = [sent(T, name) for name in ("10", 10, "9", 9)]  # type: ignore[arg-type]
    assert [row["id"] for row in bill("flat", *rows)] == [9, 10, "10", "9"]


def test_the_example_in_the_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "billing.md").read_text()
    example = text.split("$ cat events.jsonl\n")[1].split("```")[0]
    events, _, rest = example.partition("$ kurir-audit ")
    command, _, printed = rest.partition("\n")
    monkeypatch.chdir(tmp_path)
    Path("events.jsonl").write_text(events)
    assert run(command.split()) == 0
    assert capsys.readouterr().out == printed


# Windows


@pytest.mark.parametrize("tariff", ["reply-2018", "message-2025"])
def test_the_window_counts_from_the_second_and_is_shut_after_24_hours(
    bill: Bill, tariff: str
) -> None:
    second = T + 7
    rows = [sent(second + d, str(d)) for d in (-1, 0, 86_399, 86_400, 86_401)]
    assert kinds(bill(tariff, wrote(second), *rows)) == {
        "-1": 25_000,
        "0": FREE,
        "86399": FREE,
        "86400": 25_000,
        "86401": 25_000,
    }


def test_a_later_grant_extends_and_an_older_one_never_shortens(bill: Bill) -> None:
    rows = bill(
        "reply-2018",
        wrote(T + HOUR, "later"),
        wrote(T, "older"),
        sent(T + HOUR + DAY - 1, "in"),
        sent(T + HOUR + DAY, "out"),
    )
    assert kinds(rows) == {"in": FREE, "out": 25_000}


def test_a_message_of_the_business_opens_no_window(bill: Bill) -> None:
    rows = bill("message-2025", sent(T, "a", "marketing"), sent(T + 1, "b", "service"))
    assert kinds(rows) == {"a": 41_100, "b": 131_047}


def test_a_window_is_of_one_customer_and_one_business(bill: Bill) -> None:
    elsewhere = {**wrote(T, "x"), "biz": "other"}
    rows = bill("reply-2018", wrote(T, usr="other"), elsewhere, sent(T + 1, "m"))
    assert kinds(rows) == {"m": 25_000}


def test_the_last_second_that_has_a_month(bill: Bill) -> None:
    out, settled = sent(253_402_300_799, "m")
    rows = bill("conversation-2022", wrote(0), out, {**settled, "t": 253_402_300_799})
    assert kinds(rows) == {"m": FREE}


# Settlement


@pytest.mark.parametrize(
    ("after", "billed"),
    [(-1, False), (0, True), (30 * DAY - 1, True), (30 * DAY, True), (30 * DAY + 1, False)],
)
def test_a_message_settles_within_30_days(bill: Bill, after: int, billed: bool) -> None:
    out, settled = sent(T, "m")
    assert bool(bill("reply-2018", out, {**settled, "t": T + after})) == billed


def test_the_first_settlement_of_the_message_decides(bill: Bill) -> None:
    out, settled = sent(T, "m")

    def at(*after: int) -> list[Row]:
        return bill("conversation-2022", out, [{**settled, "t": T + a} for a in after])

    assert at(-1) == []
    assert kinds(at(-1, 5)) == kinds(at(5, -1)) == kinds(at(-1, 30 * DAY, 0)) == {"m": FREE}
    assert at(-1, 30 * DAY + 1) == []
    assert at(30 * DAY + 1, 30 * DAY + 2) == []


def test_the_first_settlement_says_in_which_month_it_is(bill: Bill) -> None:
    out, settled = sent(NEW_YEAR - DAY, "m")
    rows = [used_up(NEW_YEAR), out, {**settled, "t": NEW_YEAR + DAY}]
    assert kinds(bill("conversation-2022", *rows))["m"] == 41_100
    december = {**settled, "t": NEW_YEAR - 1}
    assert kinds(bill("conversation-2022", *rows, december))["m"] == FREE


def test_a_refused_message_is_not_settled_by_anything(bill: Bill) -> None:
    out, settled = sent(T, "m", "service")
    rows = bill("message-2025", out, settled, wrote(T + 1), {**settled, "t": T + 2})
    assert rows == [{"id": "m", "refused": 131_047}]


def test_a_message_that_was_never_opened_costs_nothing(bill: Bill) -> None:
    assert bill("reply-2018", sent(T, "m")[0], {"k": "dlv", "id": "unknown", "t": T}) == []


def test_a_refused_message_that_settles_is_still_refused(bill: Bill) -> None:
    assert bill("message-2025", sent(T, "m", "service")) == [{"id": "m", "refused": 131_047}]


def test_the_month_is_that_of_settlement(bill: Bill) -> None:
    def talk(n: int, settled: int) -> list[Row]:
        out, dlv = sent(NEW_YEAR - DAY, f"{n:04}", usr=f"u{n}")
        return [out, {**dlv, "t": settled}]

    december = [talk(n, NEW_YEAR - 1) for n in range(1_001)]
    january = [talk(n, NEW_YEAR) for n in range(1_001, 2_002)]
    found = kinds(bill("conversation-2022", *december, *january))
    assert {name for name, kind in found.items() if kind != FREE} == {"1000", "2001"}


# Conversations


def used_up(t: int) -> list[Row]:
    """As many conversations as are free in a month, with other customers."""
    return [row for n in range(1_000) for row in sent(t, f"used {n}", usr=f"other {n}")]


def test_a_conversation_runs_for_24_hours_from_the_openers_acceptance(bill: Bill) -> None:
    later = [sent(T + HOUR + d, str(d)) for d in (86_399, 86_400, 86_401)]
    rows = bill("conversation-2022", used_up(T), sent(T + HOUR, "0"), *later)
    assert {n: kind for n, kind in kinds(rows).items() if n.isdigit()} == {
        "0": 41_100,
        "86399": COVERED,
        "86400": 41_100,
        "86401": COVERED,
    }


def test_who_opened_a_conversation_decides_its_rate(bill: Bill) -> None:
    rows = bill(
        "conversation-2022",
        used_up(T),
        wrote(T + HOUR),
        sent(T + HOUR, "answer"),
        wrote(T + HOUR + DAY, "again"),  # writing later does not open another
        sent(T + 2 * HOUR, "more"),
        sent(T + 5 * DAY, "late"),
        wrote(T + 5 * DAY + 1, "after"),
        sent(T + 5 * DAY + 2, "in late"),
    )
    found = kinds(rows)
    names = ("answer", "more", "late", "in late")
    assert [found[name] for name in names] == [25_000, COVERED, 41_100, COVERED]


def test_the_price_falls_on_the_first_settled_message_of_a_conversation(bill: Bill) -> None:
    opener, _ = sent(T + HOUR, "opener")
    first, first_settled = sent(T + HOUR + 1, "first", cc="DE")
    second = sent(T + HOUR + 2, "second")
    rows = bill(
        "conversation-2022", used_up(T), opener, second, first, {**first_settled, "t": T + HOUR + 2}
    )
    found = {name: kind for name, kind in kinds(rows).items() if not name.startswith("used")}
    assert found == {"first": 136_500, "second": COVERED}


def test_what_is_covered_by_a_free_conversation_is_covered(bill: Bill) -> None:
    assert kinds(bill("conversation-2022", sent(T, "a"), sent(T + 1, "b"))) == {
        "a": FREE,
        "b": COVERED,
    }


def test_a_conversation_is_due_once_though_it_settles_in_two_months(bill: Bill) -> None:
    rows = bill("conversation-2022", used_up(NEW_YEAR - 9), sent(NEW_YEAR - 1, "a"),
                sent(NEW_YEAR - 2, "z"))  # fmt: skip
    found = kinds(rows)
    assert (found["z"], found["a"]) == (41_100, COVERED)


# Entry windows


@pytest.mark.parametrize("tariff", ASKING)
def test_an_entry_window_is_72_hours_from_the_first_answer(bill: Bill, tariff: str) -> None:
    answer = T + 20 * HOUR
    later = [sent(answer + d, str(d), "marketing") for d in (1, 259_199, 259_200, 259_201)]
    rows = bill(tariff, wrote(T, ref=True), sent(answer, "answer", "service"), *later)
    assert kinds(rows) == {
        "answer": ENTRY,
        "1": ENTRY,
        "259199": ENTRY,
        "259200": 41_100,
        "259201": 41_100,
    }


@pytest.mark.parametrize(("after", "kind"), [(-1, 41_100), (0, ENTRY), (86_399, ENTRY),
                                             (86_400, 41_100), (86_401, 41_100)])  # fmt: skip
def test_the_first_answer_has_24_hours(bill: Bill, after: int, kind: object) -> None:
    rows = bill("message-2025", wrote(T, ref=True), sent(T + after, "m", "marketing"))
    assert kinds(rows) == {"m": kind}


def test_service_in_an_entry_window_needs_an_open_window(bill: Bill) -> None:
    rows = bill(
        "message-2025",
        wrote(T, ref=True),
        sent(T + 1, "a"),
        sent(T + DAY, "b", "service"),
        sent(T + DAY, "c"),
        wrote(T + 2 * DAY, "i2"),
        sent(T + 2 * DAY, "d", "service"),
    )
    assert kinds(rows) == {"a": ENTRY, "b": 131_047, "c": ENTRY, "d": ENTRY}


def test_only_the_first_grant_opens_an_entry_window(bill: Bill) -> None:
    answer = sent(T + HOUR, "m")
    by_link = wrote(T + HOUR, "link", ref=True)
    assert kinds(bill("message-2026", by_link, answer)) == {"m": ENTRY}
    assert kinds(bill("message-2026", by_link, wrote(T + HOUR - 1), answer)) == {"m": 25_000}
    late = sent(T + 3 * DAY, "m")
    again = wrote(T + 3 * DAY, "again", ref=True)
    assert kinds(bill("message-2026", by_link, again, late)) == {"m": 25_000}
    elsewhere = {**wrote(T, "x"), "biz": "other"}
    others = [elsewhere, wrote(T, "y", usr="other")]
    assert kinds(bill("message-2026", others, by_link, answer)) == {"m": ENTRY}


@pytest.mark.parametrize("first", ["plain", "link"])
def test_of_several_grants_in_the_first_second_any_may_name_the_link(
    bill: Bill, first: str
) -> None:
    rows = [wrote(T, "plain"), wrote(T, "link", ref=True), wrote(T, "plain too")]
    rows.sort(key=lambda row: row["id"] != first)
    assert kinds(bill("message-2026", rows, sent(T, "m"))) == {"m": ENTRY}
    later = wrote(T - 1, "before")
    assert kinds(bill("message-2026", rows, later, sent(T, "m"))) == {"m": 25_000}


@pytest.mark.parametrize("tariff", ["flat", "reply-2018", "conversation-2022"])
def test_tariffs_without_entry_windows(bill: Bill, tariff: str) -> None:
    link, no_link = wrote(T, ref=True), wrote(T)
    rows = [sent(T + d * HOUR, str(d)) for d in (0, 1, 23, 24, 25, 71, 72)]
    assert bill(tariff, link, *rows) == bill(tariff, no_link, *rows)


def test_a_message_came_by_no_link_unless_it_says_so(bill: Bill) -> None:
    plain = {name: value for name, value in wrote(T).items() if name != "ref"}
    assert kinds(bill("message-2025", plain, sent(T, "m", "marketing"))) == {"m": 41_100}


# Blocks


def test_a_blocked_business_is_refused_until_it_is_unblocked(bill: Bill) -> None:
    rows = bill(
        "message-2025",
        wrote(T),
        block("block", T + 10),
        block("unblock", T + 20),
        sent(T + 8, "before", "service"),
        sent(T + 10, "same second", "service"),
        sent(T + 19, "blocked"),
        sent(T + 20, "after", "service"),
    )
    assert kinds(rows) == {
        "before": FREE,
        "same second": 131_026,
        "blocked": 131_026,
        "after": FREE,
    }


def test_a_refused_message_opens_nothing(bill: Bill) -> None:
    blocked = [block("block", T), sent(T + 1, "no"), block("unblock", T + 2)]
    rows = [row for part in blocked for row in (part if isinstance(part, list) else [part])]
    talk = [sent(T + DAY, "yes"), sent(T + DAY + 2, "covered")]
    found = kinds(bill("conversation-2022", rows, *talk))
    assert found == {"no": 131_026, "yes": FREE, "covered": COVERED}
    found = kinds(bill("message-2025", wrote(T, ref=True), rows, sent(T + 9, "yes", "marketing"),
                       sent(T + 3 * DAY + 8, "72 h", "marketing")))  # fmt: skip
    assert found == {"no": 131_026, "yes": ENTRY, "72 h": ENTRY}


def test_in_the_same_second(bill: Bill) -> None:
    out, settled = sent(T, "m", "service")
    same = [{**settled, "t": T}, out, block("unblock", T), wrote(T)]
    assert kinds(bill("message-2025", same)) == {"m": FREE}
    assert kinds(bill("message-2025", same, block("block", T))) == {"m": 131_026}


def test_a_block_takes_along_what_waits(bill: Bill) -> None:
    """What had not settled when the customer deleted the mailbox is gone, unblocked or not."""
    early, waits = sent(T, "early"), sent(T + 9, "waits")
    later = sent(T + 30, "later")
    found = bill(
        "reply-2018", early, waits, block("block", T + 10), block("unblock", T + 10), later
    )
    assert kinds(found) == {"early": 25_000, "later": 131_026}
    found = bill(
        "reply-2018", early, waits, block("block", T + 10), block("unblock", T + 11), later
    )
    assert kinds(found) == {"early": 25_000, "later": 25_000}


@pytest.mark.parametrize(
    ("settles", "billed"), [(4, True), (5, False), (9, False), (29 * DAY, False)]
)
def test_what_settled_before_the_block_is_billed(bill: Bill, settles: int, billed: bool) -> None:
    out, settled = sent(T, "m")
    rows = [block("block", T + 5), block("unblock", T + 7), {**settled, "t": T + settles}, out]
    assert bool(bill("reply-2018", rows)) == billed


def test_what_is_sent_after_a_block_settles_and_only_its_own_chat_is_emptied(bill: Bill) -> None:
    again, settled = sent(T + 3, "again")
    other, other_settled = sent(T, "other", usr="other")
    blocks = [block("block", T + 1), block("unblock", T + 2), block("unblock", T + 4)]
    rows = [again, {**settled, "t": T + 9}, other, {**other_settled, "t": T + 9}]
    assert kinds(bill("reply-2018", *blocks, rows)) == {"again": 25_000, "other": 25_000}


def test_a_message_that_a_block_took_along_opened_what_it_opened(bill: Bill) -> None:
    gone = [sent(T + HOUR, "gone"), block("block", T + HOUR + 1), block("unblock", T + HOUR + 2)]
    later = [sent(T + HOUR + d, str(d), "marketing") for d in (86_399, 86_400, 259_199, 259_200)]
    found = kinds(bill("message-2025", wrote(T, ref=True), *gone, *later))
    assert found == {"86399": ENTRY, "86400": ENTRY, "259199": ENTRY, "259200": 41_100}
    later = [sent(T + HOUR + 86_399, "first"), sent(T + HOUR + 86_400, "next")]
    found = kinds(bill("conversation-2022", used_up(T), wrote(T), *gone, *later))
    assert (found["first"], found["next"]) == (25_000, 41_100)
    assert "gone" not in found


# Duplicates


def test_duplicates_count_once_and_the_earliest_counts(bill: Bill) -> None:
    out, settled = sent(T + DAY, "m")
    again = [{**out, "t": T + 2 * DAY}, {**settled, "t": T + 3 * DAY}]
    assert kinds(bill("reply-2018", again, wrote(T + 1), wrote(T + DAY + 9), out, settled)) == {
        "m": FREE
    }


def test_of_lines_that_differ_the_earliest_counts(bill: Bill) -> None:
    out, settled = sent(T + 5, "m", cc="DE")
    other = {**out, "t": T + 4, "usr": "other", "cc": "ID", "cls": "marketing"}
    later = {**other, "t": T + 6}
    for rows in ([out, later, settled], [later, out, settled]):
        assert kinds(bill("message-2026", rows)) == {"m": 55_000}
    for rows in ([out, other, later, settled], [other, later, out, settled]):
        assert kinds(bill("message-2026", rows)) == {"m": 41_100}
    wrong = [wrote(T, usr="other"), wrote(T + 1), sent(T + 2, "m")]
    assert kinds(bill("reply-2018", *wrong)) == {"m": 25_000}
    assert kinds(bill("reply-2018", *wrong[::-1])) == {"m": 25_000}


def test_lines_that_differ_in_a_later_second_than_the_earliest_do_no_harm(bill: Bill) -> None:
    out, settled = sent(T, "m")
    later = [{**out, "t": T + 1, "cc": cc} for cc in ("DE", "IN")]
    for rows in ([*later, out], [out, *later], [later[0], out, later[1]]):
        assert kinds(bill("reply-2018", rows, settled)) == {"m": 25_000}
