"""What a process that holds secrets asks of the system."""

from __future__ import annotations

import resource


def no_core_dumps() -> None:
    """Leave no image of this process on the disk if it crashes. Python cannot wipe secrets from
    memory, so that keys, passphrase and texts would all be in it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
