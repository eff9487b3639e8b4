"""Sessions in real life: both sides start at once, a backup is restored, a device starts again."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from kurir_crypto.errors import (
    AuthenticationError,
    CryptoError,
    DamagedStateError,
    UnknownSessionError,
)
from kurir_crypto.message import choose_session, decrypt, encrypt, inspect
from kurir_crypto.session import MAX_SESSIONS, MAX_STARTED, Session, next_start, surplus
from kurir_crypto.skipped import MAX_SKIPPED
from tests.crypto.parties import BINDING, NOW, Party, only, talking

PAYLOAD = bytes(range(32))


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


@pytest.mark.parametrize("suite", [0, 1, 3, 255])
def test_a_stored_session_of_an_unknown_suite_is_refused(suite: int) -> None:
    session = replace(only(talking()[0]), suite=suite)
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


def numbered(count: int, *, same_minute: bool = False) -> list[Session]:
    """So many sessions with one device, the oldest first."""
    session = only(talking()[0])
    return [
        replace(session, started=NOW if same_minute else NOW + n, id=n.to_bytes(16, "big"))
        for n in range(count)
    ]


@pytest.mark.parametrize("same_minute", [False, True])
@pytest.mark.parametrize("count", [0, 1, MAX_SESSIONS, MAX_SESSIONS + 1, 3 * MAX_SESSIONS])
def test_the_oldest_sessions_are_too_many(count: int, same_minute: bool) -> None:
    sessions = numbered(count, same_minute=same_minute)
    shuffled = random.Random(count).sample(sessions, count)
    over = surplus(shuffled)
    assert len(over) == max(0, count - MAX_SESSIONS)
    assert {session.id for session in over} == {s.id for s in sessions[: len(over)]}
    if sessions:
        assert choose_session(shuffled).id not in {session.id for session in over}


def test_deleting_what_is_too_many_comes_to_rest() -> None:
    """Also for a peer that starts ever new sessions, which each get a start of their own."""
    sessions: list[Session] = []
    model = only(talking()[0])
    for number in range(2 * MAX_SESSIONS):
        started = next_start(sessions, NOW)
        sessions.append(replace(model, started=started, id=number.to_bytes(16, "big")))
        gone = {session.id for session in surplus(sessions)}
        sessions = [session for session in sessions if session.id not in gone]
        assert not surplus(sessions)
        assert choose_session(sessions).id == number.to_bytes(16, "big")
    assert len(sessions) == MAX_SESSIONS == 40


def test_a_session_has_room_for_all_that_is_kept_of_it() -> None:
    """What is written down of the greatest size a stored session has."""
    alice, bob = talking()
    session, message = only(alice), b""
    for _ in range(MAX_SKIPPED + 1):
        [session], message = encrypt([session], b"", BINDING)
    bob.receive(message)
    full = only(bob).to_bytes()
    assert 230_000 < len(full) < 240_000
    assert Session.from_bytes(full).to_bytes() == full
    assert max(len(party.to_bytes()) for party in (only(talking()[0]), only(talking()[1]))) < 5_000


def test_both_ratchets_go_into_each_key() -> None:
    """The Triple Ratchet: what is encrypted stays secret while either of the two does."""
    alice, bob = talking()
    _, headers, key = only(alice).send(PAYLOAD)
    session = only(bob)
    assert session.receive(headers, PAYLOAD)[1] == key
    other = talking()[1]
    for guess in (
        replace(session, ratchet=replace(session.ratchet, root=only(other).ratchet.root)),
        replace(session, sparse=replace(session.sparse, root=only(other).sparse.root)),
        replace(session, suite=3),
    ):
        assert guess.receive(headers, PAYLOAD)[1] != key
    assert session.receive(headers, bytes(32))[1] != key


def test_a_session_is_confirmed_by_the_first_message_that_opens() -> None:
    alice, bob = Party(), Party()
    alice.start(bob.bundle())
    message = alice.send(b"x")
    [entry] = inspect(message)
    assert entry.handshake is not None
    fresh = Session.respond(bob.identity, bob, entry.handshake, only(alice).suite, entry.session_id)
    assert [fresh.confirmed, only(alice).confirmed] == [False, False]
    assert decrypt(fresh, message, BINDING)[0].confirmed is True
    bob.receive(message)
    alice.receive(bob.send(b"y"))
    assert [only(bob).confirmed, only(alice).confirmed] == [True, True]
