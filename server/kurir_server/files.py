"""Files of an operator: written whole or not at all, for its eyes only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from kurir_server.errors import ConfigError


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """An empty file beside ``target``, mode 0600, that takes its name when the block ends well;
    else it is gone, and so is what SQLite left beside it.

    :raises ConfigError: the target exists, or cannot be written
    """
    if target.exists():
        raise ConfigError(f"{target} exists already", "give another file")
    partial = target.with_name(target.name + ".new")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield partial
        sync(partial)
        partial.replace(target)
        sync(target.parent)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """On disk when it returns; a folder too: then the names in it are."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
