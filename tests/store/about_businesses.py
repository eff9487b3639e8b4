"""The suite about businesses, their one-time prekeys, and rate cards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kurir_server.rows import Approval, Business, PreKeyKind, StoredRateCard, StoredTicket
from tests.store.harness import BYTES, LARGEST, NUMBERS, Stage, covers, hash_of, shop

EC, KEM = PreKeyKind.EC, PreKeyKind.KEM
APPROVAL = Approval(2, "flat", 250, "Name", 1, b"badge", 2, b"terms")
TICKETS = ((1, 39), (2, 10), (3, 40), (5, 10), (9, 20))
"""Number and end; the last is of another business."""


def rate_card(version: int, since: int) -> StoredRateCard:
    return StoredRateCard(version, hash_of(version), since, b"card %d" % version)


class AboutBusinesses:
    @covers("put_business", "business")
    def test_a_new_business(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.business(shop(1))) is None
        stage.run(lambda rows: rows.put_business(shop(1), 3, b"card", 1_800_000_000, "flat"))
        assert stage.run(lambda rows: rows.business(shop(1))) == Business(
            shop(1), 3, b"card", 1_800_000_000, 0, "flat", None, None, None, None, None, None
        )

    @covers("put_business", "approve", "revoke")
    @pytest.mark.parametrize(
        "name", ["PT Metro Bus", "", "Ünïcode 日本 \u202e🚌", "a\0b", "x" * 400]
    )
    def test_a_newer_card_leaves_what_the_operator_decided(self, stage: Stage, name: str) -> None:
        decided = Approval(2, "reply-2018", 7, name, LARGEST, b"s" * 64, 99, b"t" * 64)
        stage.run(lambda rows: rows.put_business(shop(1), 1, b"card", 5, "flat"))
        stage.run(lambda rows: rows.put_business(shop(2), 1, b"card", 5, "flat"))
        stage.run(lambda rows: rows.approve(shop(1), decided))
        stage.run(lambda rows: rows.put_business(shop(1), 2, b"newer", 6, "another"))
        assert stage.run(lambda rows: rows.business(shop(1))) == Business(
            shop(1), 2, b"newer", 6, 2, "reply-2018", name, LARGEST, b"s" * 64, 7, 99, b"t" * 64
        )
        stage.run(lambda rows: rows.revoke(shop(1)))
        assert stage.run(lambda rows: rows.business(shop(1))) == Business(
            shop(1), 2, b"newer", 6, 0, "reply-2018", None, None, None, 7, 99, None
        )
        assert stage.run(lambda rows: rows.business(shop(2))) == Business(
            shop(2), 1, b"card", 5, 0, "flat", None, None, None, None, None, None
        )

    @covers("approve", "revoke")
    def test_a_decision_about_nobody(self, stage: Stage) -> None:
        stage.run(lambda rows: rows.approve(shop(9), APPROVAL))
        stage.run(lambda rows: rows.revoke(shop(9)))
        assert stage.run(lambda rows: rows.businesses()) == []

    @covers("approve")
    def test_empty_is_not_missing(self, stage: Stage) -> None:
        stage.run(lambda rows: rows.put_business(shop(1), 1, b"", 5, "flat"))
        stage.run(lambda rows: rows.approve(shop(1), Approval(0, "", 0, "", 0, b"", 0, b"")))
        found = stage.run(lambda rows: rows.business(shop(1)))
        assert found == Business(shop(1), 1, b"", 5, 0, "", "", 0, b"", 0, 0, b"")
        stage.run(lambda rows: rows.approve(shop(1), replace(APPROVAL, starts=None)))
        found = stage.run(lambda rows: rows.business(shop(1)))
        assert found is not None
        assert found.starts is None

    @covers("forgotten_businesses", "has_leaves", "drop_business")
    def test_those_that_nobody_approved_and_whose_card_is_over(self, stage: Stage) -> None:
        for number, expires in ((1, 10), (2, 11), (3, 5), (4, 5), (5, 9)):
            stage.run(lambda rows, n=number, e=expires: rows.put_business(shop(n), 1, b"", e, "f"))  # type: ignore[misc]
        stage.run(lambda rows: rows.approve(shop(3), APPROVAL))
        stage.run(lambda rows: rows.add_leaf(shop(4), 1, hash_of(1), b"leaf"))
        assert stage.run(lambda rows: rows.has_leaves(shop(4))) is True
        assert stage.run(lambda rows: rows.has_leaves(shop(3))) is False

        def forgotten(limit: int) -> list[bytes]:
            return stage.run(
                lambda rows: sorted(b.id for b in rows.forgotten_businesses(10, limit))
            )

        assert forgotten(9) == [shop(1), shop(5)]
        assert len(forgotten(1)) == 1
        whole = stage.run(lambda rows: rows.forgotten_businesses(9, 9))
        assert whole == [Business(shop(5), 1, b"", 9, 0, "f", *[None] * 6)]
        stage.run(lambda rows: rows.revoke(shop(3)))
        assert forgotten(9) == [shop(1), shop(3), shop(5)]
        for number in (1, 4):
            for kind in (EC, KEM):
                stage.run(lambda rows, n=number, k=kind: rows.add_prekey(shop(n), k, 1, b"key"))  # type: ignore[misc]
        for number in (1, 9):
            stage.run(lambda rows, n=number: rows.drop_business(shop(n)))  # type: ignore[misc]
        assert forgotten(9) == [shop(3), shop(5)]
        assert stage.run(lambda rows: rows.business(shop(1))) is None
        assert stage.run(lambda rows: rows.count_prekeys(shop(1), EC)) == 0
        assert stage.run(lambda rows: rows.count_prekeys(shop(1), KEM)) == 0
        assert stage.run(lambda rows: rows.count_prekeys(shop(4), KEM)) == 1
        stage.run(lambda rows: rows.drop_business(shop(4)))
        assert stage.run(lambda rows: rows.leaf(shop(4), 1, hash_of(1))) == b"leaf"

    @covers("add_ticket", "tickets")
    def test_tickets_of_one_business_those_that_last_longest_first(self, stage: Stage) -> None:
        every = {n: StoredTicket(hash_of(n), end, b"sig %d" % n) for n, end in TICKETS}
        for number, ticket in every.items():
            stage.run(lambda rows, n=number, t=ticket: rows.add_ticket(shop(n == 9), t))  # type: ignore[misc]
        found = [
            stage.run(lambda rows, now=now: rows.tickets(shop(0), now))  # type: ignore[misc]
            for now in (0, 10, 39, 40)
        ]
        longest, middle, first, second = (every[n] for n in (3, 1, 2, 5))
        assert found == [
            [longest, middle, first, second],
            [longest, middle],
            [longest],
            [],
        ]
        assert stage.run(lambda rows: rows.tickets(shop(1), 0)) == [every[9]]
        assert stage.run(lambda rows: rows.tickets(shop(7), 0)) == []
        stage.refused(lambda rows: rows.add_ticket(shop(7), replace(every[1], signature=b"other")))
        assert stage.run(lambda rows: rows.tickets(shop(7), 0)) == []

    @covers("businesses")
    def test_all_businesses_in_order_of_their_id(self, stage: Stage) -> None:
        names = [shop(5), shop(300), shop(1), type(shop(0))(b"\xff" * 32), type(shop(0))(b"\x80")]
        for name in names:
            stage.run(lambda rows, name=name: rows.put_business(name, 1, b"c", 5, "flat"))  # type: ignore[misc]
        assert stage.run(lambda rows: [b.id for b in rows.businesses()]) == sorted(names)

    # One-time prekeys

    @covers("add_prekey", "prekey", "count_prekeys")
    def test_prekeys_of_two_kinds_and_several_businesses(self, stage: Stage) -> None:
        for business, kind, key_id in ((1, EC, 7), (1, KEM, 7), (2, EC, 7), (1, EC, 8)):
            body = b"%d %d %d" % (business, kind.value, key_id)
            stage.run(
                lambda rows, b=business, k=kind, i=key_id, body=body: rows.add_prekey(  # type: ignore[misc]
                    shop(b), k, i, body
                )
            )
        assert stage.run(lambda rows: rows.prekey(shop(1), EC, 7)) == b"1 0 7"
        assert stage.run(lambda rows: rows.prekey(shop(1), KEM, 7)) == b"1 1 7"
        assert stage.run(lambda rows: rows.prekey(shop(2), EC, 7)) == b"2 0 7"
        assert stage.run(lambda rows: rows.prekey(shop(2), KEM, 7)) is None
        assert stage.run(lambda rows: rows.count_prekeys(shop(1), EC)) == 2
        assert stage.run(lambda rows: rows.count_prekeys(shop(2), KEM)) == 0
        stage.refused(lambda rows: rows.add_prekey(shop(1), EC, 7, b"another"))
        assert stage.run(lambda rows: rows.prekey(shop(1), EC, 7)) == b"1 0 7"

    @covers("take_prekey")
    def test_the_lowest_id_goes_first(self, stage: Stage) -> None:
        for key_id in (200, 3, 2**32 - 1, 0, 40):
            stage.run(lambda rows, i=key_id: rows.add_prekey(shop(1), EC, i, b"%d" % i))  # type: ignore[misc]
            stage.run(lambda rows, i=key_id: rows.add_prekey(shop(2), EC, i, b"other"))  # type: ignore[misc]
        taken = [stage.run(lambda rows: rows.take_prekey(shop(1), EC)) for _ in range(6)]
        assert taken == [b"0", b"3", b"40", b"200", b"4294967295", None]
        assert stage.run(lambda rows: rows.take_prekey(shop(1), KEM)) is None
        assert stage.run(lambda rows: rows.count_prekeys(shop(2), EC)) == 5

    @covers("drop_prekeys")
    def test_dropping_those_of_one_business(self, stage: Stage) -> None:
        for business in (1, 2):
            for kind in (EC, KEM):
                stage.run(
                    lambda rows, b=business, k=kind: rows.add_prekey(shop(b), k, 1, b"key")  # type: ignore[misc]
                )
        stage.run(lambda rows: rows.drop_prekeys(shop(1)))
        counts = [
            stage.run(lambda rows, b=b, k=k: rows.count_prekeys(shop(b), k))  # type: ignore[misc]
            for b in (1, 2)
            for k in (EC, KEM)
        ]
        assert counts == [0, 0, 1, 1]

    # Rate cards

    @covers("add_rate_card", "rate_card", "rate_cards")
    def test_rate_cards(self, stage: Stage) -> None:
        cards = [rate_card(version, 100) for version in (12, 3, 200)]
        for card in cards:
            stage.run(lambda rows, card=card: rows.add_rate_card(card))  # type: ignore[misc]
        for card in cards:
            assert stage.run(lambda rows, card=card: rows.rate_card(card.hash)) == card  # type: ignore[misc]
        assert stage.run(lambda rows: rows.rate_card(hash_of(4))) is None
        found = stage.run(lambda rows: rows.rate_cards())
        assert [card.version for card in found] == [3, 12, 200]
        stage.refused(lambda rows: rows.add_rate_card(replace(cards[0], hash=hash_of(77))))
        stage.refused(lambda rows: rows.add_rate_card(replace(cards[0], version=77)))
        assert len(stage.run(lambda rows: rows.rate_cards())) == 3

    @covers("rate_card_in_force")
    def test_the_card_in_force_is_the_highest_whose_time_has_come(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.rate_card_in_force(LARGEST)) is None
        for version, since in ((1, 100), (2, 300), (3, 200), (4, 1_000)):
            card = rate_card(version, since)
            stage.run(lambda rows, card=card: rows.add_rate_card(card))  # type: ignore[misc]
        versions = []
        for now in (99, 100, 199, 200, 300, 999, 1_000):
            found = stage.run(lambda rows, now=now: rows.rate_card_in_force(now))  # type: ignore[misc]
            versions.append(found.version if found else None)
        assert versions == [None, 1, 1, 3, 3, 3, 4]

    @covers("party", "put_party", "drop_business")
    def test_parties(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.party(shop(1))) is None
        for number, body in ((1, b"one"), (2, b"two"), (1, b"one, moved")):
            stage.run(lambda rows, n=number, body=body: rows.put_party(shop(n), body))  # type: ignore[misc]
        assert stage.run(lambda rows: rows.party(shop(1))) == b"one, moved"
        stage.run(lambda rows: rows.drop_business(shop(1)))
        assert stage.run(lambda rows: rows.party(shop(1))) is None
        assert stage.run(lambda rows: rows.party(shop(2))) == b"two"

    @covers("last_invoice", "add_invoice", "drop_business")
    def test_the_last_revision_of_an_invoice(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.last_invoice(shop(1), 202701)) is None
        for number, month, revision in (
            (1, 202701, 2),
            (1, 202701, 10),
            (1, 202702, 1),
            (2, 202701, 30),
        ):
            head = b"%d %d %d" % (number, month, revision)
            stage.run(
                lambda rows, n=number, m=month, r=revision, head=head: rows.add_invoice(  # type: ignore[misc]
                    shop(n), m, r, head
                )
            )
        assert stage.run(lambda rows: rows.last_invoice(shop(1), 202701)) == b"1 202701 10"
        assert stage.run(lambda rows: rows.last_invoice(shop(1), 202702)) == b"1 202702 1"
        stage.refused(lambda rows: rows.add_invoice(shop(1), 202701, 10, b"another"))
        stage.run(lambda rows: rows.drop_business(shop(1)))
        assert stage.run(lambda rows: rows.last_invoice(shop(1), 202701)) is None
        assert stage.run(lambda rows: rows.last_invoice(shop(2), 202701)) == b"2 202701 30"

    @covers("add_rate_card", "put_business")
    def test_numbers_and_bytes_come_back_as_they_were(self, stage: Stage) -> None:
        for index, number in enumerate(NUMBERS):
            card = StoredRateCard(number, hash_of(index), number, BYTES[index % len(BYTES)])
            stage.run(lambda rows, card=card: rows.add_rate_card(card))  # type: ignore[misc]
            assert stage.run(lambda rows, card=card: rows.rate_card(card.hash)) == card  # type: ignore[misc]
            body = BYTES[index % len(BYTES)]
            stage.run(
                lambda rows, n=number, body=body: rows.put_business(shop(1), n, body, n, "flat")  # type: ignore[misc]
            )
            found = stage.run(lambda rows: rows.business(shop(1)))
            assert found is not None
            assert (found.version, found.expires, found.card) == (number, number, body)
