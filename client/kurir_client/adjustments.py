"""What a business does about charges that the operator re-rated: it fetches them with the reports
that prove them, and believes neither the operator nor the customer.
"""

from __future__ import annotations

from kurir_billing.adjust import open_adjust
from kurir_billing.adjusted import Ruling, check_adjustment
from kurir_billing.errors import BillingError, EvidenceError, InvoiceError
from kurir_billing.leaf import open_leaf
from kurir_billing.ratecard import RateCard, open_rate_card
from kurir_billing.report import check_report, open_report
from kurir_client.errors import RelayError
from kurir_client.link import Link
from kurir_client.profile import Profile
from kurir_client.schema import OwnAdjust
from kurir_crypto.errors import CryptoError
from kurir_crypto.sealing import EnvelopeKeyPair, open_copy
from kurir_wire import frames
from kurir_wire.entries import Adjusted
from kurir_wire.errors import SignatureError, WireError
from kurir_wire.ids import NO_HASH, Hash
from kurir_wire.relaycert import RelayCert


async def fetch(profile: Profile, link: Link, month: int) -> tuple[Ruling, ...]:
    """All adjustments of the days of a month that are over, in order of their hash; unchecked.

    :param month: year * 100 + month
    :raises RelayError: the relay sends something else
    """
    rulings: list[Ruling] = []
    after = Hash(NO_HASH)
    while True:
        answer = await link.request(
            lambda n, after=after: frames.GetAdjustments(n, month, after),  # type: ignore[misc]
            frames.AdjustmentsAre,
        )
        try:
            page = [_take_in(profile, item) for item in answer.adjustments]
        except WireError as error:
            raise RelayError(f"the relay sends no adjustments: {error}") from error
        rulings += (ruling for ruling, _ in page)
        after = max((after, *(name for _, name in page)))
        if not answer.more or not page:
            return tuple(rulings)


def verify(
    profile: Profile, cert: RelayCert, cards: dict[Hash, RateCard], rulings: tuple[Ruling, ...]
) -> None:
    """Check adjustments against this business's own records and the reports.

    :param cards: by hash, checked; all that the charges name
    :raises InvoiceError: the first difference
    """
    seen: set[bytes] = set()
    for number, ruling in enumerate(rulings, 1):
        try:
            _check(profile, cert, cards, ruling)
            if ruling.adjust.leaf in seen:
                raise EvidenceError("the same charge is re-rated twice")
        except BillingError as error:
            raise InvoiceError(f"adjustment {number}", str(error)) from error
        seen.add(ruling.adjust.leaf)


async def fetch_cards(link: Link, rulings: tuple[Ruling, ...]) -> dict[Hash, RateCard]:
    """The rate cards that the charges name.

    :raises RelayError: the relay has none of the name
    :raises RateCardError: it is not the operator's
    """
    cards: dict[Hash, RateCard] = {}
    for wanted in {Hash(ruling.leaf.line.rate_card) for ruling in rulings}:
        sent = await link.request(
            lambda n, wanted=wanted: frames.GetRateCard(n, wanted),  # type: ignore[misc]
            frames.RateCardIs,
        )
        card, name = open_rate_card(sent.card, link.cert.operator_pk, link.relay_id)
        cards[name] = card
    return cards


def reported(profile: Profile, cert: RelayCert) -> dict[Hash, int]:
    """The day of each adjustment that the relay ever sent and its operator signed, by leaf hash."""
    found: dict[Hash, int] = {}
    for row in profile.store.adjustments():
        adjust = open_adjust(row.body)
        try:
            adjust.verify(cert.operator_pk, cert.relay_id)
        except SignatureError:
            continue  # it binds nobody; an invoice that lists it does not hold
        found[Hash(adjust.leaf)] = adjust.day
    return found


def text_of(ruling: Ruling, profile: Profile) -> str | None:
    """What the message said, if the report proves it."""
    if ruling.report is None:
        return None
    try:
        return check_report(ruling.report, ruling.leaf, profile.relay_id).text
    except EvidenceError:
        return None


def _take_in(profile: Profile, sent: Adjusted) -> tuple[Ruling, Hash]:
    adjust, leaf = open_adjust(sent.adjust), open_leaf(sent.leaf)
    store, name = profile.store, adjust.hash(profile.relay_id)
    known = store.adjustment(name)
    if known is not None and known.report is not None:
        return Ruling(adjust, leaf, open_report(known.report)), name
    shown = _open(profile, name, sent.report)
    with store.transaction():
        store.keep_adjustment(OwnAdjust(name, sent.adjust, sent.leaf, shown))
    return Ruling(adjust, leaf, None if shown is None else open_report(shown)), name


def _open(profile: Profile, name: Hash, sealed: bytes) -> bytes | None:
    for secret in profile.store.envelope_keys():
        try:
            data = open_copy(EnvelopeKeyPair.from_bytes(secret), profile.relay_id, name, sealed)
            open_report(data)
        except (CryptoError, WireError):
            continue
        return data
    return None


def _check(profile: Profile, cert: RelayCert, cards: dict[Hash, RateCard], ruling: Ruling) -> None:
    leaf, relay_id = ruling.leaf, profile.relay_id
    own = profile.store.charge(leaf.charge_hash(relay_id))
    if own is None:
        raise EvidenceError("is of a charge that this business never signed")
    if own.settled_day is not None and own.settled_day != leaf.settled_day:
        raise EvidenceError("is of a charge that settled on another day")
    check_adjustment(ruling, cert.operator_pk, relay_id, leaf.lane.business_id, cards)
