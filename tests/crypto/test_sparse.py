"""The sparse post-quantum ratchet by itself: who asks when, what is refused, what is stored."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from kurir_crypto import sparse as sparse_module
from kurir_crypto.errors import (
    AuthenticationError,
    InvalidKeyError,
    ReplayError,
)
from kurir_crypto.kem import KemSeed, PeerKem768, decapsulate_768, encapsulate_768, generate_768
from kurir_crypto.sparse import ANSWER_BYTES, ASK_BYTES, TURNS, SparseHeader, SparseRatchet
from tests.crypto.ends import (
    DECODER,
    ENCODER,
    answered,
    asked,
    at_epoch,
    exchange,
    fresh,
)

# epochs


def test_the_figures() -> None:
    """Part of the protocol: docs/protocol.md states them."""
    assert (TURNS, ASK_BYTES, ANSWER_BYTES) == (5, 1_184, 1_088)


def test_the_responders_first_answer_asks() -> None:
    alice, bob = fresh()
    hellos = [alice.send() for _ in range(3)]
    assert [hello.header for hello in hellos] == [SparseHeader(0, 0, n) for n in range(3)]
    bob.receive(hellos[-1])
    answer = bob.send()
    assert len(answer.header.ask or b"") == ASK_BYTES
    assert answer.header[:3] == (0, 0, 0)
    alice.receive(answer)
    second = alice.send()
    assert len(second.header.answer or b"") == ANSWER_BYTES
    assert second.header[:3] == (1, 3, 0)
    bob.receive(second)
    assert bob.send().header == SparseHeader(1, 1, 0)


def test_they_take_turns_in_asking_and_an_epoch_lasts_some_ten_messages() -> None:
    alice, bob = fresh()
    asks: dict[int, bool] = {}
    entered: dict[int, int] = {}
    for number, sent in enumerate(exchange(alice, bob, 40)):
        by_initiator = number % 2 == 0
        if sent.header.ask is not None:
            asks[sent.header.epoch + 1] = by_initiator
        if sent.header.answer is not None:
            entered.setdefault(sent.header.epoch, number)
            assert by_initiator != asks[sent.header.epoch]
    assert len(entered) > 5
    assert asks == {epoch: epoch % 2 == 0 for epoch in asks}
    lengths = {later - former for former, later in itertools.pairwise(entered.values())}
    assert lengths == {2 * TURNS + 1}


def test_one_ask_or_answer_per_epoch_where_nothing_is_lost() -> None:
    alice, bob = fresh()
    headers = [sent.header for sent in exchange(alice, bob, 40)]
    asks = [header.ask for header in headers if header.ask]
    answers = [header.answer for header in headers if header.answer]
    assert len(asks) == len(set(asks))
    assert len(answers) == len(set(answers)) in (len(asks), len(asks) - 1)


def test_root_and_shared_secret_both_go_into_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who knows one of them alone, and all that was sent, does not get the next chains."""
    _, bob, sent = answered()
    _, key = replace(bob.state, root=bytes(32)).receive(sent.header)
    assert key != sent.key
    monkeypatch.setattr(sparse_module, "decapsulate_768", lambda *_: bytes(32))
    _, key = bob.state.receive(sent.header)
    assert key != sent.key


def test_ask_and_answer_go_into_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same shared secret under other public values is another epoch."""
    _, bob, sent = answered()
    assert bob.state.asking is not None
    shared = decapsulate_768(KemSeed(bob.state.asking.seed), sent.header.answer or b"")
    monkeypatch.setattr(sparse_module, "decapsulate_768", lambda *_: shared)
    assert bob.state.receive(sent.header)[1] == sent.key
    assert bob.state.receive(sent.header._replace(answer=bytes(ANSWER_BYTES)))[1] != sent.key
    other = replace(bob.state.asking, public=generate_768()[1])
    assert replace(bob.state, asking=other).receive(sent.header)[1] != sent.key


def test_who_holds_an_answer_asks_nothing() -> None:
    """The peer has to be heard in an epoch before the next is asked for."""
    alice, _, _ = answered()
    for _ in range(2 * TURNS):
        alice.due = True
        assert alice.send().header.ask is None
        assert alice.state.asking is None


def test_an_ask_is_repeated_until_it_is_answered() -> None:
    alice, bob = fresh()
    bob.receive(alice.send())
    asks = {bob.send().header.ask for _ in range(4)}
    alice.receive(bob.send())
    answer = alice.send()
    asks.add(bob.send().header.ask)
    assert len(asks) == 1
    assert None not in asks
    bob.receive(answer)
    assert bob.send().header.ask is None
    assert bob.state.asking is None


def test_an_answer_is_repeated_until_it_is_heard() -> None:
    alice, bob, first = answered()
    more = [alice.send() for _ in range(3)]
    assert {sent.header.answer for sent in more} == {first.header.answer}
    assert [sent.header.number for sent in more] == [1, 2, 3]
    alice.receive(bob.send())  # of epoch 0: bob did not hear it yet
    assert alice.send().header.answer == first.header.answer
    bob.receive(more[1])
    heard = bob.send()
    assert heard.header.epoch == 1
    alice.receive(heard)
    assert alice.state.answer is None
    assert alice.send().header.answer is None
    for sent in (first, more[0], more[2]):
        bob.receive(sent)


def test_one_encapsulates_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(public: PeerKem768) -> tuple[bytes, bytes]:
        calls.append(public)
        return encapsulate_768(public)

    monkeypatch.setattr(sparse_module, "encapsulate_768", counted)
    alice, bob = fresh()
    bob.receive(alice.send())
    asks = [bob.send() for _ in range(5)]
    for sent in asks[:3]:
        alice.receive(sent)
    assert not calls  # receiving uses no randomness
    first = alice.send()
    entered = alice.encoded()
    for sent in asks[:3]:
        alice.refuses(sent.header, ReplayError)
    assert alice.encoded() == entered
    for sent in asks[3:]:  # late: of the former epoch, with the same ask
        alice.receive(sent)
    assert alice.state.asked is None
    second = alice.send()
    assert second.header.answer == first.header.answer
    assert (second.header.epoch, second.header.number) == (1, 1)
    assert len(calls) == 1
    bob.receive(second)
    bob.receive(first)


def test_what_is_asked_first_stays_asked() -> None:
    """A later ask of the same epoch is another side's mistake; it must not change the answer."""
    alice, bob = asked()
    first = alice.state.asked
    header = bob.send().header._replace(ask=generate_768()[1])
    state, _ = alice.state.receive(header)
    assert state.asked == first


def test_receiving_is_deterministic() -> None:
    alice, bob, answer = answered()
    assert len({ENCODER.encode(bob.state.receive(answer.header)[0]) for _ in range(5)}) == 1
    assert alice.state.former is not None


def test_a_state_forgets_what_the_epoch_before_could_open() -> None:
    """Forward secrecy, and healing: roots and chains of the former epoch are not kept."""
    alice, bob = asked()
    old = {alice.state.root, alice.state.send_chain, bob.state.root, bob.state.send_chain}
    assert bob.state.asking is not None
    seed = bob.state.asking.seed
    answer = alice.send()
    bob.receive(answer)
    alice.receive(bob.send())
    for end in (alice, bob):
        assert all(secret not in end.encoded() for secret in (*old, seed))
        assert end.state.former is None


# refusals


def test_an_epoch_that_cannot_come_is_refused() -> None:
    alice, bob = at_epoch(1)
    header = alice.send().header
    answer = bytes(ANSWER_BYTES)
    for epoch, carried in ((2, None), (2, answer), (3, answer), (0xFFFF_FFFF, answer)):
        bob.refuses(header._replace(epoch=epoch, answer=carried), AuthenticationError)


def test_an_epoch_before_the_former_is_gone() -> None:
    """Also while a former chain is there, which is not the one of that message."""
    alice, bob = at_epoch(1)
    while alice.state.former is None and bob.state.former is None:
        exchange(alice, bob)
        if alice.state.asked is not None:
            alice.send()
        elif bob.state.asked is not None:
            bob.send()
    reader = alice if alice.state.former is not None else bob
    assert reader.state.epoch == 2
    for number in (0, 1, 50):
        reader.refuses(SparseHeader(0, 0, number), ReplayError)


def test_an_answer_that_is_missing_is_refused() -> None:
    _, bob, sent = answered()
    bob.refuses(sent.header._replace(answer=None), AuthenticationError)
    bob.refuses(sent.header._replace(epoch=2), AuthenticationError)
    bob.receive(sent)


def test_a_false_answer_gives_a_key_that_opens_nothing() -> None:
    """ML-KEM has no other way to say it: the message's tag then fails, and nothing is kept."""
    alice, bob, sent = answered()
    before = bob.encoded()
    first = sent.header.answer or b""
    forged = bytes([first[0] ^ 1]) + first[1:]
    _, key = bob.state.receive(sent.header._replace(answer=forged))
    assert key != sent.key
    assert bob.encoded() == before
    bob.receive(sent)
    exchange(bob, alice)


def test_an_answer_is_of_no_account_where_the_epoch_is_already_there() -> None:
    alice, bob, sent = answered()
    bob.receive(sent)
    again = alice.send()
    assert again.header.answer is not None
    state, key = bob.state.receive(again.header._replace(answer=bytes(ANSWER_BYTES)))
    assert key == again.key
    assert state.answer is None


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_an_ask_out_of_turn_is_refused(epoch: int) -> None:
    alice, bob = at_epoch(epoch)
    exchange(alice, bob)
    asker, other = (bob, alice) if epoch % 2 == 0 else (alice, bob)
    sent = other.send(room=False)
    asker.refuses(sent.header._replace(ask=generate_768()[1]), AuthenticationError)
    asker.receive(sent)


@pytest.mark.parametrize(
    "ask", [b"\xff" * ASK_BYTES, b"", bytes(ASK_BYTES - 1), bytes(ASK_BYTES + 1)]
)
def test_an_ask_that_is_no_key_is_refused(ask: bytes) -> None:
    alice, bob = fresh()
    bob.receive(alice.send())
    sent = bob.send()
    alice.refuses(sent.header._replace(ask=ask), InvalidKeyError)
    alice.receive(sent)


# one-way traffic, and no room


def test_one_way_traffic_stays_in_its_epoch() -> None:
    """Documented: without an answer nothing can change, however many messages go."""
    alice, bob = at_epoch(1)
    for _ in range(200):
        sent = alice.send()
        assert (sent.header.epoch, sent.header.ask, sent.header.answer) == (1, None, None)
        bob.receive(sent)
    assert (alice.state.epoch, bob.state.epoch) == (1, 1)


def test_one_way_traffic_of_an_asker_repeats_the_ask_for_ever() -> None:
    alice, bob = asked()
    asks = set()
    for _ in range(200):
        sent = bob.send()
        asks.add(sent.header.ask)
        alice.receive(sent)
    assert len(asks) == 1
    assert (alice.state.epoch, bob.state.epoch) == (0, 0)


def test_without_room_asks_and_answers_wait() -> None:
    alice, bob = fresh()
    bob.receive(alice.send())
    assert bob.state.would_attach(turned=True)
    assert not bob.state.would_attach(turned=False)
    no_room = bob.send(room=False)
    assert (no_room.header.ask, bob.state.asking) == (None, None)
    alice.receive(no_room)
    ask = bob.send()
    assert ask.header.ask is not None
    assert bob.send(room=False).header.ask is None
    assert bob.send().header.ask == ask.header.ask
    alice.receive(ask)
    waiting = alice.send(room=False)
    assert waiting.header == SparseHeader(0, 0, 1)
    assert alice.state.epoch == 0
    assert not alice.state.must_attach
    assert alice.state.would_attach(turned=False)
    bob.receive(waiting)
    answer = alice.send()
    assert (answer.header.epoch, alice.state.must_attach) == (1, True)
    bob.receive(answer)


def test_an_answer_cannot_be_left_out() -> None:
    alice, bob, _ = answered()
    before = alice.encoded()
    with pytest.raises(ValueError, match="no room"):
        alice.state.send(turned=True, room=False)
    assert alice.encoded() == before
    bob.receive(alice.send())
    alice.receive(bob.send())
    alice.send(room=False)


def test_turns_count_without_room_too() -> None:
    """An epoch that is due is asked for as soon as there is room."""
    alice, bob = at_epoch(1)
    for _ in range(TURNS):
        for one, other in ((alice, bob), (bob, alice)):
            sent = one.send(room=False)
            assert sent.header.ask is None
            other.receive(sent)
    assert alice.send().header.ask is not None


# what is stored


DAMAGE: list[Callable[[SparseRatchet], SparseRatchet]] = [
    lambda state: replace(state, root=bytes(31)),
    lambda state: replace(state, send_chain=b""),
    lambda state: replace(state, epoch=2**32),
    lambda state: replace(state, turns=-1),
    lambda state: replace(state, asked=bytes(ASK_BYTES - 1)),
    lambda state: replace(state, answer=bytes(ANSWER_BYTES + 1)),
    lambda state: replace(state, skipped={bytes(8): bytes(31)}),
    lambda state: replace(state, skipped={n.to_bytes(8, "big"): bytes(32) for n in range(2_001)}),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_stored_states_are_validated(damage: Callable[[SparseRatchet], SparseRatchet]) -> None:
    alice, _, _ = answered()
    with pytest.raises(msgspec.ValidationError):
        DECODER.decode(ENCODER.encode(damage(alice.state)))
