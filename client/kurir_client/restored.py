"""A home that was set back to an old copy, or moved: noticed when it is opened.

What was sent since the copy was made used up the keys of its sessions. So these are kept for
receiving only, and fresh ones are agreed with everybody (:mod:`.healing`).
"""

from __future__ import annotations

from typing import Final

from kurir_client.mark import COUNTER, Mark, encryptions
from kurir_client.store import Store
from kurir_wire.ids import MINUTE

SESSIONS_FROM: Final = "sessions_from"
"""``meta`` name of the unix minute, as text, in which the home was last found to be an old copy:
sessions that were there before may be lost."""


def open_mark(store: Store, now: int) -> Mark:
    """The home's mark; if it says that the home was set back, or there is none, deal with it.

    :raises ProfileError: the mark cannot be read or written
    """
    mark = Mark.of(store)
    if mark is None:  # a home of version 1, whose sessions its migration has dropped
        with store.transaction():
            return Mark.of(store) or Mark.new(store)
    # The mark first: another process may encrypt in between.
    if _is_whole(mark.read(), store):
        return mark
    with store.transaction():
        noted = mark.read()
        if not _is_whole(noted, store):  # else another process has dealt with it meanwhile
            _start_over(store, now)
            # One more than any copy has counted, and on the disk before the transaction ends: if
            # this process is killed in between, the home is still behind its mark.
            count = max(noted or 0, encryptions(store)) + 1
            store.put(COUNTER, str(count).encode())
            mark.raise_to(count)
    return mark


def _is_whole(noted: int | None, store: Store) -> bool:
    return noted is not None and encryptions(store) >= noted


def _start_over(store: Store, now: int) -> None:
    """Send on none of the sessions any more, inside the running transaction."""
    count = store.want_sessions()
    store.archive_sessions()
    store.encrypt_anew()
    store.put(SESSIONS_FROM, str(now // MINUTE).encode())
    whom = f" with {count} contact{'s' if count != 1 else ''}" if count else ""
    agreed = f"fresh keys are being agreed{whom}; " if count else ""
    text = (
        f"this profile was restored from a copy or moved here; {agreed}"
        "what came or was written since the copy was made may be missing"
    )
    store.add_note(None, text, now)
