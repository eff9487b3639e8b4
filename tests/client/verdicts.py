"""What a relay says to charges: receipts, refusals and passes, signed as a relay does."""

from __future__ import annotations

from kurir_billing import answers
from kurir_billing import charge as charges
from kurir_billing.charge import Charge, Line, open_charge
from kurir_billing.kinds import Category, Class, PassKind, RefusalCode
from kurir_billing.leaf import Leaf
from kurir_billing.passes import Pass, pass_hash, pass_message
from kurir_billing.windows import PASS_LENGTH
from kurir_client import outbox
from kurir_client.outbox import Ready
from kurir_client.pause import Pause
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Kind, Status
from kurir_wire import codes
from kurir_wire.codec import pack
from kurir_wire.entries import Result
from kurir_wire.ids import DAY, NO_HASH, BusinessId, EnvelopeId, Hash, MailboxId, business_id_of
from tests.client.pair import Pair

RATE_ID = 25_000


def say(
    pair: Pair,
    who: Profile,
    contact: Contact,
    text: str,
    max_price: int = 0,
    category: Category = Category.NONE,
) -> bytes:
    with who.store.transaction():
        return outbox.queue(
            who.store, contact.id, 1, text, pair.clock.now, max_price, category=category
        )


def status(who: Profile, inner_id: bytes) -> Status:
    sent = who.store.message_sent(inner_id)
    assert sent is not None
    return sent.status


def hashed(pair: Pair, ready: Ready) -> tuple[Charge, Hash]:
    """The charge, its signature checked, and its name."""
    sent = ready.submission
    assert sent.charge is not None
    charge = open_charge(sent.charge)
    private = private_hash(pair, charge, ready)
    return charge, charges.check_charge_signature(charge, pair.relay.id, private)


def private_hash(pair: Pair, charge: Charge, ready: Ready) -> Hash:
    """What stands in the ledger for mailbox, envelope and body."""
    sent = ready.submission
    place = MailboxId(sent.mailbox_id), EnvelopeId(sent.envelope_id)
    return charge.private_hash(pair.relay.id, *place, sent.body, sent.life)


def settled(pair: Pair, ready: Ready) -> Leaf:
    """The customer reads it: what then stands in the ledger."""
    charge, _ = hashed(pair, ready)
    secret = pair.deliver(ready, pair.alice).secret
    assert secret is not None
    return Leaf.settle(charge, private_hash(pair, charge, ready), secret, pair.clock.now // DAY)


def pass_of(
    pair: Pair, ready: Ready, kind: PassKind, klass: int = Class.IN_WINDOW, opener: bytes = b""
) -> Pass:
    """The pass that this message earned now, or somebody else's message to the same customer."""
    charge, name = hashed(pair, ready)
    now = pair.clock.now
    unsigned = Pass(kind, opener or name, klass, now, now + PASS_LENGTH[kind], bytes(64))
    business_id = charge.business_id
    message = pass_message(
        pair.relay.id, business_id, MailboxId(ready.submission.mailbox_id), unsigned
    )
    signature = pair.relay.receipt.sign(message)
    return Pass(kind, unsigned.opener, klass, now, unsigned.until, signature)


def receipt(pair: Pair, ready: Ready, earned: Pass | None = None) -> Result:
    _, name = hashed(pair, ready)
    message = answers.receipt_message(name, pair.clock.now, pass_hash(earned))
    signature = pair.relay.receipt.sign(message)
    return Result(
        codes.OK,
        data=pack(answers.Receipt(name, pair.clock.now, earned, signature)),
    )


def refusal(
    pair: Pair,
    ready: Ready,
    code: RefusalCode,
    quote: int | Line | None,
    held: Pass | None = None,
    retry_after: int | None = None,
    left: int | None = None,
    business_id: BusinessId | None = None,
) -> Result:
    """:param quote: a line, or the price of a message outside of the window
    :param business_id: to whom it is said, if not to the shop"""
    charge, name = hashed(pair, ready)
    if isinstance(quote, int):
        quote = Line("ID", "reply-2018", charge.line.rate_card, 0, Class.OUT_OF_WINDOW, quote)
    made = None if quote is None else answers.Quote(quote)
    to = business_id or business_id_of(pair.bob.store.need("business_root_pk"))
    quote_hash = NO_HASH if made is None else made.hash(pair.relay.id, to)
    now = pair.clock.now
    message = answers.refusal_message(name, code, now, quote_hash, pass_hash(held))
    signature = pair.relay.receipt.sign(message)
    packed = pack(answers.Refusal(name, code, now, made, held, signature))
    return Result(codes.REFUSED, "refused", retry_after, left, packed)


def answer(pair: Pair, ready: Ready, result: Result | None) -> Pause | None:
    """The relay's answer to one submission reaches the shop."""
    return outbox.answered(pair.bob, ready, result, pair.relay.cert)


def many(pair: Pair, siti: Contact, count: int) -> list[Contact]:
    """More customers: the same person as far as keys go, each a contact of its own."""
    store = pair.bob.store
    found = [siti]
    with store.transaction():
        for number in range(1, count):
            other = store.add_contact(
                f"customer {number}", Kind.CUSTOMER, address=siti.address, market="ID"
            )
            store.set_contact(other.id, permit=siti.permit)
            session = store.live_sessions(siti.id)[0][1]
            store.put_session(bytes([number]) * 16, other.id, session)
            found.append(other)
    return found
