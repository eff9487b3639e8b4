"""What the secret of an invite's link opens: a send token, a mailbox key, a card.

Each comes from the secret by HKDF under a label of its own, so that showing the token to the relay
tells it nothing about the other two. The secret is for one person and one use; whoever saw the link
can do all three, so writer and reader drop it once a session stands.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from kurir_crypto.aead import xchacha_decrypt, xchacha_encrypt
from kurir_crypto.errors import MessageTooLongError
from kurir_crypto.hidden import Hidden
from kurir_crypto.kdf import hkdf
from kurir_crypto.padding import MAILBOX_SEAL_BYTES, PADDING_BYTES, pad, unpad
from kurir_crypto.sealing import MailboxKey
from kurir_wire.ids import domain, u32
from kurir_wire.limits import MAX_CARD

SECRET_BYTES: Final = 32
CARD_STEP: Final = 4_096
"""A sealed card is a multiple of this: a person's card with a KEM prekey fits one step, whatever
the name, and the relay learns no more than that."""
MAX_CARD_CONTENT: Final = MAX_CARD - MAILBOX_SEAL_BYTES - PADDING_BYTES
"""16,343 bytes of card fit a blob of MAX_CARD."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class InviteSecret(Hidden):
    """The 32 bytes after the # of an invite's link."""

    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != SECRET_BYTES:
            raise ValueError(f"an invite's secret has {SECRET_BYTES} bytes")

    @classmethod
    def generate(cls) -> InviteSecret:
        """A fresh one."""
        return cls(os.urandom(SECRET_BYTES))

    def token(self) -> bytes:
        """The send token, 32 bytes: the relay holds its hash as the mailbox's gate."""
        return hkdf(self.value, domain("invite-token"))

    def mailbox_key(self, week: int) -> MailboxKey:
        """The first key of the invite's mailbox.

        :param week: the week in which the mailbox was born; another one gives another key
        """
        return MailboxKey(week, hkdf(self.value, domain("invite-mailbox") + u32(week)))

    def seal_card(self, card: bytes) -> bytes:
        """The blob that the relay keeps for the invited: nonce (24) ‖ XChaCha20-Poly1305 of the
        padded card, a multiple of 4,096 bytes, indistinguishable from random.

        :raises MessageTooLongError: more than MAX_CARD_CONTENT bytes
        """
        if len(card) > MAX_CARD_CONTENT:
            raise MessageTooLongError(
                f"a card has at most {MAX_CARD_CONTENT} bytes, this one {len(card)}"
            )
        least = len(card) + PADDING_BYTES + MAILBOX_SEAL_BYTES
        length = -(-least // CARD_STEP) * CARD_STEP
        padded = pad(card, length - MAILBOX_SEAL_BYTES)
        return xchacha_encrypt(self._card_key(), padded, domain("sealed-card"))

    def open_card(self, blob: bytes) -> bytes:
        """The inverse of :meth:`seal_card`. What comes out is still to be verified as a card.

        :raises AuthenticationError: another secret, or changed
        :raises MalformedMessageError: it opens, and its writer did not pad it
        """
        return unpad(xchacha_decrypt(self._card_key(), blob, domain("sealed-card")))

    def _card_key(self) -> bytes:
        return hkdf(self.value, domain("invite-card"))
