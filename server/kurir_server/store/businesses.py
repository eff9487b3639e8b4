"""SQL for businesses, their one-time prekeys and entry tickets, and rate cards."""

from __future__ import annotations

from kurir_server.rows import Approval, Business, PreKeyKind, StoredRateCard, StoredTicket
from kurir_server.store.database import Database
from kurir_server.store.known import Known
from kurir_wire.ids import BusinessId, Hash, RelayId

_BUSINESS = """SELECT id, version, card, expires, tier, tariff, legal_name, badge_not_after,
    badge_signature, starts, terms_issued, terms_signature FROM businesses """
_RATE_CARD = "SELECT version, hash, effective_from, card FROM rate_cards "


class BusinessRows:
    """The part of :class:`~kurir_server.rows.Rows` about businesses and prices."""

    def __init__(self, db: Database, known: Known) -> None:
        self._db = db
        self._known = known

    def business(self, business_id: BusinessId) -> Business | None:
        known = self._known.businesses.get(business_id)
        if known is not None:
            return known
        found = self._db.execute(_BUSINESS + "WHERE id = ?", (business_id,)).fetchone()
        if found is None:
            return None
        business = self._known.businesses[business_id] = Business(*found)
        return business

    def businesses(self) -> list[Business]:
        return [Business(*found) for found in self._db.execute(_BUSINESS + "ORDER BY id")]

    def put_business(
        self, business_id: BusinessId, version: int, card: bytes, expires: int, tariff: str
    ) -> None:
        self._known.businesses.pop(business_id, None)
        self._db.execute(
            """INSERT INTO businesses (id, version, card, expires, tier, tariff)
            VALUES (?, ?, ?, ?, 0, ?)
            ON CONFLICT (id) DO UPDATE SET version = excluded.version, card = excluded.card,
                expires = excluded.expires""",
            (business_id, version, card, expires, tariff),
        )

    def approve(self, business_id: BusinessId, approval: Approval) -> None:
        self._known.businesses.pop(business_id, None)
        self._db.execute(
            """UPDATE businesses SET tier = ?, tariff = ?, starts = ?, legal_name = ?,
            badge_not_after = ?, badge_signature = ?, terms_issued = ?, terms_signature = ?
            WHERE id = ?""",
            (
                approval.tier,
                approval.tariff,
                approval.starts,
                approval.legal_name,
                approval.badge_not_after,
                approval.badge_signature,
                approval.terms_issued,
                approval.terms_signature,
                business_id,
            ),
        )

    def revoke(self, business_id: BusinessId) -> None:
        self._known.businesses.pop(business_id, None)
        self._db.execute(
            """UPDATE businesses SET tier = 0, legal_name = NULL, badge_not_after = NULL,
            badge_signature = NULL, terms_signature = NULL WHERE id = ?""",
            (business_id,),
        )

    def add_ticket(self, business_id: BusinessId, ticket: StoredTicket) -> None:
        self._db.execute(
            "INSERT INTO tickets VALUES (?, ?, ?, ?)",
            (ticket.entry_id, business_id, ticket.not_after, ticket.signature),
        )

    def tickets(self, business_id: BusinessId, now: int) -> list[StoredTicket]:
        found = self._db.execute(
            """SELECT entry_id, not_after, signature FROM tickets
            WHERE business = ? AND not_after > ? ORDER BY not_after DESC, entry_id""",
            (business_id, now),
        )
        return [StoredTicket(*values) for values in found]

    def forgotten_businesses(self, now: int, limit: int) -> list[Business]:
        found = self._db.execute(
            _BUSINESS + "WHERE tier = 0 AND expires <= ? AND NOT EXISTS "  # noqa: S608
            "(SELECT 1 FROM leaves WHERE business = businesses.id) LIMIT ?",
            (now, limit),
        )
        return [Business(*values) for values in found]

    def drop_business(self, business_id: BusinessId) -> None:
        self._known.businesses.pop(business_id, None)
        self.drop_prekeys(business_id)
        self._db.execute("DELETE FROM tickets WHERE business = ?", (business_id,))
        self._db.execute("DELETE FROM parties WHERE id = ?", (business_id,))
        self._db.execute("DELETE FROM invoices WHERE business = ?", (business_id,))
        self._db.execute("DELETE FROM businesses WHERE id = ?", (business_id,))

    def prekey(self, business_id: BusinessId, kind: PreKeyKind, key_id: int) -> bytes | None:
        found = self._db.execute(
            "SELECT body FROM prekeys WHERE business = ? AND kind = ? AND key_id = ?",
            (business_id, kind.value, key_id),
        ).fetchone()
        return found[0] if found else None

    def add_prekey(
        self, business_id: BusinessId, kind: PreKeyKind, key_id: int, body: bytes
    ) -> None:
        self._db.execute(
            "INSERT INTO prekeys VALUES (?, ?, ?, ?)", (business_id, kind.value, key_id, body)
        )

    def count_prekeys(self, business_id: BusinessId, kind: PreKeyKind) -> int:
        found = self._db.execute(
            "SELECT count(*) FROM prekeys WHERE business = ? AND kind = ?",
            (business_id, kind.value),
        ).fetchone()
        return int(found[0])

    def take_prekey(self, business_id: BusinessId, kind: PreKeyKind) -> bytes | None:
        found = self._db.execute(
            """DELETE FROM prekeys WHERE business = ?1 AND kind = ?2 AND key_id =
            (SELECT min(key_id) FROM prekeys WHERE business = ?1 AND kind = ?2) RETURNING body""",
            (business_id, kind.value),
        ).fetchone()
        return found[0] if found else None

    def drop_prekeys(self, business_id: BusinessId) -> None:
        self._db.execute("DELETE FROM prekeys WHERE business = ?", (business_id,))

    def rate_card(self, card_hash: Hash) -> StoredRateCard | None:
        found = self._db.execute(_RATE_CARD + "WHERE hash = ?", (card_hash,)).fetchone()
        return StoredRateCard(*found) if found else None

    def rate_card_in_force(self, now: int) -> StoredRateCard | None:
        in_force = (card for card in reversed(self._cards()) if card.effective_from <= now)
        return next(in_force, None)

    def rate_cards(self) -> list[StoredRateCard]:
        return list(self._cards())

    def _cards(self) -> list[StoredRateCard]:
        if self._known.rate_cards is None:
            found = self._db.execute(_RATE_CARD + "ORDER BY version")
            self._known.rate_cards = [StoredRateCard(*values) for values in found]
        return self._known.rate_cards

    def add_rate_card(self, card: StoredRateCard) -> None:
        self._known.rate_cards = None
        self._db.execute(
            "INSERT INTO rate_cards VALUES (?, ?, ?, ?)",
            (card.version, card.hash, card.effective_from, card.card),
        )

    def party(self, party_id: BusinessId | RelayId) -> bytes | None:
        found = self._db.execute("SELECT party FROM parties WHERE id = ?", (party_id,)).fetchone()
        return found[0] if found else None

    def put_party(self, party_id: BusinessId | RelayId, party: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO parties VALUES (?, ?)", (party_id, party))

    def last_invoice(self, business_id: BusinessId, month: int) -> bytes | None:
        found = self._db.execute(
            """SELECT head FROM invoices WHERE business = ? AND month = ?
            ORDER BY revision DESC LIMIT 1""",
            (business_id, month),
        ).fetchone()
        return found[0] if found else None

    def add_invoice(self, business_id: BusinessId, month: int, revision: int, head: bytes) -> None:
        self._db.execute(
            "INSERT INTO invoices VALUES (?, ?, ?, ?)", (business_id, month, revision, head)
        )
