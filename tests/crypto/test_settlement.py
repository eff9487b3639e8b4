"""Settlement secret and franking tag, computed anew from docs/protocol.md."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from kurir_crypto.settlement import frank_tag, generate_kf, settlement_secret
from kurir_wire.ids import BusinessId, EnvelopeId, MailboxId, RelayId

KF = bytes(range(32))
RELAY, BUSINESS, MAILBOX = RelayId(b"r" * 32), BusinessId(b"b" * 32), MailboxId(b"m" * 32)
ENVELOPE = EnvelopeId(b"e" * 16)
CONTENT = b"Your bus leaves at 9"


def test_settlement_secret() -> None:
    expected = hmac.new(KF, b"kurir/settle/1\0" + ENVELOPE, hashlib.sha256).digest()
    assert settlement_secret(KF, ENVELOPE) == expected
    assert settlement_secret(KF, EnvelopeId(b"f" * 16)) != expected
    assert settlement_secret(bytes(32), ENVELOPE) != expected


def test_frank_tag() -> None:
    message = b"kurir/frank/1\0" + RELAY + BUSINESS + MAILBOX + ENVELOPE + b"\x02" + CONTENT
    expected = hmac.new(KF, message, hashlib.sha256).digest()
    assert frank_tag(KF, RELAY, BUSINESS, MAILBOX, ENVELOPE, 2, CONTENT) == expected


@pytest.mark.parametrize("which", range(7))
def test_everything_changes_the_tag(which: int) -> None:
    fields: list[Any] = [KF, RELAY, BUSINESS, MAILBOX, ENVELOPE, 2, CONTENT]
    before = frank_tag(*fields)
    old = fields[which]
    fields[which] = 3 if isinstance(old, int) else old[:-1] + b"?"
    assert frank_tag(*fields) != before


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("change", [b"", b"x"])
def test_fields_have_fixed_widths(which: int, change: bytes) -> None:
    fields: list[Any] = [KF, RELAY, BUSINESS, MAILBOX, ENVELOPE, 2, CONTENT]
    fields[which] = fields[which] + change if change else fields[which][:-1]
    with pytest.raises(ValueError, match="bytes has"):
        frank_tag(*fields)
    if which in (0, 4):
        with pytest.raises(ValueError, match="bytes has"):
            settlement_secret(fields[0], fields[4])


@pytest.mark.parametrize("category", [-1, 256])
def test_a_category_is_one_byte(category: int) -> None:
    with pytest.raises(ValueError, match="one byte"):
        frank_tag(KF, RELAY, BUSINESS, MAILBOX, ENVELOPE, category, CONTENT)
    for fits in (0, 255):
        frank_tag(KF, RELAY, BUSINESS, MAILBOX, ENVELOPE, fits, CONTENT)


def test_keys_are_fresh() -> None:
    assert len(generate_kf()) == 32
    assert generate_kf() != generate_kf()
