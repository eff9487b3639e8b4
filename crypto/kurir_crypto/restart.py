"""Asking for a fresh session: what a device sends when its own state was lost or set back.

A device that was restored from a copy must not send on the sessions in it: their keys were used
since. One that receives what it cannot open knows that something of the kind happened to the peer.
Either sends a *restart request* in place of a message: prekeys made for this one use, signed
together with the place where the request lies. The peer starts a session with them.

::

    request  0 u8 ‖ suite u8 ‖ identity 128 ‖ signed prekey id u32, key 32, signature 64
             ‖ one-time prekey id u32, key 32, signature 64
             ‖ one-time KEM prekey id u32, key 1,568, signature 64 ‖ signature 64

The first byte tells it from a message, whose suite is never 0. The request is signed by the
identity key, as cards are; it says nothing but that a session is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kurir_crypto.errors import MalformedMessageError, UntrustedKeyError
from kurir_crypto.hidden import Hidden
from kurir_crypto.keys import SIGNATURE_BYTES, IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.reader import Reader
from kurir_crypto.suite import CURRENT_SUITE, check_suite
from kurir_wire.errors import WireError
from kurir_wire.ids import digest, u8, u32
from kurir_wire.prekeys import (
    KEM_PUBLIC_BYTES,
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    EcPreKey,
    IdentityPublic,
    KemPreKey,
    PreKeyBundle,
)
from kurir_wire.signing import message_to_sign, verify

REQUEST_BYTES: Final = 2 + 128 + 2 * (4 + 32 + 64) + (4 + KEM_PUBLIC_BYTES + 64) + 64
"""2,030."""
_MARK: Final = u8(0)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class OneUseKeys(Hidden):
    """Prekeys for one handshake: signed, one-time and one-time KEM. Store them before they are
    shown to anybody; delete them when they were used."""

    signed: OwnEcPreKey
    one_time: OwnEcPreKey
    kem: OwnKemPreKey

    @classmethod
    def generate(cls, identity: IdentityKeyPair, first_id: int) -> OneUseKeys:
        """:param first_id: the first of three ids that were not used before"""
        return cls(
            OwnEcPreKey.generate(identity, PREKEY_SIGNED, first_id),
            OwnEcPreKey.generate(identity, PREKEY_ONE_TIME, first_id + 1),
            OwnKemPreKey.generate(identity, PREKEY_ONE_TIME, first_id + 2),
        )

    def bundle(self, identity: IdentityPublic) -> PreKeyBundle:
        """What the peer starts from."""
        return PreKeyBundle(identity, self.signed.public, self.kem.public, self.one_time.public)


def request(own: IdentityKeyPair, keys: OneUseKeys, binding: bytes) -> bytes:
    """A restart request.

    :param binding: where it will lie, :class:`~kurir_crypto.sealing.Binding`
    :return: REQUEST_BYTES
    """
    signed, one_time, kem = keys.signed.public, keys.one_time.public, keys.kem.public
    identity = own.public
    body = b"".join(
        (
            _MARK,
            u8(CURRENT_SUITE),
            identity.sign_pk + identity.dh_pk + identity.binding,
            u32(signed.key_id) + signed.public + signed.signature,
            u32(one_time.key_id) + one_time.public + one_time.signature,
            u32(kem.key_id) + kem.public + kem.signature,
        )
    )
    return body + own.sign(_to_sign(body, binding))


def is_request(message: bytes) -> bool:
    """Whether these unsealed bytes are a restart request rather than a message."""
    return message.startswith(_MARK)


def open_request(peer: IdentityPublic, data: bytes, binding: bytes) -> PreKeyBundle:
    """Check a restart request.

    :param peer: whom it has to come from
    :return: what to start a session from; its keys are checked when it is used
    :raises UnknownSuiteError: of another version
    :raises MalformedMessageError: not a restart request
    :raises UntrustedKeyError: of somebody else, made for another place, or changed
    """
    reader = Reader(data)
    if reader.take(1) != _MARK:
        raise MalformedMessageError
    check_suite(reader.number(1))
    identity = IdentityPublic(reader.take(32), reader.take(32), reader.take(64))
    signed = EcPreKey(PREKEY_SIGNED, reader.number(4), reader.take(32), reader.take(64))
    one_time = EcPreKey(PREKEY_ONE_TIME, reader.number(4), reader.take(32), reader.take(64))
    kem = KemPreKey(
        PREKEY_ONE_TIME, reader.number(4), reader.take(KEM_PUBLIC_BYTES), reader.take(64)
    )
    signature = reader.take(SIGNATURE_BYTES)
    reader.end()
    if identity != peer:
        raise UntrustedKeyError
    bundle = PreKeyBundle(identity, signed, kem, one_time)
    try:
        verify(
            identity.sign_pk,
            _to_sign(data[:-SIGNATURE_BYTES], binding),
            signature,
            "the restart request",
        )
        bundle.verify()
    except WireError as error:
        raise UntrustedKeyError from error
    return bundle


def _to_sign(body: bytes, binding: bytes) -> bytes:
    return message_to_sign("restart", digest("restart-place", binding), body)
