"""The suite that every store must pass.

For another one: write a :class:`~tests.store.harness.Backend`, and a class ``Test…(Conformance)``
with ``make``; add ``SharedByProcesses`` if other processes can open it. For another method of
``Rows``: a test in one of the ``about_…`` modules with ``@covers("its_name")``, the method in
``tests/store/memory.py``, and a step in ``tests/store/machine.py``.
"""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kurir_server.rows import Rows, StoredRateCard
from kurir_wire.ids import BusinessId
from tests.store.about_businesses import AboutBusinesses
from tests.store.about_charges import AboutCharges
from tests.store.about_ledger import AboutLedger
from tests.store.about_mailboxes import AboutMailboxes
from tests.store.about_reports import AboutReports
from tests.store.harness import (
    LARGEST,
    RELAY_ID,
    Backend,
    SharedBackend,
    Stage,
    box_id,
    covers,
    gate,
    hash_of,
    shop,
)
from tests.store.machine import check_against_model

METHODS = {
    name for name, _ in inspect.getmembers(Rows, inspect.isfunction) if not name.startswith("_")
}


class OurFaultError(Exception):
    """Raised by work, as a fault of the relay's own would be."""


def _fails(rows: Rows) -> None:
    raise OurFaultError


class Conformance(AboutMailboxes, AboutBusinesses, AboutCharges, AboutLedger, AboutReports):
    """Everything but what takes another process."""

    def make(self, folder: Path) -> Backend:
        """A new backend, whose data may be kept in a folder."""
        raise NotImplementedError

    @pytest.fixture
    def stage(self, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
        stage = Stage(self.make(tmp_path))
        yield stage
        stage.store.close()
        claimed = set(getattr(request.function, "covers", ()))
        assert claimed <= stage.called, f"never called: {sorted(claimed - stage.called)}"

    def test_every_method_of_rows_is_covered(self) -> None:
        covered = {
            name
            for _, test in inspect.getmembers(type(self), inspect.isfunction)
            for name in getattr(test, "covers", ())
        }
        assert covered - METHODS == set()
        assert METHODS - covered == set()

    def test_the_relay_that_it_was_made_for(self, stage: Stage) -> None:
        assert stage.store.relay_id == RELAY_ID
        stage.reopen()
        assert stage.store.relay_id == RELAY_ID

    # Transactions

    @pytest.mark.parametrize("error", [OurFaultError(), KeyError(), KeyboardInterrupt()])
    def test_nothing_holds_of_what_raised(self, stage: Stage, error: BaseException) -> None:
        row = stage.mailbox(1)

        def work(rows: Rows) -> None:
            rows.set_minute(99)
            rows.delete_mailbox(row)
            rows.add_mailbox(box_id(2), b"k", gate(2), 5)
            rows.put_tile(1, 1, b"tile")
            raise error

        with pytest.raises(type(error)):
            stage.run(work)
        assert stage.run(lambda rows: rows.minute()) == 0
        assert stage.run(lambda rows: rows.mailbox_at(row)) is not None
        assert stage.run(lambda rows: rows.mailbox(box_id(2))) is None
        stage.reopen()
        assert stage.run(lambda rows: rows.tile(1, 1)) is None

    def test_nothing_holds_of_what_the_store_refused(self, stage: Stage) -> None:
        stage.mailbox(1)

        def work(rows: Rows) -> None:
            rows.set_minute(99)
            rows.add_mailbox(box_id(1), b"k", gate(1), 5)

        stage.refused(work)
        assert stage.run(lambda rows: rows.minute()) == 0

    def test_a_transaction_sees_what_it_wrote_and_returns_what_work_returned(
        self, stage: Stage
    ) -> None:
        def work(rows: Rows) -> tuple[int, bytes | None]:
            rows.set_minute(5)
            rows.put_tile(0, 0, b"new")
            rows.use(b"tag", 9)
            assert rows.is_used(b"tag")
            return rows.minute(), rows.tile(0, 0)

        assert stage.run(work) == (5, b"new")

    def test_reading_sees_one_state_and_changes_nothing(self, stage: Stage) -> None:
        stage.run(lambda rows: rows.set_minute(3))
        other = stage.backend.open()

        def work(rows: Rows) -> list[int]:
            first = rows.minute()
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()
            return [first, rows.minute()]

        def write() -> None:
            store = stage.backend.open()
            store.transact(lambda rows: rows.set_minute(4))
            store.close()

        assert other.read(work) == [3, 3]
        assert other.read(lambda rows: rows.minute()) == 4
        other.read(lambda rows: rows.set_minute(5))
        assert other.read(lambda rows: rows.minute()) == 4
        with pytest.raises(OurFaultError):
            other.read(_fails)
        other.close()
        assert stage.run(lambda rows: rows.minute()) == 4

    def test_reading_waits_for_nobody(self, stage: Stage) -> None:
        found: list[int] = []

        def read() -> None:
            store = stage.backend.open()
            found.append(store.read(lambda rows: rows.minute()))
            store.close()

        def work(rows: Rows) -> None:
            rows.set_minute(9)
            thread = threading.Thread(target=read)
            thread.start()
            thread.join(10)
            assert found == [0], "what was there before"

        stage.run(work)
        assert stage.run(lambda rows: rows.minute()) == 9

    @covers("if_undone")
    def test_what_rules_keep_in_memory_is_undone_with_the_rest(self, stage: Stage) -> None:
        undone: list[int] = []

        def work(rows: Rows, fails: bool) -> None:
            rows.set_minute(rows.minute() + 1)
            rows.if_undone(lambda: undone.append(1))
            rows.if_undone(lambda: undone.append(2))
            if fails:
                raise OurFaultError

        stage.run(lambda rows: work(rows, False))
        assert undone == []
        with pytest.raises(OurFaultError):
            stage.run(lambda rows: work(rows, True))
        assert undone == [2, 1], "the last first"
        stage.run(lambda rows: work(rows, False))
        assert undone == [2, 1], "once"
        stage.store.read(lambda rows: work(rows, False))
        assert undone == [2, 1, 2, 1]
        assert stage.run(lambda rows: rows.minute()) == 2

    def test_a_mailbox_is_as_the_last_who_wrote_left_it(self, stage: Stage) -> None:
        """Whatever a store keeps in mind between transactions."""
        row, other = stage.mailbox(1), stage.backend.open()

        def count(rows: Rows, depth: int, fails: bool = False) -> int:
            found = rows.mailbox(box_id(1))
            assert found == rows.mailbox_at(row)
            assert found is not None
            before, found.depth = found.depth, depth
            rows.put_counters(found)
            rows.keep_mailbox(row, depth + 1_000)
            rows.set_refused(row, depth)
            again = rows.mailbox(box_id(1))
            assert again == rows.mailbox_at(row)
            assert again is not None
            assert (again.depth, again.keep_until, again.refused) == (depth, depth + 1_000, depth)
            if fails:
                raise OurFaultError
            return before

        def counted_only(rows: Rows) -> None:
            found = rows.mailbox_at(row)
            assert found is not None
            found.depth = 99
            rows.put_counters(found)
            raise OurFaultError

        assert stage.run(lambda rows: count(rows, 1)) == 0
        assert stage.run(lambda rows: count(rows, 2)) == 1
        with pytest.raises(OurFaultError):
            stage.run(counted_only)
        stage.run(lambda rows: rows.set_minute(7))  # somebody else's
        assert other.read(lambda rows: count(rows, 7)) == 2
        assert stage.run(lambda rows: count(rows, 2)) == 2
        with pytest.raises(OurFaultError):
            stage.run(lambda rows: count(rows, 3, fails=True))
        assert stage.run(lambda rows: count(rows, 4)) == 2
        assert other.transact(lambda rows: count(rows, 5)) == 4
        assert stage.run(lambda rows: count(rows, 6)) == 5
        assert other.read(lambda rows: count(rows, 7)) == 6
        assert other.transact(lambda rows: count(rows, 8)) == 6
        found = stage.store.read(lambda rows: rows.mailbox_at(row))
        assert found is not None
        assert (found.depth, found.keep_until, found.refused) == (8, 1_008, 8)
        other.transact(lambda rows: rows.delete_mailbox(row))
        assert stage.run(lambda rows: (rows.mailbox(box_id(1)), rows.mailbox_at(row))) == (
            None,
            None,
        )
        stage.run(lambda rows: rows.add_mailbox(box_id(1), b"k", gate(1), 5))
        assert other.transact(lambda rows: rows.mailbox(box_id(1))) is not None
        stage.run(lambda rows: rows.delete_mailbox(found.row))
        other.close()

    def test_a_store_tells_whether_a_transaction_wrote(self, stage: Stage) -> None:
        before = stage.store.changes
        stage.run(lambda rows: rows.minute())
        stage.store.read(lambda rows: rows.minute())
        assert stage.store.changes == before
        stage.run(lambda rows: rows.set_minute(9))
        assert stage.store.changes > before

    def test_nothing_is_damaged_and_there_is_room(self, stage: Stage) -> None:
        row = stage.mailbox(1)
        stage.envelope(row, 1, charge=stage.charge(1))
        assert stage.run(lambda rows: [found.whole for found in rows.waiting(row, 0, 0)]) == [True]
        assert stage.store.take_damaged().total() == 0
        room = stage.store.room()
        assert room.free > 0
        assert room.total > 0

    def test_work_is_called_once(self, stage: Stage) -> None:
        calls: list[int] = []
        stage.run(lambda rows: calls.append(rows.minute()))
        assert calls == [0]

    def test_what_was_committed_is_there_after_closing(self, stage: Stage) -> None:
        row = stage.mailbox(1)
        name = stage.envelope(row, 1, body=b"kept")
        stage.run(lambda rows: rows.put_business(shop(1), 1, b"card", 2, "flat"))
        stage.run(lambda rows: rows.add_leaf(shop(1), 5, hash_of(1), b"leaf"))
        stage.store.checkpoint()
        stage.run(lambda rows: rows.set_minute(77))
        for _ in range(2):
            stage.reopen()
            assert stage.run(lambda rows: rows.envelope_body(row, name)) == b"kept"
            assert stage.run(lambda rows: rows.leaf(shop(1), 5, hash_of(1))) == b"leaf"
            assert stage.run(lambda rows: rows.minute()) == 77

    def test_a_checkpoint_changes_nothing(self, stage: Stage) -> None:
        row = stage.mailbox(1)
        assert stage.store.checkpoint()
        assert stage.store.checkpoint()
        assert stage.run(lambda rows: rows.mailbox_at(row)) is not None

    def test_numbers_that_do_not_fit_are_refused_and_not_cut(self, stage: Stage) -> None:
        row = stage.mailbox(1)
        for number in (LARGEST + 1, 2**64, 2**64 + 5):
            with pytest.raises(Exception):  # noqa: B017, PT011  (whichever says so first)
                stage.run(lambda rows, n=number: rows.keep_mailbox(row, n))  # type: ignore[misc]
        stage.run(lambda rows: rows.keep_mailbox(row, LARGEST))
        found = stage.run(lambda rows: rows.mailbox_at(row))
        assert found is not None
        assert found.keep_until == LARGEST

    # Two at once

    def test_transactions_of_two_threads_are_one_after_the_other(self, stage: Stage) -> None:
        errors: list[BaseException] = []

        def count() -> None:
            try:
                store = stage.backend.open()
                for _ in range(40):
                    store.transact(lambda rows: rows.set_minute(rows.minute() + 1))
                store.close()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=count) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert stage.run(lambda rows: rows.minute()) == 120

    def test_what_is_not_committed_is_seen_by_nobody(self, stage: Stage) -> None:
        inside, seen = threading.Event(), threading.Event()
        found: list[int] = []

        def other() -> None:
            store = stage.backend.open()
            inside.wait(10)
            found.append(store.transact(lambda rows: rows.minute()))
            seen.set()
            store.close()

        thread = threading.Thread(target=other)
        thread.start()

        def work(rows: Rows) -> None:
            rows.set_minute(5)
            inside.set()
            # The other one waits, or sees what was there before.
            if seen.wait(0.2):
                assert found == [0]
            raise OurFaultError

        with pytest.raises(OurFaultError):
            stage.run(work)
        thread.join()
        assert found == [0]

    # In every order

    def test_any_steps_in_any_order_as_in_the_model(self, tmp_path: Path) -> None:
        check_against_model(lambda folder: self.make(folder), tmp_path)


class SharedByProcesses:
    """For a store that several processes open: the relay, and the operator's commands beside it."""

    def child(self, stage: Stage, work: str) -> subprocess.Popen[str]:
        """A process that has the store open and runs ``work``."""
        backend: SharedBackend = stage.backend  # type: ignore[assignment]
        return subprocess.Popen(
            [sys.executable, "-c", f"{backend.source()}\n{work}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    INSIDE = """
def work(rows):
    rows.set_minute(rows.minute() + 1)
    print("inside", flush=True)
    input()
store.transact(work)
print("done", flush=True)
input()
"""

    def test_one_waits_for_the_other_and_sees_what_it_did(self, stage: Stage) -> None:
        with self.child(stage, self.INSIDE) as child:
            assert child.stdout is not None
            assert child.stdin is not None
            assert child.stdout.readline() == "inside\n"
            timer = threading.Timer(0.2, lambda: self.tell(child))
            timer.start()
            minute = stage.run(lambda rows: rows.minute())
            timer.join()
            assert minute == 1
            assert child.stdout.readline() == "done\n"
            self.tell(child)

    def test_what_another_process_wrote_is_seen(self, stage: Stage) -> None:
        row = stage.mailbox(1)
        stage.run(lambda rows: rows.mailbox_at(row))
        work = f"store.transact(lambda rows: rows.set_refused({row}, 4))"
        with self.child(stage, work) as child:
            assert child.wait(30) == 0
        found = stage.run(lambda rows: rows.mailbox_at(row))
        assert found is not None
        assert found.refused == 4

    def test_what_another_process_wrote_of_prices_is_seen(self, stage: Stage) -> None:
        name, first = BusinessId(bytes(32)), StoredRateCard(1, hash_of(1), 5, b"first")
        stage.run(lambda rows: rows.put_business(name, 1, b"card", 9, "flat"))
        stage.run(lambda rows: rows.add_rate_card(first))
        assert stage.run(lambda rows: rows.rate_card_in_force(7)) == first
        assert stage.run(lambda rows: rows.business(name)) is not None
        work = """
from kurir_server.rows import StoredRateCard
def work(rows):
    rows.put_business(bytes(32), 2, b"other", 9, "flat")
    rows.add_rate_card(StoredRateCard(2, bytes(32), 6, b"second"))
store.transact(work)
"""
        with self.child(stage, work) as child:
            assert child.wait(30) == 0
        found = stage.run(lambda rows: rows.business(name))
        assert found is not None
        assert (found.version, found.card) == (2, b"other")
        card = stage.run(lambda rows: rows.rate_card_in_force(7))
        assert card is not None
        assert card.card == b"second"

    def test_a_process_that_is_killed_inside_a_transaction_did_nothing(self, stage: Stage) -> None:
        with self.child(stage, self.INSIDE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "inside\n"
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert stage.run(lambda rows: rows.minute()) == 0

    def test_a_process_that_is_killed_after_a_transaction_did_it(self, stage: Stage) -> None:
        with self.child(stage, self.INSIDE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "inside\n"
            self.tell(child)
            assert child.stdout.readline() == "done\n"
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert stage.run(lambda rows: rows.minute()) == 1
        stage.reopen()
        assert stage.run(lambda rows: rows.minute()) == 1

    @staticmethod
    def tell(child: subprocess.Popen[Any]) -> None:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
