"""What the operator does with reports: reads them, holds them against the ledger, and rules.

It is done at the command line, also while the relay runs, and with the key for reports, which the
relay does not load.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kurir_billing.adjust import Adjust, check_ruling, delta_for, open_adjust, packed_adjust
from kurir_billing.errors import EvidenceError
from kurir_billing.kinds import Category
from kurir_billing.leaf import Leaf, open_leaf, packed_leaf
from kurir_billing.ledger import adjust_hash
from kurir_billing.ratecard import RateCard, parse
from kurir_billing.report import REPORT_DAYS, WAIT_DAYS, Complaint, Report, Said, check_report
from kurir_server.admin import same_relay
from kurir_server.errors import ConfigError
from kurir_server.keys import RelayKeys
from kurir_server.ledger_rows import StoredAdjust, StoredReport
from kurir_server.report_key import ReportKey, seal_copy
from kurir_server.rows import Rows
from kurir_server.writer import offline
from kurir_wire.cards import BusinessCard, Signed
from kurir_wire.codec import unpack
from kurir_wire.errors import MalformedError
from kurir_wire.ids import DAY, MINUTE, BusinessId, Hash, RelayId

CLOCK_DAYS: Final = 2
"""Days around the 60 within which a charge may have settled: clocks, and the ends of days."""


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report as the operator sees it.

    ``complaint`` is missing where it does not open; then ``fault`` says so. ``leaf`` and ``said``
    are there only if it is proved; else ``fault`` says why it is not. ``adjust``: the charge was
    re-rated, be it by this report or another.
    """

    id: bytes
    day: int
    fault: str | None = None
    complaint: Complaint | None = field(default=None, repr=False)
    legal_name: str | None = None
    leaf: Leaf | None = None
    said: Said | None = field(default=None, repr=False)
    adjust: Adjust | None = None

    @property
    def is_proved(self) -> bool:
        """Whether the business sent this under this label, and the charge settled."""
        return self.said is not None


def reports(db: Path, keys: RelayKeys, key: ReportKey) -> list[ReportView]:
    """All that wait, by the day on which they came.

    :raises ConfigError: the database is of another relay
    """
    with offline(db) as store:
        same_relay(store.relay_id, keys)
        return [_view(store.rows, keys, key, stored) for stored in store.rows.reports()]


def report(db: Path, keys: RelayKeys, key: ReportKey, report_id: bytes) -> ReportView:
    """:raises ConfigError: there is no such report, or the database is of another relay"""
    with offline(db) as store:
        same_relay(store.relay_id, keys)
        return _view(store.rows, keys, key, _find(store.rows, report_id))


def dismiss(db: Path, report_id: bytes) -> None:
    """Delete a report. What was adjusted after it stays.

    :raises ConfigError: there is no such report
    """

    def work(rows: Rows) -> None:
        rows.drop_report(_find(rows, report_id).id)

    with offline(db) as store:
        store.transact(work)


def uphold(
    db: Path, keys: RelayKeys, key: ReportKey, report_id: bytes, category: Category, now: int
) -> tuple[Adjust, bool]:
    """Re-rate the charge of a proved report.

    :param now: seconds
    :returns: the adjustment, and whether the business's copy of the report could be sealed
    :raises ConfigError: no such report, not proved, nothing to re-rate, or re-rated already
    """
    with offline(db) as store:
        same_relay(store.relay_id, keys)
        # Found and checked before the transaction, which holds up the relay.
        view = _view(store.rows, keys, key, _find(store.rows, report_id))
        if view.complaint is None or view.leaf is None:
            raise ConfigError(f"this report is not proved: {view.fault}", "dismiss it")
        leaf, shown, relay_id = view.leaf, view.complaint.report, keys.relay_id
        card = _card_of(store.rows, leaf)
        try:
            delta = delta_for(leaf, category, card)
        except EvidenceError as error:
            raise ConfigError(str(error), "dismiss the report, or name another category") from error
        leaf_hash, business_id = leaf.hash(relay_id), leaf.lane.business_id

        def work(rows: Rows) -> tuple[Adjust, bool]:
            if rows.adjust_of_leaf(leaf_hash) is not None:
                raise ConfigError("this charge was re-rated already; once is all", "dismiss it")
            # Of a day that is not closed yet: closing one puts a minute of a later day on disk.
            day = max(now, rows.minute() * MINUTE) // DAY
            unsigned = Adjust(business_id, leaf_hash, day, category, delta, shown.hash, bytes(64))
            adjust = keys.adjust(unsigned)
            try:
                check_ruling(adjust, leaf, keys.cert.operator_pk, relay_id, card)
            except EvidenceError as error:
                raise ConfigError(str(error), "dismiss the report") from error
            name = adjust.hash(relay_id)
            copy = seal_copy(_envelope_pk(rows, business_id), relay_id, name, shown)
            rows.add_adjust(
                StoredAdjust(
                    business_id,
                    day,
                    name,
                    leaf_hash,
                    packed_adjust(adjust),
                    packed_leaf(leaf),
                    copy,
                )
            )
            rows.add_pending(day, adjust_hash(adjust, relay_id))
            return adjust, bool(copy)

        return store.transact(work)


def _find(rows: Rows, report_id: bytes) -> StoredReport:
    found = rows.report(report_id)
    if found is None:
        raise ConfigError("there is no such report", "see: kurir-relay report list")
    return found


def _view(rows: Rows, keys: RelayKeys, key: ReportKey, stored: StoredReport) -> ReportView:
    try:
        complaint = key.open(stored.sealed, keys.relay_id)
    except MalformedError as error:
        return ReportView(stored.id, stored.day, str(error))
    business = rows.business(BusinessId(complaint.report.business_id))
    legal_name = business.legal_name if business else None
    leaf, said, fault = _proof(rows, complaint.report, keys.relay_id, stored.day)
    ruled = rows.adjust_of_leaf(leaf.hash(keys.relay_id)) if leaf else None
    adjust = open_adjust(ruled.adjust) if ruled else None
    return ReportView(stored.id, stored.day, fault, complaint, legal_name, leaf, said, adjust)


def _proof(
    rows: Rows, shown: Report, relay_id: RelayId, day: int
) -> tuple[Leaf | None, Said | None, str | None]:
    """The leaf that a report proves, or why it proves none."""
    fault = "no charge for it has settled, so nothing was charged"
    first, last = day - REPORT_DAYS - CLOCK_DAYS, day + WAIT_DAYS
    for data in rows.leaves_of_days(BusinessId(shown.business_id), first, last):
        if shown.lock not in data:
            continue  # a million leaves are passed over without decoding them
        leaf = open_leaf(data)
        try:
            return leaf, check_report(shown, leaf, relay_id), None
        except EvidenceError as error:
            # A business may have signed two charges with one lock: the report is of one of them.
            fault = str(error)
    return None, None, fault


def _card_of(rows: Rows, leaf: Leaf) -> RateCard:
    """The card that priced it, which the meter had when it accepted the charge."""
    stored = rows.rate_card(Hash(leaf.line.rate_card))
    if stored is None:
        raise ConfigError("the rate card of this charge is gone", "restore it from a backup")
    return parse(unpack(stored.card, Signed).body)


def _envelope_pk(rows: Rows, business_id: BusinessId) -> bytes:
    business = rows.business(business_id)
    if business is None:
        return b""
    return unpack(unpack(business.card, Signed).body, BusinessCard).envelope_pk
