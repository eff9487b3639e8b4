"""How long a thief of one device's state can read on: the figures of docs/protocol.md, "Ratchet".

The thief takes all that a device has stored of a session at some moment, then sees every message
and does with his copy whatever the device does with its own, as far as what he knows goes:

- a *classical* thief knows no secret that was made after the theft;
- a *quantum* thief gets the secret of every X25519 ratchet key of both sides, of all times. Of
  ML-KEM he has only what lay in the stolen state.

Both follow the same conversations; a theft is tried at each moment, from either side.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from kurir_crypto import message as message_module
from kurir_crypto import ratchet as ratchet_module
from kurir_crypto import sparse as sparse_module
from kurir_crypto.aead import gcm_decrypt
from kurir_crypto.curve import CurveSecret, OwnCurvePublic, generate_x25519
from kurir_crypto.errors import CryptoError
from kurir_crypto.keys import OwnKemPreKey
from kurir_crypto.layout import Layout, parse
from kurir_crypto.message import decrypt
from kurir_crypto.session import Session
from kurir_crypto.sparse import ANSWER_BYTES, ASK_BYTES, SparseRatchet
from kurir_wire.prekeys import PREKEY_LAST_RESORT
from tests.crypto.parties import BINDING, Party, only

CLASSICAL_TURNS = 1
"""A classical thief reads at most the rest of the present turn and the one after it: the first turn
of the robbed device locks him out."""
QUANTUM_TURNS = 11
"""A quantum thief reads at most so many turns of both sides together after the one in which the
theft happened. Worst is a theft while the device's own ask is under way: the next epoch is lost
too, and lasts for the ten turns after the answer."""

PING_PONG = 1
"""Messages in a turn, where a turn is one message: then the figures are messages."""
LAST_THEFT = 34
"""A turn; thefts in three epochs are tried."""
FOLLOWED = 2 * QUANTUM_TURNS
"""Turns for which a thief goes on trying."""

CurveSecrets = dict[bytes, CurveSecret]


class Step(NamedTuple):
    """One message that one of the two sent and the other opened, and what both stored then."""

    turn: int
    by_initiator: bool
    message: bytes
    content: bytes
    initiator: bytes
    responder: bytes

    def stored(self, initiator: bool) -> bytes:
        return self.initiator if initiator else self.responder


@dataclass(frozen=True)
class Recording:
    """A conversation, and the secret of every ratchet key that was made in it."""

    steps: list[Step]
    secrets: CurveSecrets
    alice: Party
    bob: Party


@functools.cache
def recording(burst: int, turns: int = LAST_THEFT + FOLLOWED + 1) -> Recording:
    """Turns of ``burst`` messages each, beginning with the initiator's. Nothing is lost."""
    secrets: CurveSecrets = {}

    def noted() -> tuple[CurveSecret, OwnCurvePublic]:
        secret, public = generate_x25519()
        secrets[public] = secret
        return secret, public

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ratchet_module, "generate_x25519", noted)
        alice, bob = Party(), Party()
        secrets[bob.signed[1].own_public] = bob.signed[1].secret
        alice.start(bob.bundle())
        steps = []
        for turn in range(turns):
            sender, reader = (alice, bob) if turn % 2 == 0 else (bob, alice)
            for number in range(burst):
                content = f"{turn}/{number}".encode()
                message = sender.send(content)
                assert reader.receive(message) == content
                stored = only(alice).to_bytes(), only(bob).to_bytes()
                steps.append(Step(turn, sender is alice, message, content, *stored))
    return Recording(steps, secrets, alice, bob)


@dataclass
class Thief:
    """Follows a conversation with a copy of one side's session."""

    session: Session
    initiator: bool
    secrets: Mapping[bytes, CurveSecret] = field(default_factory=dict)

    def reads(self, step: Step) -> bool:
        """Whether he can open that message; if he can, his copy goes along."""
        try:
            if step.by_initiator == self.initiator:
                after, content = self._as_the_sender(step.message)
            else:
                after, content = decrypt(self.session, step.message, BINDING)
        except CryptoError:
            return False
        assert content == step.content
        self.session = after
        return True

    def _as_the_sender(self, message: bytes) -> tuple[Session, bytes]:
        """Do what the robbed device did when it sent that message."""
        layout = parse(message)
        [entry] = layout.entries
        curve, sparse = entry.head.headers
        ask, answer = sparse.ask or bytes(ASK_BYTES), sparse.answer or bytes(ANSWER_BYTES)

        # All that is public he has from the message; what is secret he knows or has to guess.
        def curve_key() -> tuple[CurveSecret, OwnCurvePublic]:
            secret = self.secrets.get(curve.public, CurveSecret(bytes(32)))
            return secret, OwnCurvePublic(curve.public)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ratchet_module, "generate_x25519", curve_key)
            patch.setattr(sparse_module, "generate_768", lambda: (bytes(64), ask))
            patch.setattr(sparse_module, "encapsulate_768", lambda _: (bytes(32), answer))
            after, _, key = self.session.send(payload_of(layout))
        return after, opened(self.session, layout, key)


def payload_of(layout: Layout) -> bytes:
    return message_module._payload_hash(2, BINDING, layout.commitment, layout.ciphertext)


def opened(session: Session, layout: Layout, key: bytes) -> bytes:
    """The content of a message with one entry, by that entry's key."""
    [entry] = layout.entries
    associated = message_module._entry_associated(session, entry.head)
    content_key = gcm_decrypt(key, entry.wrapped, associated)
    cipher_key, _ = message_module._content_keys(2, content_key)
    return gcm_decrypt(
        cipher_key, layout.ciphertext, message_module._content_associated(2, BINDING)
    )


class Theft(NamedTuple):
    """What came of one."""

    phase: str
    messages: int
    turns: int


def phase_of(sparse: SparseRatchet) -> str:
    """Where in an epoch a state is."""
    names = {
        "asking": sparse.asking,
        "asked": sparse.asked,
        "answering": sparse.answer,
        "former chain": sparse.former,
    }
    return ", ".join(name for name, value in names.items() if value is not None) or "at rest"


def thefts(recorded: Recording, *, quantum: bool) -> list[Theft]:
    """Of every stored state of either side. A thief who is locked out once stays out."""
    results = []
    for index, step in enumerate(recorded.steps):
        if step.turn > LAST_THEFT:
            break
        for initiator in (True, False):
            session = Session.from_bytes(step.stored(initiator))
            thief = Thief(session, initiator, recorded.secrets if quantum else {})
            later = [s for s in recorded.steps[index + 1 :] if s.turn <= step.turn + FOLLOWED]
            read = [thief.reads(other) for other in later]
            count = read.index(False)
            assert not any(read[count:])
            last = later[count - 1].turn if count else step.turn
            results.append(Theft(phase_of(session.sparse), count, last - step.turn))
    return results


ALL_PHASES = {"at rest", "asking", "asked", "answering, former chain"}


def test_a_classical_thief_is_locked_out_by_the_next_turn_of_the_robbed() -> None:
    results = thefts(recording(PING_PONG), quantum=False)
    assert {theft.phase for theft in results} == ALL_PHASES
    assert max(theft.messages for theft in results) == CLASSICAL_TURNS


def test_a_quantum_thief_is_locked_out_by_the_next_epoch_he_holds_no_key_of() -> None:
    results = thefts(recording(PING_PONG), quantum=True)
    assert {theft.phase for theft in results} == ALL_PHASES
    assert max(theft.messages for theft in results) == QUANTUM_TURNS


def test_the_worst_moment_is_while_the_own_ask_is_under_way() -> None:
    results = thefts(recording(PING_PONG), quantum=True)
    worst = {theft.phase for theft in results if theft.messages == QUANTUM_TURNS}
    assert worst == {"asking"}
    # An answer that is still to be given locks him out with the very message that brings it.
    assert {theft.messages for theft in results if theft.phase == "asked"} == {0}


def test_the_figures_are_turns_where_a_turn_has_more_messages() -> None:
    recorded = recording(2)
    for quantum, most in ((False, CLASSICAL_TURNS), (True, QUANTUM_TURNS)):
        assert max(theft.turns for theft in thefts(recorded, quantum=quantum)) == most


def test_the_handshakes_kem_key_is_worth_nothing_from_the_third_message_on() -> None:
    """It may have been a last-resort one that is still held, so the first epoch is asked for at
    once: who robs a device after the first message reads the answer to it, and no more."""
    recorded = recording(PING_PONG)
    for initiator in (True, False):
        session = Session.from_bytes(recorded.steps[0].stored(initiator))
        thief = Thief(session, initiator, recorded.secrets)
        assert [thief.reads(step) for step in recorded.steps[1:]].count(True) == 1


def test_x25519_secrets_alone_open_nothing() -> None:
    """A quantum thief who stole no state, but knows every X25519 secret from the start: identity,
    prekeys, ratchet keys."""
    recorded = recording(PING_PONG)
    bob = recorded.bob
    name = PREKEY_LAST_RESORT, 1
    other = OwnKemPreKey.generate(bob.identity, *name)
    thief = Party(bob.identity)
    thief.signed = bob.signed
    thief.kem[name] = OwnKemPreKey(bob.kem[name].public, other._seed, other._key)
    for step in recorded.steps:
        with pytest.raises(CryptoError):
            thief.receive(step.message)
    assert not thief.sessions


def test_the_whole_double_ratchet_alone_opens_nothing() -> None:
    """More than the last: all states of the Double Ratchet at each moment, and the rest guessed."""
    recorded = recording(PING_PONG)
    for before, step in itertools.pairwise(recorded.steps):
        for initiator in (True, False):
            real = Session.from_bytes(before.stored(initiator))
            guess = SparseRatchet.start(bytes(32), initiator=initiator)
            guess = replace(guess, epoch=real.sparse.epoch, received=real.sparse.received)
            thief = Thief(replace(real, sparse=guess), initiator, recorded.secrets)
            assert not thief.reads(step)


def test_the_post_quantum_ratchet_alone_opens_no_more_than_a_classical_thief_does() -> None:
    """Should ML-KEM break: the Double Ratchet heals as fast without it."""
    recorded = recording(PING_PONG)
    for index, step in enumerate(recorded.steps[:LAST_THEFT]):
        for initiator in (True, False):
            thief = Thief(Session.from_bytes(step.stored(initiator)), initiator)
            count = 0
            for before, other in itertools.pairwise(recorded.steps[index:]):
                real = Session.from_bytes(before.stored(initiator))
                thief.session = replace(thief.session, sparse=real.sparse)
                if not thief.reads(other):
                    break
                count += 1
            assert count <= CLASSICAL_TURNS


@pytest.mark.parametrize("robbed_sends", [True, False])
def test_one_way_traffic_never_heals(robbed_sends: bool) -> None:
    """Where one side only sends, no secret is made: either thief reads for as long as it lasts."""
    recorded = recording(200, 2)
    for turn, sender_is_initiator in ((0, True), (1, False)):
        steps = [step for step in recorded.steps if step.turn == turn]
        initiator = sender_is_initiator == robbed_sends
        thief = Thief(Session.from_bytes(steps[0].stored(initiator)), initiator)
        assert all(thief.reads(step) for step in steps[1:])


def test_forward_secrecy_a_stolen_state_opens_nothing_of_before() -> None:
    recorded = recording(PING_PONG)
    for index in range(1, 30):
        for initiator in (True, False):
            state = Session.from_bytes(recorded.steps[index].stored(initiator))
            for step in recorded.steps[: index + 1]:
                assert not Thief(state, initiator, recorded.secrets).reads(step)


@pytest.mark.parametrize("initiator", [True, False])
def test_the_thiefs_copy_is_a_faithful_one(initiator: bool) -> None:
    """What the figures rest on: he is locked out by what he does not know, not by the model. Until
    then his copy is, byte for byte, what the device has; but for the seed of an ask."""
    recorded = recording(PING_PONG)
    compared = 0
    for step, following in itertools.pairwise(recorded.steps[:LAST_THEFT]):
        thief = Thief(Session.from_bytes(step.stored(initiator)), initiator, recorded.secrets)
        if thief.reads(following):
            real = Session.from_bytes(following.stored(initiator))
            asking = real.sparse.asking
            same_ask = replace(thief.session, sparse=replace(thief.session.sparse, asking=asking))
            assert same_ask.to_bytes() == real.to_bytes()
            compared += 1
    assert compared > LAST_THEFT * 0.8
