"""What a connection does for a business: its card, its proof, its prekeys, its proofs."""

from __future__ import annotations

from typing import Final, TypeAlias

from kurir_server.desk import Desk, parts_of
from kurir_server.limits import PROOFS_AT_ONCE, SIGNATURE_WEIGHT, SIGNATURES_AT_ONCE
from kurir_server.pace import Deed
from kurir_server.questions import NOT_PROVED
from kurir_server.rows import Moment, Rows
from kurir_server.services import Services
from kurir_server.work import UNAVAILABLE, Failed
from kurir_wire.entries import Place, Result
from kurir_wire.frames import GetInclusion, InclusionIs, Prove, PutPreKeys, Register
from kurir_wire.ids import BusinessId
from kurir_wire.prekeys import EcPreKey, KemPreKey

PreKey: TypeAlias = EcPreKey | KemPreKey

SIGNATURES_OF_CARD: Final = 5
"""Of a business's card, and the proof for its address."""
SIGNATURES_OF_PROOF: Final = 2
"""Of a lane, and by it."""


class Representative:
    """Speaks for the business ``id`` once it has proved to, and for no one before."""

    def __init__(self, services: Services, desk: Desk, nonce: bytes) -> None:
        self.id: BusinessId | None = None
        self._services = services
        self._desk = desk
        self._nonce = nonce

    def register(self, request: Register, moment: Moment) -> None:
        """A card, new or newer."""
        nonce, registry = self._nonce, self._services.registry
        cost = (
            (Deed.CREATE, 1),
            (Deed.SIGN, SIGNATURES_OF_CARD),
            (Deed.STORE, len(request.card)),
        )
        if not self._desk.is_slow(request.n, moment, cost):
            self._desk.command(
                request.n,
                lambda rows, moment: registry.register(rows, moment, nonce, request),
                len(request.card) + SIGNATURES_OF_CARD * SIGNATURE_WEIGHT,
            )

    def put_prekeys(self, request: PutPreKeys, moment: Moment) -> None:
        """One-time prekeys; many are checked in turns and then kept all at once."""
        registry, business_id = self._services.registry, self.id
        keys: list[PreKey] = [*request.ec, *request.kem]
        if business_id is None:
            self._desk.results(request.n, [NOT_PROVED])
            return
        size = sum(len(key.public) for key in keys)
        if self._desk.is_slow(request.n, moment, ((Deed.SIGN, len(keys)), (Deed.STORE, size))):
            return
        many = len(keys) > SIGNATURES_AT_ONCE
        signers: list[bytes] = []

        def check(rows: Rows, moment: Moment, part: list[PreKey]) -> bytes | Result:
            return registry.check_prekeys(rows, business_id, part)

        def took(part: list[PreKey], outcome: bytes | Result | Failed) -> bool:
            if isinstance(outcome, bytes):
                signers.append(outcome)
                return True
            self._desk.results(request.n, [UNAVAILABLE if isinstance(outcome, Failed) else outcome])
            return False

        def keep() -> None:
            checked = signers[0] if len(set(signers)) == 1 else None
            self._desk.command(
                request.n,
                lambda rows, moment: registry.put_prekeys(
                    rows, business_id, request.ec, request.kem, checked
                ),
                # Few are checked as they are kept.
                size if many else size + SIGNATURE_WEIGHT * len(keys),
            )

        self._desk.in_turns(parts_of(keys, SIGNATURES_AT_ONCE) if many else [], check, took, keep)

    def prove(self, request: Prove, moment: Moment) -> None:
        """From now on the connection speaks for a business."""
        nonce, registry = self._nonce, self._services.registry
        if self._desk.is_slow(request.n, moment, ((Deed.SIGN, SIGNATURES_OF_PROOF),)):
            return

        def done(outcome: Result | Failed | None) -> None:
            if outcome is None:
                self.id = BusinessId(request.business_id)
            self._desk.results(request.n, [UNAVAILABLE if isinstance(outcome, Failed) else outcome])

        self._desk.run(
            lambda rows, moment: registry.prove(rows, moment, nonce, request),
            done,
            SIGNATURES_OF_PROOF * SIGNATURE_WEIGHT,
            barrier=True,
        )

    def include(self, question: GetInclusion) -> None:
        """Many proofs; the first that cannot be given is the answer."""
        ledger, n, business_id = self._services.ledger, question.n, self.id
        if business_id is None:
            self._desk.error(n, NOT_PROVED)
            return
        places: list[Place] = []

        def run(rows: Rows, moment: Moment, part: list[bytes]) -> InclusionIs | Result:
            asked = GetInclusion(n, question.size, question.day, part)
            return ledger.inclusion(rows, moment, business_id, asked)

        def took(part: list[bytes], outcome: InclusionIs | Result | Failed) -> bool:
            if isinstance(outcome, InclusionIs):
                places.extend(outcome.places)
                return True
            self._desk.error(n, UNAVAILABLE if isinstance(outcome, Failed) else outcome)
            return False

        parts = parts_of(question.charges, PROOFS_AT_ONCE)
        self._desk.in_turns(parts, run, took, lambda: self._desk.reply(n, InclusionIs(n, places)))
