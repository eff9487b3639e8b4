"""What a canary search prints: a short table, the baseline's own occurrences, a verdict."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from kurir_audit.canary import EXACT_BYTES, Finding, Judged, Outcome
from kurir_audit.stored import show

LISTED: Final = 12
"""Terms of the baseline's own text that are listed; ``--json`` and ``--all`` have the rest."""


def outcome_view(outcome: Outcome, everything: bool = False) -> Group:
    """The whole outcome but for the verdict."""
    parts: list[Table | Text] = [_places(outcome)]
    if outcome.leaks:
        head = "found beyond the baseline" if outcome.has_baseline else "found"
        parts += (Text(f"\n{head}", style="bold red"), _table_of(outcome.leaks))
    if outcome.unjudged:
        head = (
            "found, not judged: text in which only a baseline could tell a leak from public words"
        )
        parts += (Text(f"\n{head}", style="bold yellow"), _table_of(outcome.unjudged))
    parts += _explained(outcome, everything)
    if outcome.controls:
        controls = Text("\ncontrols  ", style="bold")
        for control in outcome.controls:
            mark, style = (f"{control.count}×", "green") if control.found else ("missing", "red")
            controls.append(f"\n  {control.what}: ", style="default")
            controls.append(mark, style=style)
        parts.append(controls)
    return Group(*parts)


def verdict(outcome: Outcome) -> Text:
    """One sentence that says what follows, and one on how it was judged."""
    count = len(outcome.terms)
    text = Text()
    if outcome.leaks:
        leaked = {finding.term for finding in outcome.leaks}
        text.append(
            f"found: {len(leaked)} of {count} terms stand where the relay can see them",
            style="bold red",
        )
    elif outcome.blind:
        text.append(
            "blind: this search could not see, so finding nothing means nothing",
            style="bold yellow",
        )
    elif outcome.unjudged:
        text.append(f"found, not judged: {_unjudged(outcome)}", style="bold yellow")
    elif outcome.has_baseline:
        text.append(
            f"clean: 0 occurrences of {count} terms beyond those of the baseline",
            style="bold green",
        )
    else:
        text.append(
            f"clean: 0 occurrences of {count} terms beyond those by chance", style="bold green"
        )
    if outcome.unjudged and (outcome.leaks or outcome.blind):
        text.append(f"\n  found, not judged: {_unjudged(outcome)}", style="yellow")
    for why in outcome.blind:
        text.append(f"\n  {why}", style="yellow")
    short = count - outcome.exact_terms
    text.append(
        f"\n{outcome.searches:,} searches; {outcome.exact_terms} terms judged exactly", style="dim"
    )
    if short and outcome.has_baseline:
        text.append(
            f", {short} shorter ones (under {EXACT_BYTES} bytes)\nby chance: alarm below "
            f"{outcome.threshold:.0e} each, one in a million for the whole search",
            style="dim",
        )
    elif short:
        text.append(
            f", {short} shorter ones (under {EXACT_BYTES} bytes)\nby models, for want of a "
            "baseline: one in text counts, public or not, or stays unjudged",
            style="dim",
        )
    return text


def _unjudged(outcome: Outcome) -> str:
    terms = {finding.term for finding in outcome.unjudged}
    return f"{len(terms)} of {len(outcome.terms)} terms, for want of a baseline"


def _places(outcome: Outcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    table.add_column("searched", ratio=1)
    explained = "in baseline" if outcome.has_baseline else "not judged"
    for head in ("    bytes", "not there", explained, "by chance", "beyond"):
        table.add_column(head, justify="right", width=len(head))
    for name, size in outcome.places:
        here = [finding for finding in outcome.findings if finding.place == name]
        leaked = {f.term for f in here if f.leaked}
        # The one is there with a baseline only, the other without one only.
        public = {f.term for f in here if f.judged in (Judged.EXACT, Judged.NOT)} - leaked
        chance = {f.term for f in here} - leaked - public
        table.add_row(
            name,
            f"{size:,}",
            str(len(outcome.terms) - len(leaked) - len(public) - len(chance)),
            Text(str(len(public)), style="" if outcome.has_baseline or not public else "yellow"),
            str(len(chance)),
            Text(str(len(leaked)), style="bold red" if leaked else "bold green"),
        )
    return table


def _table_of(findings: tuple[Finding, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    for head in ("term", "as", "in", "at"):
        table.add_column(head, ratio=2, overflow="fold")
    for head in ("here", "baseline", "p"):
        table.add_column(head, justify="right", width=8)
    for leak in findings:
        table.add_row(
            show(leak.term),
            leak.encoding,
            leak.place,
            leak.where,
            str(leak.count),
            str(leak.base_count),
            "exact" if leak.probability is None else f"{leak.probability:.0e}",
        )
    return table


def _explained(outcome: Outcome, everything: bool) -> list[Text]:
    """What the baseline has too, in few lines: public text, and short words."""
    parts = []
    by_term: dict[str, list[Finding]] = {}
    for finding in outcome.findings:
        if finding.judged is Judged.EXACT and not finding.leaked:
            by_term.setdefault(finding.term, []).append(finding)
    if by_term:
        head = "in the baseline as well: the relay's own public text (here / baseline)"
        parts.append(Text(f"\n{head}", style="bold"))
        shown = list(by_term.items())[: None if everything else LISTED]
        for term, found in shown:
            line = Text(f"  {show(term)}  ")
            places = (f"{f.place} ({f.encoding}) {f.count}/{f.base_count}" for f in found)
            line.append("; ".join(places), style="dim")
            parts.append(line)
        if len(shown) < len(by_term):
            left = len(by_term) - len(shown)
            parts.append(Text(f"  … and {left} more (--all lists them)", style="dim"))
    chance = {f.term for f in outcome.findings if f.judged is Judged.CHANCE and not f.leaked}
    if chance:
        parts.append(Text("\njudged by chance, and within it", style="bold"))
        words = sorted(map(show, chance), key=lambda word: (len(word), word))
        parts.append(Text("  " + "  ".join(words), style="dim"))
    return parts
