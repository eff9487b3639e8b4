"""Our mailboxes at the relay: a passing trouble there loses none here."""

from __future__ import annotations

from typing import Any

import pytest

from kurir_client import business, mailboxes
from kurir_client.errors import RelayError
from kurir_wire import codes, frames
from kurir_wire.entries import Result
from tests.client.fake_link import FakeLink, results
from tests.client.pair import Pair


def make_live(pair: Pair) -> list[bytes]:
    store = pair.bob.store
    ids = [item.id for item in store.mailboxes("new")]
    with store.transaction():
        for mailbox_id in ids:
            store.set_mailbox(mailbox_id, state="live")
    return ids


@pytest.mark.parametrize(
    "trouble",
    [Result(codes.UNAVAILABLE, "full disk", 5), Result(codes.TOO_MANY, "a thousand"), None],
)
async def test_only_a_mailbox_that_is_gone_is_forgotten(pair: Pair, trouble: Result | None) -> None:
    pair.befriend()
    ids = make_live(pair)
    gone = Result(codes.NOT_AUTHORISED, "no such mailbox, or no proof")
    link: Any = FakeLink(pair, lambda _: results(trouble or gone))
    if trouble is not None:
        with pytest.raises(RelayError) as caught:
            await mailboxes.open_live(pair.bob, link)
        assert caught.value.retry_after == trouble.retry_after
        assert [item.id for item in pair.bob.store.mailboxes("live")] == ids
        return
    await mailboxes.open_live(pair.bob, link)
    assert pair.bob.store.mailboxes("live") == []
    assert "a new one is made" in pair.bob.store.unread()[-1].text


@pytest.mark.parametrize(
    ("left", "deleted"), [(Result("ok", left=3), False), (None, True), (Result("ok"), True)]
)
async def test_a_closing_mailbox_is_emptied_before_it_is_deleted(
    pair: Pair, left: Result | None, deleted: bool
) -> None:
    pair.befriend()
    (mailbox_id,) = make_live(pair)
    with pair.bob.store.transaction():
        pair.bob.store.set_mailbox(mailbox_id, state="closing")
    link: Any = FakeLink(
        pair, lambda asked: results(left) if isinstance(asked, frames.Open) else None
    )
    assert await mailboxes.open_live(pair.bob, link) == (0 if deleted else 3)
    assert bool(link.of(frames.Delete)) is deleted
    assert (pair.bob.store.mailbox(mailbox_id) is None) is deleted


async def test_a_mailbox_that_the_relay_cannot_delete_now_is_deleted_later(pair: Pair) -> None:
    pair.befriend()
    (mailbox_id,) = make_live(pair)
    with pair.bob.store.transaction():
        pair.bob.store.set_mailbox(mailbox_id, state="closing")
    full = Result(codes.UNAVAILABLE, "full disk", 5)
    link: Any = FakeLink(
        pair, lambda asked: results(full) if isinstance(asked, frames.Delete) else None
    )
    await mailboxes.open_live(pair.bob, link)
    assert pair.bob.store.mailbox(mailbox_id) is not None


async def test_clocks_that_differ_are_told_as_such(pair: Pair) -> None:
    pair.befriend()
    stale = Result(codes.STALE, "the hour of birth is not the present hour")
    link: Any = FakeLink(pair, lambda _: results(stale))
    link.relay_now = pair.clock.now - 7_300
    with pytest.raises(RelayError, match="121 minutes apart"):
        await mailboxes.create_new(pair.bob, link)
    # The clock was set right: what was planned by the wrong one stands in nobody's way.
    pair.clock.now -= 7_300
    link = FakeLink(pair, lambda _: None)
    await mailboxes.create_new(pair.bob, link)
    assert pair.bob.store.mailboxes("new", "live") == []
    assert link.asked == []


async def test_a_business_whose_address_is_gone_can_register_again(pair: Pair) -> None:
    _, siti = pair.open_shop()
    make_live(pair)
    gone = Result(codes.NOT_AUTHORISED, "no such mailbox, or no proof")
    link: Any = FakeLink(pair, lambda _: results(gone))
    with pytest.raises(RelayError, match="address"):
        await mailboxes.open_live(pair.bob, link)
    assert business._address(pair.bob) is None
    assert pair.bob.store.contact(siti.id).name == siti.name


async def test_what_a_customer_refuses_is_told_once_and_again_for_a_new_mailbox(pair: Pair) -> None:
    shop, _ = pair.open_shop()
    store = pair.alice.store
    with store.transaction():
        store.set_mailbox(shop.own_mailbox or b"", state="live")
        store.set_contact(shop.id, refuses=8)
    link: Any = FakeLink(pair, lambda _: None)
    for _ in range(2):
        await mailboxes.open_live(pair.alice, link)
    (told,) = link.of(frames.SetRefused)
    assert (told.mailbox_id, told.categories) == (shop.own_mailbox, 8)
    with store.transaction():
        mailboxes.give(pair.alice, store.contact(shop.id), pair.clock.now)
        store.set_mailbox(store.contact(shop.id).own_mailbox or b"", state="live")
    await mailboxes.open_live(pair.alice, link)
    assert [item.mailbox_id for item in link.of(frames.SetRefused)] == [
        shop.own_mailbox,
        store.contact(shop.id).own_mailbox,
    ]


async def test_a_relay_that_does_not_know_the_business_is_told_of_and_read_all_the_same(
    pair: Pair,
) -> None:
    pair.open_shop()
    refused = Result(codes.NOT_AUTHORISED, "this business is not registered here")

    def answer(request: frames.Request) -> Any:
        assert isinstance(request, frames.Prove)
        return results(refused)

    (address,) = pair.bob.store.mailboxes("new")
    card = pair.card(address.id)
    with pair.bob.store.transaction():
        pair.bob.store.put("business_card", card)
    await business.greet(pair.bob, FakeLink(pair, answer))  # type: ignore[arg-type]
    assert "register again: kurir business register" in pair.bob.store.unread()[-1].text


async def test_a_person_has_nothing_to_say_to_the_relay_at_a_connection(pair: Pair) -> None:
    link: Any = FakeLink(pair, lambda _: None)
    await business.greet(pair.alice, link)
    assert link.asked == []
