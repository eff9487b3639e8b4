"""The rate cards that a replay prices by: read from files, each with its time.

Source: docs/billing.md, "Replay".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path

import msgspec

from kurir_audit.capture import reason
from kurir_audit.errors import EvidenceFileError
from kurir_billing.errors import RateCardError
from kurir_billing.ratecard import RateCard, canonical, parse


class Cards:
    """At least one rate card, no two of one version, and which of them is in force when."""

    def __init__(self, cards: Sequence[RateCard]) -> None:
        ordered = sorted(cards, key=lambda card: card.effective_from)
        newest = accumulate(ordered, _higher)
        self._since = [card.effective_from for card in ordered]
        self._in_force = [(card, cache(card.market_of)) for card in newest]

    def at(self, now: int) -> tuple[RateCard, Callable[[str], str]]:
        """The card that prices a message accepted at ``now``, in seconds: of those that have come
        into force the highest version, and before the first of them the first.

        :returns: with it, a quick form of its :meth:`RateCard.market_of`
        """
        return self._in_force[bisect_right(self._since, max(now, self._since[0])) - 1]


def read_cards(files: Sequence[Path]) -> Cards:
    """Read at least one rate card.

    :raises EvidenceFileError: one is not a rate card, or two have the same version
    """
    read: dict[int, tuple[Path, RateCard]] = {}
    for file in files:
        card = read_card(file)
        if card.version in read:
            before, _ = read[card.version]
            raise EvidenceFileError(
                f"{before} and {file} are both rate cards of version {card.version}",
                "each card needs its own version: of those in force the highest counts",
            )
        read[card.version] = file, card
    return Cards([card for _, card in read.values()])


def read_card(file: Path) -> RateCard:
    """A rate card in any spelling, as ``kurir-relay ratecard show --json`` prints it.

    :raises EvidenceFileError: not a rate card
    """
    try:
        return parse(canonical(msgspec.json.decode(file.read_bytes(), type=RateCard)))
    except OSError as error:
        raise EvidenceFileError(f"cannot read {file}: {reason(error)}") from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise EvidenceFileError(f"{file} is not a rate card: {error}") from error
    except RateCardError as error:
        raise EvidenceFileError(f"{file}: {error}") from error


def _higher(one: RateCard, other: RateCard) -> RateCard:
    return one if one.version > other.version else other
