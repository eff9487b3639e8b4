"""The measurement of metering runs, with charges that the relay takes and settles."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from bench import metering


def test_a_quick_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "metering.json"
    monkeypatch.setattr(metering, "pin", lambda pid, *, server: None)
    quick = ["metering", "--pairs", "2", "--rounds", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", quick)
    metering.main()
    report = json.loads(out.read_text())
    assert set(report["cpu_us"]) == set(metering.KINDS)
    assert all(math.isfinite(value) and value >= 0 for value in report["cpu_us"].values())
    assert set(report["aims"]) == set(metering.AIMS)
