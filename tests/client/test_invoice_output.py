"""What is made of an invoice: a table that adds up, and a page that says what was signed, loads
nothing and runs nothing. And the commands that make them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from kurir_billing.invoice import Invoice
from kurir_billing.invoice_file import schema, to_json
from kurir_billing.party import Party
from kurir_client.cli import main
from kurir_client.invoice_csv import to_csv
from kurir_client.invoice_html import to_html
from kurir_client.money import decimal, usd, usd_cents
from kurir_wire.links import encode, pin_of
from tests.frauds.world import BUSINESS, FEE, OTHER_RELAY, RELAY, in_order, line, world
from tests.protocol.make import TODAY, make_invoice, make_leaf

WORLD = world(flat=True)
INVOICE = WORLD.honest
PIN = encode(pin_of(RELAY.id))


# Money


@given(st.integers(0, 2**63 - 1))
def test_money_is_exact(micro: int) -> None:
    assert int(decimal(micro).replace(".", "")) == micro
    assert len(decimal(micro).partition(".")[2]) == 6
    assert int(re.sub(r"\D", "", usd(micro))) == micro
    cents = int(re.sub(r"\D", "", usd_cents(micro)))
    assert abs(cents * 10_000 - micro) <= 5_000


@pytest.mark.parametrize(
    ("micro", "exact", "cents"),
    [
        (0, "USD 0.000000", "USD 0.00"),
        (4_999, "USD 0.004999", "USD 0.00"),
        (5_000, "USD 0.005000", "USD 0.01"),
        (12_345_600, "USD 12.345600", "USD 12.35"),
        (1_234_567_890_123, "USD 1,234,567.890123", "USD 1,234,567.89"),
    ],
)
def test_how_money_looks(micro: int, exact: str, cents: str) -> None:
    assert (usd(micro), usd_cents(micro)) == (exact, cents)


# The table


def rows_of(invoice: Invoice) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(invoice).decode(), newline="")))


def test_the_table_adds_up() -> None:
    rows = rows_of(INVOICE)
    head = INVOICE.head

    def total(*entries: str) -> int:
        return sum(int(row["amount_micro_usd"]) for row in rows if row["entry"] in entries)

    assert total("message") == head.subtotal_micro_usd
    assert total("fee") == head.fee_micro_usd == FEE
    assert total("adjustment") == head.adjustments_micro_usd
    assert total("message", "fee", "adjustment") == head.total_micro_usd
    assert sum(row["entry"] == "message" for row in rows) == head.count
    for row in rows:
        for name in ("list_price", "amount"):
            assert int(row[f"{name}_usd"].replace(".", "")) == int(row[f"{name}_micro_usd"])
    assert rows[0] == {
        "entry": "message",
        "day": "2026-01-10",
        "market": "ID",
        "tariff": "message-2026",
        "category": "utility",
        "class": "out_of_window",
        "why": "list",
        "list_price_usd": "0.025000",
        "list_price_micro_usd": "25000",
        "amount_usd": "0.025000",
        "amount_micro_usd": "25000",
        "charge": INVOICE.leaves[0].charge_hash(RELAY.id).hex(),
    }
    data = to_csv(INVOICE)
    assert data.count(b"\r\n") == len(rows) + 1
    assert data.replace(b"\r\n", b"").count(b"\n") == 0


@pytest.mark.parametrize("market", ['=1+"1', "+1", "-1", "@SUM", 'a,"b"'])
def test_a_table_runs_no_formula(market: str) -> None:
    """A market is text that a customer's client made up."""
    what = structs.replace(line("reply-2018"), market=market)
    price = 7_700  # as OTHER
    leaf = make_leaf(RELAY, BUSINESS, market, structs.replace(what, list_price=price))
    (row,) = rows_of(replace(WORLD, adjustments=()).bill([leaf]))
    shown = row["market"]
    assert shown.removeprefix("'") == market
    assert shown[0] not in "=+-@"


# The page


class Page(HTMLParser):
    """Its tags, attributes, and text."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(data.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "


def words(page: Page) -> str:
    return " ".join(page.text.split())


def test_the_page_loads_and_runs_nothing() -> None:
    data = to_html(INVOICE)
    page = Page(data)
    assert page.open == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "link", "iframe", "object", "svg", "form", "a", "base"}
    for _, attributes in page.tags:
        assert not {"src", "href", "style", "srcset", "action"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    (policy,) = (
        attributes["content"]
        for _, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    style = data.decode().partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'"
    assert "url(" not in style
    assert "@import" not in style
    for needed in ("@media print", "@page", "table-header-group", "color-scheme: light only"):
        assert needed in style


def test_the_page_says_what_was_signed() -> None:
    shown = words(Page(to_html(INVOICE)))
    head = INVOICE.head
    for text in (
        head.number,
        "Kurir Relay Ltd",
        "1 Harbour Street",
        "Tax id 01.234.567.8",
        "IBAN XX00 1234",
        "PT Metro Bus",
        "Issued 2026-01-18",
        "Interim.",
        "USD 90.469400",
        "USD 90.000000",
        "To pay, in whole cents USD 90.47",
        "volume tier above 3",
        "covered by its conversation",
        "Free quota of message-2026: 3 of 1,000 used.",
        "Conversations that began in 2026-01: 1.",
        "Conversations that went on from earlier months, due there: 1.",
        "A customer's report was upheld: sent as utility, was marketing 0.016100",
        f"--without-records --pin {PIN}",
        RELAY.id.hex(),
        "31 entries",
    ):
        assert text in shown, text
    # Every group and every sum.
    page = to_html(INVOICE).decode()
    amounts = [
        int(micro.replace(".", "").replace(",", ""))
        for micro in re.findall(r'<td class="n">(?:USD )?([0-9,]+\.[0-9]{6})</td>', page)
    ]
    expected = [
        part for group in INVOICE.groups for part in (group.list_price, group.unit, group.amount)
    ]
    assert amounts[: len(expected)] == expected
    assert amounts[len(expected)] == head.subtotal_micro_usd


def test_tables_can_be_read_aloud() -> None:
    page = Page(to_html(INVOICE))
    tables = [attributes for tag, attributes in page.tags if tag == "table"]
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert len(tables) == 4
    for attributes in tables:
        assert "aria-label" in attributes or attributes["aria-labelledby"] in ids
    heads = [attributes for tag, attributes in page.tags if tag == "th"]
    assert all(attributes.get("scope") in ("col", "row") for attributes in heads)
    assert ("html", {"lang": "en"}) in page.tags


EVIL = Party(
    "<script>alert(1)</script>",
    ['"><img src=x onerror=alert(1)>', "</style><b>", "{{ 7 * 7 }}", "مطعم الشرق"],
    "&lt;&amp;",
    ["--></body>"],
)


def test_names_are_only_names() -> None:
    invoice = WORLD.bill(seller=EVIL, buyer=EVIL)
    page = Page(to_html(invoice))
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "img", "b"}
    for text in (EVIL.legal_name, *EVIL.address, EVIL.tax_id, *EVIL.notes):
        assert page.text.count(text) == 2, text


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=64))
def test_any_name(name: str) -> None:
    party = Party(name)
    party.check("it")
    head = structs.replace(INVOICE.head, buyer=party)
    page = Page(to_html(replace(INVOICE, head=head)))
    assert page.open == []
    assert name in page.text


def test_a_month_without_anything() -> None:
    empty = make_invoice(RELAY, BUSINESS, [], through=TODAY + 16, seller=Party())
    shown = words(Page(to_html(empty)))
    assert "No message was settled" in shown
    assert "Name not recorded" in shown
    assert "Interim" not in shown
    for absent in ("Adjustments", "Monthly fee", "Free quota", "Conversations"):
        assert absent not in shown
    first = make_invoice(RELAY, BUSINESS, [], through=TODAY - 15)
    assert "Through no day yet" in words(Page(to_html(first)))
    assert rows_of(empty) == []


# The commands


def kurir(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], *arguments: str
) -> tuple[Any, bytes, bytes]:
    monkeypatch.setattr("sys.argv", ["kurir", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfdbinary.readouterr()
    return ended.value.code, out, err


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    return lambda *arguments: kurir(monkeypatch, capfdbinary, *arguments)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "invoice.json"
    path.write_bytes(to_json(INVOICE))
    return path


def test_a_stranger_verifies_with_file_and_pin(run: Any, file: Path) -> None:
    base = ("invoice", "verify", str(file), "--without-records", "--pin")
    for pin in (PIN, RELAY.id.hex()):
        code, out, _ = run(*base, pin)
        assert code == 0
        text = out.decode()
        assert "verified" in text
        assert text.count("\nchecked: ") == 7
        assert text.count("\nnot checked: ") == 5
    code, out, _ = run("--json", *base, PIN)
    shown = json.loads(out)
    assert (shown["verified"], shown["number"]) == (True, INVOICE.head.number)
    assert shown["total_micro_usd"] == INVOICE.head.total_micro_usd
    assert len(shown["checked"]) == 7
    assert any("daily lists" in what for what in shown["not_checked"])


def test_what_a_stranger_finds(run: Any, file: Path) -> None:
    base = ("invoice", "verify", str(file), "--without-records")
    code, _, err = run(*base)
    assert code == 2
    assert b"--pin" in err
    code, _, err = run(*base, "--pin", encode(pin_of(OTHER_RELAY.id)))
    assert code == 8
    assert b"relay: this invoice is of another relay" in err
    code, _, err = run(*base, "--pin", "nonsense")
    assert code == 2
    code, _, err = run("invoice", "verify", str(file), "--pin", PIN)
    assert code == 2
    value = json.loads(file.read_bytes())

    def edited(where: str, **change: Any) -> None:
        file.write_text(json.dumps(value | change))
        code, _, err = run(*base, "--pin", PIN)
        assert code == 8
        assert f"differs at {where}: ".encode() in err, err

    edited("total", total_micro_usd=value["total_micro_usd"] + 1)
    edited("count", count=value["count"] + 1)
    edited("signature", seller=value["seller"] | {"notes": []})
    edited("line 1", lines=[value["lines"][0] | {"secret": "00" * 32}, *value["lines"][1:]])
    edited("charged", charged=[])
    # What shows a customer's message may be left out for a stranger, and nothing else.
    private = [item | {"report": None} for item in value["adjustments"]]
    file.write_text(json.dumps(value | {"adjustments": private}))
    assert run(*base, "--pin", PIN)[0] == 0


def test_tables_and_pages_are_made_without_a_profile(run: Any, file: Path, tmp_path: Path) -> None:
    code, out, _ = run("--home", str(tmp_path / "none"), "invoice", "csv", str(file))
    assert (code, out) == (0, to_csv(INVOICE))
    target = tmp_path / "invoice.html"
    code, out, _ = run("invoice", "html", str(file), "--out", str(target))
    assert code == 0
    assert target.read_bytes() == to_html(INVOICE)
    code, out, _ = run("invoice", "schema")
    assert (code, out) == (0, schema())


@pytest.mark.parametrize("command", ["csv", "html"])
def test_nothing_is_made_of_what_no_relay_signed(run: Any, file: Path, command: str) -> None:
    value = json.loads(file.read_bytes())
    value["buyer"]["legal_name"] = "Somebody Else"
    file.write_text(json.dumps(value))
    target = file.with_name("out")
    code, out, err = run("invoice", command, str(file), "--out", str(target))
    assert (code, out) == (8, b"")
    assert b"differs at signature" in err
    assert not target.exists()
    code, _, _ = run("invoice", command, str(file.with_name("none")))
    assert code == 2


def sums(rows: Sequence[dict[str, str]]) -> int:
    return sum(int(row["amount_micro_usd"]) for row in rows)


def test_any_part_of_the_month_adds_up() -> None:
    for count in range(0, len(WORLD.leaves), 4):
        some = WORLD.bill(WORLD.leaves[:count], in_order(WORLD.adjustments[:1]))
        assert sums(rows_of(some)) == some.head.total_micro_usd
