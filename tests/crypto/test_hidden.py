"""No repr shows a secret: every class of the package is looked at, also one added tomorrow."""

from __future__ import annotations

import base64
import copy
import importlib
import inspect as python_inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import kurir_crypto
from kurir_crypto import errors, handshake, keys, layout, message, ratchet, sealing, vault
from kurir_crypto.hidden import Hidden
from kurir_crypto.invite import InviteSecret
from kurir_crypto.reader import Reader
from kurir_crypto.session import Session
from tests.crypto.parties import BINDING, NOW, only, talking

PUBLIC = {
    handshake.Handshake,  # what the peer sees anyway
    handshake.PreKeyStore,  # a protocol, without fields
    layout.Entry,
    layout.EntryHead,
    layout.Layout,
    ratchet.RatchetHeader,
    sealing.Binding,
    vault.Cost,
    Hidden,  # has no fields
}


def all_classes() -> Iterator[type]:
    for info in pkgutil.iter_modules(kurir_crypto.__path__):
        module = importlib.import_module(f"kurir_crypto.{info.name}")
        for _, value in python_inspect.getmembers(module, python_inspect.isclass):
            if value.__module__ == module.__name__ and not issubclass(value, Exception):
                yield value


def examples() -> list[object]:
    """An instance of every class that is not listed as public."""
    alice, bob = talking()
    bob.stock(1)
    alice.send(b"lost")
    bob.receive(alice.send(b"x"))
    fresh = Session.initiate(alice.identity, bob.bundle(), NOW)
    _, first = message.encrypt([fresh], b"the content of a message", BINDING)
    agreed = handshake.Agreed(b"0123456789abcdef" * 2, only(bob).associated)  # type: ignore[arg-type]
    return [
        only(alice),
        only(bob),
        fresh,
        only(bob).ratchet,
        only(bob).ratchet.skipped,
        only(bob).ratchet.to_state(),
        _session_state(fresh),
        message.accept(bob.identity, bob, first, BINDING),
        agreed,
        alice.identity,
        keys.SigningKeyPair.generate(),
        bob.signed[1],
        *bob.kem.values(),
        sealing.MailboxKey.generate(7),
        sealing.EnvelopeKeyPair.generate(),
        InviteSecret.generate(),
        Reader(b"0123456789abcdef"),
    ]


def _session_state(session: Session) -> object:
    from kurir_crypto.session import SessionState
    from kurir_wire.codec import unpack

    return unpack(session.to_bytes(), SessionState)


EXAMPLES = examples()


def fields_of(value: object) -> list[str]:
    """The fields of a dataclass or msgspec Struct, the slots of anything else."""
    names: Any = getattr(value, "__struct_fields__", None) or getattr(value, "__slots__", ())
    return list(names)


def secrets_in(value: Any, depth: int = 0) -> Iterator[bytes]:
    """Every byte string that is reachable through fields, secret or not."""
    if isinstance(value, bytes):
        if len(value) >= 8:
            yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from secrets_in(key, depth + 1)
            yield from secrets_in(item, depth + 1)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from secrets_in(item, depth + 1)
    elif depth < 6:
        for name in fields_of(value):
            yield from secrets_in(getattr(value, name, None), depth + 1)


def test_every_class_is_looked_at() -> None:
    seen = {type(example) for example in EXAMPLES}
    missing = [cls.__name__ for cls in all_classes() if cls not in seen | PUBLIC]
    assert not missing, "give an example in this test, or list the class as public and say why"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_no_field_shows(example: object) -> None:
    found = list(secrets_in(example))
    assert found, "the test is blind: it found no bytes in this class"
    for shown in (repr(example), str(example), f"{example}", f"{[example]}", f"{example!a}"):
        for secret in found:
            piece = secret[:8]
            for form in (
                repr(piece)[2:-1],
                piece.hex(),
                base64.b64encode(piece[:6]).decode(),
                str(int.from_bytes(secret, "big")),
                str(list(piece))[1:-1],
            ):
                assert form not in shown


def test_secret_values_have_no_generated_equality() -> None:
    """It would compare secrets in a time that depends on them."""
    for example in EXAMPLES:
        if not isinstance(example, Reader):
            assert copy.copy(example) != example, type(example).__name__


def test_values_are_frozen_and_slotted() -> None:
    for example in EXAMPLES:
        if isinstance(example, Reader):
            continue
        assert not hasattr(example, "__dict__")
        name = fields_of(example)[0]
        with pytest.raises((AttributeError, TypeError)):
            setattr(example, name, None)


def test_errors_read_like_sentences() -> None:
    for name, cls in vars(errors).items():
        if not (python_inspect.isclass(cls) and issubclass(cls, Exception)):
            continue
        text = str(cls())
        assert text == cls.__doc__, name
        assert text[0].islower(), name
        assert not text.endswith("."), name
        assert "\n" not in text, name
        assert issubclass(cls, errors.CryptoError)
        assert f" {name} " in f" {errors.__doc__} ".replace("\n", " "), f"{name} in the tree"
    assert str(errors.ReplayError("said otherwise")) == "said otherwise"


def test_modules_stay_small() -> None:
    for info in pkgutil.iter_modules(kurir_crypto.__path__):
        module = importlib.import_module(f"kurir_crypto.{info.name}")
        assert len(python_inspect.getsource(module).splitlines()) < 400, info.name
        assert module.__doc__, info.name
