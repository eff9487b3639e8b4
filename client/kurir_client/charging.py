"""A business's charges on their way: claimed and sealed, then accepted or refused by the relay.

What was signed goes out as it is until the relay has signed a refusal.
"""

from __future__ import annotations

from typing import Final

from kurir_billing import answers
from kurir_billing import charge as charges
from kurir_billing import lane as lanes
from kurir_billing.grant import Grant
from kurir_billing.kinds import REFUSAL_TEXT, Category, Class, PassKind, RefusalCode
from kurir_billing.passes import Pass
from kurir_billing.tariffs import TARIFFS
from kurir_client import terms as own_terms
from kurir_client.addresses import destination
from kurir_client.content import Content
from kurir_client.errors import RelayError
from kurir_client.evidence import learn_pass
from kurir_client.offers import cost, offer, refused, to_sign, what_to_do
from kurir_client.paid import Claim, PaidRoute, Unsigned, seal_paid
from kurir_client.pause import LONG_PAUSE, PACE, Pause
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Outgoing
from kurir_client.store import Store
from kurir_crypto.session import Session
from kurir_wire import codes
from kurir_wire.beacons import Beacon
from kurir_wire.codec import pack, unpack
from kurir_wire.entries import Result, Submission
from kurir_wire.errors import WireError
from kurir_wire.ids import DAY, HOUR, MINUTE, NO_HASH, MailboxId, business_id_of
from kurir_wire.relaycert import RelayCert

STALE_AFTER: Final = DAY - HOUR
"""Seconds after which a refusal of a charge may be for the age of its beacon: it is signed anew."""


def seal_for_customer(
    profile: Profile,
    contact: Contact,
    content: Content,
    session: Session,
    row: Outgoing,
    beacon: Beacon,
    now: int,
) -> Unsigned:
    """Seal a message to a customer, with the charge that is to be signed for it, inside the running
    transaction.

    :raises RefusedError: it costs more than was accepted, cannot be sent now, or was quoted wrongly
    :raises PeerError: the contact is no customer
    :raises MessageTooLongError: the text does not fit the largest bucket
    """
    store = profile.store
    there = destination(contact)
    quote = unpack(row.quote, charges.Line) if row.quote else None
    line, shown = to_sign(store, contact, Category(row.category), quote, now)
    if cost(store, line) > row.max_price:
        raise refused(offer(store, contact, now, Category(row.category)), contact.name)
    lane = unpack(store.need("lane"), lanes.Lane)
    seq = store.count_up("lane_seq")
    route = PaidRoute(MailboxId(there.mailbox_id), there.opening, there.mailbox_key)
    claim = Claim(line, shown.grant, shown.entry, shown.pass_hash, beacon, lane, seq)
    sealed = seal_paid(session, content, route, claim, profile.relay_id, now)
    store.add_charge(sealed.charge_hash, row.inner_id, pack(line))
    return sealed


def opens_window(item: Submission | Unsigned) -> bool:
    """Whether its acceptance earns a pass that the contact's next message is to name."""
    if isinstance(item, Unsigned):
        charge = item.charge
    elif item.charge is not None:
        charge = charges.open_charge(item.charge)
    else:
        return False
    tariff = TARIFFS.get(charge.line.tariff)
    if tariff is None or charge.pass_hash != NO_HASH:
        return False
    return PassKind.CONVERSATION in tariff.passes or charge.entry is not None


def take_receipt(
    profile: Profile, row: Outgoing, data: bytes | None, cert: RelayCert
) -> tuple[int, int] | None:
    """The relay has accepted a charge: keep its receipt and the pass that came with it, inside the
    running transaction.

    :returns: what it adds to the bill in micro-USD, and the category; None for an unknown charge
    :raises RelayError: no receipt, or one for another charge
    """
    store, signed = profile.store, row.charge_hash
    if data is None or signed is None:
        raise RelayError("the relay accepted a charge without a receipt")
    try:
        receipt = answers.open_receipt(data)
        receipt.verify(cert.receipt_pk)
        if receipt.earned is not None:
            _learn(profile, row, receipt.earned, cert)
    except WireError as error:
        raise RelayError(f"the relay's receipt is not in order: {error}") from error
    if receipt.charge != signed:
        raise RelayError("the relay's receipt is for another charge")
    store.set_charge(signed, "accepted", data)
    own = store.charge(signed)
    if own is None:
        return None
    line = unpack(own.line, charges.Line)
    return cost(store, line), line.category


def take_refusal(
    profile: Profile, row: Outgoing, result: Result, data: bytes, cert: RelayCert
) -> Pause | str | None:
    """The relay has refused a charge: keep the signed refusal, and make ready to sign anew where
    that helps, inside the running transaction.

    :returns: how long to wait, if only time is missing; or why the message cannot be sent
    :raises RelayError: not its refusal of this charge
    """
    store = profile.store
    business_id = business_id_of(store.need("business_root_pk"))
    try:
        refusal = answers.open_refusal(data)
        refusal.verify(cert.receipt_pk, profile.relay_id, business_id)
        if refusal.held is not None:
            _learn(profile, row, refusal.held, cert)
    except WireError as error:
        raise RelayError(f"the relay's refusal is not in order: {error}") from error
    if row.charge_hash is None or refusal.charge != row.charge_hash:
        raise RelayError("the relay refused another charge than the one that was sent")
    store.set_charge(row.charge_hash, "refused", data)
    code = RefusalCode(refusal.code)
    if code in (RefusalCode.RATE_LIMIT, RefusalCode.PAIR_RATE):
        store.sign_anew(row.n)
        pause = Pause(result.retry_after or PACE, codes.RATE, code, result.left)
        if pause.seconds <= LONG_PAUSE:
            return pause
        _put_off(profile, row, pause, _is_start(store, row))
        return None
    own = store.charge(row.charge_hash)
    signed = None if own is None else unpack(own.line, charges.Line)
    quote = refusal.quote.line if refusal.quote else None
    _ask_for_what_is_new(store, code, quote)
    if quote is not None and row.quote is None and _has_written_since(profile, row):
        store.sign_anew(row.n)
        return None
    if quote is not None and quote != signed and _is_acceptable(store, row, quote):
        # Whether the quote is right is checked when it is signed, by the card and the terms that it
        # names.
        store.accept_quote(row.n, pack(quote))
        return None
    if row.wired_at is not None and refusal.now - row.wired_at >= STALE_AFTER:
        store.sign_anew(row.n)
        return None
    if code is RefusalCode.BAD_PARAMETER and quote is not None and quote == signed:
        # Nothing is wrong with the line, so it is a pass that has to be named; or the lane's
        # number, as others went before it; or the list, as the operator has made the tier small.
        is_new = refusal.held is not None and refusal.held.hash != _named_pass(row)
        if not is_new and _is_listed(row):
            store.put("terms_wanted", b"1")
        store.sign_anew(row.n)
        return None if is_new else Pause(PACE, codes.RATE)
    price = f"; it would cost {quote.list_price} micro-USD now" if quote else ""
    if code is RefusalCode.NOT_APPROVED:  # it was approved once, or nothing had been signed
        what = own_terms.revoked().what
    else:
        what = f"{REFUSAL_TEXT[code]} ({int(code)})"
    return f"{what}{price}{_instead(profile, row, code)}"


def _ask_for_what_is_new(store: Store, code: RefusalCode, quote: charges.Line | None) -> None:
    """The relay prices by another card or other terms than those at hand, whether its price is
    accepted or not: what is told before the next message has to follow from them."""
    if quote is not None:
        store.put("rate_card_wanted", quote.rate_card)
    terms = own_terms.known(store)
    is_other = quote is not None and terms is not None and quote.tariff != terms.tariff
    if is_other or code is RefusalCode.NOT_APPROVED:
        store.put("terms_wanted", b"1")


def _has_written_since(profile: Profile, row: Outgoing) -> bool:
    """Whether an open window is at hand that a refused charge did not rest on yet."""
    permit = profile.store.contact(row.contact).permit
    charge = _charge(row)
    if permit is None or charge is None:
        return False
    grant = unpack(permit, Grant)
    return grant != charge.grant and grant.is_open(profile.clock())


def _is_acceptable(store: Store, row: Outgoing, quote: charges.Line) -> bool:
    """Whether to sign a quoted line. Only one that adds to the bill is taken, and after it such as
    a pass covers: the relay cannot lead from one price to the next."""
    price = cost(store, quote)
    return price <= row.max_price and (
        row.quote is None or (not price and pack(quote) != row.quote)
    )


def _is_start(store: Store, row: Outgoing) -> bool:
    """Whether what was signed goes to a customer whose window is shut."""
    own = None if row.charge_hash is None else store.charge(row.charge_hash)
    return own is not None and unpack(own.line, charges.Line).klass == Class.OUT_OF_WINDOW


def _put_off(profile: Profile, row: Outgoing, pause: Pause, is_start: bool) -> None:
    store, now = profile.store, profile.clock()
    store.put_off(row.n, now + pause.seconds)
    name, terms = store.contact(row.contact).name, own_terms.known(store)
    why = pause.why
    if is_start and terms is not None and terms.starts is not None:
        why = (
            f"within 24 hours your terms let you write to {terms.starts:,} customers whose window "
            f"is shut ({int(RefusalCode.RATE_LIMIT)})"
        )
    minutes = -(-pause.seconds // MINUTE)
    store.add_note(row.contact, f"a message to {name} waits {minutes} minutes: {why}", now)


def _instead(profile: Profile, row: Outgoing, code: RefusalCode) -> str:
    """What to do about it, in words."""
    if code is not RefusalCode.OUTSIDE_WINDOW:
        hint = what_to_do(code)
        return f"; {hint}" if hint else ""
    store = profile.store
    contact = store.contact(row.contact)
    due = offer(store, contact, profile.clock(), Category(row.category))
    return f"; {refused(due, contact.name).hint}" if due.price_micro_usd is None else ""


def _named_pass(row: Outgoing) -> bytes:
    charge = _charge(row)
    return NO_HASH if charge is None else charge.pass_hash


def _is_listed(row: Outgoing) -> bool:
    charge = _charge(row)
    return charge is not None and charge.listed is not None


def _charge(row: Outgoing) -> charges.Charge | None:
    """The charge that was signed for a message, if any was."""
    charge = unpack(row.wire, Submission).charge if row.wire is not None else None
    return None if charge is None else charges.open_charge(charge)


def _learn(profile: Profile, row: Outgoing, learned: Pass, cert: RelayCert) -> None:
    """Keep a pass; it is for the mailbox to which the message was sealed."""
    if row.wire is not None:
        learn_pass(
            profile.store,
            profile.store.contact(row.contact),
            learned,
            MailboxId(unpack(row.wire, Submission).mailbox_id),
            cert.receipt_pk,
            profile.relay_id,
            business_id_of(profile.store.need("business_root_pk")),
        )
