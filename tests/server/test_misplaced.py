"""A page of the file that came into the place of another."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from kurir_server.store import Store
from kurir_server.store.schema import PAGE_BYTES
from kurir_server.store.sums import SUM_DIFFERS
from tests.server.rig import Rig


def test_nobody_gets_what_is_of_another_mailbox(rig: Rig) -> None:
    """The sum of such an envelope is right; each body of 2 KiB has a leaf of its own."""
    boxes = sorted((rig.personal() for _ in range(2)), key=rig.row)
    for box in boxes:
        assert rig.submit(box.write(2_048), box.write(2_048)) == [None, None]
    rig.store.checkpoint()
    rig.store.close()
    data = bytearray(rig.store.path.read_bytes())
    with closing(sqlite3.connect(rig.store.path)) as connection:
        found = connection.execute("SELECT body FROM envelopes ORDER BY place").fetchall()
    at = [data.index(body[-1_000:]) // PAGE_BYTES * PAGE_BYTES for (body,) in found]
    assert len(set(at)) == 4
    # The second of the higher row becomes the first of the lower one: a scan comes upon it.
    data[at[3] : at[3] + PAGE_BYTES] = data[at[0] : at[0] + PAGE_BYTES]
    rig.store.path.write_bytes(data)
    rig.store = Store.open(rig.store.path)
    assert [delivery.body for delivery in rig.waiting(boxes[1])] == [found[2][0]]
    assert rig.store.take_damaged() == {SUM_DIFFERS: 1}
    assert [delivery.body for delivery in rig.waiting(boxes[0])] == [found[0][0], found[1][0]]
