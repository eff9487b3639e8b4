"""Checkpoints: the form of other logs, in one spelling, signed by the certified key."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from kurir_billing.errors import LedgerError
from kurir_billing.ledger import (
    MAX_SIZE,
    Checkpoint,
    checkpoint_text,
    entry_hash,
    key_hash,
    open_checkpoint,
    signed_checkpoint,
)
from kurir_wire.ids import RelayId
from kurir_wire.merkle import leaf_hash
from kurir_wire.signing import verify
from tests.protocol.make import TestBusiness, TestRelay, b32, hash_of, make_leaf, public, sign

RELAY, OTHER_RELAY = TestRelay(), TestRelay("other relay")
PUBLIC = public(RELAY.checkpoint_key)
CHECKPOINT = Checkpoint(RELAY.id, 1_000, hash_of("root"))


def note_of(checkpoint: Checkpoint, key: SigningKey = RELAY.checkpoint_key) -> bytes:
    signature = sign(key, checkpoint_text(checkpoint))
    return signed_checkpoint(checkpoint, public(key), signature)


NOTE = note_of(CHECKPOINT)


def refused(note: bytes, relay_id: RelayId = RELAY.id) -> str:
    with pytest.raises(LedgerError) as caught:
        open_checkpoint(note, PUBLIC, relay_id)
    return str(caught.value)


def test_a_checkpoint_and_its_form() -> None:
    assert open_checkpoint(NOTE, PUBLIC, RELAY.id) == CHECKPOINT
    name = f"kurir-ledger/{RELAY.id.hex()}"
    first, size, root, blank, signed, end = NOTE.decode().split("\n")
    assert (first, size, blank, end) == (name, "1000", "", "")
    assert base64.b64decode(root) == b32("root")
    dash, signer, data = signed.split(" ")
    assert (dash, signer) == ("\u2014", name)
    raw = base64.b64decode(data)
    assert raw[:4] == key_hash(name, PUBLIC)
    verify(PUBLIC, f"{name}\n1000\n{root}\n".encode(), raw[4:], "the note")


def test_the_published_note() -> None:
    """The example of Go's sumdb/note: its key's hash, its signature, its framing."""
    public_key = base64.b64decode("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")[1:]
    assert key_hash("example.com/foo", public_key) == bytes.fromhex("530d903a")
    raw = base64.b64decode(
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
    )
    assert raw[:4] == bytes.fromhex("530d903a")
    verify(public_key, b"This is an example message.\n", raw[4:], "the note")


def test_sizes() -> None:
    for size in (1, 9, MAX_SIZE):
        checkpoint = Checkpoint(RELAY.id, size, hash_of("root"))
        assert open_checkpoint(note_of(checkpoint), PUBLIC, RELAY.id) == checkpoint
    for size in (0, MAX_SIZE + 1, -1):
        refused(note_of(Checkpoint(RELAY.id, size, hash_of("root"))))


def test_other_signers() -> None:
    assert "another key" in refused(note_of(CHECKPOINT, RELAY.operator))
    stolen = signed_checkpoint(
        CHECKPOINT, PUBLIC, sign(RELAY.operator, checkpoint_text(CHECKPOINT))
    )
    assert "does not match" in refused(stolen)
    assert "another relay" in refused(NOTE, OTHER_RELAY.id)


def test_one_spelling() -> None:
    text = NOTE.decode()
    name = f"kurir-ledger/{RELAY.id.hex()}"
    again = "kurir-ledger/" + RELAY.id.hex().upper()
    for changed in (
        "",
        text[:-1],
        text + "\n",
        text + text.rsplit("\n", 2)[1] + "\n",
        text.replace("\n1000\n", "\n01000\n"),
        text.replace("\n1000\n", "\n+1000\n"),
        text.replace("\n1000\n", "\n1_000\n"),
        text.replace("\n1000\n", "\n1000 \n"),
        text.replace("\n1000\n", "\n\u0661000\n"),
        text.replace("\n", "\r\n"),
        text.replace("\n\n", "\nmore\n\n"),
        text.replace("\n\n", "\n"),
        text.replace("\u2014", "-"),
        text.replace(name, again),
        text.replace(f"\u2014 {name}", f"\u2014  {name}"),
        text.replace(f"\u2014 {name}", "\u2014 other"),
    ):
        assert changed != text
        refused(changed.encode())
    refused(b"\xff" + NOTE)
    refused(NOTE + bytes(3_000))
    # Base64 whose last bits say nothing has other spellings of the same bytes.
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for end in (NOTE.find(b"=\n"), len(NOTE) - 2):
        sibling = alphabet[alphabet.index(NOTE[end - 1]) ^ 1]
        refused(NOTE[: end - 1] + bytes([sibling]) + NOTE[end:])


@settings(max_examples=300)
@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_any_changed_byte(place: int, change: int) -> None:
    refused(NOTE[:place] + bytes([NOTE[place] ^ change]) + NOTE[place + 1 :])


def test_what_stands_in_the_tree() -> None:
    leaf = make_leaf(RELAY, TestBusiness(), "a")
    assert entry_hash(leaf, RELAY.id) == leaf_hash(leaf.hash(RELAY.id))
