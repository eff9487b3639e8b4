"""Who stands on an invoice: what may, and that all of it is hashed."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from kurir_billing.party import Party
from kurir_wire.errors import MalformedError

WHOLE = Party("PT Metro Bus", ["Jalan 1", "Jakarta"], "09.8", ["PO 7"])


def test_parties_that_can_be() -> None:
    for party in (Party(), Party("x"), WHOLE, Party("x" * 64, ["x" * 64] * 6, "x", ["مطعم"] * 6)):
        party.check("it")


@pytest.mark.parametrize("name", ["legal_name", "tax_id", "address", "notes"])
@pytest.mark.parametrize("text", [" ", "a\nb", "\x1b[2J", "a\u202eb", "x" * 65])
def test_text_that_cannot_be_shown(name: str, text: str) -> None:
    value: Any = text if name in ("legal_name", "tax_id") else ["fine", text]
    with pytest.raises(MalformedError):
        structs.replace(WHOLE, **{name: value}).check("it")


@pytest.mark.parametrize("name", ["address", "notes"])
def test_more_lines_than_fit(name: str) -> None:
    fields: Any = {name: ["x"] * 7}
    with pytest.raises(MalformedError, match="more than 6 lines"):
        structs.replace(WHOLE, **fields).check("it")


def test_every_part_is_hashed() -> None:
    others = [
        structs.replace(WHOLE, legal_name="PT Metro"),
        structs.replace(WHOLE, address=["Jalan 1"]),
        structs.replace(WHOLE, address=["Jakarta", "Jalan 1"]),
        structs.replace(WHOLE, address=["Jalan 1Jakarta"]),
        structs.replace(WHOLE, tax_id=""),
        structs.replace(WHOLE, notes=[]),
        structs.replace(WHOLE, address=["Jalan 1", "Jakarta", "PO 7"], notes=[]),
    ]
    assert len({party.hash() for party in (WHOLE, *others)}) == len(others) + 1
