"""Refusals: why the relay does not take a charge, on the way to being signed."""

from __future__ import annotations

from kurir_billing.answers import Quote
from kurir_billing.charge import Line
from kurir_billing.kinds import REFUSAL_TEXT, RefusalCode
from kurir_billing.passes import Pass
from kurir_server.keys import RelayKeys
from kurir_server.rates import TooFast
from kurir_wire import codes
from kurir_wire.entries import Result
from kurir_wire.ids import BusinessId, Hash
from kurir_wire.limits import MAX_TEXT_DETAIL


class RefusedError(Exception):
    """the relay does not take this charge

    :ivar quote: the line that it would take now, where one helps
    :ivar held: a pass that is open already, to be named next time
    :ivar slow: when to retry the same, and what is left, where time alone mends it
    """

    def __init__(
        self,
        code: RefusalCode,
        detail: str | None = None,
        *,
        quote: Line | None = None,
        held: Pass | None = None,
        slow: TooFast | None = None,
    ) -> None:
        super().__init__(detail or REFUSAL_TEXT[code])
        self.code = code
        self.quote = quote
        self.held = held
        self.slow = slow


def answer(
    keys: RelayKeys, refused: RefusedError, charge: Hash, business_id: BusinessId, now: int
) -> Result:
    """The signed refusal, with a sentence for people."""
    quote = Quote(refused.quote) if refused.quote else None
    data = keys.refusal(charge, refused.code, now, business_id, quote, refused.held)
    if refused.code is RefusalCode.UNDELIVERABLE:
        return Result(codes.NO_MAILBOX, str(refused), data=data)
    text = f"{int(refused.code)}: {refused}"[:MAX_TEXT_DETAIL]
    slow = refused.slow
    if slow is None:
        return Result(codes.REFUSED, text, data=data)
    return Result(codes.REFUSED, text, slow.retry_after, slow.left, data)
