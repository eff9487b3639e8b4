"""The handshake against another author's X3DH, with the KEM's secret appended: same secret."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import pytest
import x3dh
import xeddsa
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PublicKey
from hypothesis import settings

from kurir_crypto import handshake
from kurir_crypto.curve import check_x25519_public
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.ratchet import DoubleRatchet
from kurir_crypto.suite import SUITE_TRIPLE_RATCHET
from kurir_wire.prekeys import PREKEY_ONE_TIME, PREKEY_SIGNED, PreKeyBundle
from tests.oracle.libraries import Agreement, finished, first_root, kem_secret
from tests.oracle.pair import Ours, Theirs

RUNS = 1_000 if settings.get_current_profile_name() == "long" else 100
STARTED = 29_900_000


@dataclass
class Responder:
    """Identity and prekeys, of which ours makes a bundle and theirs a state."""

    identity: IdentityKeyPair
    signed: OwnEcPreKey
    kem: OwnKemPreKey
    one_time: OwnEcPreKey | None

    @classmethod
    def generate(cls, *, one_time: bool) -> Responder:
        own = IdentityKeyPair.generate()
        return cls(
            own,
            OwnEcPreKey.generate(own, PREKEY_SIGNED, 7),
            OwnKemPreKey.generate(own, PREKEY_ONE_TIME, 8),
            OwnEcPreKey.generate(own, PREKEY_ONE_TIME, 9) if one_time else None,
        )

    def signed_prekey(self, key_id: int) -> OwnEcPreKey | None:
        return self.signed if key_id == 7 else None

    def kem_prekey(self, kind: int, key_id: int) -> OwnKemPreKey | None:
        return self.kem if (kind, key_id) == (PREKEY_ONE_TIME, 8) else None

    def one_time_prekey(self, key_id: int) -> OwnEcPreKey | None:
        return self.one_time if key_id == 9 else None

    def bundle(self) -> PreKeyBundle:
        one_time = None if self.one_time is None else self.one_time.public
        return PreKeyBundle(self.identity.public, self.signed.public, self.kem.public, one_time)

    def theirs(self, info: bytes) -> Agreement:
        one_time = None if self.one_time is None else self.one_time.secret
        signed = self.signed
        signature = xeddsa.ed25519_priv_sign(
            xeddsa.priv_force_sign(dh_secret(self.identity), False), signed.public.public
        )
        return Agreement.of(dh_secret(self.identity), signed.secret, signature, one_time, info)


def dh_secret(identity: IdentityKeyPair) -> bytes:
    """From the stored form: version, seed, X25519 secret."""
    return identity.to_bytes()[33:]


def associated(session_id: bytes, initiator: IdentityKeyPair, responder: Responder) -> bytes:
    """AD, as docs/protocol.md has it."""
    one, two = initiator.public, responder.identity.public
    fields = (session_id, STARTED.to_bytes(4, "big"), one.sign_pk, one.dh_pk, two.sign_pk)
    data = b"kurir/session/1\0\x02" + b"".join(fields) + two.dh_pk + responder.kem.public.public
    return hashlib.sha256(data).digest()


def info(bound: bytes) -> bytes:
    return b"kurir/pqxdh/1\0\x02" + bound


@pytest.mark.parametrize("one_time", [True, False])
def test_ours_starts_and_theirs_answers(one_time: bool) -> None:
    for _ in range(RUNS):
        alice, bob = IdentityKeyPair.generate(), Responder.generate(one_time=one_time)
        session_id = os.urandom(16)
        first, agreed = handshake.initiate(
            alice, bob.bundle(), SUITE_TRIPLE_RATCHET, session_id, STARTED
        )
        assert (first.one_time_id is not None) == one_time
        bound = associated(session_id, alice, bob)
        assert agreed.associated == bound
        header = x3dh.Header(
            identity_key=alice.public.dh_pk,
            ephemeral_key=first.ephemeral,
            pre_key=bob.one_time.public.public if bob.one_time else None,
            signed_pre_key=bob.signed.public.public,
        )
        with kem_secret(bob.kem.decapsulate(first.ciphertext)):
            secret, _, _ = finished(
                bob.theirs(info(bound)).get_shared_secret_passive(header, require_pre_key=False)
            )
        assert secret == agreed.secret


@pytest.mark.parametrize("one_time", [True, False])
def test_theirs_starts_and_ours_answers(one_time: bool) -> None:
    for _ in range(RUNS):
        alice, bob = IdentityKeyPair.generate(), Responder.generate(one_time=one_time)
        session_id = os.urandom(16)
        bound = associated(session_id, alice, bob)
        own = Agreement.of(dh_secret(alice), os.urandom(32), bytes(64), None, info(bound))
        kem = MLKEM1024PublicKey.from_public_bytes(bob.kem.public.public)
        shared, ciphertext = kem.encapsulate()
        with kem_secret(shared):
            secret, _, header = finished(
                own.get_shared_secret_active(bob.theirs(b"").bundle, require_pre_key=False)
            )
        assert (header.pre_key is not None) == one_time
        first = handshake.Handshake(
            alice.public,
            header.ephemeral_key,
            STARTED,
            7,
            9 if one_time else None,
            PREKEY_ONE_TIME,
            8,
            ciphertext,
        )
        _, agreed = handshake.respond(bob.identity, bob, first, SUITE_TRIPLE_RATCHET, session_id)
        assert agreed.secret == secret
        assert agreed.associated == bound


def test_the_handshake_leads_into_the_ratchet() -> None:
    """Theirs agrees and ratchets, ours answers: nothing but public bytes passes between them."""
    alice, bob = IdentityKeyPair.generate(), Responder.generate(one_time=True)
    session_id = os.urandom(16)
    first, agreed = handshake.initiate(
        alice, bob.bundle(), SUITE_TRIPLE_RATCHET, session_id, STARTED
    )
    ours = Ours(
        DoubleRatchet.start_initiator(agreed.secret, check_x25519_public(bob.signed.public.public))
    )
    assert bob.one_time is not None
    header = x3dh.Header(
        alice.public.dh_pk,
        first.ephemeral,
        bob.signed.public.public,
        bob.one_time.public.public,
    )
    state = bob.theirs(info(associated(session_id, alice, bob)))
    with kem_secret(bob.kem.decapsulate(first.ciphertext)):
        secret, _, used = finished(state.get_shared_secret_passive(header))
    theirs = Theirs(first_root(secret), own=used.priv)
    for _ in range(3):
        assert theirs.receive(ours.send())
        assert ours.receive(theirs.send())
