"""The machine's clocks, as a test sets them."""

from __future__ import annotations

import pytest

from tests.server.rig import START


class Both:
    """The machine's clock and the steady one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.steady = float(START), 1_000.0
        monkeypatch.setattr("kurir_server.clock.time.time", lambda: self.wall)
        monkeypatch.setattr("kurir_server.clock.time.monotonic", lambda: self.steady)

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds
