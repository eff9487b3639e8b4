"""The canary search: finds what was planted, anywhere, and raises no false alarm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kurir_audit.canary import Judged, Outcome, search
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


def test_without_a_baseline_every_long_word_counts_and_no_short_one() -> None:
    outcome = run(["mailbox", "no"], evidence(3), baseline=None)
    assert {leak.term for leak in outcome.leaks} == {"mailbox"}
    assert {f.judged for f in outcome.findings if f.term == "no"} == {Judged.NOT}


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
