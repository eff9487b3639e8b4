"""The mark: a small file outside the home, by which an old copy of the home is told from the home.

A session that has been set back would encrypt a second message under a key that was used before.
The home counts its encryptions, and the mark repeats the number where a copy of the home does not
take it along. A home that has counted less than its mark is an old copy; one without a mark was
moved here. Neither may send on its sessions (:mod:`.restored`).

The mark is raised before an encrypted message leaves, and never lowered, as several processes may
use a home at once. It is encrypted under a key that lies in the home: in clear it would be a count
of messages for everybody who reads the disk.

Two homes of one identity are not supported. A copy that is opened on another computer has no mark
there; it gets fresh sessions with everybody, as does the first home whenever it notices that it
cannot read any more, and people answer to whichever of the two they heard last.

::

    mark   XChaCha20-Poly1305 of u64 count, associated data: the domain string "mark"
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import platformdirs

from kurir_client.errors import ProfileError
from kurir_client.files import write_private
from kurir_client.store import Store
from kurir_crypto.aead import xchacha_decrypt, xchacha_encrypt
from kurir_crypto.errors import AuthenticationError
from kurir_wire.ids import domain, u64

ID_BYTES: Final = 16
KEY_BYTES: Final = 32
COUNTER: Final = "encryptions"
"""``meta`` name of the number of messages encrypted on any session."""
_META: Final = "mark"
"""``meta`` name of the mark's random id and key."""
_HINT: Final = "kurir keeps a small file there; set XDG_STATE_HOME to keep it elsewhere"


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of one home."""

    file: Path
    _key: bytes = field(repr=False)

    @classmethod
    def of(cls, store: Store) -> Self | None:
        """The mark of this home; None if it never had one."""
        value = store.get(_META)
        return None if value is None else cls._of(value)

    @classmethod
    def new(cls, store: Store) -> Self:
        """Make the mark of a home that never had one, inside the running transaction.

        :raises ProfileError: it cannot be written
        """
        value = os.urandom(ID_BYTES + KEY_BYTES)
        store.put(_META, value)
        mark = cls._of(value)
        mark.raise_to(encryptions(store))
        return mark

    @classmethod
    def _of(cls, value: bytes) -> Self:
        folder = platformdirs.user_state_path("kurir", appauthor=False) / "marks"
        return cls(folder / value[:ID_BYTES].hex(), value[ID_BYTES:])

    def read(self) -> int | None:
        """The number in it; None if there is no mark, or none that this home wrote.

        :raises ProfileError: it cannot be read
        """
        try:
            sealed = self.file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ProfileError(f"cannot read {self.file}: {error.strerror}", _HINT) from error
        try:
            return int.from_bytes(xchacha_decrypt(self._key, sealed, domain("mark")), "big")
        except AuthenticationError:
            return None

    def raise_to(self, count: int) -> None:
        """Write ``count``, unless more stands there. Call it inside a transaction of the store, so
        that two processes do not overtake each other.

        :raises ProfileError: it cannot be written
        """
        known = self.read()
        if known is not None and known >= count:
            return
        folder = self.file.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # What a power cut takes away makes this home look moved, which is safe.
            sealed = xchacha_encrypt(self._key, u64(count), domain("mark"))
            write_private(self.file, sealed, durable=False)
        except OSError as error:
            what = f"cannot make the folder {folder}: {error.strerror}"
            raise ProfileError(what, _HINT) from error
        except ProfileError as error:
            raise ProfileError(error.what, _HINT) from error


def encryptions(store: Store) -> int:
    """How many messages this home has encrypted."""
    return int((store.get(COUNTER) or b"0").decode())
