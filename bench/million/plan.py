"""What is simulated: how many, when, at which prices. Everything follows from the seed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from msgspec import structs

from kurir_billing.ratecard import RateCard, Step, bundled
from kurir_billing.tariffs import TARIFFS
from kurir_wire.ids import DAY, HOUR

BEGIN: Final = int(datetime(2027, 1, 25, tzinfo=UTC).timestamp())
"""Seven days of January, then February."""
SENDING_DAYS: Final = 28
ROUNDS: Final = (9 * HOUR, 17 * HOUR)
"""Times of day at which each business signs a list."""
END_DAY: Final = BEGIN // DAY + 35
"""The first day of March: both months are over."""
MONTHS: Final = (202701, 202702)
NEW_PRICES: Final = BEGIN + 14 * DAY + 12 * HOUR
"""Between the two rounds of a day in the middle of February."""
BIG_SHARE: Final = 0.8
BIG_TIMES: Final = 3
"""Of few charges, most are those of five big businesses, one for each tariff, so that quotas and
tiers bite; of many, a big one has no more than so many times the average."""
FEE: Final = 49_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How many charges are signed in all, by how many businesses."""

    charges: int = 1_000_000
    businesses: int = 200
    seed: str = "million"

    def share(self, number: int) -> int:
        """How many charges one business signs in one round, at least one: rounded, so that the sum
        is only near what was asked for."""
        big = len(TARIFFS)
        average = self.charges / self.businesses
        each = min(self.charges * BIG_SHARE / big, average * BIG_TIMES)
        if number >= big:
            each = (self.charges - big * each) / (self.businesses - big)
        return max(1, round(each / (SENDING_DAYS * len(ROUNDS))))


def price_lists() -> tuple[RateCard, RateCard]:
    """Two versions: with volume tiers in every market and a monthly fee; later all of it dearer."""
    first = _tiered(structs.replace(bundled(), version=2, flat_monthly_micro_usd=FEE), 0)
    later = structs.replace(
        first, version=3, effective_from=NEW_PRICES, flat_monthly_micro_usd=FEE + 1_000_000
    )
    return first, _tiered(later, 7)


def _tiered(card: RateCard, more: int) -> RateCard:
    markets = {}
    for name, rates in card.markets.items():
        utility, authentication = rates.utility + more, rates.authentication + more
        markets[name] = structs.replace(
            rates,
            marketing=rates.marketing + more,
            utility=utility,
            authentication=authentication,
            utility_steps=[Step(20, utility * 9 // 10), Step(100, utility * 8 // 10)],
            authentication_steps=[Step(10, authentication * 7 // 10)],
        )
    return structs.replace(card, markets=markets)
