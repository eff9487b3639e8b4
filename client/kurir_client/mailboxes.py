"""Our own mailboxes: made here, then at the relay, opened on each connection, deleted when done."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

from kurir_client.content import HELLO
from kurir_client.errors import ProfileError, RelayError, UsageError
from kurir_client.link import Link, refused_by_relay
from kurir_client.outbox import queue
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Kind, Mailbox, Role, Status
from kurir_crypto.keys import SigningKeyPair
from kurir_crypto.sealing import MailboxKey, week_of
from kurir_wire import codes, entries, frames, proofs
from kurir_wire.gates import payer_gate, token_gate
from kurir_wire.ids import HOUR, BusinessId, Hash, MailboxId, RelayId, mailbox_id_of
from kurir_wire.limits import MAX_ITEMS

TOKEN_BYTES: Final = 32
GONE_CODES: Final = (codes.NO_MAILBOX, codes.NOT_AUTHORISED)
"""What a relay answers to the proof for a mailbox that it no longer has."""


def plan(
    role: Role,
    relay_id: RelayId,
    gate: Hash,
    opening: bytes,
    seal: MailboxKey,
    now: int,
    market: str | None = None,
    contact: int | None = None,
) -> Mailbox:
    """A mailbox with a read key of its own, not at the relay yet."""
    read_key = SigningKeyPair.generate()
    born_hour = now // HOUR
    return Mailbox(
        mailbox_id_of(relay_id, read_key.public, gate, born_hour),
        role,
        read_key.seed(),
        opening,
        market,
        born_hour,
        seal.to_bytes(),
        "new",
        contact,
    )


def gate_of(profile: Profile, mailbox: Mailbox) -> Hash:
    """The gate that the relay is told."""
    if mailbox.role is not Role.PAYER:
        return token_gate(mailbox.opening)
    contact = None if mailbox.contact is None else profile.store.contact(mailbox.contact)
    if contact is None or contact.business_id is None or mailbox.market is None:
        raise ProfileError("a mailbox that a business pays for names no business")
    return payer_gate(BusinessId(contact.business_id), mailbox.market, mailbox.opening)


def give(profile: Profile, contact: Contact, now: int) -> None:
    """Plan a mailbox for a contact who has none, inside the running transaction; once it is at the
    relay, what is sent to them says where it is."""
    store = profile.store
    seal, opening = MailboxKey.generate(week_of(now)), os.urandom(TOKEN_BYTES)
    if contact.kind == Kind.BUSINESS and contact.business_id and contact.market:
        business_id = BusinessId(contact.business_id)
        role, gate = Role.PAYER, payer_gate(business_id, contact.market, opening)
        market = contact.market
    else:
        role, gate, market = Role.PERSONAL, token_gate(opening), None
    mailbox = plan(role, profile.relay_id, gate, opening, seal, now, market, contact.id)
    store.add_mailbox(mailbox)
    store.set_contact(contact.id, own_mailbox=mailbox.id, introduced=False, refusal_told=0)


async def tend(profile: Profile, link: Link) -> None:
    """Give each contact that lacks one a mailbox to write to, and tell them of it."""
    store, now = profile.store, profile.clock()
    drop_stale(profile, now)
    for contact in store.contacts():
        if contact.own_mailbox is not None or contact.kind == Kind.CUSTOMER:
            continue
        with store.transaction():
            give(profile, contact, now)
            if contact.kind == Kind.PERSON and contact.address is not None:
                queue(store, contact.id, HELLO, "", now)
    await create_new(profile, link)


async def create_new(profile: Profile, link: Link) -> None:
    """Make at the relay what is only planned, and open it: the relay drops a new mailbox that
    nobody has read within a day. Only then does it count as live here, so that another process
    which follows opens it later than this one, and reads it.

    :raises RelayError: the relay does not make one
    """
    store, now = profile.store, profile.clock()
    drop_stale(profile, now)
    new = [item for item in store.mailboxes("new") if item.role is not Role.ADDRESS]
    for batch in _batches(new):
        entries = [_creation(profile, item, link) for item in batch]
        made = await link.results(
            lambda n, entries=entries: frames.Create(n, entries),  # type: ignore[misc]
            len(batch),
        )
        _all_ok(made, link.relay_now - now)
        proofs = [open_entry(item, link) for item in batch]
        opened = await link.results(
            lambda n, proofs=proofs: frames.Open(n, proofs),  # type: ignore[misc]
            len(batch),
        )
        _all_ok(opened, link.relay_now - now)
        with store.transaction():
            for mailbox in batch:
                link.opened.add(mailbox.id)
                store.set_mailbox(mailbox.id, state="live")


def drop_stale(profile: Profile, now: int) -> None:
    """Forget what a crash or a wrong clock left over and what is too old to be made: one such would
    keep all others from being made. Who needs a mailbox gets another from :func:`tend`."""
    for mailbox in profile.store.mailboxes("new"):
        if abs(now // HOUR - mailbox.born_hour) > 1:
            with profile.store.transaction():
                profile.store.drop_mailbox(mailbox.id)


def _all_ok(results: list[entries.Result | None], ahead: int) -> None:
    """:param ahead: seconds by which the relay's clock was ahead of ours"""
    for result in results:
        if result is not None and result.code == codes.STALE:
            raise RelayError(
                f"the clock of this computer and the relay's are {abs(ahead) // 60} minutes apart",
                "set the clock right and try again",
                result.code,
            )
        if result is not None and result.code != codes.OK:
            raise RelayError(
                f"the relay does not make a mailbox: {result.detail or result.code}",
                f"try again in {result.retry_after} s" if result.retry_after else "",
                result.code,
                result.retry_after,
            )


async def open_live(profile: Profile, link: Link) -> int:
    """Open what is not open on this connection yet, and delete what is closing.

    :returns: how many envelopes the relay says are waiting
    """
    store = profile.store
    waiting = 0
    live = [item for item in store.mailboxes("live") if item.id not in link.opened]
    for batch in _batches(live):
        entries = [open_entry(item, link) for item in batch]
        results = await link.results(
            lambda n, entries=entries: frames.Open(n, entries),  # type: ignore[misc]
            len(batch),
        )
        for mailbox, result in zip(batch, results, strict=True):
            if result is None or result.code == codes.OK:
                link.opened.add(mailbox.id)
                waiting += (result.left or 0) if result else 0
            elif result.code in GONE_CODES:
                _lost(profile, mailbox)
            else:
                # A relay with a full disk, or one connection with too many: its keys stay here.
                raise refused_by_relay(result)
    await _tell_refused(profile, link)
    for batch in _batches(store.mailboxes("closing")):
        # Asked anew, for something may have come into it just before the other side moved on.
        proofs = [open_entry(item, link) for item in batch]
        left = await link.results(
            lambda n, proofs=proofs: frames.Open(n, proofs),  # type: ignore[misc]
            len(batch),
        )
        waiting += sum(result.left or 0 for result in left if result is not None)
        ids = [mailbox.id for mailbox, result in zip(batch, left, strict=True) if _empty(result)]
        if not ids:
            continue
        gone = await link.results(
            lambda n, ids=ids: frames.Delete(n, ids),  # type: ignore[misc]
            len(ids),
        )
        with store.transaction():
            for mailbox_id, result in zip(ids, gone, strict=True):
                if result is None or result.code in (codes.OK, *GONE_CODES):
                    store.drop_mailbox(mailbox_id)
    return waiting


async def _tell_refused(profile: Profile, link: Link) -> None:
    """Tell the relay which categories the person wants no more, for mailboxes that are open here.
    It learns that somebody refuses them, and then that a business wanted to send such."""
    store = profile.store
    for contact in store.contacts():
        mailbox_id, wanted = contact.own_mailbox, contact.refuses
        if wanted == contact.refusal_told or mailbox_id is None or mailbox_id not in link.opened:
            continue
        await link.one(lambda n, at=mailbox_id, bits=wanted: frames.SetRefused(n, at, bits))  # type: ignore[misc]
        with store.transaction():
            store.set_contact(contact.id, refusal_told=wanted)


def _empty(result: entries.Result | None) -> bool:
    if result is None or result.code in GONE_CODES:
        return True
    return result.code == codes.OK and not result.left


def open_entry(mailbox: Mailbox, link: Link) -> entries.Opening:
    """The proof that a mailbox is ours, for this connection."""
    key = SigningKeyPair.from_seed(mailbox.read_seed)
    signed = proofs.open_message(link.relay_id, link.nonce, MailboxId(mailbox.id))
    return entries.Opening(mailbox.id, key.sign(signed))


def new_mailbox_entry(mailbox: Mailbox, gate: Hash, link: Link) -> entries.NewMailbox:
    """The request for a mailbox, for this connection."""
    key = SigningKeyPair.from_seed(mailbox.read_seed)
    signed = proofs.create_message(link.relay_id, link.nonce, gate, mailbox.born_hour)
    return entries.NewMailbox(key.public, gate, mailbox.born_hour, key.sign(signed))


def lock_for_reading(home: Path) -> IO[bytes]:
    """Only one process takes in what comes, for the relay delivers a mailbox to one connection.

    :returns: the open lock; closing it lets go
    :raises UsageError: another one does so already
    """
    file = (home / "reading.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise UsageError(
            "another kurir is reading with this profile",
            "look there, or stop it first; sending works from here meanwhile",
        ) from error
    return file


def _creation(profile: Profile, mailbox: Mailbox, link: Link) -> entries.NewMailbox:
    return new_mailbox_entry(mailbox, gate_of(profile, mailbox), link)


def _lost(profile: Profile, mailbox: Mailbox) -> None:
    """The relay has no such mailbox any more: say so; whom it served gets another from `tend`."""
    store = profile.store
    if mailbox.role is Role.ADDRESS:
        with store.transaction():
            store.drop_mailbox(mailbox.id)  # registering makes a new one; the id cannot come back
        raise RelayError(
            "the relay no longer has this business's address",
            "register again: kurir business register; customers get the new card by themselves",
        )
    with store.transaction():
        if mailbox.contact is not None and mailbox.state == "live":
            store.set_contact(mailbox.contact, introduced=False)
            name = store.contact(mailbox.contact).name
            text = f"the relay no longer has the mailbox for {name}; a new one is made"
            now = profile.clock()
            store.add_message(mailbox.contact, None, "note", text, now, Status.UNREAD)
        store.drop_mailbox(mailbox.id)


def _batches(items: list[Mailbox]) -> Iterable[list[Mailbox]]:
    return (items[start : start + MAX_ITEMS] for start in range(0, len(items), MAX_ITEMS))
