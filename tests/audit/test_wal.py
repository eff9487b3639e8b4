"""A write-ahead log is read page by page: how often a page was written says nothing about words."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from kurir_audit.canary import search
from kurir_audit.places import Evidence, gather


@contextlib.contextmanager
def written(folder: Path, times: int, word: str = "nothing") -> Iterator[Path]:
    """A database that has grown ``times`` times since its log was last emptied."""
    folder.mkdir()
    path = folder / "relay.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE note(text)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for _ in range(times):
            # More than a page each, so that page 1 with the file's size is written anew.
            connection.execute("INSERT INTO note VALUES (zeroblob(5000))")
        connection.execute("INSERT INTO note VALUES (?)", (word,))
        yield path


def evidence(folder: Path, times: int, word: str = "nothing") -> Evidence:
    with written(folder, times, word) as path:
        copy = folder / "copy.db"
        shutil.copyfile(path, copy)
        shutil.copyfile(folder / "relay.db-wal", folder / "copy.db-wal")
        return gather(copy)


def test_public_text_that_was_written_more_often_is_no_leak(tmp_path: Path) -> None:
    here, there = evidence(tmp_path / "here", 20), evidence(tmp_path / "there", 1)
    place = here.place("database, files")
    assert place is not None
    assert place.data.count(b"SQLite format 3") > 10
    assert search(["SQLite", "format", "for", "SQLite format 3"], here, there).leaks == ()


def test_a_word_in_a_page_of_the_log_is_found_and_placed(tmp_path: Path) -> None:
    here = evidence(tmp_path / "here", 3, "perkara")
    leaks = search(["perkara"], here, evidence(tmp_path / "there", 3)).leaks
    (in_files,) = (leak for leak in leaks if leak.place == "database, files")
    assert in_files.where.startswith("copy.db-wal frame ")


def test_a_log_that_is_none_is_read_as_it_is(tmp_path: Path) -> None:
    with written(tmp_path / "here", 1) as path:
        copy = tmp_path / "copy.db"
        shutil.copyfile(path, copy)
    (tmp_path / "copy.db-wal").write_bytes(b"perkara in a file of no format")
    place = gather(copy).place("database, files")
    assert place is not None
    assert b"perkara" in place.data
