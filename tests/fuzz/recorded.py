"""A device as it was recorded: its keys, and its end of one conversation at several moments.

Sessions and ML-KEM ciphertexts cannot be made anew from a seed, so what has to fit together stands
in one file. ``python -m tests.fuzz.record`` writes it, and the samples that open with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from kurir_crypto import restart, vault
from kurir_crypto.handshake import PreKeyStore
from kurir_crypto.invite import InviteSecret
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.message import accept, decrypt, encrypt
from kurir_crypto.sealing import (
    Binding,
    EnvelopeKeyPair,
    MailboxKey,
    seal_symmetric,
    seal_to_address,
    week_of,
)
from kurir_crypto.session import Session
from kurir_wire.ids import EnvelopeId, MailboxId
from kurir_wire.prekeys import (
    PREKEY_LAST_RESORT,
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    PreKeyBundle,
)
from tests.protocol.make import NOW, key, make_person_card, signed_person_card

FILE: Final = Path(__file__).parent / "recorded.msgpack"
BINDING: Final = Binding(MailboxId(b"m" * 32), EnvelopeId(b"e" * 16))
MINUTE: Final = NOW // 60
WEEK: Final = week_of(NOW)
PASSPHRASE: Final = "correct horse"
INVITE: Final = InviteSecret(b"s" * 32)
_TURNS: Final = 16
"""Enough for each side to have asked and answered in the post-quantum ratchet."""


class Recorded(Struct, frozen=True):
    """Secrets of nobody. ``peer`` is the other end; ``sessions`` are one session, as time passes;
    ``contents`` all that the peer ever wrote."""

    own: bytes
    peer: bytes
    signed: bytes
    one_time: bytes
    kem: bytes
    last_resort: bytes
    mailbox: bytes
    envelope: bytes
    sessions: list[bytes]
    contents: list[bytes]


class Device(PreKeyStore):
    """The recorded device; serves as its own store of prekeys."""

    def __init__(self, recorded: Recorded) -> None:
        self.identity = IdentityKeyPair.from_bytes(recorded.own)
        self.peer = IdentityKeyPair.from_bytes(recorded.peer)
        self.signed = OwnEcPreKey.from_bytes(recorded.signed)
        self.one_time = OwnEcPreKey.from_bytes(recorded.one_time)
        self.kems = [OwnKemPreKey.from_bytes(data) for data in (recorded.kem, recorded.last_resort)]
        self.mailbox = MailboxKey.from_bytes(recorded.mailbox)
        self.envelope = EnvelopeKeyPair.from_bytes(recorded.envelope)
        self.sessions = [Session.from_bytes(data) for data in recorded.sessions]
        self.contents = frozenset(recorded.contents)

    def signed_prekey(self, key_id: int) -> OwnEcPreKey | None:
        return self.signed if key_id == self.signed.public.key_id else None

    def one_time_prekey(self, key_id: int) -> OwnEcPreKey | None:
        return self.one_time if key_id == self.one_time.public.key_id else None

    def kem_prekey(self, kind: int, key_id: int) -> OwnKemPreKey | None:
        for kem in self.kems:
            if (kem.public.kind, kem.public.key_id) == (kind, key_id):
                return kem
        return None

    def bundle(self, *, one_time: bool) -> PreKeyBundle:
        """What a relay hands out while there are one-time keys, or when there are none left."""
        kem = self.kems[0 if one_time else 1].public
        return PreKeyBundle(
            self.identity.public,
            self.signed.public,
            kem,
            self.one_time.public if one_time else None,
        )


def load() -> Device:
    """The device in the file."""
    return Device(msgspec.msgpack.decode(FILE.read_bytes(), type=Recorded))


def record() -> tuple[Recorded, dict[str, dict[str, bytes]]]:
    """A new device, and by target the samples that it opens."""
    own, peer = IdentityKeyPair.generate(), IdentityKeyPair.generate()
    keys = Recorded(
        own.to_bytes(),
        peer.to_bytes(),
        OwnEcPreKey.generate(own, PREKEY_SIGNED, 1).to_bytes(),
        OwnEcPreKey.generate(own, PREKEY_ONE_TIME, 2).to_bytes(),
        OwnKemPreKey.generate(own, PREKEY_ONE_TIME, 3).to_bytes(),
        OwnKemPreKey.generate(own, PREKEY_LAST_RESORT, 4).to_bytes(),
        MailboxKey.generate(WEEK - 3).to_bytes(),
        EnvelopeKeyPair.generate().to_bytes(),
        [],
        [],
    )
    device = Device(keys)
    first = _first_messages(device, peer)
    states, contents, heard = _conversation(device, peer)
    recorded = msgspec.structs.replace(keys, sessions=states, contents=[*contents, b"hello"])
    return recorded, {
        "message": {**first, **heard},
        "decrypt": heard,
        "accept": first,
        "ratchet": heard,
        "restart": {"valid-request": _request(peer)},
        "session": {f"valid-{n}": state for n, state in enumerate(states)},
        "stored_key": _stored(keys),
        "vault": {"valid-header": vault.create(PASSPHRASE, vault.CHEAP_COST)[0]},
        "sealed": _sealed(device),
        "envelope_key": {"valid-public": device.envelope.public},
        "invite_card": _invite_card(),
    }


def _first_messages(device: Device, peer: IdentityKeyPair) -> dict[str, bytes]:
    found = {}
    for name, one_time in (("one-time", True), ("last-resort", False)):
        session = Session.initiate(peer, device.bundle(one_time=one_time), MINUTE)
        _, found[f"valid-first-{name}"] = encrypt([session], b"hello", BINDING)
    two = [Session.initiate(peer, device.bundle(one_time=one), MINUTE) for one in (True, False)]
    _, found["valid-first-two-devices"] = encrypt(two, b"hello", BINDING)
    return found


def _conversation(
    device: Device, peer: IdentityKeyPair
) -> tuple[list[bytes], list[bytes], dict[str, bytes]]:
    """Both take turns. Kept is each moment at which the device's state is of a new kind, with two
    messages that it then can open, the first of which was overtaken by the second."""
    theirs = Session.initiate(peer, device.bundle(one_time=True), MINUTE)
    (theirs,), hello = encrypt([theirs], b"hello", BINDING)
    ours = accept(device.identity, device, hello, BINDING).session
    kinds: set[tuple[bool, ...]] = set()
    states: list[bytes] = []
    contents: list[bytes] = []
    samples: dict[str, bytes] = {}
    for turn in range(_TURNS):
        (ours,), answer = encrypt([ours], b"yes", BINDING)
        theirs, _ = decrypt(theirs, answer, BINDING)
        text = f"turn {turn}".encode()
        (theirs,), early = encrypt([theirs], text, BINDING)
        (theirs,), late = encrypt([theirs], text + b", again", BINDING)
        sparse = ours.sparse
        kind = (
            sparse.asking is None, sparse.asked is None, sparse.answer is None,
            sparse.former is None, bool(sparse.skipped), len(early) > 400,
        )  # fmt: skip
        if kind not in kinds:
            kinds.add(kind)
            states.append(ours.to_bytes())
            contents += [text, text + b", again"]
            samples[f"valid-turn-{turn}"] = early
            samples[f"valid-turn-{turn}-again"] = late
        ours, _ = decrypt(ours, late, BINDING)
    return states, contents, samples


def _request(peer: IdentityKeyPair) -> bytes:
    return restart.request(peer, restart.OneUseKeys.generate(peer, 7), BINDING)


def _stored(keys: Recorded) -> dict[str, bytes]:
    names = ("own", "signed", "one_time", "kem", "last_resort", "mailbox", "envelope")
    return {f"valid-{name}": getattr(keys, name) for name in names}


def _sealed(device: Device) -> dict[str, bytes]:
    key = device.mailbox
    return {
        "valid-this-week": seal_symmetric(key, WEEK, BINDING, b"message", 2_048),
        "valid-next-week": seal_symmetric(key, WEEK + 1, BINDING, b"", 2_048),
        "valid-address": seal_to_address(device.envelope.public, BINDING, b"message", 4_096),
        "valid-padded": b"message\x80" + bytes(8),
    }


def _invite_card() -> dict[str, bytes]:
    owner = key("person")
    card = make_person_card(owner)
    return {"valid-card": INVITE.seal_card(signed_person_card(card, owner)), "plain": b"card"}
