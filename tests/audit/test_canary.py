"""The canary search: finds what was planted, anywhere, and raises no false alarm."""

from __future__ import annotations

import random
import string
from dataclasses import replace

import pytest

from kurir_audit.canary import Judged, Outcome, search
from kurir_audit.canary_view import verdict
from kurir_audit.capture import Direction
from kurir_audit.controls import Controls
from kurir_audit.errors import EXIT_BLIND, EXIT_FOUND, EXIT_OK
from kurir_audit.places import Evidence, Family, Place, wire_place
from tests.audit.synthetic import WORDS, evidence

PLACES = tuple(place.name for place in evidence(0, 2).places)
SEEN = Controls(wire=("control-ping",), database=("CREATE TABLE",), log=("ready",))
BASELINE = evidence(1_000_001)


def planted(place: str, data: bytes, seed: int = 1) -> Evidence:
    return evidence(seed, planted={place: b"\x00\x01" + data + b"\x02"})


def run(words: list[str], found: Evidence, baseline: Evidence | None = BASELINE) -> Outcome:
    return search(words, found, baseline, SEEN)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("word", ["kopernikus", "Überfahrt", "two words here", "MB-92KX7Q"])
def test_a_planted_word_is_found_wherever_it_is(place: str, encoding: str, word: str) -> None:
    outcome = run([word, "something else"], planted(place, word.encode(encoding)))
    assert outcome.exit_code == EXIT_FOUND
    assert {(leak.term, leak.place) for leak in outcome.leaks} == {(word, place)}
    assert encoding in {leak.encoding for leak in outcome.leaks}


def test_lower_case_and_json_escapes_are_found() -> None:
    assert run(["Kopernikus"], planted("log", b'"kopernikus"')).leaks
    assert run(["Überfahrt"], planted("log", b'{"text": "\\u00dcberfahrt"}')).leaks
    assert run(["Überfahrt"], planted("log", b'{"text": "\\u00fcberfahrt"}')).leaks


@pytest.mark.parametrize("seed", range(8))
def test_no_false_alarm_by_chance_or_by_the_amount_of_traffic(seed: int) -> None:
    outcome = run(list(WORDS), evidence(seed, messages=20 + 12 * (seed % 6)))
    assert outcome.leaks == ()
    assert outcome.exit_code == EXIT_OK
    # Not because nothing was there: short words and public ones were, and were judged.
    assert {f.judged for f in outcome.findings} == {Judged.EXACT, Judged.CHANCE}


@pytest.mark.parametrize("word", ["I", "no", "yes", "card", "08:15"])
@pytest.mark.parametrize("place", ["database, files", "wire, client to relay, unmasked"])
def test_short_words_planted_many_times_are_found(word: str, place: str) -> None:
    times = 6_000 if len(word) == 1 else 400 if len(word) == 2 else 40
    # Apart from each other by bytes that differ, as separate messages would be.
    data = b"".join(n.to_bytes(2, "big") + word.encode() for n in range(0x8000, 0x8000 + times))
    outcome = run([word], planted(place, data))
    assert [(leak.term, leak.place) for leak in outcome.leaks] == [(word, place)]
    (leak,) = outcome.leaks
    assert leak.judged is Judged.CHANCE
    assert leak.probability is not None
    assert leak.probability < outcome.threshold


def test_one_stray_short_word_is_an_accident() -> None:
    assert run(["yes"], planted("database, files", b"yes")).leaks == ()


def test_public_words_are_listed_and_do_not_count() -> None:
    outcome = run(["business", "mailbox", "submit"], evidence(7))
    assert outcome.exit_code == EXIT_OK
    assert {finding.term for finding in outcome.findings} >= {"mailbox", "submit"}
    assert all(f.base_count for f in outcome.findings if f.judged is Judged.EXACT)


def test_a_public_word_in_other_surroundings_is_a_leak() -> None:
    """The frame's name "submit" is on the wire all the time; a message that says it must not be."""
    said = planted("wire, client to relay, unmasked", b"please submit it")
    assert [leak.term for leak in run(["submit"], said).leaks] == ["submit"]
    logged = planted("log", b'{"time": "x", "level": "info", "event": "y", "text": "websocket"}')
    assert [leak.place for leak in run(["websocket"], logged).leaks] == ["log"]


def test_a_public_word_more_often_is_no_leak() -> None:
    """Half as many frames again hold the frame's name half as often again."""
    assert run(["submit", "beacon", "websocket"], evidence(5, messages=90)).leaks == ()


def test_without_a_baseline_every_long_word_counts_and_a_short_one_in_text_is_open() -> None:
    outcome = run(["mailbox", "no"], evidence(3), baseline=None)
    assert {leak.term for leak in outcome.leaks} == {"mailbox"}
    short = {f.place: f.judged for f in outcome.findings if f.term == "no"}
    assert set(short.values()) <= {Judged.NOT, Judged.CHANCE}
    assert search(["inf"], evidence(3)).exit_code != EXIT_OK


LINE = '{{"time": "2026-11-21T08:15:{0:02}Z", "level": "info", "event": "ready", "by": "{1}"}}\n'


def only(data: bytes, family: Family = Family.LOG) -> Evidence:
    return Evidence((Place("log", family, data),))


@pytest.mark.parametrize("size", [1, 100])
def test_without_a_baseline_a_planted_five_letter_word_is_found(size: int) -> None:
    said = "".join(LINE.format(n, "Alice") for n in range(5))
    rest = "".join(LINE.format(n % 60, "nobody") for n in range(size))
    outcome = search(["Alice"], only((said + rest).encode()))
    assert {leak.term for leak in outcome.leaks} == {"Alice"}
    assert outcome.exit_code == EXIT_FOUND


@pytest.mark.parametrize("times", [1, 5, 60])
@pytest.mark.parametrize("word", ["Bob", "Alice", "no", "I"])
def test_without_a_baseline_a_planted_short_word_is_never_clean(word: str, times: int) -> None:
    data = "".join(LINE.format(n % 60, word) for n in range(times)).encode()
    outcome = search([word], only(data), None, Controls(log=("ready",)))
    assert outcome.leaks or outcome.unjudged
    assert outcome.exit_code in (EXIT_FOUND, EXIT_BLIND)
    sentence = verdict(outcome).plain
    assert "clean" not in sentence
    assert outcome.leaks or "found, not judged: 1 of 1 terms" in sentence


@pytest.mark.parametrize("word", ["Bob", "bus", "08:15"])
def test_without_a_baseline_a_word_of_binary_data_is_found(word: str) -> None:
    rng = random.Random(3)
    data = b"".join(rng.randbytes(20_000) + word.encode() for _ in range(50))
    assert search([word], only(data)).exit_code == EXIT_FOUND


@pytest.mark.parametrize("seed", range(6))
def test_without_a_baseline_random_data_raises_no_alarm(seed: int) -> None:
    rng = random.Random(seed)
    words = [word for word in WORDS if len(word) >= 3]
    words += ["".join(rng.choices(string.ascii_letters, k=3)) for _ in range(100)]
    data = rng.randbytes(1_000_000)
    outcome = search(words, only(data, Family.DATABASE))
    assert outcome.leaks == ()
    assert outcome.unjudged == ()
    # Not because nothing was there.
    assert {f.judged for f in outcome.findings} == {Judged.CHANCE}


def test_a_place_that_the_baseline_lacks_excuses_nothing() -> None:
    bare = Evidence(tuple(p for p in BASELINE.places if p.name != "log"))
    assert run(["kopernikus"], planted("log", b"kopernikus"), bare).leaks


def test_where_it_was_found_is_said() -> None:
    marks = ((0, "connection 1"), (10, "connection 2"))
    place = Place("log", Family.LOG, b"..........abckopernikus", marks)
    (leak,) = search(["kopernikus"], Evidence((place,)), Evidence(())).leaks
    assert leak.where == "connection 2, byte 3"


def test_a_missing_control_is_blindness() -> None:
    found = evidence(2)
    for controls in (
        replace(SEEN, wire=("never crossed",)),
        replace(SEEN, database=("never stored",)),
        replace(SEEN, log=("never logged",)),
    ):
        outcome = search(["kopernikus"], found, BASELINE, controls)
        assert outcome.exit_code == EXIT_BLIND
        assert "never" in outcome.blind[0]


def test_a_control_in_one_direction_only_is_blindness() -> None:
    for way in Direction:
        outcome = search(
            ["kopernikus"],
            planted(wire_place(way, "unmasked"), b"other-control"),
            BASELINE,
            replace(SEEN, wire=("other-control",)),
        )
        assert outcome.exit_code == EXIT_BLIND
        assert len(outcome.blind) == 1


def test_a_control_in_the_raw_bytes_only_is_blindness() -> None:
    """Raw bytes show the relay's words and never a client's: finding it there proves nothing."""
    found = planted("wire, client to relay, raw", b"other-control")
    outcome = search(["kopernikus"], found, BASELINE, replace(SEEN, wire=("other-control",)))
    assert len(outcome.blind) == 2


def test_without_controls_what_every_relay_leaves_must_be_there() -> None:
    assert search(["kopernikus"], evidence(2), BASELINE).exit_code == EXIT_OK
    empty = Evidence(tuple(replace(place, data=b"") for place in evidence(2).places))
    outcome = search(["kopernikus"], empty, BASELINE)
    assert outcome.exit_code == EXIT_BLIND
    assert len(outcome.blind) == 4


def test_what_could_not_be_parsed_is_blindness() -> None:
    found = Evidence(evidence(2).places, ("connection 1, client to relay: perhaps it is TLS",))
    outcome = run(["kopernikus"], found)
    assert outcome.exit_code == EXIT_BLIND
    assert "TLS" in outcome.blind[0]


def test_a_leak_outweighs_blindness() -> None:
    outcome = search(["kopernikus"], planted("log", b"kopernikus"), None, Controls(log=("never",)))
    assert outcome.blind
    assert outcome.exit_code == EXIT_FOUND
