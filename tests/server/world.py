"""A relay with people, businesses, and things that wait: for tests of who may do what."""

from __future__ import annotations

from typing import Any

from kurir_wire.blob_frames import BlobNew, BlobPut, Chunk
from kurir_wire.frames import GetInvoice, Open, PutCard, Results
from kurir_wire.ids import DAY
from kurir_wire.limits import CHUNK_BYTES
from tests.server.blob_client import Attachment
from tests.server.helpers import Box, Shop, Signed, receipt_of
from tests.server.replies import code_of
from tests.server.rig import Rig, Talk

FIRST = Chunk(0, bytes(CHUNK_BYTES))
"""Of each blob that there is."""


class World:
    """A relay with people, businesses, and things that wait."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.relay_id = rig.keys.relay_id
        self.box, self.other = rig.personal(), rig.personal()
        self.shop, self.rival, self.revoked = rig.shop(), rig.shop(), rig.shop()
        self.unknown = Shop(self.relay_id, rig.now)
        self.paid, self.opening = rig.customer(self.shop)
        self.rivals, self.rivals_opening = rig.customer(self.rival)
        self.card = self.shop.card(2)
        settled = self.charge()
        receipt_of(rig.submit(settled.submission)[0])
        rig.fetch(self.paid)
        assert rig.ack(self.paid, settled.submission.envelope_id, settled.secret) is None
        revoked_paid, revoked_opening = rig.customer(self.revoked)
        self.of_revoked = rig.charge(
            self.revoked, revoked_paid, revoked_opening, self.revoked.line(is_open=False)
        ).submission
        rig.run(lambda rows: rows.revoke(self.revoked.id))
        self.day = rig.now // DAY
        rig.now += DAY
        rig.tidy()
        self.settled = settled.hash
        self.waiting = self.box.write()
        assert rig.submit(self.waiting) == [None]
        self.blob, self.part = Attachment(self.relay_id, 1), Attachment(self.relay_id, 2)
        """A whole blob, and one that lacks its second chunk."""
        writer = self.talk()
        assert writer.send(BlobNew(1, [self.blob.new, self.part.new])) == [Results(1, [None, None])]
        for blob in (self.blob, self.part):
            assert code_of(writer.send(BlobPut(1, blob.id, blob.write, [FIRST]))) == "ok"
        # Issued, so that the rival's asking for its own again writes nothing.
        rival = self.talk(proved=self.rival)
        assert code_of(rival.send(GetInvoice(1, 202701))) == "ok"
        # Read today, so that opening them again writes nothing.
        reader = self.talk(opened=(self.box, self.other, self.shop.address, self.paid))
        assert code_of(reader.send(PutCard(1, self.box.id, b"sealed"))) == "ok"

    def talk(
        self,
        *,
        opened: tuple[Box, ...] = (),
        proved: Shop | None = None,
        nonce: bytes | None = None,
    ) -> Talk:
        """A connection that has opened and proved."""
        talk = self.rig.connection(nonce=nonce)
        nonce = nonce or self.rig.nonce
        for box in opened:
            assert code_of(talk.send(Open(1, [box.opening(nonce)]))) == "ok"
        if proved is not None:
            assert code_of(talk.send(proved.prove(nonce))) == "ok"
        return talk

    def charge(self, **changes: Any) -> Signed:
        """A charge of the shop for its customer."""
        values: dict[str, Any] = {
            "box": self.paid,
            "opening": self.opening,
            "line": self.shop.line(is_open=False),
            "beacon": self.rig.beacon,
        }
        return self.shop.sign(**(values | changes))
