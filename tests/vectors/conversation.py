"""Two devices that talk: recorded once, and replayed from what was recorded of one of them.

README.md describes what is recorded. A device's own random draws are all that is kept secret; with
them, and the envelopes, either device's side of the conversation can be played again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from unittest import mock

from kurir_crypto import handshake, message, padding, ratchet, sealing, sparse
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.layout import parse
from kurir_crypto.sealing import Binding, EnvelopeKeyPair, MailboxKey
from kurir_crypto.session import Session
from kurir_wire.ids import EnvelopeId, Hash, MailboxId
from kurir_wire.prekeys import PREKEY_ONE_TIME, PREKEY_SIGNED
from tests.vectors.inner import Held
from tests.vectors.values import Json, drawing, to_json, x

WEEK: Final = 2_960
STARTED: Final = WEEK * 10_080 + 9_000
_GENERATORS: Final[tuple[tuple[Any, str, str], ...]] = (
    (handshake, "generate_x25519", "ephemeral_keys"),
    (handshake, "encapsulate_1024", "handshake_encapsulations"),
    (ratchet, "generate_x25519", "ratchet_keys"),
    (sparse, "generate_768", "ratchet_kem_keys"),
    (sparse, "encapsulate_768", "ratchet_encapsulations"),
)
"""Where a device draws something for a session, and the list in which that is recorded."""


@dataclass
class Device:
    """One end: its keys as in the file, what it drew, and its session once there is one."""

    record: Json
    drawn: dict[str, list[list[str]]] = field(default_factory=dict)
    session: Session | None = None

    @classmethod
    def fresh(cls) -> Device:
        identity = IdentityKeyPair.generate()
        record = {
            "identity": identity.to_bytes().hex(),
            "identity_public": to_json(identity.public),
            "signed": OwnEcPreKey.generate(identity, PREKEY_SIGNED, 7).to_bytes().hex(),
            "one_time": OwnEcPreKey.generate(identity, PREKEY_ONE_TIME, 21).to_bytes().hex(),
            "kem": OwnKemPreKey.generate(identity, PREKEY_ONE_TIME, 35).to_bytes().hex(),
            "envelope_key": EnvelopeKeyPair.generate().to_bytes().hex(),
            "address_id": os.urandom(32).hex(),
            "mailbox_id": os.urandom(32).hex(),
            "mailbox_key": {"week": WEEK, "key": os.urandom(32).hex()},
        }
        return cls(record, {name: [] for _, _, name in _GENERATORS})

    @property
    def identity(self) -> IdentityKeyPair:
        return IdentityKeyPair.from_bytes(x(self.record["identity"]))

    @property
    def current(self) -> Session:
        assert self.session is not None
        return self.session

    @property
    def box(self) -> MailboxKey:
        return MailboxKey(self.record["mailbox_key"]["week"], x(self.record["mailbox_key"]["key"]))

    @contextlib.contextmanager
    def draws(self) -> Iterator[None]:
        """Record what the code draws for this device's sessions."""

        def recorded(real: Callable[..., tuple[bytes, bytes]], name: str) -> Callable[..., Any]:
            def call(*arguments: bytes) -> tuple[bytes, bytes]:
                pair = real(*arguments)
                self.drawn[name].append([pair[0].hex(), pair[1].hex()])
                return pair

            return call

        with contextlib.ExitStack() as stack:
            for module, attribute, name in _GENERATORS:
                call = recorded(getattr(module, attribute), name)
                stack.enter_context(mock.patch.object(module, attribute, call))
            yield

    @contextlib.contextmanager
    def draws_again(self) -> Iterator[None]:
        """Give the code what was recorded, in order."""
        with contextlib.ExitStack() as stack:
            for module, attribute, name in _GENERATORS:
                recorded = self.drawn[name]

                def call(*_: bytes, recorded: list[list[str]] = recorded) -> tuple[bytes, ...]:
                    return tuple(map(x, recorded.pop(0)))

                stack.enter_context(mock.patch.object(module, attribute, call))
            yield


class Recording:
    """Makes the file: what happens is called in order."""

    def __init__(self) -> None:
        self.devices = {"a": Device.fresh(), "b": Device.fresh()}
        self.envelopes: list[Json] = []
        self.events: list[str] = []
        self.lost: list[int] = []
        bundle = Held(self.devices["b"].record).bundle(self.devices["b"].identity.public)
        with self.devices["a"].draws():
            session = Session.initiate(self.devices["a"].identity, bundle, STARTED)
        self.devices["a"].session = session
        self.start = {"session_id": session.id.hex(), "started": STARTED}
        self.other = quiet_session(self.devices["a"].identity)

    def send(
        self,
        sender: str,
        text: str,
        *,
        address: bool = False,
        label: bool = False,
        more: bool = False,
    ) -> int:
        """Into the other device's mailbox or to its address. Returns the envelope's number."""
        reader = "b" if sender == "a" else "a"
        own, peer = self.devices[sender], self.devices[reader]
        number = len(self.envelopes)
        week = WEEK + (number > 14)
        place = {
            "mailbox_id": peer.record["address_id" if address else "mailbox_id"],
            "envelope_id": os.urandom(16).hex(),
            "label_hash": os.urandom(32).hex() if label else bytes(32).hex(),
        }
        content, bound = text.encode(), binding_of(place)
        sessions = [own.current, self.other] if more else [own.current]
        size = padding.bucket_for(
            len(content),
            address=address,
            handshake=not own.current.confirmed,
            devices=len(sessions),
            pieces=message.pieces(sessions),
        )
        content_keys: list[bytes] = []
        urandom = os.urandom

        def first(count: int) -> bytes:
            content_keys.append(urandom(count))
            return content_keys[-1]

        with own.draws(), mock.patch.object(os, "urandom", first):
            after, data = message.encrypt(sessions, content, bound)
        own.session = after[0]
        if address:
            public = EnvelopeKeyPair.from_bytes(x(peer.record["envelope_key"])).public
            body = sealing.seal_to_address(public, bound, data, size)
        else:
            body = sealing.seal_symmetric(peer.box, week, bound, data, size)
        self.envelopes.append(
            {
                **place,
                "number": number,
                "from": sender,
                "to": reader,
                "into": "address" if address else "mailbox",
                "week": None if address else week,
                "slots": len(parse(data).entries),
                "epoch": own.current.sparse.epoch,
                "content": content.hex(),
                "content_key": content_keys[0].hex(),
                "body": body.hex(),
            }
        )
        self.events.append(f"{sender} sends {number}")
        return number

    def receive(self, *numbers: int) -> None:
        """The reader opens these envelopes, in this order."""
        for number in numbers:
            envelope = self.envelopes[number]
            reader = self.devices[envelope["to"]]
            assert read(reader, envelope).hex() == envelope["content"]
            self.events.append(f"{envelope['to']} opens {number}")

    def lose(self, sender: str, text: str, *, label: bool = False) -> None:
        """One message that never comes."""
        self.lost.append(self.send(sender, text, label=label))

    def turn(self, sender: str) -> int:
        """One message, opened at once."""
        number = self.send(sender, f"{sender} says {len(self.envelopes)}")
        self.receive(number)
        return number

    def until_asked(self, asker: str) -> None:
        """They take turns until ``asker`` has asked for the next epoch."""
        other = "b" if asker == "a" else "a"
        for _ in range(2 * sparse.TURNS):
            self.turn(asker)
            if self.devices[asker].current.sparse.asking is not None:
                return
            self.turn(other)
        raise AssertionError("nothing was asked")

    def to_json(self) -> Json:
        """The file, without its suite."""
        for number in self.lost:
            self.envelopes[number]["body"] = None
        devices = {name: {**device.record, **device.drawn} for name, device in self.devices.items()}
        start = {**self.start, "devices": devices}
        return {**start, "envelopes": self.envelopes, "events": self.events}


def quiet_session(identity: IdentityKeyPair) -> Session:
    """A session with one more device, past its first epoch: it carries no ask or answer for now."""
    peer, nowhere = Device.fresh(), bytes(96)
    ours = Session.initiate(identity, Held(peer.record).bundle(peer.identity.public), STARTED)
    for first in (True, False):
        [ours], data = message.encrypt([ours], b"", nowhere)
        if first:
            theirs = message.accept(peer.identity, Held(peer.record), data, nowhere).session
        else:
            theirs, _ = message.decrypt(theirs, data, nowhere)
        [theirs], data = message.encrypt([theirs], b"", nowhere)
        ours, _ = message.decrypt(ours, data, nowhere)
    # Its turn has come before the recording, so that all that is drawn is the recorded session's.
    [ours], _ = message.encrypt([ours], b"", nowhere)
    return ours


def binding_of(envelope: Json) -> Binding:
    """Where an envelope lies."""
    place = MailboxId(x(envelope["mailbox_id"])), EnvelopeId(x(envelope["envelope_id"]))
    return Binding(*place, Hash(x(envelope["label_hash"])))


def read(reader: Device, envelope: Json) -> bytes:
    """Open an envelope as its reader; the session moves on. Returns the content."""
    data, bound = unseal(reader, envelope), binding_of(envelope)
    if reader.session is None:
        first = message.accept(reader.identity, Held(reader.record), data, bound)
        reader.session, content = first.session, first.content
    else:
        reader.session, content = message.decrypt(reader.session, data, bound)
    return content


def unseal(owner: Device, envelope: Json) -> bytes:
    """The message in a body, by the keys of the device to which it goes."""
    bound, body = binding_of(envelope), x(envelope["body"])
    if envelope["into"] == "address":
        key = EnvelopeKeyPair.from_bytes(x(owner.record["envelope_key"]))
        return sealing.open_at_address(key, bound, body)
    return sealing.open_with(owner.box, WEEK + 1, bound, body)


def replay(file: Json, name: str) -> None:
    """Play one device's side again: what it opens is the content, what it sends are the bytes.

    :raises AssertionError: something else comes out
    """
    devices = {
        key: Device(record, {n: [*record[n]] for _, _, n in _GENERATORS if n in record})
        for key, record in file["devices"].items()
    }
    own, peer = devices[name], devices["b" if name == "a" else "a"]
    if name == "a":
        bundle = Held(peer.record).bundle(peer.identity.public)
        with own.draws_again(), drawing(x(file["session_id"])):
            own.session = Session.initiate(own.identity, bundle, file["started"])
    for event in file["events"]:
        who, does, number = event.split()
        envelope = file["envelopes"][int(number)]
        if who != name:
            continue
        if does == "opens":
            assert read(own, envelope).hex() == envelope["content"], event
        else:
            _send_again(own, peer, envelope)
    assert not any(own.drawn.values()), "more was drawn when it was recorded"


def _send_again(own: Device, peer: Device, envelope: Json) -> None:
    bound = binding_of(envelope)
    with own.draws_again(), drawing(x(envelope["content_key"])):
        [own.session], again = message.encrypt([own.current], x(envelope["content"]), bound)
    assert own.current.sparse.epoch == envelope["epoch"]
    if envelope["body"] is None:
        return
    data, body = unseal(peer, envelope), x(envelope["body"])
    heads = {entry.session_id: entry.head for entry in parse(data).entries}
    assert parse(again).entries[0].head == heads[own.current.id]
    assert envelope["slots"] > 1 or again == data
    if envelope["into"] == "mailbox":
        with drawing(body[:24]):
            box, week = peer.box, envelope["week"]
            assert sealing.seal_symmetric(box, week, bound, data, len(body)) == body
