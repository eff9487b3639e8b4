"""Targets in kurir_client: what is inside the encryption, transcripts, lines of JSON."""

from __future__ import annotations

from kurir_client.content import (
    TEXT,
    Content,
    Destination,
    Intro,
    ReturnAddress,
    decode,
    encode,
    franked_bytes,
)
from kurir_client.demo.chat import parsed
from kurir_client.demo.transcript import lines_of, search_terms
from kurir_client.display import harmless
from kurir_client.profile import clean_name
from kurir_wire.errors import MalformedError
from tests.fuzz.mutate import json_tree, msgpack_tree, of_words, some_bytes
from tests.fuzz.target import VALID, Target, attempt, check_again
from tests.protocol.make import NOW, TestBusiness, TestMailbox, TestRelay, b16, b32

RELAY = TestRelay()
BUSINESS = TestBusiness()
MAILBOX = TestMailbox(RELAY, BUSINESS)


def content(data: bytes) -> bool:
    found = attempt(MalformedError, lambda: decode(data))
    if found is None:
        return False
    check_again(data, encode(found))
    assert decode(encode(found)) == found
    franked = decode(franked_bytes(found))
    assert franked.settle_key is None
    assert franked.text == found.text
    assert harmless(harmless(found.text)) == harmless(found.text)
    if found.intro is not None:
        assert clean_name(found.intro.name).isprintable()
        address = found.intro.address
        attempt(MalformedError, lambda: Destination.of(address, RELAY.id, BUSINESS.id))
        attempt(MalformedError, lambda: Destination.of(address, RELAY.id, None))
    return True


def _content_samples() -> dict[str, bytes]:
    address = ReturnAddress(b32("read"), NOW // 3_600, b32("opening"), "ID", 2_900, b32("seal"))
    return {
        VALID + "text": encode(Content(TEXT, b16("inner"), 3, NOW, "good morning")),
        VALID + "full": encode(
            Content(
                TEXT,
                b16("inner"),
                1,
                NOW,
                "is there a seat?",
                Intro("Sari", address),
                MAILBOX.grant(),
                0,
                b32("kf"),
            )
        ),
    }


def transcript(data: bytes) -> bool:
    """Never refuses: whatever file a person names has lines."""
    lines = lines_of(data)
    assert not any("\n" in line or "\r" in line for line in lines)
    for line in lines:
        line.encode()
    terms = search_terms(lines)
    assert len(set(terms)) == len(terms)
    assert all(any(letter.isprintable() and letter != " " for letter in term) for term in terms)
    value = parsed(data.decode(errors="replace"))
    assert value is None or isinstance(value, dict)
    return True


TRANSCRIPT_WORDS = (
    b"\r", b"\n", b"\r\n", b"\x85", "\u2028".encode(), b"\x0b", b"\0", b"\xef\xbb\xbf", b"\xff",
    b"{", b"[" * 40, b'"at":', b"NaN", b"9" * 5_000,
)  # fmt: skip
TARGETS = (
    Target(
        "content", content, _content_samples, (msgpack_tree, msgpack_tree, some_bytes),
        mutations=4_000,
    ),
    Target(
        "transcript", transcript,
        lambda: {
            VALID + "lines": "Halo!\r\nAda kursi? – “ya”\n\n  saya pesan 2.\n".encode(),
            VALID + "event": b'{"event": "message", "at": 1767225600, "text": "ya"}',
        },
        (some_bytes, json_tree, of_words(TRANSCRIPT_WORDS)), TRANSCRIPT_WORDS, 4_096,
    ),
)  # fmt: skip
