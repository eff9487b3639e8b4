"""Sending what waits in the outbox, with the cards, prices and terms that it needs."""

from __future__ import annotations

from kurir_client import business, healing, outbox, upkeep
from kurir_client.errors import RelayError
from kurir_client.link import Link
from kurir_client.meeting import fetch_rate_card, renew_cards
from kurir_client.offers import current_rate_card
from kurir_client.pause import Pause
from kurir_client.profile import Profile
from kurir_wire import frames


async def flush(profile: Profile, link: Link) -> None:
    """Send what waits, until nothing more can go now.

    :raises OfflineError: the connection ended; what was not confirmed waits
    :raises RelayError: the relay asks to wait longer than a moment
    """
    healing.ask_all(profile.store, profile.clock())
    await renew_cards(profile, link)
    await renew_rates(profile, link)
    slow: dict[int, Pause] = {}  # contacts that have to wait; the others go on
    while True:
        beacon = await upkeep.fresh_beacon(profile, link)
        ready = outbox.prepare(profile, beacon, profile.clock(), slow)
        if not ready:
            break
        submissions = [item.submission for item in ready]
        results = await link.results(
            lambda n, batch=submissions: frames.Submit(n, batch),  # type: ignore[misc]
            len(ready),
        )
        for item, result in zip(ready, results, strict=True):
            wait = outbox.answered(profile, item, result, link.cert)
            if wait is not None:
                slow[item.row.contact] = wait
        await renew_rates(profile, link)
    if slow:
        pause = max(slow.values(), key=lambda each: each.seconds)
        hint = f"the rest goes in {pause.seconds} s"
        raise RelayError(pause.why, hint, pause.code, pause.seconds)


async def renew_rates(profile: Profile, link: Link) -> None:
    """Take the rate card in force, and the terms, when the relay has quoted by others than
    those at hand."""
    store = profile.store
    wanted = store.get("rate_card_wanted")
    if wanted and wanted != current_rate_card(store)[1]:
        await fetch_rate_card(profile, link)
    if wanted:
        with store.transaction():
            store.put("rate_card_wanted", b"")
    if store.get("terms_wanted"):
        await business.fetch_terms(profile, link)
        with store.transaction():
            store.put("terms_wanted", b"")
