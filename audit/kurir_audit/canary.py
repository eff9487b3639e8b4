"""The canary search: does any word of a conversation stand where the relay could see it?

Each term is sought in every place in every spelling, and what is found is compared with a baseline:
the same demo, run with other words. A spelling of six bytes or more is judged *exactly*: it may
stand only in surroundings in which the baseline has it too. A shorter one turns up in ciphertext by
accident, so it is judged *by chance*: there is an alarm if accident explains the number of
occurrences with a probability below one in a million over the whole search.

Without a baseline a long spelling counts wherever it stands. A short one is held against plain
models: uniform bytes in surroundings like ciphertext, a high rate of words in those like text. What
goes beyond is found. In text, what does not go beyond cannot be told from the relay's own words; it
is *found, not judged*, which is never called clean.

Words of the relay's public text (a frame's name, a column's) are in the baseline; for them a leak
in exactly the same surroundings cannot be told apart, which the outcome says by listing them.

A search that cannot see finds nothing. So control words that are known to be there must be found,
in every family of places, on the wire in both directions; otherwise the outcome is *blind*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from kurir_audit import chance
from kurir_audit.controls import NO_CONTROLS, Control, Controls, check_controls
from kurir_audit.errors import EXIT_BLIND, EXIT_FOUND, EXIT_OK
from kurir_audit.needles import Haystack, Needle, like_text, needles_of, text_bytes
from kurir_audit.places import SEPARATOR, Evidence, Place

EXACT_BYTES: Final = 6
"""From this length on accident plays no part: six given bytes stand in ten megabytes of ciphertext
once in 28 million searches."""


class Judged(StrEnum):
    """How a spelling was judged in a place."""

    EXACT = "exact"
    CHANCE = "chance"
    NOT = "not judged"
    """Found, and without a baseline neither a leak nor an accident for certain."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One spelling of one term in one place in which it occurs."""

    term: str
    encoding: str
    place: str
    judged: Judged
    count: int
    base_count: int
    beyond: int
    """Distinct surroundings that only this run has."""
    expected: float | None
    """By chance; ``None`` if judged exactly."""
    probability: float | None
    """Upper bound of the chance of an accident as large; ``None`` if judged exactly."""
    leaked: bool
    where: str
    """An occurrence, if possible one that the baseline does not explain."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a search has to say."""

    terms: tuple[str, ...]
    places: tuple[tuple[str, int], ...]
    """Name and bytes."""
    has_baseline: bool
    searches: int
    exact_terms: int
    """Terms of which every spelling was judged exactly."""
    threshold: float
    """Below this probability one count is an alarm: FALSE_ALARM over the number of judgements."""
    findings: tuple[Finding, ...]
    controls: tuple[Control, ...]
    unparsed: tuple[str, ...]

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """What must not be."""
        return tuple(finding for finding in self.findings if finding.leaked)

    @property
    def unjudged(self) -> tuple[Finding, ...]:
        """What may be a leak or not: it takes a baseline to say."""
        return tuple(finding for finding in self.findings if finding.judged is Judged.NOT)

    @property
    def blind(self) -> tuple[str, ...]:
        """Why the search could not see; empty if it could."""
        missed = [f"{control.what} was not found" for control in self.controls if not control.found]
        return (*missed, *(f"not parsed: {note}" for note in self.unparsed))

    @property
    def exit_code(self) -> int:
        """A leak outweighs blindness: what was found was found. What could not be judged is not
        clean."""
        if self.leaks:
            return EXIT_FOUND
        return EXIT_BLIND if self.blind or self.unjudged else EXIT_OK


def search(
    terms: Iterable[str],
    evidence: Evidence,
    baseline: Evidence | None = None,
    controls: Controls = NO_CONTROLS,
) -> Outcome:
    """Search for every term in every place and judge what is found."""
    wanted = tuple(dict.fromkeys(term for term in terms if term))
    needles = needles_of(wanted)
    short = {needle.term for needle in needles if len(needle.data) < EXACT_BYTES}
    by_chance = sum(len(needle.data) < EXACT_BYTES for needle in needles) * len(evidence.places)
    if baseline is None:
        by_chance *= 2  # In text and in ciphertext, each by its own model.
    threshold = chance.FALSE_ALARM / max(1, by_chance)
    doubt = chance.FALSE_DOUBT / max(1, by_chance)
    findings: list[Finding] = []
    for place in evidence.places:
        base = None
        if baseline is not None:
            # A place that the baseline lacks is empty there, so that everything in it is beyond it.
            base = baseline.place(place.name) or Place(place.name, place.family, b"")
        judge = _Judge(place, base, threshold, doubt)
        findings += filter(None, map(judge.judge, judge.hay.candidates(needles)))
    return Outcome(
        terms=wanted,
        places=tuple((place.name, len(place.data)) for place in evidence.places),
        has_baseline=baseline is not None,
        searches=len(needles) * len(evidence.places),
        exact_terms=len(wanted) - len(short),
        threshold=threshold,
        findings=tuple(findings),
        controls=check_controls(evidence, controls),
        unparsed=evidence.unparsed,
    )


class _Judge:
    """Judges needles in one place against the same place of the baseline."""

    def __init__(self, place: Place, base: Place | None, threshold: float, doubt: float) -> None:
        self.hay = Haystack(place.data)
        self._place = place
        self._base = Haystack(base.data) if base is not None else None
        self._threshold = threshold
        self._doubt = doubt
        self._size = _weight(place.data)
        self._base_size = _weight(base.data) if base is not None else 0

    def judge(self, needle: Needle) -> Finding | None:
        """``None`` if the needle is not here."""
        here = self.hay.occurrences(needle.data)
        if not here:
            return None
        there = self._base.occurrences(needle.data) if self._base is not None else {}
        new = [around for around in here if around not in there]
        lost = sum(around not in here for around in there)
        shown = new[0] if new else next(iter(here))
        finding = Finding(
            needle.term,
            needle.encoding,
            self._place.name,
            Judged.EXACT,
            count=sum(map(len, here.values())),
            base_count=sum(map(len, there.values())),
            beyond=len(new),
            expected=None,
            probability=None,
            # Public text next to a key has other neighbours in every run. It is as often in the
            # baseline, so surroundings that only the baseline has weigh against new ones.
            leaked=len(new) > lost,
            where=self._place.where(here[shown][0]),
        )
        if len(needle.data) >= EXACT_BYTES:
            return finding
        if self._base is None:
            return self._modelled(finding, needle, [at for found in here.values() for at in found])
        return self._weighed(finding, needle, self._base, len(new), lost)

    def _modelled(self, finding: Finding, needle: Needle, found: list[int]) -> Finding:
        """The finding, judged without a baseline.

        In surroundings like ciphertext uniform bytes say what accident explains. In text nothing
        does: what is not too often for any text is left open, never called an accident.
        """
        data, length = self.hay.data, len(needle.data)
        in_text = [at for at in found if like_text(data, at, at + length)]
        text = chance.expected_in_text(needle.data, text_bytes(data))
        uniform = chance.expected_in_ciphertext(length, self._size)
        of_text = chance.model_tail(len(in_text), text)
        of_rest = chance.model_tail(len(found) - len(in_text), uniform)
        probability = min(of_text, of_rest)
        leaked = probability < self._threshold
        open_ = not leaked and (bool(in_text) or of_rest < self._doubt)
        # What is shown is what decided; text, if it is only there that anything is.
        shown = in_text if in_text and (of_text <= of_rest or not leaked) else found
        return replace(
            finding,
            judged=Judged.NOT if open_ else Judged.CHANCE,
            expected=text + uniform if in_text else uniform,
            probability=probability,
            leaked=leaked,
            where=self._place.where(shown[0]),
        )

    def _weighed(
        self, finding: Finding, needle: Needle, base: Haystack, count: int, base_count: int
    ) -> Finding:
        """The finding, judged by chance from the occurrences that surroundings do not explain."""
        if base_count:
            expected = base_count * self._size / self._base_size
            probability = chance.pair_tail(count, self._size, base_count, self._base_size)
        else:
            expected = chance.expected_by_model(
                needle.data, self._size, self._base_size, base.count
            )
            probability = chance.model_tail(count, expected)
        return replace(
            finding,
            judged=Judged.CHANCE,
            expected=expected,
            probability=probability,
            leaked=probability < self._threshold,
        )


def _weight(data: bytes) -> int:
    """Bytes in which a word could stand by accident: zeros fill unused pages, separators join."""
    return len(data) - data.count(0) - len(SEPARATOR) * data.count(SEPARATOR)
