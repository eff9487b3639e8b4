"""The operator's terms: checked, kept, never rolled back, and told when they change."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kurir_billing.terms import open_terms, packed_terms
from kurir_billing.ticket import Ticket, packed_ticket, ticket_message
from kurir_client import outbox, terms
from kurir_client.errors import RefusedError, RelayError
from kurir_client.offers import offer
from kurir_client.schema import Status
from kurir_wire.frames import TermsAre
from kurir_wire.ids import DAY, BusinessId, business_id_of
from tests.client.pair import START, Pair
from tests.client.verdicts import say, status


def own_id(pair: Pair) -> BusinessId:
    return business_id_of(pair.bob.store.need("business_root_pk"))


def take(pair: Pair, packed: bytes | None, *tickets: bytes, left: int | None = None) -> None:
    answer = TermsAre(1, packed, left, list(tickets))
    terms.take(pair.bob, answer, pair.relay.cert, own_id(pair))


def notes(pair: Pair) -> list[str]:
    return [item.text for item in pair.bob.store.unread() if item.direction == "note"]


def tariff(pair: Pair) -> str:
    return terms.need(pair.bob.store).tariff


def ticket(pair: Pair, not_after: int) -> Ticket:
    message = ticket_message(pair.relay.id, own_id(pair), bytes(16), not_after)
    return Ticket(bytes(16), not_after, pair.relay.operator.sign(message))


def test_a_business_without_terms_signs_nothing(pair: Pair) -> None:
    _, siti = pair.open_shop()
    with pair.bob.store.transaction():
        pair.bob.store._run("DELETE FROM meta WHERE key = 'terms'")
    with pytest.raises(RefusedError, match="has not approved this business yet") as caught:
        offer(pair.bob.store, siti, pair.clock.now)
    assert caught.value.code == 133_010
    inner_id = say(pair, pair.bob, siti, "hello")
    assert pair.prepare(pair.bob) == []
    assert status(pair.bob, inner_id) is Status.FAILED
    assert pair.bob.store.charges() == []


def test_a_change_is_kept_and_told_once(pair: Pair) -> None:
    pair.open_shop()
    later = pair.agree("message-2026", issued=START + 1)
    for _ in range(2):
        take(pair, later, left=17)
    assert tariff(pair) == "message-2026"
    assert terms.starts_left(pair.bob.store) == 17
    (told,) = notes(pair)
    assert "tariff message-2026" in told
    assert "before tariff reply-2018" in told
    take(pair, later)
    assert terms.starts_left(pair.bob.store) is None


def test_older_terms_never_come_back(pair: Pair) -> None:
    pair.open_shop()
    take(pair, pair.agree("message-2026", issued=START + 1))
    for issued in (START, START + 1):  # two versions of one second contradict each other as well
        take(pair, pair.agree("flat", issued=issued))
        assert tariff(pair) == "message-2026"
    assert [text for text in notes(pair) if "shows older terms (tariff flat" in text]
    take(pair, None)  # nor does a relay that keeps them back
    assert tariff(pair) == "message-2026"


def test_without_terms_any_more_there_is_no_price_until_they_come_again(pair: Pair) -> None:
    _, siti = pair.open_shop()
    for _ in range(2):
        take(pair, None)
    due = offer(pair.bob.store, siti, pair.clock.now)
    assert (due.price_micro_usd, due.otherwise, due.refusal) == (None, None, 133_010)
    assert due.window is not None
    (told,) = notes(pair)
    assert "no longer approves this business (133010)" in told
    inner_id = say(pair, pair.bob, siti, "hello")
    assert pair.prepare(pair.bob) == []
    assert status(pair.bob, inner_id) is Status.FAILED
    assert terms.revoked().hint in notes(pair)[-1]
    take(pair, pair.agree("flat", issued=START - 1))  # older ones do not bring it back
    assert offer(pair.bob.store, siti, pair.clock.now).price_micro_usd is None
    take(pair, pair.agree("reply-2018"))
    assert offer(pair.bob.store, siti, pair.clock.now).price_micro_usd == 0
    take(pair, None)
    assert [text for text in notes(pair) if "no longer approves" in text][1:]


def test_a_business_that_was_never_approved_was_not_revoked(pair: Pair) -> None:
    pair.open_shop()
    with pair.bob.store.transaction():
        pair.bob.store._run("DELETE FROM meta WHERE key = 'terms'")
    take(pair, None)
    assert (terms.are_revoked(pair.bob.store), notes(pair)) == (False, [])


def test_what_the_operator_never_signed_is_refused_whole(pair: Pair) -> None:
    pair.open_shop()
    good = open_terms(pair.agree("message-2026", issued=START + 1))
    for bad in (replace(good, tariff="flat"), replace(good, starts=9), replace(good, tier=1)):
        with pytest.raises(RelayError, match="not in order"):
            take(pair, packed_terms(bad))
    forged = replace(ticket(pair, START + DAY), not_after=START + 2 * DAY)
    with pytest.raises(RelayError, match="not in order"):
        take(pair, packed_terms(good), packed_ticket(forged))
    assert tariff(pair) == "reply-2018"


def test_tickets_are_kept_until_nobody_can_be_answered_by_them(pair: Pair) -> None:
    pair.open_shop()
    known = ticket(pair, START + DAY)
    name = known.hash(pair.relay.id, own_id(pair))
    take(pair, None, packed_ticket(known))
    pair.clock.now = (
        START + 2 * DAY + DAY - 1
    )  # who came at the last moment has a day to be answered
    take(pair, None)
    assert pair.bob.store.ticket(name) == packed_ticket(known)
    pair.clock.now += 2 * DAY
    take(pair, None)
    assert pair.bob.store.ticket(name) is None


def test_a_tariff_that_this_kurir_does_not_know_sends_nothing_and_says_so(pair: Pair) -> None:
    _, siti = pair.open_shop()
    take(pair, pair.agree("message-2031", issued=START + 1))
    inner_id = say(pair, pair.bob, siti, "hello")
    assert outbox.prepare(pair.bob, pair.relay.beacon(START), START) == []
    assert status(pair.bob, inner_id) is Status.FAILED
    assert "there is no tariff 'message-2031'" in notes(pair)[-1]
