"""Whether the places of rows in the file tell the order in which they were written.

As :mod:`tests.audit.test_join` asks, but of the tables alone and of many rows: what a day's traffic
shows faintly must not be there at all.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

from msgspec.structs import replace

from kurir_server.rows import Mailbox, Rows
from kurir_server.store import Store
from kurir_wire.ids import Hash, MailboxId
from tests.audit.joins import Pair, Value, ties
from tests.audit.pages import spots

IDS = "sqlite_autoindex_mailboxes_1"
HOUR = 480_000


@contextmanager
def small_relay(folder: Path) -> Iterator[Store]:
    store = Store.create(folder / f"{secrets.token_hex(8)}.db", bytes(32))
    store.connection.execute("PRAGMA synchronous = OFF")  # nobody cuts the power
    with closing(store):
        yield store
        store.checkpoint()


def make(store: Store, name: bytes) -> None:
    store.transact(
        lambda rows: rows.add_mailbox(
            MailboxId(name), secrets.token_bytes(32), Hash(secrets.token_bytes(32)), HOUR
        )
    )


def mailbox(store: Store, name: bytes) -> Mailbox:
    found = store.transact(lambda rows: rows.mailbox(MailboxId(name)))
    assert found is not None
    return found


def get_mail(store: Store, name: bytes) -> None:
    """What a first answer does to the counters."""
    counted = replace(mailbox(store, name), next_n=2, depth=1, size=2_048, handed_n=1)
    store.transact(lambda rows: rows.put_counters(counted))


def names(count: int) -> list[bytes]:
    return [secrets.token_bytes(32) for _ in range(count)]


def test_places_of_mailboxes_say_nothing_of_when_they_were_made_or_written_to(
    tmp_path: Path,
) -> None:
    """Of relays with a leaf of ids, and with several."""
    pairs: list[Pair] = []
    for count in [60] * 30 + [250] * 8:
        made = names(count)
        written = sorted(made, key=lambda name: name[::-1])
        with small_relay(tmp_path) as store:
            for name in made:
                make(store, name)
            for name in written:
                get_mail(store, name)
            path = store.path
        places = spots(path)
        for name in made:
            order: dict[str, Value] = {"made": made.index(name), "written": written.index(name)}
            pairs.append(
                Pair((path,), order, {tree: places[tree][name] for tree in ("mailboxes", IDS)})
            )
    assert ties(pairs) == []


def test_the_newest_mailbox_stands_anywhere_in_its_leaf(tmp_path: Path) -> None:
    """Before others came, and moved it again: one more in each of many copies of a relay."""
    with small_relay(tmp_path) as store:
        for name in names(700):
            make(store, name)
        base = store.path
    before = spots(base)
    firsts: dict[str, list[bool]] = {"mailboxes": [], IDS: []}
    moved: dict[str, list[int]] = {"mailboxes": [], IDS: []}
    for copy in range(100):
        path = tmp_path / f"{copy}.db"
        path.write_bytes(base.read_bytes())
        (new,) = names(1)
        with closing(Store.open(path)) as store:
            store.connection.execute("PRAGMA synchronous = OFF")
            make(store, new)
            store.checkpoint()
        after = spots(path)
        for tree in ("mailboxes", IDS):
            page = after[tree][new].page
            leaf = {name: spot for name, spot in after[tree].items() if spot.page == page}
            firsts[tree].append(leaf[new] == min(leaf.values()))
            moved[tree].append(
                sum(name in before[tree] and before[tree][name] != leaf[name] for name in leaf)
            )
    for tree in ("mailboxes", IDS):
        assert sum(firsts[tree]) < 40, f"{tree}: in the place of the newest"
        assert median(moved[tree]) >= 4, f"{tree}: among few"


def test_a_mailbox_changes_places_and_nothing_else(tmp_path: Path) -> None:
    with small_relay(tmp_path) as store:
        made = names(40)
        for name in made:
            make(store, name)
            get_mail(store, name)
        before = [mailbox(store, name) for name in made]
        rest = names(40)
        for name in rest:
            make(store, name)
        assert [mailbox(store, name) for name in made] == before
        path = store.path
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM mailboxes").fetchone() == (80,)
        # What SQLite would read anew, past what the store remembers.
        found = connection.execute(
            "SELECT id FROM mailboxes WHERE next_n = 2 AND depth = 1 AND size = 2048"
        )
        assert {name for (name,) in found} == set(made)


def test_counters_that_are_not_written_yet_outlast_a_change_of_places(tmp_path: Path) -> None:
    with small_relay(tmp_path) as store:
        made = names(30)
        for name in made:
            make(store, name)

        def work(rows: Rows) -> None:
            for name in made:
                found = rows.mailbox(MailboxId(name))
                assert found is not None
                rows.put_counters(replace(found, next_n=9, depth=8))
            for name in names(10):
                rows.add_mailbox(MailboxId(name), bytes(32), Hash(bytes(32)), HOUR)

        store.transact(work)
        path = store.path
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT id FROM mailboxes WHERE next_n = 9 AND depth = 8")
        assert {name for (name,) in found} == set(made)


def test_a_damaged_mailbox_stays_and_the_others_go_on(tmp_path: Path) -> None:
    """One whose key is a text, by a bit of the row's header."""
    with small_relay(tmp_path) as store:
        (damaged,) = names(1)
        store.transact(
            lambda rows: rows.add_mailbox(MailboxId(damaged), b"k" * 32, Hash(bytes(32)), HOUR)
        )
        path = store.path
    data = bytearray(path.read_bytes())
    kind = data.index(damaged + b"k" * 32) - 10  # before those of the nine columns that follow
    assert data[kind] == 12 + 2 * 32
    data[kind] += 1
    path.write_bytes(data)
    with closing(Store.open(path)) as store:
        for name in names(15):
            make(store, name)
            assert mailbox(store, name).id == name
        found = store.connection.execute("SELECT read_pk FROM mailboxes WHERE id = ?", (damaged,))
        assert found.fetchall() == [("k" * 32,)]
