"""A home folder: who one is, under a passphrase.

::

    HOME/vault       the store's random key, wrapped by argon2id of the passphrase
    HOME/store.db    everything else, in SQLCipher under that key

and, where a copy of the folder does not take it along, a mark by which a copy is noticed
(:mod:`.mark`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kurir_client.clock import Clock, system_clock
from kurir_client.errors import ProfileError, UsageError
from kurir_client.files import write_private
from kurir_client.mark import Mark, encryptions
from kurir_client.prekeys import SIGNED_FOR_ONE_USE
from kurir_client.restored import open_mark
from kurir_client.store import Store
from kurir_crypto import vault
from kurir_crypto.errors import (
    DamagedStateError,
    DamagedVaultError,
    VaultError,
    WrongPassphraseError,
)
from kurir_crypto.handshake import PreKeyStore
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.session import Session
from kurir_wire.errors import LinkError
from kurir_wire.ids import RelayId
from kurir_wire.limits import MAX_NAME
from kurir_wire.links import RelayAddress
from kurir_wire.prekeys import PREKEY_ONE_TIME, PREKEY_SIGNED

VAULT_FILE = "vault"
STORE_FILE = "store.db"


@dataclass(slots=True)
class Profile:
    """An unlocked home: its store, and the few values that everything needs.

    :ivar ahead: seconds by which the computer's clock is wrong
    """

    home: Path
    store: Store
    identity: IdentityKeyPair
    own_clock: Clock
    mark: Mark
    ca_file: str | None = None
    ahead: int = 0

    def clock(self) -> int:
        """What time it is, by the computer's clock less what it was found to be ahead of the
        relay's (:mod:`.upkeep`)."""
        return self.own_clock() - self.ahead

    @classmethod
    def create(
        cls,
        home: Path,
        passphrase: str,
        name: str,
        *,
        clock: Clock = system_clock,
        cost: vault.Cost = vault.DEFAULT_COST,
        seed: Callable[[Store], None] | None = None,
    ) -> Profile:
        """Make a new home. ``seed`` may write more in the same transaction.

        :raises UsageError: an unusable name or an empty passphrase
        :raises ProfileError: there is a profile already, or the folder cannot be written
        """
        name = check_name(name)
        if not passphrase:
            raise UsageError("the passphrase is empty", "choose one; it protects everything here")
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ProfileError(f"cannot make the folder {home}: {error.strerror}") from error
        if (home / VAULT_FILE).exists():
            raise ProfileError(
                f"there is a profile in {home} already", "use another folder with --home"
            )
        header, key = vault.create(passphrase, cost)
        file = home / STORE_FILE
        file.unlink(missing_ok=True)  # of an attempt that ended before its vault was written
        store = Store.create(file, key)
        identity = IdentityKeyPair.generate()
        try:
            with store.transaction():
                store.put("identity", identity.to_bytes())
                store.put("name", name.encode())
                mark = Mark.new(store)
                if seed is not None:
                    seed(store)
            # The vault comes last: a home without it is none, and can be made again.
            write_private(home / VAULT_FILE, header)
        except BaseException:
            store.close()
            raise
        return cls(home, store, identity, clock, mark)

    @classmethod
    def open(
        cls, home: Path, passphrase: str, clock: Clock = system_clock, ca_file: str | None = None
    ) -> Profile:
        """Unlock a home. One that is an old copy of itself, or was moved, agrees fresh keys with
        everybody from now on (:mod:`.restored`).

        :raises ProfileError: none here, wrong passphrase, damaged, or its mark cannot be written
        """
        try:
            header = (home / VAULT_FILE).read_bytes()
        except FileNotFoundError as error:
            raise ProfileError(
                f"there is no profile in {home}", "make one with: kurir init"
            ) from error
        except OSError as error:
            raise ProfileError(f"cannot read {home}: {error.strerror}") from error
        try:
            key = vault.unlock(header, passphrase)
        except WrongPassphraseError as error:
            raise ProfileError(
                "wrong passphrase", "try again; there is no reset, only a new profile"
            ) from error
        except (DamagedVaultError, VaultError) as error:
            raise ProfileError(f"the vault in {home} is damaged: {error}") from error
        store = Store.open(home / STORE_FILE, key)
        try:
            identity = IdentityKeyPair.from_bytes(store.need("identity"))
            mark = open_mark(store, clock())
        except BaseException:
            store.close()
            raise
        return cls(home, store, identity, clock, mark, ca_file)

    def close(self) -> None:
        """Lock it again."""
        self.store.close()

    def raise_mark(self) -> None:
        """Note outside the home what was encrypted; to be called before any of it leaves.

        :raises ProfileError: it cannot be written
        """
        with self.store.transaction():
            self.mark.raise_to(encryptions(self.store))

    @property
    def name(self) -> str:
        """What those whom one invites see."""
        return self.store.need("name").decode()

    @property
    def is_business(self) -> bool:
        """Whether this home speaks for a business."""
        return self.store.get("business_root") is not None

    @property
    def relay(self) -> RelayAddress | None:
        """Where this home's mailboxes are; None until a link or an option says."""
        text = self.store.get("relay")
        return None if text is None else RelayAddress.parse(text.decode())

    @property
    def relay_pin(self) -> bytes | None:
        """First bytes of the relay's id; None until it was met."""
        return self.store.get("relay_pin")

    @property
    def relay_id(self) -> RelayId:
        """:raises ProfileError: the relay was never met"""
        return RelayId(self.store.need("relay_id"))

    @property
    def market(self) -> str | None:
        """The market that one tells businesses, if one said."""
        text = self.store.get("market")
        return None if text is None else text.decode()

    def set_relay(self, text: str) -> None:
        """Choose the relay.

        :raises UsageError: not an address, or another one is in use
        """
        address = parse_relay(text)
        with self.store.transaction():
            met = self.store.get("relay_id") is not None
            if self.relay is not None and self.relay != address and met:
                raise UsageError(
                    f"this profile uses the relay {self.relay.authority}, not {address.authority}",
                    "a profile has one relay; make another with --home for a second one",
                )
            self.store.put("relay", address.url.encode())


@dataclass(frozen=True, slots=True)
class Keyring:
    """The store's keys as the engine asks for them, read inside the running transaction."""

    store: Store
    identity: IdentityKeyPair

    @property
    def prekeys(self) -> PreKeyStore:
        """Prekeys come from the same place."""
        return self

    def session(self, session_id: bytes) -> Session | None:
        """A session by its id; None also if what is stored of it cannot be read."""
        row = self.store.session(session_id)
        if row is None:
            return None
        try:
            return Session.from_bytes(row[1])
        except DamagedStateError:
            return None

    def known_sessions(self) -> Keyring:
        """``in`` asks the store, which remembers sessions after they were deleted."""
        return self

    def __contains__(self, session_id: object) -> bool:
        return isinstance(session_id, bytes) and self.store.knows_session(session_id)

    def signed_prekey(self, key_id: int) -> OwnEcPreKey | None:
        """A rotating X25519 prekey, or one made for one use."""
        return self._ec(PREKEY_SIGNED, key_id) or self._ec(SIGNED_FOR_ONE_USE, key_id)

    def one_time_prekey(self, key_id: int) -> OwnEcPreKey | None:
        """A one-time X25519 prekey."""
        return self._ec(PREKEY_ONE_TIME, key_id)

    def kem_prekey(self, kind: int, key_id: int) -> OwnKemPreKey | None:
        """A KEM prekey of either kind."""
        secret = self.store.prekey("kem", kind, key_id)
        return None if secret is None else OwnKemPreKey.from_bytes(secret)

    def _ec(self, kind: int, key_id: int) -> OwnEcPreKey | None:
        secret = self.store.prekey("ec", kind, key_id)
        return None if secret is None else OwnEcPreKey.from_bytes(secret)


def parse_relay(text: str) -> RelayAddress:
    """Where a relay is.

    :raises UsageError: not an address
    """
    try:
        return RelayAddress.parse(text)
    except LinkError as error:
        raise UsageError(str(error)) from error


def check_name(name: str) -> str:
    """A name as others will see it.

    :raises UsageError: empty, too long, or with characters that do not print
    """
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise UsageError(f"a name has 1 to {MAX_NAME} printable characters")
    return name


def clean_name(name: str) -> str:
    """A name that came from somebody else, made harmless for a terminal."""
    shown = "".join(character if character.isprintable() else "?" for character in name)
    return " ".join(shown.split())[:MAX_NAME] or "somebody"
