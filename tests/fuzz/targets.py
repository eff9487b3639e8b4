"""All fuzzing targets, by name."""

from __future__ import annotations

from typing import Final

from tests.fuzz import audit, billing, client, crypto, reports, wire
from tests.fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for module in (wire, billing, reports, client, audit, crypto)
    for target in module.TARGETS
}
