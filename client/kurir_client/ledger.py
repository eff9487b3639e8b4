"""What a business keeps of the relay's ledger: the checkpoints that it saw, and whether they agree.

Each new one is accepted only with the proof that the ledger has grown from the last. One without is
kept beside it: both are signed, and together they show a third party that the relay keeps two
ledgers, or took something out of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from kurir_billing.adjust import Adjust
from kurir_billing.errors import LedgerError
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import Checkpoint, PlaceInLedger, open_checkpoint
from kurir_billing.standing import Standing
from kurir_client.errors import LedgerForkError, RelayError
from kurir_client.link import Link
from kurir_client.profile import Profile
from kurir_client.schema import SeenCheckpoint
from kurir_wire import codes, frames
from kurir_wire.codec import pack
from kurir_wire.ids import Hash
from kurir_wire.limits import MAX_ITEMS
from kurir_wire.merkle import is_consistent

EVIDENCE_HINT: Final = (
    "both signed checkpoints are kept: see kurir business ledger. Do not pay before the operator "
    "has explained it; show them to others who use this relay"
)


def known(profile: Profile) -> dict[int, Hash]:
    """The states of the ledger that were accepted: size to root."""
    return {seen.size: Hash(seen.root) for seen in profile.store.checkpoints(agreeing=True)}


async def fetch_standing(
    profile: Profile, link: Link, leaves: Sequence[Leaf], adjusts: Sequence[Adjust] = ()
) -> tuple[Standing | None, tuple[PlaceInLedger, ...]]:
    """Where these leaves and adjustments, each in order of their days, stand in the newest state
    of the ledger, which is accepted or refused first.

    :returns: also the places of the adjustments; ``None`` and nothing while the ledger is empty
    :raises LedgerForkError: it is not the ledger that it was
    :raises RelayError: the relay gives no proofs
    """
    last = _last(profile)
    note = await _newest(link)
    if note is None:
        if last is not None:
            raise LedgerForkError(
                f"the relay says that its ledger is empty, and has signed one of {last.size} "
                "settled charges",
                "the signed checkpoint is kept: see kurir business ledger",
            )
        return None, ()
    try:
        now = open_checkpoint(note, link.cert.checkpoint_pk, link.relay_id)
    except LedgerError as error:
        raise RelayError(f"the relay sends no checkpoint of its ledger: {error}") from error
    growth = await _accept(profile, link, last, note, now)
    relay_id = profile.relay_id
    settled = [(leaf.settled_day, leaf.charge_hash(relay_id)) for leaf in leaves]
    decided = [(adjust.day, adjust.hash(relay_id)) for adjust in adjusts]
    places = await _places(link, now, settled)
    standing = Standing(note, places, last.note if last else None, growth)
    return standing, await _places(link, now, decided)


async def _newest(link: Link) -> bytes | None:
    try:
        answer = await link.request(frames.GetCheckpoint, frames.CheckpointIs)
    except RelayError as error:
        if error.code == codes.NOT_FOUND:
            return None
        raise
    return answer.note


async def _accept(
    profile: Profile, link: Link, last: SeenCheckpoint | None, note: bytes, now: Checkpoint
) -> tuple[bytes, ...]:
    """Store the new checkpoint, as one that agrees or as evidence.

    :returns: the proof that the ledger only grew since the last
    """
    agrees = True
    proof: tuple[bytes, ...] = ()
    if last is not None:
        proof = await _growth(link, last.size, now.size)
        agrees = is_consistent(last.size, now.size, last.root, now.root, proof)
    seen = SeenCheckpoint(note, now.size, now.root, pack(link.cert), agrees)
    with profile.store.transaction():
        profile.store.keep_checkpoint(seen)
    if last is not None and not agrees:
        raise LedgerForkError(
            f"the relay's ledger is not what it was: it signed one of {last.size} settled "
            f"charges before, and cannot show that the one of {now.size} that it signed now "
            "grew from it",
            EVIDENCE_HINT,
        )
    return proof


async def _growth(link: Link, old: int, new: int) -> tuple[bytes, ...]:
    """:returns: what the relay shows; nothing, if it says that there is nothing to show"""
    if old >= new:
        return ()
    try:
        answer = await link.request(
            lambda n: frames.GetConsistency(n, old, new), frames.ConsistencyIs
        )
    except RelayError as error:
        if error.code == codes.NOT_FOUND:
            return ()
        raise
    return tuple(answer.proof)


async def _places(
    link: Link, now: Checkpoint, entries: Sequence[tuple[int, Hash]]
) -> tuple[PlaceInLedger, ...]:
    """:param entries: day and name of each"""
    places: list[PlaceInLedger] = []
    for day, group in groupby(entries, lambda entry: entry[0]):
        names = [name for _, name in group]
        for first in range(0, len(names), MAX_ITEMS):
            page: list[bytes] = list(names[first : first + MAX_ITEMS])
            answer = await link.request(
                lambda n, day=day, page=page: frames.GetInclusion(n, now.size, day, page),  # type: ignore[misc]
                frames.InclusionIs,
            )
            if len(answer.places) != len(page):
                raise RelayError("the relay answered for another number of entries than asked")
            places += (PlaceInLedger(place.index, tuple(place.proof)) for place in answer.places)
    return tuple(places)


def _last(profile: Profile) -> SeenCheckpoint | None:
    seen = profile.store.checkpoints(agreeing=True)
    return seen[-1] if seen else None
