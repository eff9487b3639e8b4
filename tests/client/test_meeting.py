"""How contacts come about, seen from one profile: twice the same link, cards that expire."""

from __future__ import annotations

from typing import Any

import pytest

from kurir_billing.ratecard import bundled, canonical, rate_card_message, signed_rate_card
from kurir_client import business, meeting
from kurir_client.errors import PeerError, UsageError
from kurir_client.outbox import queue
from kurir_client.profile import Profile
from kurir_client.schema import Kind, Status
from kurir_wire import frames
from kurir_wire.codec import pack
from kurir_wire.ids import DAY, BusinessId
from kurir_wire.links import BusinessLink, InviteLink, RelayAddress, pin_of
from tests.client.fake_link import FakeLink
from tests.client.pair import Pair

RELAY = RelayAddress("localhost", 7474, tls=False)


async def invite(pair: Pair) -> tuple[InviteLink, bytes]:
    pair.alice.set_relay(RELAY.url)
    link = FakeLink(pair, lambda _: None)
    made = await meeting.make_invite(pair.alice, link, "")  # type: ignore[arg-type]
    (left,) = link.of(frames.PutCard)
    return made, left.card


async def test_a_link_that_is_added_twice_makes_one_session_and_messages_arrive(
    pair: Pair,
) -> None:
    made, card = await invite(pair)
    link: Any = FakeLink(
        pair, lambda asked: frames.CardIs(1, card) if isinstance(asked, frames.GetCard) else None
    )
    first = await meeting.accept_invite(pair.bob, link, made, None)
    second = await meeting.accept_invite(pair.bob, link, made, None)
    assert first.id == second.id
    assert len(pair.bob.store.sessions(first.id)) == 1
    pair.carry(pair.bob, pair.alice)
    with pair.bob.store.transaction():
        queue(pair.bob.store, first.id, 1, "hello", pair.clock.now)
    pair.carry(pair.bob, pair.alice)
    shown = [item.text for item in pair.alice.store.unread()]
    assert shown == ["Bob accepted your invite", "hello"]


async def test_an_invite_is_used_up_whichever_way_its_acceptance_comes(pair: Pair) -> None:
    """Bob hears where Alice reads now between accepting her second invite and answering it."""
    met, _ = pair.befriend()
    made, card = await invite(pair)
    link: Any = FakeLink(
        pair, lambda asked: frames.CardIs(1, card) if isinstance(asked, frames.GetCard) else None
    )
    known = pair.bob.store.contact_by_key(pair.alice.identity.public.sign_pk)
    assert known is not None
    await meeting.accept_invite(pair.bob, link, made, None)
    with pair.bob.store.transaction():
        pair.bob.store.set_contact(known.id, address=known.address)
    (ready,) = pair.prepare(pair.bob)
    assert ready.submission.mailbox_id != made.mailbox_id
    pair.deliver(ready, pair.alice)
    assert pair.alice.store.invites() == []
    mailbox = pair.alice.store.mailbox(made.mailbox_id)
    assert mailbox is not None
    assert mailbox.contact == met.id


def directory(pair: Pair, card: bytes) -> FakeLink:
    rates = canonical(bundled())
    signature = pair.relay.operator.sign(rate_card_message(pair.relay.id, rates))

    def answer(asked: frames.Request) -> Any:
        match asked:
            case frames.GetBusiness():
                return frames.BusinessIs(1, card)
            case frames.GetRateCard():
                return frames.RateCardIs(1, signed_rate_card(rates, signature))
        return None

    return FakeLink(pair, answer)


def link_of(pair: Pair, shop: Profile) -> BusinessLink:
    return BusinessLink(RELAY, BusinessId(business.own_id(shop)), pin_of(pair.relay.id))


async def test_a_business_whose_key_is_a_persons_or_our_own_is_refused_in_words(
    pair: Pair,
) -> None:
    pair.open_shop()
    link: Any = directory(pair, pair.card(bytes(32)))
    with pytest.raises(UsageError, match="your own"):
        await meeting.add_business(pair.bob, link, link_of(pair, pair.bob), None, None)
    store = pair.alice.store
    with store.transaction():
        (contact,) = store.contacts()
        store.set_contact(contact.id, business_id=None, kind=Kind.PERSON)
    with pytest.raises(PeerError, match="you know this business as Shop"):
        await meeting.add_business(pair.alice, link, link_of(pair, pair.bob), None, None)


async def test_an_expired_card_is_fetched_anew_and_the_message_goes(pair: Pair) -> None:
    to_shop, _ = pair.open_shop()
    (address,) = [item.id for item in pair.bob.store.mailboxes("new") if item.role == "address"]
    pair.clock.now += 31 * DAY
    link: Any = directory(pair, pair.card(address))
    await meeting.renew_cards(pair.alice, link)
    assert link.asked == []  # nothing waits: the relay need not know who our businesses are
    with pair.alice.store.transaction():
        queue(pair.alice.store, to_shop.id, 1, "again", pair.clock.now)
    await meeting.renew_cards(pair.alice, link)
    (ready,) = pair.prepare(pair.alice)
    pair.deliver(ready, pair.bob)
    assert pair.bob.store.unread()[-1].text == "again"


async def test_a_new_card_with_another_key_pauses_sending_and_says_so(pair: Pair) -> None:
    to_shop, _ = pair.open_shop()
    with pair.alice.store.transaction():
        other = pack(pair.alice.identity.public)
        pair.alice.store.set_contact(to_shop.id, identity=other)
        queue(pair.alice.store, to_shop.id, 1, "again", pair.clock.now)
    pair.clock.now += 31 * DAY
    link: Any = directory(pair, pair.card(bytes(32)))
    await meeting.renew_cards(pair.alice, link)
    assert pair.alice.store.contact(to_shop.id).state == "changed"
    assert pair.prepare(pair.alice) == []
    note = pair.alice.store.unread()[-1]
    assert (note.direction, note.status) == ("note", Status.UNREAD)
    assert "another key" in note.text
