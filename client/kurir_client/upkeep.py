"""What is done by the time: at each connection, and each day of a long one.

A clock that runs ahead would delete keys and ids that are still needed, and start sessions that
nobody accepts yet. So kurir goes by the earlier of two clocks, the computer's and the relay's:
neither can make it forget anything too soon.
"""

from __future__ import annotations

from kurir_client.addresses import forget_weeks
from kurir_client.link import Link
from kurir_client.profile import Profile
from kurir_wire.beacons import Beacon
from kurir_wire.ids import DAY, MINUTE
from kurir_wire.limits import CLOCK_SKEW


def compare_clocks(profile: Profile, relay_now: int) -> int:
    """Go by the relay's clock from now on if ours is ahead of it.

    :returns: seconds by which ours is ahead, or behind if negative; 0 if they agree well enough
    """
    ahead = profile.own_clock() - relay_now
    profile.ahead = ahead if ahead > CLOCK_SKEW else 0
    return ahead if abs(ahead) > CLOCK_SKEW else 0


def tell_of_clock(profile: Profile, ahead: int) -> None:
    """Say that the clocks differ, if they do."""
    if not ahead:
        return
    word = "ahead of" if ahead > 0 else "behind"
    text = (
        f"this computer's clock is {abs(ahead) // MINUTE} minutes {word} the relay's; "
        "set it right, or messages may be lost"
    )
    with profile.store.transaction():
        profile.store.add_note(None, text, profile.clock())


async def fresh_beacon(profile: Profile, link: Link) -> Beacon:
    """The beacon of about now. It tells the relay's time as well: a clock that has jumped since the
    connection was made is minded."""
    beacon = await link.fresh_beacon(profile.clock())
    compare_clocks(profile, beacon.time + MINUTE)  # it may be a minute old
    return beacon


def forget(profile: Profile) -> int:
    """Forget ids and keys of what can no longer come.

    :returns: the day on which it was done
    """
    store, now = profile.store, profile.clock()
    with store.transaction():
        store.forget_before(now // DAY)
        store.forget_reportable(now // DAY)
        store.drop_retired_keys(now // DAY)
        forget_weeks(store, now)
    return now // DAY
