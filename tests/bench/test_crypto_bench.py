"""The measurement of sessions: it measures what it says, and what it writes is complete."""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import crypto, crypto_work
from bench.crypto_kurir import Kurir, Person
from bench.crypto_library import Databases, Keeper, Library, in_memory, serialised
from bench.crypto_work import Rate, Work, overheads, timed
from kurir_crypto.handshake import HANDSHAKE_BYTES
from kurir_crypto.layout import ENTRY_BYTES, FRAME_BYTES
from kurir_crypto.session import Session
from kurir_crypto.sparse import ANSWER_BYTES, ASK_BYTES

PLAIN = FRAME_BYTES + ENTRY_BYTES


@pytest.fixture(params=["kurir", *crypto.PEERS])
def library(request: pytest.FixtureRequest) -> Library[Any, Any]:
    if request.param == "kurir":
        return Kurir()
    module, class_ = crypto.PEERS[request.param]
    for needed in ("vodozemac", "doubleratchet", "x3dh"):
        pytest.importorskip(needed)
    return getattr(importlib.import_module(module), class_)()


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Databases]:
    made = Databases(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["in memory", "serialised", "in SQLCipher"])
def keep(request: pytest.FixtureRequest, databases: Databases) -> Keeper:
    keepers: dict[str, Keeper] = {"in memory": in_memory, "serialised": serialised}
    return keepers.get(request.param, databases.keep)


def test_a_quick_run_measures_ours_in_every_mode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "crypto.json"
    crypto.main(["--quick", "--only", "kurir", "--out", str(out)])
    figures = json.loads(out.read_text())
    assert set(figures["rates"]) == {
        "set-ups with upkeep, in memory",
        *(
            f"{what}, {mode}"
            for what in ("bare set-ups", "ping-pong", "one way")
            for mode in ("in memory", "serialised", "in SQLCipher")
        ),
    }
    for label, by_library in figures["rates"].items():
        rates = by_library["kurir"]
        assert 0 < rates["lowest"] <= rates["per_cpu_second"] <= rates["highest"] < math.inf, label
        assert rates["per_wall_second"] > 0
    assert set(figures["versions"]) == {"kurir"}
    assert len(figures["cpus_busy_with_others"]) == 1
    named = {label.split(",")[0] for label in figures["rates"]}
    assert set(figures["aims"]) == named - {"set-ups with upkeep"}
    assert os.listdir(out.parent) == [out.name], "databases are left behind"
    assert "Nothing to compare with" in capsys.readouterr().out


def test_a_peer_that_is_missing_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(crypto.PEERS, "vodozemac", ("bench.crypto_nowhere", "Nobody"))
    assert [each.name for each in crypto.libraries(["vodozemac"])] == ["kurir"]
    assert "make bench-crypto" in capsys.readouterr().err


def test_bytes_are_those_of_the_layout() -> None:
    sizes = overheads(Kurir())
    assert sizes.pop("average of a ping-pong") == pytest.approx(PLAIN, abs=ASK_BYTES)
    assert sizes == {
        "first message": PLAIN + HANDSHAKE_BYTES,
        "later message": PLAIN,
        "later message with an ask": PLAIN + ASK_BYTES,
        "later message with an answer": PLAIN + ANSWER_BYTES,
    }


def test_a_conversation_goes_both_ways(library: Library[Any, Any], keep: Keeper) -> None:
    own, peer = library.person(0), library.person(1)
    session, first = library.start(own, library.offer(peer), b"first")
    opened, content = library.accept(peer, own, first)
    assert content == b"first"
    one, other = keep(library, session, 0), keep(library, opened, 1)
    for number in range(30):
        text = b"message %d" % number
        data = other.encrypt(text)
        assert text not in data
        assert one.decrypt(data) == text
        for more in (text + b"a", text + b"b"):
            assert other.decrypt(one.encrypt(more)) == more


def test_a_message_opens_once(library: Library[Any, Any], keep: Keeper) -> None:
    own, peer = library.person(0), library.person(1)
    session, first = library.start(own, library.offer(peer), b"first")
    opened, _ = library.accept(peer, own, first)
    one, other = keep(library, session, 0), keep(library, opened, 1)
    data = other.encrypt(b"once")
    assert one.decrypt(data) == b"once"
    with pytest.raises(Exception):  # noqa: B017, PT011 - each library has its own
        one.decrypt(data)
    assert other.decrypt(one.encrypt(b"still")) == b"still"


def test_people_who_replace_their_prekeys_never_run_out(library: Library[Any, Any]) -> None:
    own, peer = library.person(library.stock), library.person(library.stock)
    for _ in range(3):
        _, first = library.start(own, library.offer(peer), b"first")
        assert library.accept(peer, own, first)[1] == b"first"
        library.refill(peer)
    if isinstance(library, Kurir):
        assert len(peer.one_time) == len(peer.kem) == library.stock


def test_an_offer_with_another_signature_is_refused(library: Library[Any, Any]) -> None:
    own, peer, stranger = library.person(0), library.person(1), library.person(1)
    offered: Any = library.offer(peer)
    other: Any = library.offer(stranger)
    field = {"kurir": "signed", "vodozemac": "signature"}.get(library.name, "signed_pre_key_sig")
    changed = (
        type(offered)(offered.identity, other.signed, offered.kem, offered.one_time)
        if library.name == "kurir"
        else offered._replace(**{field: getattr(other, field)})
    )
    with pytest.raises(Exception):  # noqa: B017, PT011 - each library has its own
        library.start(own, changed, b"first")


def test_a_message_that_comes_out_wrong_ends_the_measurement() -> None:
    class Wrong(Kurir):
        def decrypt(self, session: Session, data: bytes) -> tuple[Session, bytes]:
            after, content = super().decrypt(session, data)
            return after, content[:-1]

    with pytest.raises(RuntimeError):
        overheads(Wrong())


class Recorded(Kurir):
    """Notes what is called, and whether by who started the session."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []

    def person(self, prekeys: int) -> Person:
        self.calls.append(("person", False))
        return super().person(prekeys)

    def start(self, own: Person, offered: object, plaintext: bytes) -> tuple[Session, bytes]:
        self.calls.append(("start", True))
        return super().start(own, offered, plaintext)

    def accept(self, own: Person, sender: Person, first: bytes) -> tuple[Session, bytes]:
        self.calls.append(("accept", False))
        return super().accept(own, sender, first)

    def refill(self, person: Person) -> None:
        self.calls.append(("refill", False))
        super().refill(person)

    def encrypt(self, session: Session, plaintext: bytes) -> tuple[Session, bytes]:
        self.calls.append(("encrypt", session.initiated))
        return super().encrypt(session, plaintext)

    def decrypt(self, session: Session, data: bytes) -> tuple[Session, bytes]:
        self.calls.append(("decrypt", session.initiated))
        return super().decrypt(session, data)

    def during(self, work: Work) -> tuple[int, list[tuple[str, bool]]]:
        """What ``work`` counts, and what it calls."""
        self.calls.clear()
        return work(), self.calls


THERE = [("encrypt", True), ("decrypt", False)]
BACK = [("encrypt", False), ("decrypt", True)]


def test_ping_pong_turns_after_each_message() -> None:
    library = Recorded()
    count, calls = library.during(crypto_work.ping_pong(library, in_memory, 0)())
    assert calls == (THERE + BACK) * (count // 2)


def test_one_way_never_turns() -> None:
    library = Recorded()
    count, calls = library.during(crypto_work.one_way(library, in_memory, 0)())
    assert calls == THERE * count


def test_set_ups_count_first_messages_and_no_more() -> None:
    library = Recorded()
    step = [("start", True), ("encrypt", True), ("accept", False)]
    count, calls = library.during(crypto_work.bare_set_ups(library, in_memory)())
    assert calls == step * count, "prekeys are made before"
    count, calls = library.during(crypto_work.kept_set_ups(library, in_memory)())
    assert calls == [*step, ("refill", False)] * count


def test_serialised_and_stored_states_are_read_and_written_at_each_step(
    databases: Databases,
) -> None:
    class Counted(Kurir):
        dumped = loaded = 0

        def dump(self, session: Session) -> bytes:
            self.dumped += 1
            return super().dump(session)

        def load(self, state: bytes) -> Session:
            self.loaded += 1
            return super().load(state)

    for keep in (serialised, databases.keep):
        library = Counted()
        work = crypto_work.one_way(library, keep, 0)()
        before = library.dumped, library.loaded
        steps = 2 * work()
        assert (library.dumped - before[0], library.loaded - before[1]) == (steps, steps)


@pytest.mark.parametrize(
    ("name", "peer", "ours", "theirs", "said"),
    [
        ("one way", "vodozemac", 13.0, 10.0, "reached"),
        ("one way", "vodozemac", 12.9, 10.0, "SHORT"),
        ("ping-pong", "vodozemac", 10.0, 10.1, "SHORT"),
        ("bare set-ups", "X3DH+DoubleRatchet", 39.0, 10.0, "SHORT"),
        ("bare set-ups", "vodozemac", 1.0, 10.0, None),
    ],
)
def test_it_says_where_an_aim_is_missed(
    name: str, peer: str, ours: float, theirs: float, said: str | None
) -> None:
    line = crypto.Scenario(
        "in memory", name, {"kurir": [Rate(ours, 1.0)] * 3, peer: [Rate(theirs, 1.0)] * 3}
    )
    text = crypto.report([line], {"kurir": {}, peer: {}}, [None])
    found = [row for row in text.splitlines() if "  aim " in row]
    assert len(found) == (said is not None)
    assert all(f": {said}" in row and f"{ours / theirs:.2f}" in row for row in found)


def test_time_spent_preparing_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    prepared = []
    monkeypatch.setattr("bench.crypto_work.time.process_time", lambda: float(next(clock)))
    monkeypatch.setattr("bench.crypto_work.time.perf_counter", lambda: 10.0 * next(clock))

    def prepare() -> Any:
        for _ in range(10):
            next(clock)
        prepared.append(True)
        return lambda: 6

    # Each work takes one second of CPU and thirty of wall time by these clocks.
    assert timed(prepare, 3.0) == pytest.approx((6.0, 0.2))
    assert len(prepared) == 1, "long waits end it too"
