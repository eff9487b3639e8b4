"""A business's invoices: fetched from the relay, and recomputed from its own records."""

from __future__ import annotations

import calendar

import msgspec

from kurir_billing.adjusted import Adjustment
from kurir_billing.charge import Line
from kurir_billing.errors import BillingError
from kurir_billing.head import InvoiceHead, open_head, packed_head
from kurir_billing.invoice import Invoice, Records, with_groups
from kurir_billing.leaf import Leaf, open_leaf
from kurir_billing.total import carried_over
from kurir_billing.verify import charged_before, verify_invoice
from kurir_client import adjustments, ledger
from kurir_client.business import own_id, status
from kurir_client.errors import RelayError
from kurir_client.link import Link
from kurir_client.profile import Profile
from kurir_wire import frames
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import WireError
from kurir_wire.ids import DAY, NO_HASH, BusinessId, Hash
from kurir_wire.relaycert import RelayCert


async def fetch_settlements(profile: Profile, link: Link, month: int) -> list[Leaf]:
    """All settled charges of the days of a month that are over, and note them in our records.

    :param month: year * 100 + month
    :raises RelayError: the relay sends something that is not a settled charge of ours
    """
    store = profile.store
    leaves: list[Leaf] = []
    today = profile.clock() // DAY
    for day in (day for day in _days_of(month) if day < today):
        after: bytes = NO_HASH
        while True:
            answer = await link.request(
                lambda n, day=day, after=after: frames.GetSettlements(n, day, after),  # type: ignore[misc]
                frames.SettlementsAre,
            )
            batch = [_checked_leaf(profile, data, day) for data in answer.leaves]
            with store.transaction():
                for leaf in batch:
                    name = leaf.charge_hash(profile.relay_id)
                    if not store.set_settled(name, day):
                        raise RelayError(
                            f"the relay lists charge {name.hex()[:16]} as settled, which this "
                            "business never signed",
                            "keep the records, and take it up with the operator",
                        )
                    after = max(after, name)
            leaves += batch
            if not answer.more or not batch:
                break
    return leaves


async def fetch_invoice(profile: Profile, link: Link, month: int) -> Invoice:
    """The invoice of a month: the relay's signed head, the lines from its daily lists, and where
    they stand in the ledger.

    :param month: year * 100 + month; the running one goes through yesterday
    :raises RelayError: the relay has none, or sends something else
    :raises LedgerForkError: its ledger is another one than before
    """
    leaves = await fetch_settlements(profile, link, month)
    leaves.sort(key=lambda leaf: (leaf.settled_day, leaf.charge_hash(profile.relay_id)))
    answer = await link.request(lambda n: frames.GetInvoice(n, month), frames.InvoiceIs)
    head = open_head(answer.head)
    if head.month != month:
        raise RelayError("the relay sends the invoice of another month than asked")
    rulings = [
        ruling
        for ruling in await adjustments.fetch(profile, link, month)
        if ruling.adjust.day <= head.through_day
    ]
    rulings.sort(key=lambda ruling: (ruling.adjust.day, ruling.adjust.hash(profile.relay_id)))
    cards: dict[bytes, bytes] = {}
    for leaf in (*leaves, *(ruling.leaf for ruling in rulings)):
        wanted = leaf.line.rate_card
        if wanted not in cards:
            sent = await link.request(
                lambda n, wanted=wanted: frames.GetRateCard(n, wanted),  # type: ignore[misc]
                frames.RateCardIs,
            )
            cards[wanted] = sent.card
    standing, places = await ledger.fetch_standing(
        profile, link, leaves, [ruling.adjust for ruling in rulings]
    )
    if len(places) != len(rulings):
        raise RelayError("the relay sends adjustments, and a ledger without entries")
    await status(profile, link)
    signed, settled = _signed(profile), _settled(profile)
    charged = charged_before(settled, signed, head.month)
    return with_groups(
        Invoice(
            link.cert,
            head,
            tuple(leaves),
            tuple(cards.values()),
            standing,
            tuple(
                Adjustment(ruling.adjust, ruling.leaf, ruling.report, place)
                for ruling, place in zip(rulings, places, strict=True)
            ),
            charged=carried_over(leaves, profile.relay_id, charged),
        )
    )


def records(profile: Profile, cert: RelayCert) -> Records:
    """What this business kept itself: see :func:`kurir_billing.verify.verify_invoice`.

    :param cert: the invoice's
    """
    certified = profile.store.get("certified_name")
    return Records(
        profile.relay_id,
        own_id(profile),
        _signed(profile),
        _settled(profile),
        None if certified is None else certified.decode(),
        ledger.known(profile),
        adjustments.reported(profile, cert),
        heads=_heads(profile),
    )


def business_of(invoice: Invoice) -> BusinessId:
    """Whom an invoice is for, as it says itself."""
    return BusinessId(invoice.head.business_id)


def verify(profile: Profile, invoice: Invoice) -> None:
    """Recompute an invoice from this business's own records, and remember its head: one number
    stands for one invoice from then on.

    :raises InvoiceError: the first difference
    """
    verify_invoice(invoice, records(profile, invoice.cert))
    with profile.store.transaction():
        kept = _heads(profile) | {invoice.head.number: invoice.head}
        profile.store.put("invoice_heads", pack([packed_head(head) for head in kept.values()]))


def _signed(profile: Profile) -> dict[Hash, Line]:
    return {Hash(row.hash): unpack(row.line, Line) for row in profile.store.charges()}


def _settled(profile: Profile) -> dict[Hash, int]:
    rows = profile.store.charges()
    return {Hash(row.hash): row.settled_day for row in rows if row.settled_day is not None}


def _heads(profile: Profile) -> dict[str, InvoiceHead]:
    """The heads of the invoices that were verified, by number."""
    stored = profile.store.get("invoice_heads")
    if stored is None:
        return {}
    heads = (open_head(head) for head in msgspec.msgpack.decode(stored, type=list[bytes]))
    return {head.number: head for head in heads}


def _checked_leaf(profile: Profile, data: bytes, day: int) -> Leaf:
    try:
        leaf = open_leaf(data)
        leaf.check_signature(profile.relay_id)
        leaf.check_settlement()
    except (WireError, BillingError) as error:
        raise RelayError(f"the relay lists a charge that does not hold: {error}") from error
    if leaf.settled_day != day:
        raise RelayError("the relay lists a charge on another day than it was settled")
    return leaf


def _days_of(month: int) -> list[int]:
    """The days (unix time // 86400) of a month."""
    year, number = divmod(month, 100)
    first = calendar.timegm((year, number, 1, 0, 0, 0)) // DAY
    return [first + day for day in range(calendar.monthrange(year, number)[1])]
