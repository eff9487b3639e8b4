"""Whether the tables tie a customer's message to the mailbox of the answer, by key or by order.

Claimed: no key and no order of keys or of stored times does. Not claimed: the order of pages and
commits in the files; docs/threat-model.md names it.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from kurir_server.keys import RelayKeys
from kurir_wire.ids import HOUR, Hash
from tests.server.rig import Rig, rig_in

CUSTOMERS = 60
BEATS_CHANCE = 4.5
"""Standard deviations of a rank correlation; with two dozen pairs of columns p < 1e-3."""

Pair = tuple[dict[str, Any], dict[str, Any]]


def pairs_of(rig: Rig) -> list[Pair]:
    """A busy hour: each customer's message in the address, and the rows of its answer, which the
    next transaction brings; all of them wait."""
    shop = rig.shop()
    names = []
    for _ in range(CUSTOMERS):
        rig.now += 30
        rig.tick += 3_600
        box, opening = rig.customer(shop)
        grant = box.grant(shop.id, rig.beacon)
        written = shop.address.write(4_096)
        signed = rig.charge(shop, box, opening, shop.line(is_open=True), grant)
        assert rig.submit(written) == [None]
        (result,) = rig.submit(signed.submission)
        assert result is not None
        assert result.code == "ok", result
        names.append((written.envelope_id, signed.submission.envelope_id))
    connection = rig.store.connection

    def row(sql: str, name: bytes) -> dict[str, Any]:
        cursor = connection.execute(sql, (name,))
        return dict(zip([d[0] for d in cursor.description], cursor.fetchone(), strict=True))

    come = "SELECT place & 67108863 AS n, id, body, sum, expires_hour FROM envelopes WHERE id = ?"
    answer = """SELECT m.row, m.id AS mailbox, m.read_pk, m.gate, m.keep_until,
        e.place & 67108863 AS answer_n, e.id AS answer, e.body, e.sum,
        e.expires_hour AS answer_hour, c.hash, c.private_hash, s.until_hour, s.sealed
        FROM envelopes e JOIN mailboxes m ON m.row = e.place >> 26
        JOIN charges c ON c.hash = e.charge JOIN accepted_seconds s ON s.charge = c.hash
        WHERE e.id = ?"""
    return [(row(come, first), row(answer, second)) for first, second in names]


def ranked(pairs: list[Pair], side: int, column: str) -> list[int]:
    """Places in the order of a column; equal values in a random one."""
    draw = random.Random(column)
    order = sorted(range(len(pairs)), key=lambda at: (pairs[at][side][column], draw.random()))
    places = [0] * len(pairs)
    for place, at in enumerate(order):
        places[at] = place
    return places


def deviation(pairs: list[Pair], left: str, right: str) -> float:
    """Of the rank correlation of two columns from none, in standard deviations."""
    here, there, count = ranked(pairs, 0, left), ranked(pairs, 1, right), len(pairs)
    apart = sum((a - b) ** 2 for a, b in zip(here, there, strict=True))
    return (1 - 6 * apart / (count * (count**2 - 1))) * math.sqrt(count - 1)


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    with rig_in(tmp_path) as rig:
        rig.now += HOUR - rig.now % HOUR
        return pairs_of(rig)


def test_no_key_and_no_order_of_keys_ties_a_message_to_its_answer(pairs: list[Pair]) -> None:
    for come, answer in pairs:
        here = {value for value in come.values() if isinstance(value, bytes)}
        there = {value for value in answer.values() if isinstance(value, bytes)}
        assert not here & there
    columns = ["row", "mailbox", "read_pk", "gate", "keep_until", "answer_n", "answer", "hash"]
    columns += ["until_hour", "sealed"]
    for left in ("n", "id", "expires_hour"):
        for right in columns:
            assert abs(deviation(pairs, left, right)) < BEATS_CHANCE, (left, right)


def test_a_counter_of_arrivals_would_be_found(pairs: list[Pair]) -> None:
    for at, (_, answer) in enumerate(pairs):
        answer["row"] = at
    assert deviation(pairs, "n", "row") > BEATS_CHANCE


def test_a_second_in_clear_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_clear(keys: RelayKeys, charge: Hash, second: int) -> bytes:
        return second.to_bytes(8, "big")

    monkeypatch.setattr(RelayKeys, "seal_second", in_clear)
    with rig_in(tmp_path) as rig:
        rig.now += HOUR - rig.now % HOUR
        assert deviation(pairs_of(rig), "n", "sealed") > BEATS_CHANCE
