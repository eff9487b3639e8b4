"""The settlement secret, computed anew from docs/protocol.md."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from kurir_crypto.settlement import generate_kf, settlement_secret
from kurir_wire.ids import EnvelopeId

KF = bytes(range(32))
ENVELOPE = EnvelopeId(b"e" * 16)


def test_settlement_secret() -> None:
    expected = hmac.new(KF, b"kurir/settle/1\0" + ENVELOPE, hashlib.sha256).digest()
    assert settlement_secret(KF, ENVELOPE) == expected
    assert settlement_secret(KF, EnvelopeId(b"f" * 16)) != expected
    assert settlement_secret(bytes(32), ENVELOPE) != expected


@pytest.mark.parametrize("change", [b"", b"x"])
def test_fields_have_fixed_widths(change: bytes) -> None:
    for which in range(2):
        fields: list[Any] = [KF, ENVELOPE]
        fields[which] = fields[which] + change if change else fields[which][:-1]
        with pytest.raises(ValueError, match="bytes has"):
            settlement_secret(*fields)


def test_keys_are_fresh() -> None:
    assert len(generate_kf()) == 32
    assert generate_kf() != generate_kf()
