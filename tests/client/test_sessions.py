"""Sessions with a contact are bounded, and a deleted one cannot be made anew by a replay."""

from __future__ import annotations

import subprocess
import sys

from kurir_client import inbox, outbox, sessions
from kurir_client.content import HELLO
from kurir_client.mail import FORMER_DAYS, SEEN_DAYS
from kurir_client.outbox import Ready
from kurir_client.prekeys import KEEP_DAYS
from kurir_client.profile import Keyring, Profile
from kurir_client.schema import Contact
from kurir_crypto import restart
from kurir_crypto.restart import OneUseKeys
from kurir_crypto.sealing import WEEKS_KEPT, Binding, seal_to_address
from kurir_crypto.session import MAX_SESSIONS
from kurir_wire.cards import BusinessCard, Signed
from kurir_wire.codec import unpack
from kurir_wire.entries import Delivery
from kurir_wire.ids import DAY, EnvelopeId
from tests.client.older import to_version_1
from tests.client.pair import PASSPHRASE, Pair


def start_afresh(pair: Pair, to_shop: Contact) -> Ready:
    """A first message to the shop, on its last-resort prekey."""
    card = unpack(unpack(to_shop.card or b"", Signed).body, BusinessCard)
    store, now = pair.alice.store, pair.clock.now
    with store.transaction():
        sessions.start(store, pair.alice.identity, to_shop.id, card.bundle(), now)
        outbox.queue(store, to_shop.id, HELLO, "", now)
    (ready,) = pair.prepare(pair.alice)
    with store.transaction():
        store.drop_outgoing(ready.row.n)
    return ready


def ids(profile: Profile) -> set[bytes]:
    return {row[0] for row in profile.store._all("SELECT id FROM session")}


def test_old_sessions_go_and_a_replay_does_not_bring_them_back(pair: Pair) -> None:
    to_shop, siti = pair.open_shop()
    firsts = [start_afresh(pair, to_shop) for _ in range(MAX_SESSIONS + 2)]
    for ready in firsts:
        pair.deliver(ready, pair.bob)
    for profile, contact in ((pair.alice, to_shop), (pair.bob, siti)):
        with profile.store.transaction():
            newest = sessions.to_send_on(profile.store, contact.id, pair.clock.now)
        assert newest is not None
        assert newest.id in ids(profile)
        assert len(ids(profile)) == MAX_SESSIONS
    assert ids(pair.alice) == ids(pair.bob)
    left = ids(pair.bob)
    pair.clock.now += (SEEN_DAYS + 1) * DAY
    with pair.bob.store.transaction():
        pair.bob.store.forget_before(pair.clock.now // DAY)
        assert pair.bob.store.seen(firsts[0].submission.mailbox_id, b"") is None
    pair.deliver(firsts[0], pair.bob)
    assert ids(pair.bob) == left
    with pair.bob.store.transaction():
        pair.bob.store.forget_before(pair.clock.now // DAY + FORMER_DAYS + 1)
    assert not pair.bob.store._all("SELECT * FROM former_session")


def test_sessions_that_are_no_longer_trusted_do_not_come_back_either(pair: Pair) -> None:
    to_shop, siti = pair.open_shop()
    ready = start_afresh(pair, to_shop)
    pair.deliver(ready, pair.bob)
    known = ids(pair.bob)
    assert len(known) == 2
    with pair.bob.store.transaction():
        pair.bob.store.drop_sessions(siti.id, pair.clock.now // DAY)
        pair.bob.store._run("DELETE FROM seen")
    pair.deliver(ready, pair.bob)
    assert ids(pair.bob) == set()
    assert all(pair.bob.store.knows_session(each) for each in known)


def test_ids_are_kept_longer_than_what_could_open_a_replay() -> None:
    assert FORMER_DAYS > KEEP_DAYS + 7 + 30  # in use for a week, kept, and a card is valid for 30
    assert SEEN_DAYS > (WEEKS_KEPT + 1) * 7


def test_the_keyring_knows_former_sessions(pair: Pair) -> None:
    pair.open_shop()
    (kept,) = ids(pair.alice)
    known = Keyring(pair.alice.store, pair.alice.identity).known_sessions()
    assert kept in known
    with pair.alice.store.transaction():
        pair.alice.store.delete_session(kept, pair.clock.now // DAY)
    assert kept in known
    assert bytes(16) not in known
    assert ids(pair.alice) == set()


def test_a_home_of_version_1_gets_a_mark_and_asks_for_fresh_sessions(pair: Pair) -> None:
    pair.befriend()
    store = pair.alice.store
    to_version_1(store)
    store._run("DELETE FROM meta WHERE key IN ('mark', 'encryptions')")
    notes = len(store.unread())
    pair.alice = pair.reopen(pair.alice)
    assert pair.alice.mark.read() == 0
    assert len(pair.alice.store.unread()) == notes
    (to_bob,) = pair.alice.store.contacts()
    assert to_bob.wants_session
    assert ids(pair.alice) == set()
    pair.alice = Profile.open(pair.alice.home, PASSPHRASE, pair.clock)


def test_the_command_line_leaves_no_core_dumps() -> None:
    code = (
        "import resource, sys\n"
        "from kurir_client.cli import main\n"
        "sys.argv = ['kurir', '--version']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "(0, 0)"


def test_an_address_is_no_place_for_requests(pair: Pair) -> None:
    to_shop, _ = pair.open_shop()
    card = unpack(unpack(to_shop.card or b"", Signed).body, BusinessCard)
    binding = Binding(card.address_id, EnvelopeId(bytes(16)))
    keys = OneUseKeys.generate(pair.alice.identity, 1)
    data = restart.request(pair.alice.identity, keys, binding)
    body = seal_to_address(card.envelope_pk, binding, data, 4_096)
    before = ids(pair.bob)
    inbox.receive(pair.bob, Delivery(card.address_id, bytes(16), body), pair.clock.now)
    assert ids(pair.bob) == before
    assert "whom you do not know" in pair.bob.store.unread()[-1].text
