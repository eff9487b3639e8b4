"""Blobs: their file, and the frames that bring and fetch them."""

from __future__ import annotations

from typing import Final

from kurir_audit.declaration import Content, Field, Group, Purpose
from kurir_wire.ids import HOUR

D, A, O = Purpose.DELIVERY, Purpose.ABUSE, Purpose.OPERATION  # noqa: E741

_LIVE: Final = "for as long as there is the file"
_BLOB: Final = (
    "until deleted, or its life in hours ends (30 days at most after the upload, which takes a day "
    "at most)"
)
_PASSING: Final = "not kept"
_CHECKED: Final = "checked and forgotten; its hash is stored"
_STORED: Final = "stored; see the file of blobs"
_NONE: Final = "nothing by itself"
_OWN: Final = "nothing: the relay made it"
_SIZE: Final = "the size of an attachment in steps of 64 KiB, as far as its client does not pad it"
_WHICH: Final = "that whoever asks has a token of this blob"

BLOB_META: Final = Group(
    "meta",
    "the few facts about the file itself",
    (
        Field("key", O, "Names the fact; see the keys below.", _LIVE, _NONE),
        Field("value", O, "Is the fact.", _LIVE, _NONE),
    ),
)

BLOB_META_KEYS: Final = Group(
    "keys of meta",
    "a table of keys and values could hide anything, so its keys are declared as well",
    (
        Field("schema_version", O, "A newer relay knows how to read an older file.", _LIVE, _NONE),
        Field(
            "relay_id",
            O,
            "Keeps a file from being served by another relay.",
            _LIVE,
            "nothing: it is public",
        ),
        Field(
            "reserved",
            A,
            "The quota for all blobs is kept without counting them each time.",
            "one value, overwritten",
            "how much waits in all",
        ),
    ),
)

BLOBS: Final = Group(
    "blobs",
    "encrypted attachments that wait; no mailbox, no owner, no reader",
    (
        Field(
            "row",
            D,
            "A short random name, so that chunks need not repeat the long id.",
            _BLOB,
            "nothing: random, so it shows no order of creation",
        ),
        Field("id", D, "Writers and readers name the blob by it.", _BLOB, "that this blob exists"),
        Field(
            "write_gate",
            A,
            "Only its maker may bring chunks or delete it.",
            _BLOB,
            "nothing: the hash of a random token used once",
        ),
        Field(
            "read_gate",
            A,
            "Only those who were told may fetch it.",
            _BLOB,
            "nothing: the hash of a random token used once",
        ),
        Field(
            "chunks",
            D,
            "Says when it is whole; bounds what it takes.",
            _BLOB,
            _SIZE + "; see What columns give together",
        ),
        Field(
            "missing",
            D,
            "Nobody gets half of it; and one that stays so is given up.",
            _BLOB,
            "whether it is being uploaded at present",
        ),
        Field(
            "life",
            D,
            "Counts from the last chunk on; 0 from then on.",
            "until the upload is whole",
            "how long its maker wants it to wait",
        ),
        Field(
            "expires_hour",
            D,
            "Says when it goes.",
            _BLOB,
            "with a usual life, the hour of the upload; see What columns give together",
            unit=HOUR,
        ),
    ),
)

CHUNKS: Final = Group(
    "chunks",
    "what blobs consist of, all of one length",
    (
        Field(
            "place",
            D,
            "Says of which blob, and which of its chunks.",
            _BLOB,
            "which belong together",
        ),
        Field(
            "sum",
            O,
            "A byte that went wrong on the disk is noticed and never handed out.",
            _BLOB,
            "nothing: a sum of what stands beside it",
        ),
        Field("data", D, "This is the attachment.", _BLOB, _NONE, Content.SEALED),
    ),
)

BLOB_STORE: Final = (BLOB_META, BLOBS, CHUNKS)


def _n() -> Field:
    return Field("n", D, "Matches a reply with its request.", _PASSING, _NONE)


def _id() -> Field:
    return Field("blob_id", D, "Says which blob.", _STORED, _WHICH)


def _token(why: str) -> Field:
    return Field("token", A, why, _CHECKED, _NONE)


BLOB_REQUESTS: Final = (
    Group(
        "blob_new",
        "makes blobs, still empty",
        (_n(), Field("blobs", D, "Lists NewBlob entries.", _PASSING, "that they came together")),
    ),
    Group(
        "blob_put",
        "brings chunks of a blob",
        (
            _n(),
            _id(),
            _token("Only its maker may."),
            Field("chunks", D, "Lists Chunk entries.", _STORED, "how an upload goes on"),
        ),
    ),
    Group(
        "blob_status",
        "asks which chunks are there",
        (_n(), _id(), _token("Only its maker may.")),
    ),
    Group(
        "blob_get",
        "fetches chunks of a blob",
        (
            _n(),
            _id(),
            _token("Only those who were told may; all of them show the same."),
            Field("first", D, "Says from where on.", _PASSING, "how a download goes on"),
            Field("count", D, "Says how many.", _PASSING, _NONE),
        ),
    ),
    Group(
        "blob_delete",
        "deletes blobs",
        (_n(), Field("blobs", D, "Lists BlobKey entries.", _PASSING, "that they came together")),
    ),
)

BLOB_REPLIES: Final = (
    Group(
        "blob_status_is",
        "which chunks are there",
        (
            _n(),
            Field("chunks", D, "Says how many there shall be.", _STORED, _SIZE),
            Field("there", D, "An upload goes on where it broke off.", _STORED, _NONE),
            Field("end", D, "Says when it goes.", _STORED, "as expires_hour"),
        ),
    ),
    Group(
        "blob_chunks_are",
        "chunks of a blob",
        (
            _n(),
            Field("size", D, "Says how many there are in all.", _STORED, _SIZE),
            Field("chunks", D, "This is the attachment.", _STORED, _NONE, Content.SEALED),
        ),
    ),
)

BLOB_ENTRIES: Final = (
    Group(
        "NewBlob",
        "a blob to make",
        (
            Field("write_gate", A, "Will decide who may bring it.", _STORED, "nothing: a hash"),
            Field("read_gate", A, "Will decide who may fetch it.", _STORED, "nothing: a hash"),
            Field("chunks", D, "Room is kept for so many.", _STORED, _SIZE),
            Field(
                "life",
                D,
                "Says after how many hours it may go.",
                "until the upload is whole",
                "how long its maker wants it to wait",
            ),
        ),
    ),
    Group(
        "Chunk",
        "one chunk on its way in",
        (
            Field("index", D, "Says which.", _STORED, _NONE),
            Field("data", D, "This is the attachment.", _STORED, _NONE, Content.SEALED),
        ),
    ),
    Group(
        "BlobKey",
        "a blob and its write token",
        (_id(), _token("Only its maker may.")),
    ),
)
