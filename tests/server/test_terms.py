"""The operator's terms and entry tickets, from the command to the business that gets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kurir_billing.terms import Terms, open_terms
from kurir_billing.ticket import open_ticket
from kurir_server import admin, keyfiles, tickets
from kurir_server.errors import ConfigError
from kurir_server.limits import FIRST_STARTS
from kurir_wire import codes
from kurir_wire.entries import Result
from kurir_wire.frames import GetTerms, TermsAre
from kurir_wire.ids import DAY
from kurir_wire.limits import MAX_TICKETS
from kurir_wire.links import BusinessLink, parse_link, pin_of
from tests.server.helpers import Shop
from tests.server.process import RelayProcess
from tests.server.rig import START, Rig

NAME = "PT Metro Bus"


@pytest.fixture
def db(rig: Rig, tmp_path: Path) -> Path:
    """The database of the rig, for the operator's commands."""
    return tmp_path / "rig.db"


def told(rig: Rig, shop: Shop) -> TermsAre:
    reply = rig.run(lambda rows: rig.registry.terms(rows, rig.moment, shop.id, 7))
    assert isinstance(reply, TermsAre)
    assert reply.n == 7
    return reply


def terms_of(rig: Rig, shop: Shop) -> Terms | None:
    data = told(rig, shop).terms
    if data is None:
        return None
    terms = open_terms(data)
    terms.verify(rig.keys.cert.operator_pk, rig.keys.relay_id, shop.id)
    return terms


def approve(
    rig: Rig,
    db: Path,
    shop: Shop,
    tier: str = "platform",
    tariff: str | None = None,
    starts: str | None = None,
) -> Terms:
    admin.approve(db, rig.keys, shop.id, tier, NAME, tariff, starts, rig.now)
    terms = terms_of(rig, shop)
    assert terms is not None
    return terms


def test_before_the_approval_there_are_none(rig: Rig) -> None:
    shop = rig.shop(tier=None)
    assert told(rig, shop) == TermsAre(7, None, 0, [])
    unknown = Shop(rig.keys.relay_id, rig.now)
    reply = rig.run(lambda rows: rig.registry.terms(rows, rig.moment, unknown.id, 7))
    assert isinstance(reply, Result)
    assert reply.code == codes.NOT_FOUND


def test_the_operator_chooses_and_the_business_can_prove_it(rig: Rig, db: Path) -> None:
    shop = rig.shop(tier=None)
    first = approve(rig, db, shop)
    assert (first.tariff, first.tier, first.starts) == ("reply-2018", 2, FIRST_STARTS)
    assert first.issued == rig.now
    assert told(rig, shop).starts_left == FIRST_STARTS
    second = approve(rig, db, shop, tariff="message-2026", starts="2000")
    assert (second.tariff, second.starts) == ("message-2026", 2_000)
    assert second.issued == first.issued + 1, "newer, though of the same second"
    # What is not said stays.
    rig.now += 5
    third = approve(rig, db, shop)
    assert (third.tariff, third.starts, third.issued) == ("message-2026", 2_000, rig.now)
    assert approve(rig, db, shop, starts="none").starts is None
    assert approve(rig, db, shop).starts is None
    assert told(rig, shop).starts_left is None
    # An operator's clock that goes back makes no older terms.
    before = approve(rig, db, shop)
    rig.now = START - DAY
    assert approve(rig, db, shop).issued == before.issued + 1


def test_a_small_business_starts_nobody_and_pays_for_no_answer(rig: Rig, db: Path) -> None:
    shop = rig.shop(tier=None)
    small = approve(rig, db, shop, "small")
    assert (small.tier, small.tariff, small.starts) == (1, "reply-2018", 0)
    assert approve(rig, db, shop, "small", "flat").tariff == "flat"
    for tariff in ("conversation-2022", "message-2025", "message-2026"):
        with pytest.raises(ConfigError, match="never charged") as caught:
            approve(rig, db, shop, "small", tariff)
        assert caught.value.hint == "give --tariff flat or reply-2018"
    with pytest.raises(ConfigError, match="starts nobody"):
        approve(rig, db, shop, "small", starts="250")
    kept = terms_of(rig, shop)
    assert kept is not None
    assert kept.tariff == "flat"
    # One that grows begins as a new one does.
    grown = approve(rig, db, shop, "platform", "message-2025")
    assert grown.starts == FIRST_STARTS
    with pytest.raises(ConfigError, match="never charged"):
        approve(rig, db, shop, "small")


@pytest.mark.parametrize(
    "wrong", [{"tier": "none"}, {"tariff": "message-2024"}, {"starts": "251"}, {"starts": "all"}]
)
def test_what_cannot_be_approved(rig: Rig, db: Path, wrong: dict[str, str]) -> None:
    shop = rig.shop(tier=None)
    with pytest.raises(ConfigError) as caught:
        approve(rig, db, shop, **wrong)
    assert caught.value.hint
    assert terms_of(rig, shop) is None


def test_revoking_takes_the_terms_away_for_good(rig: Rig, db: Path) -> None:
    shop = rig.shop(tier=None)
    first = approve(rig, db, shop, tariff="message-2025")
    view = admin.revoke(db, shop.id)
    assert (view.tier, view.tariff, view.legal_name) == ("none", "message-2025", None)
    assert told(rig, shop) == TermsAre(7, None, 0, [])
    again = approve(rig, db, shop)
    assert (again.tariff, again.starts) == ("message-2025", FIRST_STARTS)
    assert again.issued > first.issued


def test_an_entry_ticket(rig: Rig, db: Path) -> None:
    shop = rig.shop(tariff="message-2025")
    made = tickets.give(db, rig.keys, shop.id, 30, "relay.example", rig.now)
    link = parse_link(str(made.link))
    assert isinstance(link, BusinessLink)
    assert link.entry is not None
    assert (link.business_id, link.pin) == (shop.id, pin_of(rig.keys.relay_id))
    assert link.relay.url == "wss://relay.example:443/"
    (data,) = told(rig, shop).tickets
    ticket = open_ticket(data)
    ticket.verify(rig.keys.cert.operator_pk, rig.keys.relay_id, shop.id)
    assert (ticket.entry_id, ticket.not_after) == (link.entry.entry_id, link.entry.not_after)
    assert ticket.not_after == rig.now + 30 * DAY
    assert told(rig, rig.shop()).tickets == []


def test_tickets_are_told_for_a_day_longer_and_swept(rig: Rig, db: Path) -> None:
    """Who comes at the last moment can still be answered."""
    shop = rig.shop(tariff="message-2026")
    made = [tickets.give(db, rig.keys, shop.id, days, "relay.example", START) for days in (1, 3, 2)]

    def listed() -> list[int]:
        return [open_ticket(data).not_after for data in told(rig, shop).tickets]

    assert listed() == sorted((one.not_after for one in made), reverse=True)
    for days, count in ((2, 3), (3, 2), (4, 1)):
        rig.now = START + days * DAY - 1
        rig.tidy()
        assert (len(listed()), rig.count("tickets")) == (count, count)
        rig.now += 1
        assert len(listed()) == count - 1
        rig.tidy()
        assert rig.count("tickets") == count - 1


def test_what_gets_no_ticket(rig: Rig, db: Path) -> None:
    shop, plain, new = rig.shop(tariff="message-2025"), rig.shop(), rig.shop(tier=None)
    unknown = Shop(rig.keys.relay_id, rig.now)
    for one, days, relay, why in (
        (plain, 1, "relay.example", "no entry windows"),
        (new, 1, "relay.example", "not approved"),
        (unknown, 1, "relay.example", "no business"),
        (shop, 0, "relay.example", "days"),
        (shop, 366, "relay.example", "days"),
        (shop, 1, "ws://relay.example", "plain ws"),
        (shop, 1, "relay example", "host"),
    ):
        with pytest.raises(ConfigError, match=why):
            tickets.give(db, rig.keys, one.id, days, relay, rig.now)
    assert rig.count("tickets") == 0
    for _ in range(MAX_TICKETS):
        tickets.give(db, rig.keys, shop.id, 1, "relay.example", rig.now)
    with pytest.raises(ConfigError, match="64 entry tickets"):
        tickets.give(db, rig.keys, shop.id, 1, "relay.example", rig.now)
    assert len(told(rig, shop).tickets) == MAX_TICKETS
    rig.now += 2 * DAY
    tickets.give(db, rig.keys, shop.id, 1, "relay.example", rig.now)


async def test_by_the_commands_while_the_relay_runs(relay: RelayProcess) -> None:
    async with relay.client() as client:
        shop = Shop(client.relay_id, client.now)
        assert await client.register(shop, shop.card()) == "ok"
        error = await client.error(GetTerms(client.next()))
        assert error.code == codes.NOT_AUTHORISED
        assert await client.prove(shop) == "ok"
        assert await client.ask(GetTerms(client.next())) == TermsAre(client.n, None, 0, [])
        name = shop.id.hex()
        done = relay.run(
            *("business", "approve", name, "--tier", "platform", "--legal-name", NAME),
            *("--tariff", "message-2025", "--starts", "10000", "--json"),
        )
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout)
        assert (facts["tariff"], facts["starts"]) == ("message-2025", 10_000)
        done = relay.run("business", "ticket", name, "--days", "7", "--relay", "localhost:7474")
        assert done.returncode == 0, done.stderr
        line = done.stdout.splitlines()[0]
        assert line.startswith("link: kurir://localhost:7474/b/")
        link = parse_link(line.removeprefix("link: "))
        reply = await client.ask(GetTerms(client.next()))
        assert isinstance(reply, TermsAre)
        assert reply.terms is not None
        assert (open_terms(reply.terms).tariff, reply.starts_left) == ("message-2025", 10_000)
        assert isinstance(link, BusinessLink)
        assert link.entry is not None
        assert [open_ticket(data).entry_id for data in reply.tickets] == [link.entry.entry_id]
        for wrong in (
            ("approve", name, "--tier", "small", "--legal-name", NAME, "--starts", "250"),
            ("approve", name, "--tier", "platform", "--legal-name", NAME, "--starts", "3"),
            ("ticket", name, "--days", "0", "--relay", "localhost"),
            ("ticket", name, "--days", "7"),
            ("ticket", name, "--days", "7", "--relay", "a b"),
            ("ticket", "00" * 32, "--days", "7", "--relay", "localhost"),
        ):
            done = relay.run("business", *wrong)
            assert done.returncode == 2, wrong
            assert "Traceback" not in done.stderr
            assert done.stderr


def test_keys_of_another_relay_sign_nothing(rig: Rig, db: Path, tmp_path: Path) -> None:
    shop = rig.shop(tariff="message-2025")
    stranger = keyfiles.create(tmp_path / "other.keys", START)
    with pytest.raises(ConfigError, match="another relay"):
        tickets.give(db, stranger, shop.id, 1, "relay.example", rig.now)
    with pytest.raises(ConfigError, match="another relay"):
        admin.approve(db, stranger, shop.id, "platform", NAME, None, None, rig.now)
