"""Where the lines of an invoice stand in the ledger, with what proves it.

The checkpoint is the newest one when the invoice was fetched, ``since`` the one that the business
had before. What is checked here needs neither the relay nor anything that it says later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kurir_billing.adjusted import Adjustment
from kurir_billing.errors import InvoiceError, LedgerError
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import (
    Checkpoint,
    PlaceInLedger,
    adjust_hash,
    entry_hash,
    open_checkpoint,
)
from kurir_wire.ids import Hash
from kurir_wire.merkle import is_consistent, is_included
from kurir_wire.relaycert import RelayCert


@dataclass(frozen=True, slots=True)
class Standing:
    """``places``: one for each line, in order. ``growth``: the consistency proof from ``since``;
    empty without."""

    checkpoint: bytes
    places: tuple[PlaceInLedger, ...]
    since: bytes | None = None
    growth: tuple[bytes, ...] = ()


def check_standing(
    standing: Standing | None,
    leaves: Sequence[Leaf],
    cert: RelayCert,
    known: Mapping[int, Hash],
    adjustments: Sequence[Adjustment] = (),
) -> None:
    """Whether every line and adjustment is in the ledger, and the ledger is the one that the
    business knows.

    :param known: the checkpoints that the business accepted: size to root
    :raises InvoiceError: the first difference
    """
    if standing is None:
        if leaves or adjustments:
            raise InvoiceError("checkpoint", "is missing, so the lines are in no ledger")
        if known:
            raise InvoiceError("checkpoint", "is missing, and you have seen this ledger before")
        return
    now = _opened("checkpoint", standing.checkpoint, cert)
    if len(standing.places) != len(leaves):
        raise InvoiceError("lines", "are not as many as their places in the ledger")
    entries = [
        (f"line {number}", entry_hash(leaf, cert.relay_id), place)
        for number, (leaf, place) in enumerate(zip(leaves, standing.places, strict=True), 1)
    ]
    entries += (
        (f"adjustment {number}", adjust_hash(item.adjust, cert.relay_id), item.place)
        for number, item in enumerate(adjustments, 1)
    )
    for where, entry, place in entries:
        if not is_included(entry, place.index, now.size, place.proof, now.root):
            raise InvoiceError(
                where, f"its proof does not show it at place {place.index} of the ledger"
            )
    since = None if standing.since is None else _opened("since", standing.since, cert)
    if since is None:
        if standing.growth:
            raise InvoiceError("growth", "is there without the checkpoint that it starts from")
    elif not is_consistent(since.size, now.size, since.root, now.root, standing.growth):
        raise InvoiceError(
            "growth", f"does not show that the ledger only grew since it had {since.size} leaves"
        )
    _check_known(now, since, known)


def _check_known(now: Checkpoint, since: Checkpoint | None, known: Mapping[int, Hash]) -> None:
    for where, seen in (("checkpoint", now), ("since", since)):
        if seen is not None and known.get(seen.size, seen.root) != seen.root:
            raise InvoiceError(
                where,
                f"is of another ledger than yours: with {seen.size} leaves yours had another root",
            )
    tied = now.size in known or (since is not None and since.size in known)
    if known and not tied:
        raise InvoiceError("checkpoint", "nothing ties it to the checkpoints that you have")


def _opened(where: str, note: bytes, cert: RelayCert) -> Checkpoint:
    try:
        return open_checkpoint(note, cert.checkpoint_pk, cert.relay_id)
    except LedgerError as error:
        raise InvoiceError(where, str(error)) from error
