"""The nodes of the ledger's tree, kept 256 hashes to a row.

Tile ``(level, n)`` holds the hashes of the nodes ``256 n`` and following at height ``8 level``, as
many as are complete; the seven heights between follow from them. So a proof reads a few rows and
rehashes little, a day adds few rows, and a million leaves take 32 MiB and not twice that.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from kurir_server.rows import Rows
from kurir_wire.ids import Hash
from kurir_wire.merkle import nodes_above

HASH_BYTES: Final = 32
HEIGHT: Final = 8
"""Levels of the tree in one tile."""
WIDTH: Final = 1 << HEIGHT


MAX_KEPT: Final = 4_096
"""Full tiles whose layers are kept in memory, 16 KiB each: those of a million leaves, as businesses
ask about one day after the other."""


class FullTiles:
    """Layers of full tiles, which never change. Bounded; the one unused for longest goes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()

    def get(self, tile: tuple[int, int]) -> list[bytes] | None:
        """What is kept of a tile."""
        layers = self._kept.get(tile)
        if layers is not None:
            self._kept.move_to_end(tile)
        return layers

    def put(self, tile: tuple[int, int], layers: list[bytes]) -> None:
        """Keep the layers of a full tile."""
        self._kept[tile] = layers
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """A transaction that may have written some of them came to nothing."""
        self._kept.clear()


class Tiles:
    """The tree in the store, for the length of one transaction.

    :param full: what is kept of it from one transaction to the next
    """

    def __init__(self, rows: Rows, full: FullTiles | None = None) -> None:
        self._rows = rows
        self._full = full or FullTiles()
        self._read: dict[tuple[int, int], list[bytes]] = {}
        """Tiles read so far: their hashes, and as many of the layers above as were asked for."""

    def node(self, level: int, index: int) -> Hash:
        """The hash of a complete node: what :mod:`kurir_wire.merkle` makes proofs from.

        :raises IndexError: it is not there
        """
        row, inner = divmod(level, HEIGHT)
        n, place = divmod(index, WIDTH >> inner)
        layers = self._read.get((row, n)) or self._tile(row, n)
        while len(layers) <= inner:
            layers.append(nodes_above(layers[-1]))
        found = layers[inner][place * HASH_BYTES : (place + 1) * HASH_BYTES]
        if len(found) != HASH_BYTES:
            raise IndexError("the tree has no such node")
        return Hash(found)

    def leaf(self, index: int) -> Hash:
        """The hash of a leaf: as ``node(0, index)``, for who looks at many.

        :raises IndexError: it is not there
        """
        n, place = divmod(index, WIDTH)
        layers = self._read.get((0, n)) or self._tile(0, n)
        found = layers[0][place * HASH_BYTES : (place + 1) * HASH_BYTES]
        if len(found) != HASH_BYTES:
            raise IndexError("the tree has no such leaf")
        return Hash(found)

    def _tile(self, row: int, n: int) -> list[bytes]:
        layers = self._full.get((row, n))
        if layers is None:
            layers = [self._rows.tile(row, n) or b""]
            if len(layers[0]) == WIDTH * HASH_BYTES:
                self._full.put((row, n), layers)
                self._rows.if_undone(self._full.clear)
        self._read[row, n] = layers
        return layers

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


def top_of(tile: bytes) -> Hash:
    """The node that a full tile is under."""
    layer = tile
    while len(layer) > HASH_BYTES:
        layer = nodes_above(layer)
    return Hash(layer)
