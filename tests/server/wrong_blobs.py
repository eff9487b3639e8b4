"""Every wrong way to ask a relay for something about a blob, as a table: for tests.

Tokens are all that counts: each wrong way is tried by a stranger, by whoever has just used the
right one on the same connection, and by a reader and business with rights of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kurir_wire import codes
from kurir_wire.blob_frames import BlobDelete, BlobGet, BlobKey, BlobPut, BlobStatus, Chunk
from kurir_wire.frames import Request
from kurir_wire.limits import CHUNK_BYTES
from tests.server.blob_client import Attachment
from tests.server.replies import code_of
from tests.server.rig import Talk
from tests.server.world import World
from tests.server.wrong_ways import Wrong

Ask = Callable[[bytes, bytes], Request]
"""From the id of a blob and a token."""


def not_opened(world: World, blob: Attachment, ask: Ask, ways: dict[str, bytes]) -> Iterator[Wrong]:
    """:param ways: wrong tokens for a blob, beside those that are wrong for whatever is asked"""
    gates = blob.new
    tokens = ways | {
        "no token": bytes(32),
        "the gate for writing": gates.write_gate,
        "the gate for reading": gates.read_gate,
        "the id itself": blob.id,
        "the token of a mailbox": world.box.token or b"",
    }

    def used() -> Talk:
        talk = world.talk()
        for one in (world.blob, world.part):
            assert code_of(talk.send(BlobStatus(1, one.id, one.write))) == "ok"
        assert code_of(talk.send(BlobGet(1, world.blob.id, world.blob.read, 0, 1))) == "ok"
        return talk

    for name, token in tokens.items():
        request = ask(blob.id, token)
        for who, talk in (
            ("a stranger", world.talk()),
            ("whoever has used it", used()),
            ("a reader and business", world.talk(opened=(world.box,), proved=world.shop)),
        ):
            yield Wrong(f"{name}, by {who}", request, talk, codes.NOT_FOUND)
    nowhere = Attachment(world.relay_id, 1)
    for name, token in {"its own token": nowhere.write, "another's": blob.write}.items():
        gone = ask(nowhere.id, token)
        yield Wrong(f"no such blob, {name}", gone, world.talk(), codes.NOT_FOUND)


def for_writers(world: World, ask: Ask) -> Iterator[Wrong]:
    """What needs the token for writing, asked about ``world.part`` and ``world.blob``."""
    for blob, other in ((world.part, world.blob), (world.blob, world.part)):
        yield from not_opened(
            world, blob, ask, {"the token for reading": blob.read, "another's token": other.write}
        )


def wrong_puts(world: World) -> Iterator[Wrong]:
    fresh, part = Chunk(1, bytes(CHUNK_BYTES)), world.part
    yield from for_writers(world, lambda blob, token: BlobPut(7, blob, token, [fresh]))
    beyond = BlobPut(7, part.id, part.write, [Chunk(2, fresh.data)])
    yield Wrong("beyond its end", beyond, world.talk(), codes.MALFORMED)
    other = BlobPut(7, part.id, part.write, [Chunk(0, b"x" * CHUNK_BYTES)])
    yield Wrong("other bytes", other, world.talk(), codes.CONFLICT)


def wrong_statuses(world: World) -> Iterator[Wrong]:
    yield from for_writers(world, lambda blob, token: BlobStatus(7, blob, token))


def wrong_gets(world: World) -> Iterator[Wrong]:
    blob, part = world.blob, world.part
    ways = {"the token for writing": blob.write, "another's token": part.read}
    yield from not_opened(world, blob, lambda id_, token: BlobGet(7, id_, token, 0, 1), ways)
    for name, token in {"reading": part.read, "writing": part.write}.items():
        early = BlobGet(7, part.id, token, 0, 1)
        yield Wrong(f"not whole, by the token for {name}", early, world.talk(), codes.NOT_FOUND)
    beyond = BlobGet(7, blob.id, blob.read, 1, 1)
    yield Wrong("beyond its end", beyond, world.talk(), codes.MALFORMED)


def wrong_removals(world: World) -> Iterator[Wrong]:
    yield from for_writers(world, lambda blob, token: BlobDelete(7, [BlobKey(blob, token)]))


BLOB_TABLE: dict[type, Callable[[World], Iterator[Wrong]]] = {
    BlobPut: wrong_puts,
    BlobStatus: wrong_statuses,
    BlobGet: wrong_gets,
    BlobDelete: wrong_removals,
}
