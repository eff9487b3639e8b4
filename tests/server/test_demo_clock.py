"""The demo clock moves everything that depends on time, rates too, and never backwards."""

from __future__ import annotations

import io
from pathlib import Path

from kurir_server.clock import Clock
from kurir_server.log import Log
from kurir_server.rates import Allowance, Rate


def test_a_jump_earns_back_what_a_rate_allows(tmp_path: Path) -> None:
    file = tmp_path / "offset"
    file.write_text("0")
    clock = Clock(Log(io.StringIO()), file)
    allowance = Allowance(Rate(per_second=1 / 6, burst=45))
    assert allowance.take(clock.moment().tick, 45) is None
    assert allowance.take(clock.moment().tick) is not None
    file.write_text("300")
    assert allowance.take(clock.moment().tick, 45) is None


def test_a_jump_back_moves_nothing_back(tmp_path: Path) -> None:
    file = tmp_path / "offset"
    file.write_text("86400")
    clock = Clock(Log(io.StringIO()), file)
    before = clock.moment()
    file.write_text("-5")
    after = clock.moment()
    assert after.now >= before.now
    assert after.tick >= before.tick
