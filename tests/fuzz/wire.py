"""Targets in kurir_wire: frames, links, cards, certificates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, get_args

from msgspec import Struct
from msgspec.structs import replace

from kurir_client.display import harmless
from kurir_wire.cards import (
    Badge,
    BusinessCard,
    PersonCard,
    Signed,
    badge_message,
    open_business_card,
    open_person_card,
)
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import ExpiredError, LinkError, MalformedError, SignatureError
from kurir_wire.frames import Push, Request, decode_push, decode_request, encode
from kurir_wire.ids import MailboxId
from kurir_wire.limits import MAX_CARD
from kurir_wire.links import (
    BusinessLink,
    InviteLink,
    LinkEntry,
    RelayAddress,
    parse_link,
    pin_of,
)
from kurir_wire.prekeys import (
    PREKEY_LAST_RESORT,
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    EcPreKey,
    IdentityPublic,
    KemPreKey,
    ec_prekey_message,
    identity_binding,
    kem_prekey_message,
)
from kurir_wire.relaycert import RelayCert, relay_cert_message
from tests.fuzz.examples import example
from tests.fuzz.mutate import msgpack_tree, of_words, some_bytes
from tests.fuzz.target import VALID, Target, attempt, check_again
from tests.protocol.make import (
    NOW,
    TestBusiness,
    TestRelay,
    b32,
    key,
    make_business_card,
    make_person_card,
    public,
    sign,
    signed_business_card,
    signed_person_card,
)

FrameT = TypeVar("FrameT", Request, Push)
StructT = TypeVar("StructT", bound=Struct)
RELAY = TestRelay()
BUSINESS = TestBusiness()
OWNER = key("business identity")
PERSON = key("person")
NAMES = tuple(
    type_.__struct_config__.tag.encode() for type_ in (*get_args(Request), *get_args(Push))
)
REFUSALS = (MalformedError, SignatureError, ExpiredError)


# Frames


def _frame(decode: Callable[[bytes], FrameT], data: bytes) -> bool:
    frame = attempt(MalformedError, lambda: decode(data))
    if frame is None:
        return False
    check_again(data, encode(frame))
    assert decode(encode(frame)) == frame
    return True


def _frame_samples(union: object) -> dict[str, bytes]:
    found = {}
    for type_ in get_args(union):
        short, full = (encode(example(type_, full=full)) for full in (False, True))
        name = type_.__struct_config__.tag
        # The fuller one holds the other, unless something stays away.
        found[f"{VALID}{name}"] = full if len(full) < 8_192 else short
    return found


# Links


LINK_WORDS = (
    b"kurir://", b"ws://", b"wss://", b"localhost", b"127.0.0.1", b"[::1]", b"[", b"]", b":443",
    b":0", b":99999", b"?tls=1", b"?", b"#", b"/i/", b"/b/", b"/", b".", b"@", b"%25", b"\\",
    b"?e=", b"&e=", b"A" * 32, b"A" * 43, b"xn--", b"\t", b"\n",
    "ⓚ".encode(), "\u2100".encode(), "\u202e".encode(),
)  # fmt: skip


def link(data: bytes) -> bool:
    text = data.decode("utf-8", "surrogateescape")
    found = attempt(LinkError, lambda: parse_link(text))
    if found is not None:
        assert parse_link(str(found)) == found
        assert str(found).isascii()
        # Keys and pins have one spelling; line breaks within a link are passed over.
        assert str(found).partition("#")[2] in "".join(text.split())
    address = attempt(LinkError, lambda: RelayAddress.parse(text))
    if address is not None:
        assert RelayAddress.parse(address.url) == address
        assert address.url.isascii()
    return not (found is None and address is None)


def _link_samples() -> dict[str, bytes]:
    here, away = RelayAddress("127.0.0.1", 8_787, False), RelayAddress("kurir.example", 443, True)
    six = RelayAddress("::1", 1, True)
    pin, entry = pin_of(RELAY.id), LinkEntry(b32("entry")[:16], NOW)
    return {
        VALID + "invite": str(InviteLink(away, MailboxId(b32("m")), b32("s"), pin)).encode(),
        VALID + "invite-6": str(InviteLink(six, MailboxId(b32("m")), b32("s"), pin)).encode(),
        VALID + "business": str(BusinessLink(here, BUSINESS.id, pin)).encode(),
        VALID + "entry": str(BusinessLink(away, BUSINESS.id, pin, entry)).encode(),
        VALID + "relay": b"kurir.example:8443",
        VALID + "relay-url": here.url.encode(),
    }


# Cards. Each is tried as it is, and once more with all its signatures made right, so that what lies
# behind them is reached.


def business_card(data: bytes) -> bool:
    raw = _business_card(data)
    return _resigned(data, BusinessCard, _sign_business, _business_card) or raw


def person_card(data: bytes) -> bool:
    raw = _person_card(data)
    return _resigned(data, PersonCard, _sign_person, _person_card) or raw


def _business_card(data: bytes) -> bool:
    card = attempt(REFUSALS, lambda: open_business_card(data, NOW))
    if card is None:
        return False
    assert card.signed_prekey.kind == PREKEY_SIGNED
    assert card.last_resort.kind == PREKEY_LAST_RESORT
    assert card.issued - 300 <= NOW < card.expires
    assert harmless(card.name) == card.name.replace("\n", "").replace("\t", "")
    assert unpack(pack(card), BusinessCard) == card
    return True


def _person_card(data: bytes) -> bool:
    card = attempt(REFUSALS, lambda: open_person_card(data, NOW))
    if card is None:
        return False
    assert card.bundle.signed.kind == PREKEY_SIGNED
    assert card.bundle.one_time is None or card.bundle.one_time.kind == PREKEY_ONE_TIME
    assert card.issued - 300 <= NOW < card.expires
    assert harmless(card.name) == card.name.replace("\n", "").replace("\t", "")
    assert unpack(pack(card), PersonCard) == card
    return True


def _resigned(
    data: bytes,
    type_: type[StructT],
    sign_: Callable[[StructT], bytes],
    check: Callable[[bytes], bool],
) -> bool:
    """What becomes of the card within once its signatures are right."""
    signed = attempt(MalformedError, lambda: unpack(data, Signed, limit=MAX_CARD))
    if signed is None:
        return False
    card = attempt(MalformedError, lambda: unpack(signed.body, type_, limit=MAX_CARD))
    return card is not None and check(sign_(card))


def sign_identity(identity: IdentityPublic) -> IdentityPublic:
    """The same agreement key, vouched for by OWNER."""
    return IdentityPublic(
        public(OWNER), identity.dh_pk, sign(OWNER, identity_binding(identity.dh_pk))
    )


def sign_ec(one: EcPreKey) -> EcPreKey:
    """The same prekey, signed by OWNER."""
    return replace(one, signature=sign(OWNER, ec_prekey_message(one.kind, one.key_id, one.public)))


def sign_kem(one: KemPreKey) -> KemPreKey:
    """The same prekey, signed by OWNER."""
    return replace(one, signature=sign(OWNER, kem_prekey_message(one.kind, one.key_id, one.public)))


def _sign_business(card: BusinessCard) -> bytes:
    right = replace(
        card,
        root_pk=public(BUSINESS.root),
        identity=sign_identity(card.identity),
        signed_prekey=sign_ec(card.signed_prekey),
        last_resort=sign_kem(card.last_resort),
    )
    return signed_business_card(right, BUSINESS.root)


def _sign_person(card: PersonCard) -> bytes:
    bundle = card.bundle
    right = replace(
        bundle,
        identity=sign_identity(bundle.identity),
        signed=sign_ec(bundle.signed),
        kem=sign_kem(bundle.kem),
        one_time=None if bundle.one_time is None else sign_ec(bundle.one_time),
    )
    return signed_person_card(replace(card, bundle=right), OWNER)


def certificate(data: bytes) -> bool:
    """The relay's certificate, and the operator's badge."""
    cert = attempt(MalformedError, lambda: unpack(data, RelayCert, limit=2_048))
    if cert is not None:
        assert unpack(pack(cert), RelayCert) == cert
        attempt(REFUSALS, lambda: cert.verify(NOW))
        keys = cert.beacon_pk, cert.receipt_pk, cert.operator_pk, cert.checkpoint_pk
        message = relay_cert_message(*keys, cert.report_pk, cert.not_before, cert.not_after)
        signature = sign(RELAY.root, message)
        right = replace(cert, root_pk=public(RELAY.root), signature=signature)
        attempt(ExpiredError, lambda: right.verify(NOW))
    badge = attempt(MalformedError, lambda: unpack(data, Badge, limit=2_048))
    if badge is not None:
        assert unpack(pack(badge), Badge) == badge
        who = public(RELAY.operator), RELAY.id, BUSINESS.id
        attempt(REFUSALS, lambda: badge.verify(*who, NOW))
        message = badge_message(
            RELAY.id, BUSINESS.id, badge.tier, badge.legal_name, badge.not_after
        )
        right_badge = replace(badge, signature=sign(RELAY.operator, message))
        attempt((MalformedError, ExpiredError), lambda: right_badge.verify(*who, NOW))
    return not (cert is None and badge is None)


def _certificate_samples() -> dict[str, bytes]:
    message = badge_message(RELAY.id, BUSINESS.id, 2, "PT Metro Bus", NOW + 1)
    badge = Badge(2, "PT Metro Bus", NOW + 1, sign(RELAY.operator, message))
    return {VALID + "certificate": pack(RELAY.cert()), VALID + "badge": pack(badge)}


STRUCTURED = (msgpack_tree, msgpack_tree, some_bytes)
TARGETS = (
    Target(
        "request", lambda data: _frame(decode_request, data), lambda: _frame_samples(Request),
        (*STRUCTURED, of_words(NAMES)), NAMES, mutations=6_000,
    ),
    Target(
        "push", lambda data: _frame(decode_push, data), lambda: _frame_samples(Push),
        (*STRUCTURED, of_words(NAMES)), NAMES, mutations=6_000,
    ),
    Target(
        "link", link, _link_samples, (some_bytes, of_words(LINK_WORDS)), LINK_WORDS, 600,
        mutations=6_000,
    ),
    Target(
        "business_card", business_card,
        lambda: {
            VALID + "card": signed_business_card(
                make_business_card(RELAY, BUSINESS), BUSINESS.root
            )
        },
        STRUCTURED,
        mutations=1_500,
    ),
    Target(
        "person_card", person_card,
        lambda: {VALID + "card": signed_person_card(make_person_card(PERSON), PERSON)},
        STRUCTURED,
        mutations=1_500,
    ),
    Target("certificate", certificate, _certificate_samples, STRUCTURED, max_bytes=2_100),
)  # fmt: skip
