"""A relay's disk as it is after the power went: what was synced, and any part of the rest.

``shim.c`` records what a real relay does to its files. :class:`Disk` plays such a record up to some
moment and makes the files that a power cut at that moment may leave: every write that no sync
followed is there or not, in pieces of a sector, in any combination; a file that was made or removed
is there or not until its folder was synced. That is less than any real disk promises.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

SECTOR: Final = 512
_HEAD: Final = 18
_SUFFIX: Final = {"d": "", "w": "-wal", "j": "-journal"}


def built(folder: Path) -> Path:
    """The shim as a library; the test is skipped where there is no way to it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("needs LD_PRELOAD and a C compiler")
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    command = [compiler, "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*command, str(source), "-ldl", "-pthread"], check=True)
    return library


def preloaded(library: Path, db: Path, **more: Path) -> Sequence[str]:
    """What stands before a command to put it on the shim. ``log`` and ``fail`` as in ``shim.c``."""
    named = {f"KURIR_SHIM_{name.upper()}": str(path) for name, path in more.items()}
    named |= {"LD_PRELOAD": str(library), "KURIR_SHIM_DB": str(db)}
    return ("env", *(f"{name}={value}" for name, value in named.items()))


@dataclass(frozen=True)
class Change:
    """``end``: bytes of the record up to and with this one."""

    what: str
    file: str
    offset: int
    data: bytes
    end: int


def recorded(log: Path) -> list[Change]:
    data, at = log.read_bytes(), 0
    changes: list[Change] = []
    while at < len(data):
        what, file = chr(data[at]), chr(data[at + 1])
        offset = int.from_bytes(data[at + 2 : at + 10], "little")
        length = int.from_bytes(data[at + 10 : at + 18], "little")
        at += _HEAD + length
        changes.append(Change(what, file, offset, data[at - length : at], at))
    return changes


@dataclass
class File:
    """``kept``: as it was at the last sync; ``loose``: what has been done since."""

    kept: bytearray = field(default_factory=bytearray)
    loose: list[Change] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.loose:
            _apply(self.kept, change.what, change.offset, change.data)
        self.loose = []

    def after_a_cut(self, rng: random.Random, share: float) -> bytes:
        """With about ``share`` of what was not synced."""
        left = bytearray(self.kept)
        for change in self.loose:
            if change.what == "t":
                if rng.random() < share:
                    _apply(left, "t", change.offset, b"")
                continue
            for offset, piece in _sectors(change):
                if rng.random() < share:
                    _apply(left, "w", offset, piece)
        return bytes(left)


class Disk:
    """Files by kind: ``d`` the database, ``w`` its log, ``j`` its journal."""

    def __init__(self, before: Mapping[str, bytes]) -> None:
        """:param before: the files when the record began"""
        self._names = {kind: File(bytearray(data)) for kind, data in before.items()}
        self._kept_names = dict(self._names)
        self._loose_names: list[tuple[str, File | None]] = []

    def play(self, change: Change) -> None:
        match change.what, change.file:
            case "s", "D":
                for kind, file in self._loose_names:
                    _bind(self._kept_names, kind, file)
                self._loose_names = []
            case "s", kind:
                self._names[kind].sync()
            case "o", kind:
                self._rename(kind, File())
            case "u", kind:
                self._rename(kind, None)
            case _, kind:
                self._names[kind].loose.append(change)

    def cut(self, rng: random.Random) -> dict[str, bytes]:
        """The files that are left; the disk itself goes on."""
        share = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        names = dict(self._kept_names)
        for kind, file in self._loose_names[: rng.randint(0, len(self._loose_names))]:
            _bind(names, kind, file)
        return {kind: file.after_a_cut(rng, share) for kind, file in names.items()}

    def _rename(self, kind: str, file: File | None) -> None:
        _bind(self._names, kind, file)
        self._loose_names.append((kind, file))


def put(files: Mapping[str, bytes], db: Path) -> None:
    """Write such files to a folder."""
    for kind, suffix in _SUFFIX.items():
        path = Path(f"{db}{suffix}")
        path.unlink(missing_ok=True)
        if kind in files:
            path.write_bytes(files[kind])
    Path(f"{db}-shm").unlink(missing_ok=True)
    os.chmod(db, 0o600)


def _bind(names: dict[str, File], kind: str, file: File | None) -> None:
    if file is None:
        names.pop(kind, None)
    else:
        names[kind] = file


def _apply(data: bytearray, what: str, offset: int, piece: bytes) -> None:
    end = offset if what == "t" else offset + len(piece)
    if len(data) < end:
        data.extend(bytes(end - len(data)))
    if what == "t":
        del data[offset:]
    else:
        data[offset:end] = piece


def _sectors(change: Change) -> list[tuple[int, bytes]]:
    pieces: list[tuple[int, bytes]] = []
    at, end = change.offset, change.offset + len(change.data)
    while at < end:
        until = min(end, (at // SECTOR + 1) * SECTOR)
        pieces.append((at, change.data[at - change.offset : until - change.offset]))
        at = until
    return pieces
