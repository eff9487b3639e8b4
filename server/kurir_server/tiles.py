"""The nodes of the ledger's tree, kept 256 hashes to a row.

Tile ``(level, n)`` holds the hashes of the nodes ``256 n`` and following at height ``8 level``, as
many as are complete; the seven heights between follow from them. So a proof reads a few rows and
rehashes little, a day adds few rows, and a million leaves take 32 MiB and not twice that.
"""

from __future__ import annotations

from typing import Final

from kurir_server.rows import Rows
from kurir_wire.ids import Hash
from kurir_wire.merkle import node_hash

HASH_BYTES: Final = 32
HEIGHT: Final = 8
"""Levels of the tree in one tile."""
WIDTH: Final = 1 << HEIGHT


class Tiles:
    """The tree in the store, for the length of one transaction."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._read: dict[tuple[int, int], list[list[Hash]]] = {}
        """Tiles read so far: their hashes, and as many of the layers above as were asked for."""

    def node(self, level: int, index: int) -> Hash:
        """The hash of a complete node: what :mod:`kurir_wire.merkle` makes proofs from."""
        row, inner = divmod(level, HEIGHT)
        n, place = divmod(index, WIDTH >> inner)
        layers = self._read.get((row, n))
        if layers is None:
            layers = self._read[row, n] = [hashes_of(self._rows.tile(row, n) or b"")]
        while len(layers) <= inner:
            layers.append(_above(layers[-1]))
        return layers[inner][place]

    def extend(self, size: int, added: list[Hash]) -> None:
        """Add leaves to the tree of ``size`` leaves."""
        level = 0
        while added:
            n, held = divmod(size, WIDTH)
            before = self._rows.tile(level, n) or b"" if held else b""
            if len(before) != held * HASH_BYTES:
                raise ValueError("the ledger's tiles do not fit its checkpoint")
            hashes = before + b"".join(added)
            added = []
            for number, begin in enumerate(range(0, len(hashes), WIDTH * HASH_BYTES), n):
                part = hashes[begin : begin + WIDTH * HASH_BYTES]
                self._rows.put_tile(level, number, part)
                if len(part) == WIDTH * HASH_BYTES:
                    added.append(top_of(part))
            level, size = level + 1, n
        self._read.clear()


def hashes_of(tile: bytes) -> list[Hash]:
    """The hashes in a tile, in order."""
    return [Hash(tile[at : at + HASH_BYTES]) for at in range(0, len(tile), HASH_BYTES)]


def _above(layer: list[Hash]) -> list[Hash]:
    """The complete nodes one level higher."""
    return [node_hash(layer[at], layer[at + 1]) for at in range(0, len(layer) - 1, 2)]


def top_of(tile: bytes) -> Hash:
    """The node that a full tile is under."""
    layer = hashes_of(tile)
    while len(layer) > 1:
        layer = _above(layer)
    return layer[0]
