"""Windows: how long they are, and when they are open. All are half-open, in whole seconds."""

from __future__ import annotations

from typing import Final

from kurir_billing.kinds import PassKind
from kurir_wire.ids import DAY

WINDOW: Final = DAY
"""Seconds for which an answer is free, counted from the grant's beacon: ``[t, t + 86400)``. As long
may the first answer to an entry grant take."""

PASS_LENGTH: Final = {PassKind.CONVERSATION: DAY, PassKind.ENTRY: 3 * DAY}
"""Seconds for which a pass holds, counted from the acceptance of the message that opened it."""

SETTLE_WITHIN: Final = 30 * DAY
"""Seconds after its acceptance in which a message can settle."""


def is_open(since: int | None, length: int, now: int) -> bool:
    """Whether a window that opened at ``since`` (``None``: never) contains ``now``."""
    return since is not None and since <= now < since + length
