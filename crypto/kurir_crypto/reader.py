"""Reading fixed layouts: every length is checked before a slice is made."""

from __future__ import annotations

from kurir_crypto.errors import CryptoError, DamagedStateError, MalformedMessageError


class Reader:
    """Walks through bytes; running past the end or leaving some over is an error."""

    __slots__ = ("_at", "_data", "_error")

    def __init__(self, data: bytes, error: type[CryptoError] = MalformedMessageError) -> None:
        self._data = data
        self._at = 0
        self._error = error

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        end = self._at + count
        if end > len(self._data):
            raise self._error
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, width: int) -> int:
        """The next ``width`` bytes as a big-endian number."""
        return int.from_bytes(self.take(width), "big")

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._data):
            raise self._error


def read_state(data: bytes, version: int, length: int) -> Reader:
    """A reader of a stored value, past its version byte.

    :raises DamagedStateError: another version or length
    """
    if len(data) != length or data[0] != version:
        raise DamagedStateError
    reader = Reader(data, DamagedStateError)
    reader.take(1)
    return reader
