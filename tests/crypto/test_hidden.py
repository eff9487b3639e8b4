"""No repr shows a secret: every class of the package is looked at, also one added tomorrow."""

from __future__ import annotations

import base64
import copy
import dataclasses
import importlib
import inspect as python_inspect
import pkgutil
import pprint
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from rich.pretty import pretty_repr

import kurir_crypto
from kurir_crypto import (
    errors,
    handshake,
    keys,
    layout,
    message,
    ratchet,
    restart,
    sealing,
    session,
    sparse,
    vault,
)
from kurir_crypto.hidden import Hidden, SecretState
from kurir_crypto.invite import InviteSecret
from kurir_crypto.reader import Reader
from kurir_crypto.session import Session
from kurir_wire.ids import Hash
from tests.crypto.parties import BINDING, NOW, only, talking

PUBLIC = {
    handshake.Handshake,  # what the peer sees anyway
    handshake.PreKeyStore,  # a protocol, without fields
    layout.Entry,
    layout.EntryHead,
    layout.Layout,
    ratchet.RatchetHeader,
    session.Headers,
    sparse.SparseHeader,
    sealing.Binding,
    vault.Cost,
    Hidden,  # has no fields
    SecretState,  # nor this one
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
    agreed = handshake.Agreed(b"0123456789abcdef" * 2, Hash(only(bob).associated))
    return [
        only(alice),
        only(bob),
        fresh,
        only(bob).ratchet,
        only(bob).sparse,
        only(alice).sparse,
        *(value for value in asking_and_former() if value is not None),
        message.accept(bob.identity, bob, first, BINDING),
        agreed,
        alice.identity,
        restart.OneUseKeys.generate(alice.identity, 1),
        keys.SigningKeyPair.generate(),
        bob.signed[1],
        *bob.kem.values(),
        sealing.MailboxKey.generate(7),
        sealing.EnvelopeKeyPair.generate(),
        InviteSecret.generate(),
        Reader(b"0123456789abcdef"),
    ]


def asking_and_former() -> tuple[object, object]:
    """The parts of the post-quantum ratchet that come and go."""
    alice, bob = talking()  # bob has asked, alice is about to answer
    alice.send(b"x")
    return only(bob).sparse.asking, only(alice).sparse.former


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


def in_a_traceback(value: object) -> str:
    """What a program prints that fails with the value in a local variable and in its error."""
    try:
        raise KeyError(value)
    except KeyError:
        error = traceback.TracebackException(*sys.exc_info(), capture_locals=True)
        return "".join(error.format())


@dataclasses.dataclass
class InADataclass:
    """Anything that holds a secret value without knowing."""

    value: object


class InAStruct(msgspec.Struct):
    """The same."""

    value: Any


SHOWN: list[Callable[[object], str]] = [
    repr,
    str,
    ascii,
    format,
    lambda value: f"{value}{value!r}{value!a}{value:}",
    lambda value: "%s %r" % (value, value),  # noqa: UP031
    lambda value: "{0} {0!r}".format(value),  # noqa: UP032
    lambda value: repr([value, {"key": value}, (value,)]),
    lambda value: pprint.pformat([value]),
    lambda value: pretty_repr([value]),  # takes a Struct apart by another method than repr
    lambda value: repr(InADataclass(value)),
    lambda value: repr(InAStruct(value)),
    lambda value: str(ValueError(value)),
    in_a_traceback,
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_no_field_shows(example: object) -> None:
    found = set(secrets_in(example))
    assert found, "the test is blind: it found no bytes in this class"
    shown = "\n".join(show(example) for show in SHOWN)
    assert type(example).__name__ in shown
    if isinstance(example, Hidden | SecretState):
        assert repr(example).startswith(f"<{type(example).__name__}")
    for secret in found:
        for piece in (secret[:8], secret[-8:]):
            for form in (
                repr(piece)[2:-1],
                piece.hex(),
                base64.b64encode(piece[:6]).decode(),
                str(int.from_bytes(secret, "big")),
                str(list(piece))[1:-1],
            ):
                assert form not in shown


def test_the_test_sees_what_shows() -> None:
    """A value that does print its fields is noticed in every way of printing."""
    shown = [show(InADataclass(b"0123456789abcdef")) for show in SHOWN]
    assert all("01234567" in text for text in shown)


def test_the_bytes_of_states_are_found_in_depth() -> None:
    """Else the test above would look at too little: a session's bytes lie three levels down."""
    _, bob = talking()
    found = set(secrets_in(only(bob)))
    asking = only(bob).sparse.asking
    assert asking is not None
    assert {asking.seed, only(bob).ratchet.own_secret, only(bob).sparse.root} <= found


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
