"""What a business makes of a relay's ledger: accepted with proof, kept as evidence without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kurir_billing.ledger import Checkpoint, checkpoint_text, signed_checkpoint
from kurir_client import ledger
from kurir_client.errors import LedgerForkError, RelayError
from kurir_crypto.keys import SigningKeyPair
from kurir_wire import entries, frames
from kurir_wire.ids import Hash
from kurir_wire.merkle import Growing, consistency_proof, leaf_hash
from tests.client.fake_link import FakeLink
from tests.client.pair import Pair

Leaves = list[Hash]
GOOD = [leaf_hash(bytes([n])) for n in range(20)]
BAD = [leaf_hash(b"other"), *GOOD[1:]]


class LedgerRelay:
    """Shows whatever ledger a test gives it."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.leaves: Leaves = []
        self.signer: SigningKeyPair = pair.relay.checkpoint
        self.spoil: Callable[[frames.Request], frames.Push | None] = lambda request: None

    def note(self) -> bytes:
        root = Growing(self.leaves).root()
        checkpoint = Checkpoint(self.pair.relay.id, len(self.leaves), root)
        signature = self.signer.sign(checkpoint_text(checkpoint))
        return signed_checkpoint(checkpoint, self.pair.relay.checkpoint.public, signature)

    def answer(self, request: frames.Request) -> Any:
        spoiled = self.spoil(request)
        if spoiled is not None:
            return spoiled
        nothing = frames.Error(1, entries.Result("not-found"))
        match request:
            case frames.GetCheckpoint(n):
                return frames.CheckpointIs(n, self.note()) if self.leaves else nothing
            case frames.GetConsistency(n, old, new):
                if new > len(self.leaves):
                    return nothing
                return frames.ConsistencyIs(n, list(consistency_proof(old, new, self.node)))
        raise AssertionError(request)

    def node(self, level: int, index: int) -> Hash:
        return Growing(self.leaves[index << level : (index + 1) << level]).root()


@pytest.fixture
def relay(pair: Pair) -> LedgerRelay:
    return LedgerRelay(pair)


async def look(relay: LedgerRelay, leaves: Leaves) -> Any:
    relay.leaves = leaves
    link: Any = FakeLink(relay.pair, relay.answer)
    standing, _ = await ledger.fetch_standing(relay.pair.bob, link, [])
    return standing


def kept(relay: LedgerRelay, *, agreeing: bool) -> list[int]:
    store = relay.pair.bob.store
    return [seen.size for seen in store.checkpoints(agreeing=agreeing)]


async def test_an_honest_ledger_is_followed(relay: LedgerRelay) -> None:
    assert await look(relay, []) is None
    for size in (3, 3, 4, 11):
        standing = await look(relay, GOOD[:size])
        assert standing.checkpoint == relay.note()
    assert kept(relay, agreeing=True) == [3, 4, 11]
    assert kept(relay, agreeing=False) == []
    assert ledger.known(relay.pair.bob) == {
        size: Growing(GOOD[:size]).root() for size in (3, 4, 11)
    }


@pytest.mark.parametrize("other", [BAD[:5], BAD[:9], GOOD[:4], BAD[:2]])
async def test_another_ledger_is_evidence(relay: LedgerRelay, other: Leaves) -> None:
    await look(relay, GOOD[:5])
    for _ in range(2):
        with pytest.raises(LedgerForkError, match="is not what it was"):
            await look(relay, other)
    store = relay.pair.bob.store
    (seen,) = store.checkpoints(agreeing=False)
    assert seen.note == relay.note()
    assert kept(relay, agreeing=True) == [5]
    # A relay that comes back to its ledger is followed again; what it signed stays.
    await look(relay, GOOD[:7])
    assert kept(relay, agreeing=True) == [5, 7]
    assert kept(relay, agreeing=False) == [len(other)]


async def test_a_proof_that_proves_nothing(relay: LedgerRelay) -> None:
    await look(relay, GOOD[:5])
    relay.spoil = lambda request: (
        frames.ConsistencyIs(1, [bytes(32)]) if isinstance(request, frames.GetConsistency) else None
    )
    with pytest.raises(LedgerForkError):
        await look(relay, GOOD[:9])
    assert kept(relay, agreeing=False) == [9]


async def test_an_empty_ledger_that_was_not(relay: LedgerRelay) -> None:
    await look(relay, GOOD[:5])
    with pytest.raises(LedgerForkError, match="says that its ledger is empty"):
        await look(relay, [])


async def test_what_is_no_fork(relay: LedgerRelay) -> None:
    """No proof against anybody: another signature, or a relay that has no time."""
    await look(relay, GOOD[:5])
    relay.signer = SigningKeyPair.generate()
    with pytest.raises(RelayError, match="no checkpoint of its ledger") as caught:
        await look(relay, BAD[:6])
    assert not isinstance(caught.value, LedgerForkError)
    relay.signer = relay.pair.relay.checkpoint
    for kind in (frames.GetCheckpoint, frames.GetConsistency):
        relay.spoil = lambda request, kind=kind: (  # type: ignore[misc]
            frames.Error(1, entries.Result("rate", "too fast", 3))
            if isinstance(request, kind)
            else None
        )
        with pytest.raises(RelayError) as caught:
            await look(relay, GOOD[:6])
        assert not isinstance(caught.value, LedgerForkError)
    assert kept(relay, agreeing=False) == []
    assert kept(relay, agreeing=True) == [5]
