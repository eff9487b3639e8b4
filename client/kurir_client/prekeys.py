"""Our own prekeys and envelope keys, as they are stored. A deleted one is gone for good.

A row without ``retired_on`` is of the present generation; a retired one is kept for what is still
under way, and then deleted.
"""

from __future__ import annotations

import secrets
from typing import Final

from kurir_client.database import Database
from kurir_client.errors import ProfileError
from kurir_crypto.keys import IdentityKeyPair
from kurir_crypto.restart import OneUseKeys
from kurir_wire.ids import DAY, HOUR
from kurir_wire.limits import CARD_LIFE, MAX_LIFE_HOURS
from kurir_wire.prekeys import PREKEY_ONE_TIME

KEEP_DAYS: Final = (CARD_LIFE + MAX_LIFE_HOURS * HOUR) // DAY + 1
"""61: days that a key is kept after it was replaced or handed out. A card that names it is valid
for 30 more at most, and what is written under that card waits up to 30; the last is for clocks that
differ, for bytes that are sent again, and for lives in whole hours."""
SIGNED_FOR_ONE_USE: Final = 3
"""``prekey.kind`` of the signed prekey of an invite or restart request: unlike a business's, it is
deleted with the one-time prekeys beside it. On the wire it is PREKEY_SIGNED."""
_IDS: Final = 1 << 32


class KeyRows(Database):
    """The tables ``prekey`` and ``envelope_key``."""

    def new_key_ids(self, count: int) -> int:
        """The first of ``count`` ids that no stored prekey has.

        They are random: a counter that was restored from a copy would name keys a second time that
        others hold already, and would show how many there were.
        """
        while True:
            first = secrets.randbelow(_IDS - count)
            last = first + count - 1
            query = "SELECT 1 FROM prekey WHERE key_id BETWEEN ? AND ?"
            if self._maybe(query, first, last) is None:
                return first

    def add_prekey(
        self, family: str, kind: int, key_id: int, secret: bytes, retired_on: int | None = None
    ) -> None:
        """A prekey of ours."""
        self._run(
            "INSERT INTO prekey(family, kind, key_id, secret, retired_on) VALUES (?, ?, ?, ?, ?)",
            family,
            kind,
            key_id,
            secret,
            retired_on,
        )

    def prekey(self, family: str, kind: int, key_id: int) -> bytes | None:
        """Its secret bytes."""
        row = self._maybe(
            "SELECT secret FROM prekey WHERE family = ? AND kind = ? AND key_id = ?",
            family,
            kind,
            key_id,
        )
        return None if row is None else bytes(row[0])

    def need_prekey(self, family: str, kind: int) -> bytes:
        """The secret bytes of the one that a card names now.

        :raises ProfileError: there is none
        """
        query = "SELECT secret FROM prekey WHERE family = ? AND kind = ? AND retired_on IS NULL"
        row = self._maybe(query, family, kind)
        if row is None:
            raise ProfileError("the profile has lost its prekeys", "it is damaged; make a new one")
        return bytes(row[0])

    def drop_prekey(self, family: str, kind: int, key_id: int) -> None:
        """It was used."""
        self._run(
            "DELETE FROM prekey WHERE family = ? AND kind = ? AND key_id = ?", family, kind, key_id
        )

    def new_one_use_keys(self, identity: IdentityKeyPair, today: int) -> OneUseKeys:
        """Prekeys for one handshake, stored, and retired at once: whom they are handed to has
        KEEP_DAYS to use them."""
        first = self.new_key_ids(3)
        keys = OneUseKeys.generate(identity, first)
        self.add_prekey("ec", SIGNED_FOR_ONE_USE, first, keys.signed.to_bytes(), today)
        self.add_prekey("ec", PREKEY_ONE_TIME, first + 1, keys.one_time.to_bytes(), today)
        self.add_prekey("kem", PREKEY_ONE_TIME, first + 2, keys.kem.to_bytes(), today)
        return keys

    def drop_used(self, one_time: int | None, kem: int | None) -> None:
        """A handshake has used these one-time prekeys, X25519 and KEM: delete them, and the signed
        prekey that was made for the same one use, if there is one."""
        if one_time is not None:
            self.drop_prekey("ec", SIGNED_FOR_ONE_USE, one_time - 1)
            self.drop_prekey("ec", PREKEY_ONE_TIME, one_time)
        if kem is not None:
            self.drop_prekey("kem", PREKEY_ONE_TIME, kem)

    def add_envelope_key(self, secret: bytes, today: int) -> None:
        """A new one, which is in use from now on."""
        self._run("INSERT INTO envelope_key(secret, made_on) VALUES (?, ?)", secret, today)

    def envelope_keys(self) -> list[bytes]:
        """All that may still open something, the one in use first."""
        return [
            bytes(row[0]) for row in self._all("SELECT secret FROM envelope_key ORDER BY n DESC")
        ]

    def keys_made_on(self) -> int | None:
        """The day on which the present generation was made."""
        row = self._maybe("SELECT made_on FROM envelope_key WHERE retired_on IS NULL")
        return None if row is None else int(row[0])

    def retire_keys(self, today: int) -> None:
        """The present generation, one-time prekeys included, is followed by another one."""
        self._run("UPDATE prekey SET retired_on = ? WHERE retired_on IS NULL", today)
        self._run("UPDATE envelope_key SET retired_on = ? WHERE retired_on IS NULL", today)

    def drop_retired_keys(self, today: int) -> None:
        """Delete what nothing under way can need any more."""
        before = today - KEEP_DAYS
        self._run("DELETE FROM prekey WHERE retired_on < ?", before)
        self._run("DELETE FROM envelope_key WHERE retired_on < ?", before)
