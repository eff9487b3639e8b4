"""A store and the plain model side by side, through any transactions in any order: the same
answers, the same refusals, and the same afterwards."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from msgspec.structs import replace

from kurir_server.errors import StorageError
from kurir_server.ledger_rows import StoredAdjust, StoredCheckpoint, StoredReport
from kurir_server.rows import (
    Approval,
    Mailbox,
    PreKeyKind,
    Rows,
    StoredRateCard,
    StoredTicket,
    Swept,
)
from tests.store.harness import RELAY_ID, Backend, box_id, envelope_id, gate, hash_of, shop
from tests.store.memory import Disk, MemoryStore

NO_ROW = 5
"""Stands for the row of a mailbox that is not there; a random one is never so small."""
FEW = st.integers(0, 3)
"""Few names, so that they meet."""
ENDS = st.integers(10, 14)
BODIES = st.binary(max_size=4)
KINDS = st.sampled_from(PreKeyKind)
Step = Callable[[Rows], Any]


class FaultError(Exception):
    """Ends a transaction without a commit."""


def row_of(rows: Rows, box: int) -> int:
    found = rows.mailbox(box_id(box))
    return found.row if found else NO_ROW


def without_row(found: Mailbox | None) -> Mailbox | None:
    return replace(found, row=0) if found else None


def count_up(rows: Rows, box: int, value: int) -> None:
    found = rows.mailbox(box_id(box))
    if found is not None:
        rows.put_counters(
            replace(found, depth=value, size=value + 1, debt=value + 2, handed_n=value + 3)
        )


def write(rows: Rows, box: int, name: int, end: int, charge: int | None, body: bytes) -> Any:
    """As the relay does: into the next place of a mailbox that is there."""
    found = rows.mailbox(box_id(box))
    if found is None:
        return None
    paid = None if charge is None else hash_of(charge)
    added = rows.add_envelope(found.row, found.next_n, envelope_id(name), end, paid, body)
    if added:
        rows.put_counters(replace(found, next_n=found.next_n + 1))
    return added


def renumber(rows: Rows, box: int, up_to: int) -> Any:
    """As the relay does, so that the next place is free."""
    found = rows.mailbox(box_id(box))
    if found is None:
        return rows.renumber(NO_ROW, up_to)
    waiting, handed = rows.renumber(found.row, up_to)
    rows.put_counters(replace(found, next_n=waiting + 1))
    return waiting, handed


def sweep(rows: Rows, kind: Swept, limit: int, end: int) -> int:
    """A whole round.

    :returns: how many steps it took
    """
    after, steps = rows.sweep(kind, None, limit, end), 1
    while after is not None:
        after, steps = rows.sweep(kind, after, limit, end), steps + 1
    return steps


def step(function: Callable[..., Any], *strategies: st.SearchStrategy[Any]) -> Any:
    def bound(arguments: tuple[Any, ...]) -> Step:
        return lambda rows: function(rows, *arguments)

    return st.tuples(*strategies).map(bound)


STEPS: st.SearchStrategy[Step] = st.one_of(
    step(lambda rows, n: rows.set_minute(n), ENDS),
    step(lambda rows, n: rows.set_sure_minute(n), ENDS),
    step(lambda rows, b, n: rows.add_mailbox(box_id(b), b"k", gate(b), n), FEW, ENDS),
    step(lambda rows, b: without_row(rows.mailbox_at(row_of(rows, b))), FEW),
    step(count_up, FEW, FEW),
    step(lambda rows, b, n: rows.keep_mailbox(row_of(rows, b), n), FEW, ENDS),
    step(lambda rows, b, c: rows.set_refused(row_of(rows, b), c), FEW, FEW),
    step(lambda rows, b: rows.delete_mailbox(row_of(rows, b)), FEW),
    step(write, FEW, FEW, ENDS, FEW | st.none(), BODIES),
    step(write, FEW, FEW, ENDS, FEW | st.none(), BODIES),
    step(lambda rows, b, e: rows.envelope_body(row_of(rows, b), envelope_id(e)), FEW, FEW),
    step(lambda rows, b, n, h: list(rows.waiting(row_of(rows, b), n, h)), FEW, FEW, ENDS),
    step(lambda rows, b, e: rows.take_envelope(row_of(rows, b), envelope_id(e)), FEW, FEW),
    step(renumber, FEW, FEW),
    step(lambda rows, b, n: rows.count_handed(row_of(rows, b), n), FEW, FEW),
    step(lambda rows, b, h: rows.count_waiting(row_of(rows, b), h), FEW, ENDS),
    step(lambda rows, b, c, h: rows.put_card(row_of(rows, b), c, h), FEW, BODIES, ENDS),
    step(lambda rows, b, h: rows.card(row_of(rows, b), h), FEW, ENDS),
    step(lambda rows, b, n, c: rows.put_business(shop(b), n, c, n, "flat"), FEW, FEW, BODIES),
    step(
        lambda rows, b, starts, name, end, sign: rows.approve(
            shop(b), Approval(2, "reply-2018", starts, name, end, sign, end, sign)
        ),
        FEW,
        st.none() | FEW,
        st.text(max_size=3),
        ENDS,
        BODIES,
    ),
    step(lambda rows, b: rows.revoke(shop(b)), FEW),
    step(lambda rows, b: rows.drop_business(shop(b)), FEW),
    step(
        lambda rows, b, t, end: rows.add_ticket(shop(b), StoredTicket(hash_of(t), end, b"sign")),
        FEW,
        FEW,
        ENDS,
    ),
    step(lambda rows, b, k, i, d: rows.add_prekey(shop(b), k, i, d), FEW, KINDS, FEW, BODIES),
    step(lambda rows, b, k: rows.take_prekey(shop(b), k), FEW, KINDS),
    step(lambda rows, b: rows.drop_prekeys(shop(b)), FEW),
    step(lambda rows, c, d, b: rows.add_charge(hash_of(c), 7, hash_of(9), b, d), FEW, ENDS, BODIES),
    step(lambda rows, c: rows.close_charge(hash_of(c)), FEW),
    step(lambda rows, t, d: rows.use(hash_of(t), d), FEW, ENDS),
    step(lambda rows, p, n, d: rows.set_lane_seq(hash_of(p), n, d), FEW, FEW, ENDS),
    step(lambda rows, t, h, x: rows.put_mark(hash_of(t), h, x), FEW, ENDS, BODIES),
    step(lambda rows, b, t, h: rows.add_start(shop(b), hash_of(t), h), FEW, FEW, ENDS),
    step(lambda rows, b, d, c, x: rows.add_leaf(shop(b), d, hash_of(c), x), FEW, ENDS, FEW, BODIES),
    step(
        lambda rows, b, d, c, n: rows.leaves(shop(b), d, hash_of(c), n),
        FEW,
        ENDS,
        FEW,
        st.integers(1, 3),
    ),
    step(lambda rows, d, e: rows.add_pending(d, hash_of(e)), ENDS, FEW),
    step(lambda rows, d: rows.drop_pending(d), ENDS),
    step(lambda rows, a, n, x: rows.put_tile(a, n, x), FEW, FEW, BODIES),
    step(
        lambda rows, n, d: rows.add_checkpoint(StoredCheckpoint(n + 1, d, b"note")),
        st.integers(0, 20),
        ENDS,
    ),
    step(lambda rows, n, d, x: rows.add_report(StoredReport(hash_of(n), d, x)), FEW, ENDS, BODIES),
    step(lambda rows, n: rows.drop_report(hash_of(n)), FEW),
    step(
        lambda rows, b, d, n, leaf, x: rows.add_adjust(
            StoredAdjust(shop(b), d, hash_of(n), hash_of(leaf), x, x, x)
        ),
        FEW,
        ENDS,
        FEW,
        FEW,
        BODIES,
    ),
    step(
        lambda rows, v, h, t: rows.add_rate_card(StoredRateCard(v, hash_of(h), t, b"card")),
        FEW,
        FEW,
        ENDS,
    ),
    step(sweep, st.sampled_from(Swept), st.integers(1, 3), ENDS),
)


def contents(rows: Rows) -> list[Any]:
    """All that there is, as far as it can be asked for; without rows, which differ."""
    boxes = [rows.mailbox(box_id(b)) for b in range(4)]
    held = {box.row: number for number, box in enumerate(boxes) if box}
    aged = rows.envelopes_after(-1, 0, 1_000)
    few, days = range(4), range(10, 15)
    return [
        rows.minute(),
        rows.sure_minute(),
        [without_row(box) for box in boxes],
        sorted((held[row], keep) for row, keep in rows.mailboxes_after(-1, 1_000)),
        sorted((held[found.row], found.n, found.expires_hour, found.envelope_id) for found in aged),
        [list(rows.waiting(row, 0, 0)) for row in sorted(held, key=held.__getitem__)],
        [rows.card(box.row, 0) for box in boxes if box],
        rows.businesses(),
        [rows.business(shop(b)) for b in few],
        [sorted(found.id for found in rows.forgotten_businesses(now, 1_000)) for now in (1, *days)],
        [(rows.has_leaves(shop(b)), rows.tickets(shop(b), 11)) for b in few],
        [(rows.mark(hash_of(t)), rows.is_started(hash_of(t), 11)) for t in few],
        [rows.starts(shop(b), hour) for b in few for hour in (0, 11)],
        (rows.reports_held(), rows.reports(), [rows.report(hash_of(n)) for n in few]),
        [rows.adjust_of_leaf(hash_of(leaf)) for leaf in few],
        [rows.adjust_named(shop(b), d, hash_of(n)) for b in few for d in days for n in few],
        [len(rows.adjusts_of_days(shop(b), 10, 12)) for b in few],
        [(rows.count_prekeys(shop(b), k), k) for b in few for k in PreKeyKind],
        [rows.prekey(shop(b), k, i) for b in few for k in PreKeyKind for i in few],
        [rows.charge(hash_of(c)) for c in few],
        [(rows.is_used(hash_of(t)), rows.lane_seq(hash_of(t))) for t in few],
        [sorted(rows.leaves_of_days(shop(b), 10, 12)) for b in few],
        [rows.leaf(shop(b), d, hash_of(c)) for b in few for d in days for c in few],
        [rows.pending(day) for day in days],
        (rows.oldest_pending_day(), rows.count_pending()),
        [rows.tile(level, n) for level in few for n in few],
        (rows.newest_checkpoint(), rows.checkpoints(), [rows.spans(day) for day in days]),
        rows.rate_cards(),
        [rows.rate_card(hash_of(h)) for h in few],
        [rows.rate_card_in_force(now) for now in (9, *days)],
    ]


def check_against_model(make: Callable[[Path], Backend], folder: Path) -> None:
    """:raises AssertionError: the store and the model did not do the same"""
    numbers = count()

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            place = folder / f"example-{next(numbers)}"
            place.mkdir()
            self.backend = make(place)
            self.store = self.backend.open()
            self.model = MemoryStore(Disk(RELAY_ID))

        def teardown(self) -> None:
            self.store.close()

        def both(self, work: Callable[[Rows], Any]) -> None:
            outcomes: list[Any] = []
            for store in (self.store, self.model):
                try:
                    outcomes.append(store.transact(work))
                except StorageError:
                    outcomes.append("refused")
                except FaultError:
                    outcomes.append("fault")
            assert outcomes[0] == outcomes[1]

        @rule(steps=st.lists(STEPS, min_size=1, max_size=6))
        def transaction(self, steps: list[Step]) -> None:
            self.both(lambda rows: [one(rows) for one in steps])

        @rule(steps=st.lists(STEPS, min_size=1, max_size=6))
        def failing_transaction(self, steps: list[Step]) -> None:
            def work(rows: Rows) -> None:
                for one in steps:
                    one(rows)
                raise FaultError

            self.both(work)

        @rule()
        def look(self) -> None:
            self.both(contents)

        @rule()
        def reopen(self) -> None:
            self.store.close()
            self.store = self.backend.open()
            self.both(contents)

        @rule()
        def checkpoint(self) -> None:
            self.store.checkpoint()
            self.both(contents)

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None)
    )
