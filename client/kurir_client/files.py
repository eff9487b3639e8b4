"""Files that only their owner reads."""

from __future__ import annotations

import os
from pathlib import Path

from kurir_client.errors import ProfileError


def write_private(file: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file that only its owner reads, whole or not at all.

    :param durable: wait until it is on the disk; without, a power cut may lose it
    :raises ProfileError: the disk fails
    """
    partial = file.with_name(file.name + ".new")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            if durable:
                os.fsync(out.fileno())
        partial.replace(file)
    except OSError as error:
        raise ProfileError(f"cannot write {file}: {error.strerror}") from error
