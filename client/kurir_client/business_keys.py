"""The keys of a business: the root that certifies, the lane that signs charges, and a generation of
keys that customers write to, which is replaced every week.

A generation is an envelope key, a signed prekey, a last-resort KEM prekey and the one-time prekeys
left at the relay meanwhile. It is stored before any card names it, and retired only by the
transaction that stores the next one: whatever a crash leaves undone, the card that others hold is
older than the day on which its keys were retired.
"""

from __future__ import annotations

from typing import Final

from kurir_billing.charge import packed
from kurir_billing.lane import Lane, lane_message
from kurir_client.errors import RelayError
from kurir_client.meeting import unpack_card
from kurir_client.profile import Profile
from kurir_client.restored import SESSIONS_FROM
from kurir_client.store import Store
from kurir_crypto.keys import OwnEcPreKey, OwnKemPreKey, SigningKeyPair
from kurir_crypto.sealing import EnvelopeKeyPair
from kurir_wire.cards import (
    BusinessCard,
    business_card_message,
    open_business_card,
    signed_card,
)
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import WireError
from kurir_wire.ids import DAY, MINUTE, MailboxId, business_id_of
from kurir_wire.limits import CARD_LIFE
from kurir_wire.prekeys import (
    PREKEY_LAST_RESORT,
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    EcPreKey,
    KemPreKey,
)

ROTATE_DAYS: Final = 7
"""Days after which a generation is replaced. Who steals the keys reads back only what was written
under the last of them: with KEEP_DAYS, less than ten weeks of first messages and outer layers."""
LANE_LIFE: Final = 365 * DAY
"""Seconds for which a lane key may sign charges."""
RENEW_LANE_BEFORE: Final = 10 * DAY
"""Seconds before a lane's end at which the root certifies it again."""


def make(profile: Profile, now: int) -> None:
    """Everything that a new business needs, inside the running transaction."""
    store, root = profile.store, SigningKeyPair.generate()
    store.put("business_root", root.seed())
    store.put("business_root_pk", root.public)
    _make_lane(store, now)
    _make_generation(profile, now)


def lost_sessions(store: Store) -> bool:
    """Whether the home was restored from a copy since the last card: sessions, numbers and keys
    that followed the copy are gone."""
    card = _last_card(store)
    return card is not None and _sessions_from(store) > card.sessions_from


def are_due(profile: Profile, now: int) -> bool:
    """Whether :func:`renew` has something to do."""
    store = profile.store
    lane = unpack(store.need("lane"), Lane)
    made_on = store.keys_made_on()
    is_fresh = made_on is not None and 0 <= now // DAY - made_on < ROTATE_DAYS
    return not is_fresh or lane.not_after - now < RENEW_LANE_BEFORE or lost_sessions(store)


def renew(profile: Profile, now: int) -> None:
    """Replace what is old, delete what is older, inside the running transaction.

    A restored home gets another lane, for the numbers of its charges would repeat, and another
    generation, for its keys may have been replaced and deleted since the copy was made.
    """
    store = profile.store
    restored = lost_sessions(store)
    made_on = store.keys_made_on()
    if restored or made_on is None or not 0 <= now // DAY - made_on < ROTATE_DAYS:
        store.retire_keys(now // DAY)
        _make_generation(profile, now)
    store.drop_retired_keys(now // DAY)
    lane = unpack(store.need("lane"), Lane)
    if restored:
        # A clock that ran ahead then must not make customers start sessions in the future.
        minute = min(_restored_in(store), now // MINUTE)
        store.put(SESSIONS_FROM, str(minute).encode())
        _make_lane(store, now)
    elif lane.not_after - now < RENEW_LANE_BEFORE:
        root = SigningKeyPair.from_seed(store.need("business_root"))
        store.put("lane", packed(_certified(root, lane.lane_pk, now)))


def one_time_prekeys(profile: Profile, count: int) -> tuple[list[EcPreKey], list[KemPreKey]]:
    """So many fresh ones of each kind, stored inside the running transaction."""
    store, identity = profile.store, profile.identity
    ec: list[EcPreKey] = []
    kem: list[KemPreKey] = []
    first = store.new_key_ids(count)
    for key_id in range(first, first + count):
        own = OwnEcPreKey.generate(identity, PREKEY_ONE_TIME, key_id)
        store.add_prekey("ec", PREKEY_ONE_TIME, key_id, own.to_bytes())
        ec.append(own.public)
        own_kem = OwnKemPreKey.generate(identity, PREKEY_ONE_TIME, key_id)
        store.add_prekey("kem", PREKEY_ONE_TIME, key_id, own_kem.to_bytes())
        kem.append(own_kem.public)
    return ec, kem


def make_card(profile: Profile, address: MailboxId, now: int) -> bytes:
    """A signed card, newer than any before it, that names the present keys.

    The version is at least the unix minute, so that a home restored from a copy does not fall
    behind the cards that were left after the copy was made.
    """
    store = profile.store
    root = SigningKeyPair.from_seed(store.need("business_root"))
    with store.transaction():
        version = max(_version(store) + 1, now // MINUTE)
        store.put("card_version", str(version).encode())
        body = pack(_card(profile, address, version, now))
    return signed_card(body, root.sign(business_card_message(body)))


def note_card(profile: Profile, served: bytes) -> None:
    """The relay has this card of ours: the next one is newer.

    :raises RelayError: it is not ours
    """
    store = profile.store
    try:
        card = open_business_card(served, profile.clock())
    except WireError as error:
        raise RelayError(f"the relay shows a card that is not in order: {error}") from error
    if card.root_pk != store.need("business_root_pk"):
        raise RelayError("the relay shows the card of another business")
    with store.transaction():
        store.put("card_version", str(max(_version(store), card.version)).encode())


def is_named(profile: Profile, address: MailboxId) -> bool:
    """Whether the last card that the relay took says all that is so now."""
    card = _last_card(profile.store)
    return card is not None and card == _card(profile, address, card.version, card.issued)


def _card(profile: Profile, address: MailboxId, version: int, now: int) -> BusinessCard:
    store = profile.store
    signed = OwnEcPreKey.from_bytes(store.need_prekey("ec", PREKEY_SIGNED))
    last_resort = OwnKemPreKey.from_bytes(store.need_prekey("kem", PREKEY_LAST_RESORT))
    return BusinessCard(
        version=version,
        relay_id=profile.relay_id,
        root_pk=store.need("business_root_pk"),
        name=profile.name,
        address=address,
        envelope_pk=EnvelopeKeyPair.from_bytes(store.envelope_keys()[0]).public,
        identity=profile.identity.public,
        signed_prekey=signed.public,
        last_resort=last_resort.public,
        issued=now,
        expires=now + CARD_LIFE,
        sessions_from=_sessions_from(store),
    )


def _version(store: Store) -> int:
    """Of the last card that was made."""
    return int((store.get("card_version") or b"0").decode())


def _last_card(store: Store) -> BusinessCard | None:
    """The last that the relay took; decoded without the checks, which fail once it has expired."""
    card = store.get("business_card")
    return None if card is None else unpack_card(card)


def _restored_in(store: Store) -> int:
    """The unix minute in which the home was found to be restored from a copy; -1 if never."""
    return int((store.get(SESSIONS_FROM) or b"-1").decode())


def _sessions_from(store: Store) -> int:
    """For the card. Of sessions that started in that same minute nobody can say which came first,
    so they count as lost too."""
    return _restored_in(store) + 1


def _make_lane(store: Store, now: int) -> None:
    root = SigningKeyPair.from_seed(store.need("business_root"))
    lane_key = SigningKeyPair.generate()
    store.put("lane_seed", lane_key.seed())
    store.put("lane", packed(_certified(root, lane_key.public, now)))


def _certified(root: SigningKeyPair, lane_pk: bytes, now: int) -> Lane:
    not_after = now + LANE_LIFE
    signature = root.sign(lane_message(business_id_of(root.public), lane_pk, not_after))
    return Lane(root.public, lane_pk, not_after, signature)


def _make_generation(profile: Profile, now: int) -> None:
    store, identity = profile.store, profile.identity
    key_id = store.new_key_ids(1)
    signed = OwnEcPreKey.generate(identity, PREKEY_SIGNED, key_id)
    store.add_prekey("ec", PREKEY_SIGNED, key_id, signed.to_bytes())
    last_resort = OwnKemPreKey.generate(identity, PREKEY_LAST_RESORT, key_id)
    store.add_prekey("kem", PREKEY_LAST_RESORT, key_id, last_resort.to_bytes())
    store.add_envelope_key(EnvelopeKeyPair.generate().to_bytes(), now // DAY)
