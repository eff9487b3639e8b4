"""The measurement of the relay runs, and what it writes is complete."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.aims import AIMS, Aim, Verdict, verdicts
from bench.driver import percentile


def test_a_quick_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "relay.json"
    monkeypatch.setattr(sys, "argv", ["bench", "--quick", "--only", "kurir", "--out", str(out)])
    bench.main()
    report = json.loads(out.read_text())
    figures = report["figures"]["kurir"]
    wanted = {"w1_cpu", "w16_cpu", "p50_ms", "p95_ms", "p99_ms", "store_per_s", "drain_per_s"}
    assert wanted <= set(figures)
    assert all(math.isfinite(value) and value >= 0 for value in figures.values())
    assert figures["killed_accepted"] > 0
    assert figures["killed_lost"] == 0
    assert [aim["figure"] for aim in report["aims"]] == ["killed_lost"]
    shown = capsys.readouterr().out
    assert all(figure in shown for figure in figures)


def test_percentiles() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert percentile([3.0], 0.99) == 3.0


def test_aims_compare_in_the_right_direction() -> None:
    at_most, at_least = Aim("a", None, 2.0), Aim("b", None, 2.0, at_most=False)
    assert [Verdict(at_most, value).is_reached for value in (1.9, 2.0, 2.1)] == [True, True, False]
    assert [Verdict(at_least, value).is_reached for value in (1.9, 2.0, 2.1)] == [False, True, True]
    ours = {aim.figure: 1.0 for aim in AIMS}
    assert len(verdicts({"kurir": ours})) == sum(aim.peer is None for aim in AIMS)
    assert verdicts({"kurir": ours, "prosody": {"w1_cpu": 4.0}})[0].value == 0.25
