"""What an operator does with reports: proof against the ledger, one adjustment, and no forgery."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from msgspec.structs import replace

from kurir_audit import ledger as audit_ledger
from kurir_billing.adjust import Adjust, check_adjust, open_adjust
from kurir_billing.errors import EvidenceError
from kurir_billing.kinds import Category
from kurir_billing.leaf import open_leaf
from kurir_billing.ledger import adjust_hash, open_checkpoint
from kurir_billing.ratecard import bundled
from kurir_billing.report import Complaint, Report, open_report, packed_report
from kurir_client.content import TEXT, Content, franked_bytes
from kurir_crypto.errors import AuthenticationError
from kurir_crypto.sealing import EnvelopeKeyPair, open_copy, seal_report
from kurir_server import keyfiles, rulings
from kurir_server.errors import ConfigError
from kurir_server.export import Exported, export_ledger
from kurir_server.report_key import ReportKey, seal_copy
from kurir_server.rulings import ReportView
from kurir_wire.frames import (
    AdjustmentsAre,
    CheckpointIs,
    GetAdjustments,
    GetCheckpoint,
    GetInclusion,
    InclusionIs,
    SendReport,
)
from kurir_wire.ids import DAY, NO_HASH, Hash
from kurir_wire.limits import REPORT_SIZES
from kurir_wire.merkle import is_included
from tests.server.helpers import body
from tests.server.labelled import TARIFF, sealed, settle_labelled, usable_card
from tests.server.rig import START, Rig
from tests.server.test_reports import MONTH, TODAY, leave

RATES = bundled().rates("ID")
OPERATORS_KEY = EnvelopeKeyPair.generate()


def key_of(rig: Rig) -> ReportKey:
    folder = keyfiles.default_folder(rig.store._path)
    return keyfiles.load_report_key(folder, rig.keys.cert)


def views(rig: Rig) -> list[ReportView]:
    return rulings.reports(rig.store._path, rig.keys, key_of(rig))


def view(rig: Rig) -> ReportView:
    (one,) = views(rig)
    assert rulings.report(rig.store._path, rig.keys, key_of(rig), one.id) == one
    return one


def report(rig: Rig, made: Report) -> ReportView:
    assert leave(rig, sealed(rig.keys.cert, made)) is None
    return next(
        found
        for found in views(rig)
        if found.complaint is not None and found.complaint.report == made
    )


def uphold(
    rig: Rig, report_id: bytes, category: Category = Category.MARKETING
) -> tuple[Adjust, bool]:
    return rulings.uphold(rig.store._path, rig.keys, key_of(rig), report_id, category, rig.now)


def test_an_ad_that_was_called_utility(rig: Rig, tmp_path: Path) -> None:
    """From the message to the audit: the whole way."""
    shop = rig.shop(tariff=TARIFF)
    own = EnvelopeKeyPair.generate()
    rig.run(lambda rows: rows.put_business(shop.id, 2, usable_card(shop, own), 2**40, TARIFF))
    settle_labelled(rig, shop, "Your bus leaves at 9", category=Category.UTILITY)
    made = settle_labelled(rig, shop)
    rig.now += DAY
    rig.tidy()
    assert leave(rig, sealed(rig.keys.cert, made)) is None
    shown = view(rig)
    assert shown.is_proved
    assert shown.said is not None
    assert shown.leaf is not None
    assert shown.complaint == Complaint(made, Category.MARKETING, "an ad")
    assert (shown.said.text, shown.legal_name, shown.day) == (
        "50% off all seats!",
        "PT Metro Bus",
        TODAY + 1,
    )
    assert (shown.leaf.line.category, shown.leaf.line.list_price) == (Category.UTILITY, 0)
    adjust, has_copy = uphold(rig, shown.id)
    assert has_copy
    assert adjust.delta_micro_usd == RATES.marketing
    assert view(rig).adjust == adjust
    # The ledger grows by it when the day is over, and not before.
    (before,) = rig.connection().send(GetCheckpoint(1))
    assert isinstance(before, CheckpointIs)
    note = open_checkpoint(before.note, rig.keys.cert.checkpoint_pk, rig.keys.relay_id)
    assert note.size == 2
    talk = rig.proved(shop)
    (none,) = talk.send(GetAdjustments(2, MONTH, NO_HASH))
    assert none == AdjustmentsAre(2, [], False)
    rig.now += DAY
    rig.tidy()
    (after,) = rig.connection().send(GetCheckpoint(1))
    assert isinstance(after, CheckpointIs)
    note = open_checkpoint(after.note, rig.keys.cert.checkpoint_pk, rig.keys.relay_id)
    assert note.size == 3
    # The business sees it, proves it, and finds it in the ledger.
    (sent,) = talk.send(GetAdjustments(3, MONTH, NO_HASH))
    assert isinstance(sent, AdjustmentsAre)
    (entry,) = sent.adjustments
    assert open_adjust(entry.adjust) == adjust
    leaf, name = open_leaf(entry.leaf), adjust.hash(rig.keys.relay_id)
    copy = open_report(open_copy(own, rig.keys.relay_id, name, entry.report))
    assert copy == made
    check_adjust(adjust, leaf, copy, rig.keys.cert.operator_pk, rig.keys.relay_id, bundled())
    (places,) = talk.send(GetInclusion(4, note.size, TODAY + 1, [name]))
    assert isinstance(places, InclusionIs)
    (place,) = places.places
    tree = adjust_hash(adjust, rig.keys.relay_id)
    assert is_included(tree, place.index, note.size, place.proof, note.root)
    # The auditor agrees.
    out = tmp_path / "export"
    assert export_ledger(rig.store._path, rig.keys.cert, out) == Exported(2, 2, 1)
    account = audit_ledger.examine(out)
    assert account.fault is None
    assert account.adjustments == 1
    total = sum(bill.sums.total for bill in account.bills.values())
    assert total == RATES.marketing


def test_no_text_of_a_report_is_in_the_database(rig: Rig) -> None:
    shop = rig.shop(tariff=TARIFF)
    card = usable_card(shop, EnvelopeKeyPair.generate())
    rig.run(lambda rows: rows.put_business(shop.id, 2, card, 2**40, TARIFF))
    made = settle_labelled(rig, shop, "unmistakable words")
    uphold(rig, report(rig, made).id)
    rig.store.checkpoint()
    data = rig.store._path.read_bytes()
    assert made.lock in data, "this would be found"
    for secret in (b"unmistakable", made.content, made.kf, b"an ad"):
        assert secret not in data


def test_a_charge_is_re_rated_once(rig: Rig) -> None:
    shop = rig.shop(tariff=TARIFF)
    made = settle_labelled(rig, shop)
    first = report(rig, made)
    uphold(rig, first.id)
    # The same report, the same message reported anew, and after the first is dismissed.
    leave(rig, sealed(rig.keys.cert, made, reason="again"))
    for found in views(rig):
        with pytest.raises(ConfigError, match="re-rated already"):
            uphold(rig, found.id)
    rulings.dismiss(rig.store._path, first.id)
    assert len(views(rig)) == 1
    with pytest.raises(ConfigError, match="re-rated already"):
        uphold(rig, view(rig).id, Category.AUTHENTICATION)
    assert (rig.count("adjustments"), rig.count("pending")) == (1, 2)


def test_dismissing(rig: Rig) -> None:
    shop = rig.shop(tariff=TARIFF)
    found = report(rig, settle_labelled(rig, shop))
    rulings.dismiss(rig.store._path, found.id)
    assert rig.count("reports") == 0
    for again in (
        lambda: rulings.dismiss(rig.store._path, found.id),
        lambda: uphold(rig, found.id),
        lambda: rulings.report(rig.store._path, rig.keys, key_of(rig), found.id),
    ):
        with pytest.raises(ConfigError, match="no such report"):
            again()


def content(text: str, category: int = Category.UTILITY) -> bytes:
    return franked_bytes(Content(TEXT, bytes(16), 1, 5, text, category=category))


FORGED = {
    "another text": {"content": content("BUY NOW")},
    "another category inside": {"content": content("50% off all seats!", 3)},
    "another category outside": {"category": 3},
    "another key": {"kf": secrets.token_bytes(32)},
    "another place": {"place": secrets.token_bytes(32)},
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_report_is_not_proved_and_not_upheld(rig: Rig, what: str) -> None:
    shop = rig.shop(tariff=TARIFF)
    made = settle_labelled(rig, shop)
    found = report(rig, replace(made, **FORGED[what]))  # type: ignore[arg-type]
    assert not found.is_proved
    assert found.leaf is None
    assert found.fault
    assert "nothing was charged" not in found.fault
    with pytest.raises(ConfigError, match="this report is not proved"):
        uphold(rig, found.id)
    assert (rig.count("adjustments"), rig.count("pending")) == (0, 1)


def test_what_names_another_charge_or_another_business(rig: Rig) -> None:
    shop, rival = rig.shop(tariff=TARIFF), rig.shop(tariff=TARIFF)
    made, other = settle_labelled(rig, shop), settle_labelled(rig, shop, "See you at 9")
    on_rival = settle_labelled(rig, rival)
    for forged, why in (
        (replace(made, lock=other.lock), "the tag it signed is another"),
        (replace(made, lock=on_rival.lock), "nothing was charged"),
        (replace(made, business_id=rival.id), "nothing was charged"),
        (replace(made, business_id=rival.id, lock=on_rival.lock), "the tag it signed is another"),
        (replace(made, business_id=secrets.token_bytes(32)), "nothing was charged"),
    ):
        found = report(rig, forged)
        assert found.fault is not None
        assert why in found.fault
        with pytest.raises(ConfigError, match="not proved"):
            uphold(rig, found.id)


def test_a_message_that_never_settled(rig: Rig) -> None:
    """Also a personal one: no business signed anything, so there is no leaf to prove it by."""
    shop = rig.shop(tariff=TARIFF)
    made = settle_labelled(rig, shop)
    rig.store.connection.execute("DELETE FROM leaves")
    found = report(rig, made)
    assert found.fault == "no charge for it has settled, so nothing was charged"
    with pytest.raises(ConfigError, match="nothing was charged"):
        uphold(rig, found.id)


def test_a_report_comes_before_or_long_after_its_settlement(rig: Rig) -> None:
    shop = rig.shop(tariff=TARIFF)
    early, late = settle_labelled(rig, shop, "early"), settle_labelled(rig, shop, "late")
    rig.now += 60 * DAY
    assert report(rig, early).is_proved
    rig.now += 3 * DAY
    assert not report(rig, late).is_proved


def test_a_ruling_after_the_last_day(rig: Rig) -> None:
    shop = rig.shop(tariff=TARIFF)
    made = settle_labelled(rig, shop)
    rig.now += 60 * DAY
    found = report(rig, made)
    rig.now += 90 * DAY
    uphold(rig, found.id)
    rig.store.connection.execute("DELETE FROM adjustments")
    rig.now += DAY
    with pytest.raises(ConfigError, match="not of the 150 days"):
        uphold(rig, found.id)


def test_where_nothing_is_to_be_re_rated(rig: Rig) -> None:
    shop = rig.shop(tariff=TARIFF)
    made = settle_labelled(rig, shop, category=Category.MARKETING, list_price=RATES.marketing)
    found = report(rig, made)
    for category in (Category.UTILITY, Category.SERVICE):
        with pytest.raises(ConfigError, match="nothing to re-rate"):
            uphold(rig, found.id, category)
    with pytest.raises(ConfigError, match="the category that the charge has"):
        uphold(rig, found.id, Category.MARKETING)


def test_sealed_noise(rig: Rig) -> None:
    """Noise, another operator's report, one of another relay, one cut and padded otherwise."""
    shop = rig.shop(tariff=TARIFF)
    made = settle_labelled(rig, shop)
    cert = rig.keys.cert
    good = sealed(cert, made)
    elsewhere = replace(cert, report_pk=OPERATORS_KEY.public)
    for data in (
        body(4_096),
        bytes(4_096),
        good[:-1] + bytes([good[-1] ^ 1]),
        sealed(elsewhere, made),
        sealed(replace(cert, root_pk=bytes(32)), made),
        seal_report(cert.report_pk, cert.relay_id, b"\x91\x90"),
        seal_report(cert.report_pk, cert.relay_id, packed_report(made)),
        seal_report(cert.report_pk, cert.relay_id, b""),
    ):
        (reply,) = rig.connection(data[:8]).send(SendReport(1, data))
        assert reply.n == 1  # type: ignore[union-attr]
    found = views(rig)
    assert len(found) == 8
    for one in found:
        assert one.complaint is None
        assert one.fault
        with pytest.raises(ConfigError, match="not proved"):
            uphold(rig, one.id)
        rulings.dismiss(rig.store._path, one.id)
    assert rig.count("reports") == 0


def test_an_adjustment_is_of_no_day_that_is_closed(rig: Rig) -> None:
    """The operator's clock is days behind the relay's, or the other way round."""
    shop = rig.shop(tariff=TARIFF)
    one, two = settle_labelled(rig, shop), settle_labelled(rig, shop)
    rig.now += 3 * DAY
    rig.run(lambda rows: rows.set_minute(rig.now // 60))
    rig.tidy()
    db, keys, key = rig.store._path, rig.keys, key_of(rig)
    found = report(rig, one).id
    adjust, _ = rulings.uphold(db, keys, key, found, Category.MARKETING, START)
    assert adjust.day == rig.now // DAY
    ahead = report(rig, two).id
    adjust, _ = rulings.uphold(db, keys, key, ahead, Category.MARKETING, rig.now + 2 * DAY)
    assert adjust.day == rig.now // DAY + 2


def test_a_card_to_which_nothing_can_be_sealed(rig: Rig) -> None:
    """A business that publishes a broken key escapes nothing, and gets no copy."""
    shop = rig.shop(tariff=TARIFF)
    _, has_copy = uphold(rig, report(rig, settle_labelled(rig, shop)).id)
    assert not has_copy
    stored = rig.run(lambda rows: rows.adjusts_of_days(shop.id, 0, 10**6))
    assert [one.copy for one in stored] == [b""]


@pytest.mark.parametrize(
    "broken", [b"", bytes(1_216), b"\xff" * 1_216, OPERATORS_KEY.public[:1_184] + bytes(32)]
)
def test_broken_keys(rig: Rig, broken: bytes) -> None:
    made = settle_labelled(rig, rig.shop(tariff=TARIFF))
    assert seal_copy(broken, rig.keys.relay_id, Hash(NO_HASH), made) == b""


def test_a_copy_is_of_one_adjustment_for_one_business(rig: Rig) -> None:
    made = settle_labelled(rig, rig.shop(tariff=TARIFF))
    own, other = EnvelopeKeyPair.generate(), EnvelopeKeyPair.generate()
    relay_id, name = rig.keys.relay_id, Hash(bytes(range(32)))
    copy = seal_copy(own.public, relay_id, name, made)
    assert len(copy) in REPORT_SIZES
    assert open_copy(own, relay_id, name, copy) == packed_report(made)
    for who, which in ((other, name), (own, Hash(bytes(32)))):
        with pytest.raises(AuthenticationError):
            open_copy(who, relay_id, which, copy)


def test_the_longest_message_fits(rig: Rig) -> None:
    made = settle_labelled(rig, rig.shop(tariff=TARIFF))
    longest = replace(made, content=secrets.token_bytes(65_536))
    data = sealed(rig.keys.cert, longest, reason="€" * 300)
    assert len(data) == REPORT_SIZES[-1]
    assert key_of(rig).open(data, rig.keys.relay_id).report == longest
    assert (
        len(seal_copy(OPERATORS_KEY.public, rig.keys.relay_id, Hash(NO_HASH), longest))
        == (REPORT_SIZES[-1])
    )


def test_a_business_that_frames_itself_pays(rig: Rig) -> None:
    """It knows the key and the text; what it reports is true."""
    shop = rig.shop(tariff=TARIFF)
    adjust, _ = uphold(rig, report(rig, settle_labelled(rig, shop)).id)
    assert adjust.business_id == shop.id


def test_an_operator_that_invents_is_found_out(rig: Rig, tmp_path: Path) -> None:
    """It holds all of the relay's keys. Without the business's signature over a tag no report fits;
    and what the audit sees, the audit names."""
    shop = rig.shop(tariff=TARIFF)
    made = settle_labelled(rig, shop)
    adjust, _ = uphold(rig, report(rig, made).id)
    (data,) = rig.store.connection.execute("SELECT leaf FROM leaves").fetchone()
    leaf, pk = open_leaf(data), rig.keys.cert.operator_pk
    invented = replace(made, content=content("BUY BUY"))
    lie = rig.keys.adjust(replace(adjust, report=invented.hash))
    with pytest.raises(EvidenceError, match="never sent this message"):
        check_adjust(lie, leaf, invented, pk, rig.keys.relay_id, bundled())
    with pytest.raises(EvidenceError, match="another report"):
        check_adjust(lie, leaf, made, pk, rig.keys.relay_id, bundled())


def test_two_charges_with_one_lock(rig: Rig) -> None:
    """A business gives two messages one lock: the report still finds the one that it is of."""
    shop = rig.shop(tariff=TARIFF)
    made, other = settle_labelled(rig, shop), settle_labelled(rig, shop, "See you at 9")
    database = rig.store.connection
    for charge, data in database.execute("SELECT charge, leaf FROM leaves").fetchall():
        twin = data.replace(other.lock, made.lock)
        database.execute("UPDATE leaves SET leaf = ? WHERE charge = ?", (twin, charge))
    assert report(rig, made).is_proved


def test_keys_of_another_relay(rig: Rig, tmp_path: Path) -> None:
    """An operator of two relays mixes up their folders: nothing is judged, nothing signed."""
    found = report(rig, settle_labelled(rig, rig.shop(tariff=TARIFF)))
    other = keyfiles.create(tmp_path / "other", rig.now)
    key = keyfiles.load_report_key(tmp_path / "other", other.cert)
    db = rig.store._path
    for work in (
        lambda: rulings.reports(db, other, key),
        lambda: rulings.report(db, other, key, found.id),
        lambda: rulings.uphold(db, other, key, found.id, Category.MARKETING, rig.now),
    ):
        with pytest.raises(ConfigError, match="another relay than the keys"):
            work()
