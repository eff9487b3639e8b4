"""Sessions in real life: both sides start at once, a backup is restored, a device starts again."""

from __future__ import annotations

import dataclasses

import pytest

from kurir_crypto.errors import (
    AuthenticationError,
    CryptoError,
    DamagedStateError,
    UnknownSessionError,
)
from kurir_crypto.message import choose_session, decrypt, encrypt, inspect
from kurir_crypto.session import MAX_STARTED, Session, next_start
from tests.crypto.parties import BINDING, NOW, Party, only, talking


def test_both_sides_starting_at_once_converge() -> None:
    for _ in range(8):  # the winner is random
        alice, bob = Party(), Party()
        alice.stock(1)
        bob.stock(1)
        alice.start(bob.bundle())
        bob.start(alice.bundle())
        from_alice, from_bob = alice.send(b"a"), bob.send(b"b")
        assert bob.receive(from_alice) == b"a"
        assert alice.receive(from_bob) == b"b"
        chosen = {choose_session(party.all_sessions()).id for party in (alice, bob)}
        assert len(chosen) == 1
        for turn in range(3):
            assert bob.receive(alice.send(bytes([turn]))) == bytes([turn])
            assert alice.receive(bob.send(bytes([turn]))) == bytes([turn])
        assert set(alice.sessions) == set(bob.sessions)


def test_the_losing_session_still_opens_what_was_under_way() -> None:
    alice, bob = Party(), Party()
    alice.start(bob.bundle())
    bob.start(alice.bundle())
    late = [alice.send(b"1"), alice.send(b"2")], [bob.send(b"3"), bob.send(b"4")]
    assert bob.receive(late[0][0]) == b"1"
    assert alice.receive(late[1][0]) == b"3"
    alice.receive(bob.send(b"x"))
    bob.receive(alice.send(b"y"))
    assert bob.receive(late[0][1]) == b"2"
    assert alice.receive(late[1][1]) == b"4"


@pytest.mark.parametrize("minutes", [0, 5])
def test_a_restored_backup_heals_by_a_fresh_handshake(minutes: int) -> None:
    alice, bob = talking()
    backup = alice.snapshot()[0]
    for _ in range(2):
        bob.receive(alice.send(b"x"))
        alice.receive(bob.send(b"y"))
    alice.sessions = dict(backup)
    # Alice's old state reuses numbers that bob has seen: it does not open, and bob can tell.
    broken = alice.send(b"from the past")
    before = bob.snapshot()
    with pytest.raises(CryptoError):
        bob.receive(broken)
    assert bob.snapshot() == before
    with pytest.raises(AuthenticationError):
        alice.receive(bob.send(b"to the past"))
    # She starts again, even within the same minute, and both sides move to the new session.
    fresh = alice.start(bob.bundle(), NOW + minutes)
    assert bob.receive(alice.send(b"again")) == b"again"
    assert choose_session(bob.all_sessions()).id == fresh.id
    assert alice.receive(bob.send(b"welcome back")) == b"welcome back"


def test_an_unknown_session_is_said_to_be_unknown() -> None:
    alice, bob = talking()
    alice.sessions.clear()  # a re-install
    with pytest.raises(UnknownSessionError):
        alice.receive(bob.send(b"x"))
    alice.start(bob.bundle())
    assert bob.receive(alice.send(b"again")) == b"again"


def test_next_start_wins_over_everything_known() -> None:
    alice, _ = talking()
    [session] = alice.all_sessions()
    assert next_start([], NOW + 9) == NOW + 9
    assert next_start([session], NOW + 9) == NOW + 9
    assert next_start([session], NOW) == NOW + 1
    assert next_start([session], 0) == NOW + 1
    assert next_start([], MAX_STARTED + 5) == MAX_STARTED


def test_sessions_come_back_from_bytes() -> None:
    alice, bob = talking()
    fresh = Session.initiate(alice.identity, bob.bundle(), NOW)
    for session in (only(alice), only(bob), fresh):
        again = Session.from_bytes(session.to_bytes())
        assert again.to_bytes() == session.to_bytes()
        for name in ("suite", "id", "peer", "started", "initiated", "confirmed", "handshake"):
            assert getattr(again, name) == getattr(session, name)


def test_a_stored_session_of_an_unknown_suite_is_refused() -> None:
    session = dataclasses.replace(only(talking()[0]), suite=2)
    with pytest.raises(DamagedStateError):
        Session.from_bytes(session.to_bytes())


@pytest.mark.parametrize("started", [0, MAX_STARTED])
def test_the_first_and_the_last_minute_fit(started: int) -> None:
    alice, bob = Party(), Party()
    assert alice.start(bob.bundle(), started).started == started
    assert bob.receive(alice.send(b"x")) == b"x"
    assert only(bob).started == started


def test_sending_moves_on_and_the_old_value_stays() -> None:
    alice, _ = talking()
    session = only(alice)
    before = session.to_bytes()
    [after], message = encrypt([session], b"x", BINDING)
    assert session.to_bytes() == before != after.to_bytes()
    assert inspect(message)[0].session_id == session.id == after.id
    with pytest.raises(CryptoError):
        decrypt(after, message, BINDING)


def test_a_message_of_one_session_does_not_open_by_another() -> None:
    alice, bob = talking()
    alice.start(bob.bundle(), NOW + 1)
    message = alice.send(b"x")
    old = next(s for s in bob.all_sessions())
    with pytest.raises(UnknownSessionError):
        decrypt(old, message, BINDING)
