"""What an operator does to a relay's database, also while the relay runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from kurir_billing.dates import show_day
from kurir_billing.errors import RateCardError
from kurir_billing.party import Party
from kurir_billing.ratecard import RateCard, bundled, canonical, parse, rate_card_hash
from kurir_billing.tariffs import TARIFFS, Tariff
from kurir_server import keyfiles
from kurir_server.errors import ConfigError, RelayError
from kurir_server.housekeeping import remove_business
from kurir_server.keys import RelayKeys
from kurir_server.limits import BADGE_DAYS, FIRST_STARTS
from kurir_server.parties import note_name, party_of, record
from kurir_server.rows import Approval, Business, Rows, StoredRateCard
from kurir_server.writer import create_database, offline
from kurir_wire.cards import (
    TIER_NAMES,
    TIER_NONE,
    TIER_PLATFORM,
    TIER_SMALL,
    BusinessCard,
    Signed,
    check_name,
)
from kurir_wire.codec import unpack
from kurir_wire.errors import WireError
from kurir_wire.ids import DAY, BusinessId, RelayId
from kurir_wire.limits import MAX_CARD, MAX_NAME

TIERS: Final = {name: number for number, name in TIER_NAMES.items() if number != TIER_NONE}
STARTS: Final = {"250": 250, "2000": 2_000, "10000": 10_000, "100000": 100_000, "none": None}
"""How many customers a business may start within 24 hours; ``none``: there is no limit."""


@dataclass(frozen=True, slots=True)
class BusinessView:
    """A business as an operator sees it. ``name`` is what it calls itself. ``starts``: as in the
    terms, ``None`` for no limit."""

    id: BusinessId
    name: str
    legal_name: str | None
    tier: str
    tariff: str
    starts: int | None
    version: int
    expires: int
    badge_not_after: int | None


def init(db: Path, folder: Path, now: int) -> RelayKeys:
    """Make keys and database of a new relay, with the bundled rate card in force.

    :raises ConfigError: keys or database exist already
    """
    if db.exists():
        raise ConfigError(f"{db} exists already", "give another file, or serve this one")
    keys = keyfiles.create(folder, now)
    try:
        create_database(db, keys.relay_id)
        with offline(db) as store:
            store.transact(lambda rows: _add_card(rows, keys, bundled()))
    except RelayError:
        # A full disk, say. Keys of a relay that never was would only stand in the way of the next
        # attempt.
        keyfiles.remove(folder)
        db.unlink(missing_ok=True)
        raise
    return keys


def businesses(db: Path) -> list[BusinessView]:
    """All that are registered."""
    with offline(db) as store:
        return [_view(business) for business in store.transact(lambda rows: rows.businesses())]


def business(db: Path, business_id: BusinessId) -> BusinessView:
    """:raises ConfigError: not registered"""
    with offline(db) as store:
        return _view(store.transact(lambda rows: find_business(rows, business_id)))


def approve(
    db: Path,
    keys: RelayKeys,
    business_id: BusinessId,
    tier: str,
    legal_name: str,
    tariff: str | None,
    starts: str | None,
    now: int,
) -> BusinessView:
    """Grant tier, tariff, badge and terms; the badge for a year.

    :param tariff: ``None`` leaves the one that it has
    :param starts: a key of :data:`STARTS`; ``None`` leaves what it has
    :raises ConfigError: not registered, or a name, tier, tariff or limit that cannot be
    """
    if tier not in TIERS:
        raise ConfigError(f"there is no tier {tier!r}", f"tiers are {', '.join(TIERS)}")
    if tariff is not None and tariff not in TARIFFS:
        raise ConfigError(f"there is no tariff {tariff!r}", f"tariffs are {', '.join(TARIFFS)}")
    if starts is not None and starts not in STARTS:
        raise ConfigError(f"a limit of {starts!r} is not known", f"limits are {', '.join(STARTS)}")
    try:
        check_name(legal_name, "the badge")
    except WireError as error:
        raise ConfigError(str(error)) from error
    if len(legal_name) > MAX_NAME:
        raise ConfigError(f"a legal name has at most {MAX_NAME} characters")

    def work(rows: Rows) -> Business:
        before = find_business(rows, business_id)
        number, chosen = TIERS[tier], tariff or before.tariff
        limit = _starts(before, number, starts)
        _check_free(number, chosen)
        rows.approve(business_id, approval(keys, before, number, chosen, limit, legal_name, now))
        note_name(rows, business_id, legal_name)
        return find_business(rows, business_id)

    with offline(db) as store:
        same_relay(store.relay_id, keys)
        return _view(store.transact(work))


def approval(
    keys: RelayKeys,
    before: Business,
    tier: int,
    tariff: str,
    starts: int | None,
    legal_name: str,
    now: int,
) -> Approval:
    """Badge and terms, signed. Each terms are newer than those before."""
    badge = keys.badge(before.id, tier, legal_name, now + BADGE_DAYS * DAY)
    issued = now if before.terms_issued is None else max(now, before.terms_issued + 1)
    terms = keys.terms(before.id, tariff, tier, starts, issued)
    return Approval(
        tier,
        tariff,
        starts,
        legal_name,
        badge.not_after,
        badge.signature,
        terms.issued,
        terms.signature,
    )


def revoke(db: Path, business_id: BusinessId) -> BusinessView:
    """Take tier, badge and terms away; its charges are refused from now on.

    :raises ConfigError: not registered
    """

    def work(rows: Rows) -> Business:
        find_business(rows, business_id)
        rows.revoke(business_id)
        return find_business(rows, business_id)

    with offline(db) as store:
        return _view(store.transact(work))


def remove(db: Path, business_id: BusinessId) -> None:
    """Take a business away with its prekeys, its address and what waits there. Its name stays with
    nobody but those who have its card.

    :raises ConfigError: not registered, approved, or it has settled charges
    """

    def work(rows: Rows) -> None:
        found = find_business(rows, business_id)
        if found.tier != TIER_NONE:
            raise ConfigError(
                "this business is approved", "revoke it first: kurir-relay business revoke"
            )
        if rows.has_leaves(business_id):
            raise ConfigError(
                "this business has settled charges, and must be able to fetch what it was billed",
                "revoked as it is, it cannot send any more",
            )
        remove_business(rows, found)

    with offline(db) as store:
        store.transact(work)


def seller(db: Path) -> Party:
    """Who runs the relay."""
    with offline(db) as store:
        relay_id = RelayId(store.relay_id)
        return store.transact(lambda rows: party_of(rows, relay_id))


def set_seller(db: Path, party: Party) -> None:
    """:raises ConfigError: without a name, or with text that cannot stand on an invoice"""
    if not party.legal_name:
        raise ConfigError("a seller has a legal name")
    with offline(db) as store:
        relay_id = RelayId(store.relay_id)
        store.transact(lambda rows: record(rows, relay_id, party))


def buyer(db: Path, business_id: BusinessId) -> Party:
    """What is recorded of a business."""
    with offline(db) as store:
        return store.transact(lambda rows: party_of(rows, business_id))


def set_buyer(
    db: Path, business_id: BusinessId, address: list[str], tax_id: str, notes: list[str]
) -> Party:
    """Everything about a buyer but its name, which is the certified one.

    :raises ConfigError: not approved yet, or with text that cannot stand on an invoice
    """

    def work(rows: Rows) -> Party:
        name = party_of(rows, business_id).legal_name
        if not name:
            raise ConfigError(
                "no business of this id was approved here", "see: kurir-relay business list"
            )
        party = Party(name, address, tax_id, notes)
        record(rows, business_id, party)
        return party

    with offline(db) as store:
        return store.transact(work)


def rate_cards(db: Path) -> list[StoredRateCard]:
    """All versions, oldest first."""
    with offline(db) as store:
        return store.transact(lambda rows: rows.rate_cards())


def card_in_force(db: Path, now: int) -> StoredRateCard:
    """:raises ConfigError: none is in force yet"""
    with offline(db) as store:
        stored = store.transact(lambda rows: rows.rate_card_in_force(now))
    if stored is None:
        raise ConfigError("no rate card is in force yet", "install one with: ratecard install")
    return stored


def read_card(stored: StoredRateCard) -> RateCard:
    """The prices of a stored card."""
    return parse(unpack(stored.card, Signed).body)


def install_card(
    db: Path, keys: RelayKeys, file: Path, now: int, *, from_now: bool = False
) -> StoredRateCard:
    """Validate, canonicalise, sign and store a rate card.

    :param from_now: put it in force now, whatever it says itself
    :raises ConfigError: not a card, its version does not rise, or it is to hold since before now:
        nobody could have priced by it, and charges by the card before would look wrong
    """
    try:
        card = msgspec.json.decode(file.read_bytes(), type=RateCard)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ConfigError(f"{file} is not a rate card: {error}") from error
    if from_now:
        card = msgspec.structs.replace(card, effective_from=now)
    elif card.effective_from < now:
        raise ConfigError(
            f"the card says that it is in force since {show_day(card.effective_from // DAY)}; "
            "prices cannot change for the past",
            "give it an effective_from that is still to come, or say --now",
        )

    with offline(db) as store:
        same_relay(store.relay_id, keys)
        return store.transact(lambda rows: _add_card(rows, keys, card))


def _add_card(rows: Rows, keys: RelayKeys, card: RateCard) -> StoredRateCard:
    body = canonical(card)
    try:
        parse(body)
    except RateCardError as error:
        raise ConfigError(str(error)) from error
    data = keys.rate_card(body)
    if len(data) > MAX_CARD:
        raise ConfigError(f"the card is larger than {MAX_CARD} bytes")
    newest = max((stored.version for stored in rows.rate_cards()), default=0)
    if card.version <= newest:
        raise ConfigError(
            f"version {newest} is installed already; this is version {card.version}",
            "give the new card a higher version",
        )
    stored = StoredRateCard(card.version, rate_card_hash(body), card.effective_from, data)
    rows.add_rate_card(stored)
    return stored


def find_business(rows: Rows, business_id: BusinessId) -> Business:
    found = rows.business(business_id)
    if found is None:
        raise ConfigError(
            "no business of this id is registered here", "see: kurir-relay business list"
        )
    return found


def _view(found: Business) -> BusinessView:
    card = unpack(unpack(found.card, Signed).body, BusinessCard)
    return BusinessView(
        found.id,
        card.name,
        found.legal_name,
        TIER_NAMES[found.tier],
        found.tariff,
        found.starts,
        found.version,
        found.expires,
        found.badge_not_after,
    )


def _starts(before: Business, tier: int, starts: str | None) -> int | None:
    """:raises ConfigError: a limit for a business that can start nobody"""
    if tier == TIER_SMALL:
        if starts is not None:
            raise ConfigError(
                "a small business answers only and starts nobody", "leave out --starts"
            )
        return 0
    if starts is not None:
        return STARTS[starts]
    return before.starts if before.tier == TIER_PLATFORM else FIRST_STARTS


def _check_free(tier: int, tariff: str) -> None:
    """:raises ConfigError: a small business would be charged for an answer"""
    free = [name for name, known in TARIFFS.items() if _answers_are_free(known)]
    if tier == TIER_SMALL and tariff not in free:
        raise ConfigError(
            f"a small business is never charged, and {tariff} charges for answers",
            f"give --tariff {' or '.join(free)}",
        )


def _answers_are_free(tariff: Tariff) -> bool:
    """Whatever a business that shows a grant does: no categories, no passes to pay for."""
    return not tariff.asks_category and not tariff.passes


def same_relay(relay_id: bytes, keys: RelayKeys) -> None:
    if relay_id != keys.relay_id:
        raise ConfigError(
            "the database belongs to another relay than the keys",
            "give the folder that was made with this database",
        )
