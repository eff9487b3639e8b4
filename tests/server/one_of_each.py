"""A well-formed request of every kind, for tests."""

from __future__ import annotations

import secrets

from kurir_wire.blob_frames import (
    BlobDelete,
    BlobGet,
    BlobKey,
    BlobNew,
    BlobPut,
    BlobStatus,
    Chunk,
    NewBlob,
)
from kurir_wire.entries import Ack
from kurir_wire.frames import (
    Acks,
    Create,
    Delete,
    GetAdjustments,
    GetBeacon,
    GetBusiness,
    GetCard,
    GetCheckpoint,
    GetConsistency,
    GetInclusion,
    GetInvoice,
    GetRateCard,
    GetSettlements,
    GetTerms,
    Open,
    PutCard,
    PutPreKeys,
    Register,
    Request,
    SendReport,
    SetRefused,
    Submit,
)
from kurir_wire.ids import DAY, NO_HASH
from kurir_wire.limits import CHUNK_BYTES, REPORT_SIZES
from tests.server.helpers import Box, Shop, body
from tests.server.rig import Rig


def one_of_each(rig: Rig, box: Box, shop: Shop) -> dict[type[object], Request]:
    """A well-formed request of every kind."""
    ids = secrets.token_bytes(16)
    address = shop.address.new(rig.nonce)
    found: list[Request] = [
        GetBeacon(7),
        Create(7, [Box.personal(rig.keys.relay_id, rig.now).new(rig.nonce)]),
        Open(7, [box.opening(rig.nonce)]),
        Delete(7, [box.id]),
        Submit(7, [box.write()]),
        Acks(7, [Ack(box.id, ids)]),
        PutCard(7, box.id, b"card"),
        GetCard(7, box.id, box.token or b""),
        Register(7, shop.card(2), address),
        PutPreKeys(7, [shop.ec(9)], [shop.kem(9)]),
        GetBusiness(7, shop.id),
        shop.prove(rig.nonce, n=7),
        GetRateCard(7),
        GetSettlements(7, rig.now // DAY - 1, NO_HASH),
        GetInvoice(7, 202701),
        GetCheckpoint(7),
        GetInclusion(7, 1, rig.now // DAY - 1, [bytes(32)]),
        GetConsistency(7, 1, 1),
        GetTerms(7),
        SetRefused(7, box.id, 0),
        SendReport(7, body(REPORT_SIZES[0])),
        GetAdjustments(7, 202701, NO_HASH),
        BlobNew(7, [NewBlob(bytes(32), bytes(32), 1, 1)]),
        BlobPut(7, bytes(32), bytes(32), [Chunk(0, bytes(CHUNK_BYTES))]),
        BlobStatus(7, bytes(32), bytes(32)),
        BlobGet(7, bytes(32), bytes(32), 0, 1),
        BlobDelete(7, [BlobKey(bytes(32), bytes(32))]),
    ]
    return {type(request): request for request in found}
