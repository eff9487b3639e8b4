"""The safety number: the same on both sides, another one if any of the four keys changes."""

from __future__ import annotations

import hashlib

import pytest

from kurir_crypto.safety import format_groups, matches, qr_text, safety_number
from kurir_wire.prekeys import IdentityPublic

ALICE = IdentityPublic(b"A" * 32, b"a" * 32, bytes(64))
BOB = IdentityPublic(b"B" * 32, b"b" * 32, bytes(64))
NUMBER = safety_number(ALICE, BOB)


def test_it_is_sixty_digits_and_symmetric() -> None:
    assert len(NUMBER) == 60
    assert NUMBER.isdigit()
    assert safety_number(BOB, ALICE) == NUMBER


def half(keys: bytes) -> str:
    """From docs/protocol.md."""
    state = hashlib.sha512(b"kurir/safety/1\0" + keys).digest()
    for _ in range(5_199):
        state = hashlib.sha512(state + keys).digest()
    groups = [int.from_bytes(state[5 * i : 5 * i + 5], "big") % 100_000 for i in range(6)]
    return "".join(str(group).zfill(5) for group in groups)


def test_it_is_what_the_document_says() -> None:
    alice, bob = half(b"A" * 32 + b"a" * 32), half(b"B" * 32 + b"b" * 32)
    assert min(alice, bob) + max(alice, bob) == NUMBER


@pytest.mark.parametrize(
    ("own", "peer"),
    [
        (IdentityPublic(b"X" * 32, b"a" * 32, bytes(64)), BOB),
        (IdentityPublic(b"A" * 32, b"X" * 32, bytes(64)), BOB),
        (ALICE, IdentityPublic(b"X" * 32, b"b" * 32, bytes(64))),
        (ALICE, IdentityPublic(b"B" * 32, b"X" * 32, bytes(64))),
        (IdentityPublic(b"a" * 32, b"A" * 32, bytes(64)), BOB),
        (
            IdentityPublic(b"A" * 32, b"b" * 32, bytes(64)),
            IdentityPublic(b"B" * 32, b"a" * 32, bytes(64)),
        ),
    ],
)
def test_any_other_key_gives_another_number(own: IdentityPublic, peer: IdentityPublic) -> None:
    assert safety_number(own, peer) != NUMBER


def test_twelve_groups_of_five_in_rows_of_four() -> None:
    rows = format_groups(NUMBER).split("\n")
    assert [len(row.split(" ")) for row in rows] == [4, 4, 4]
    assert {len(group) for row in rows for group in row.split(" ")} == {5}
    assert format_groups(NUMBER).replace("\n", "").replace(" ", "") == NUMBER


def test_scanned_and_typed_numbers_match() -> None:
    assert qr_text(NUMBER) == f"KURIR-SAFETY-1:{NUMBER}"
    for shown in (NUMBER, qr_text(NUMBER), format_groups(NUMBER), f" {NUMBER}\n"):
        assert matches(NUMBER, shown)
    for shown in ("", NUMBER[:-1], NUMBER + "0", NUMBER[::-1], f"KURIR-SAFETY-2:{NUMBER}"):
        assert not matches(NUMBER, shown)


@pytest.mark.parametrize("number", ["", "1" * 59, "1" * 61, "x" * 60, "\u0661" * 60])
def test_what_is_not_a_number_is_misuse(number: str) -> None:
    with pytest.raises(ValueError, match="sixty digits"):
        format_groups(number)
    with pytest.raises(ValueError, match="sixty digits"):
        qr_text(number)
