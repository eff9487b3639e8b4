"""The small enumerations of billing. Their numbers are on the wire and never change."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Category(IntEnum):
    """What a business says a message is; NONE where the tariff does not ask."""

    NONE = 0
    SERVICE = 1
    UTILITY = 2
    MARKETING = 3
    AUTHENTICATION = 4


class Class(IntEnum):
    """How a message stands to the window, fixed when the relay accepts it."""

    IN_WINDOW = 0
    OUT_OF_WINDOW = 1
    ENTRY = 2


class GrantKind(IntEnum):
    """What a customer's grant opens."""

    SERVICE = 0
    ENTRY = 1


class PassKind(IntEnum):
    """What the relay's pass says is paid or free already."""

    CONVERSATION = 0
    ENTRY = 1


class RefusalCode(IntEnum):
    """Why a charge was refused: the numbers that business software already knows."""

    BAD_PARAMETER = 100
    RATE_LIMIT = 130_429
    UNDELIVERABLE = 131_026
    OUTSIDE_WINDOW = 131_047
    STOPPED_MARKETING = 131_050
    PAIR_RATE = 131_056
    NOT_APPROVED = 133_010


REFUSAL_TEXT: Final = {
    RefusalCode.BAD_PARAMETER: "the charge is not in order",
    RefusalCode.RATE_LIMIT: "too many messages at once",
    RefusalCode.UNDELIVERABLE: "the customer's mailbox is gone or does not take your messages",
    RefusalCode.OUTSIDE_WINDOW: "more than 24 hours since the customer last wrote",
    RefusalCode.STOPPED_MARKETING: "the customer takes no marketing",
    RefusalCode.PAIR_RATE: "too many messages to this customer at once",
    RefusalCode.NOT_APPROVED: "the operator has not approved this business yet",
}
