"""Result and error codes of frames. Each is a stable string; the detail beside it is for people."""

from __future__ import annotations

from typing import Final

OK: Final = "ok"
MALFORMED: Final = "malformed"
"""The frame or one entry has the wrong form. Do not retry."""
UNSUPPORTED: Final = "unsupported"
"""A frame of this name is not known here. A newer relay may know it."""
TOO_LARGE: Final = "too-large"
"""Larger than a documented limit."""
NOT_AUTHORISED: Final = "not-authorised"
"""The signature does not prove the right to do this, or was made for another connection."""
NO_MAILBOX: Final = "no-mailbox"
"""There is no such mailbox, or what was shown does not open it. The two are not told apart."""
FULL: Final = "full"
"""The mailbox, the operator's box for reports, or the relay's room for blobs holds as much as it
may. Retry when it has been read, or after the seconds given."""
RATE: Final = "rate"
"""Too fast. Retry after the seconds given; what is left is given too."""
CONFLICT: Final = "conflict"
"""This id, or the place of this chunk, was used before with other bytes."""
REFUSED: Final = "refused"
"""A charge was not accepted. The data is a signed refusal, with a quote where one helps."""
NOT_FOUND: Final = "not-found"
"""There is no such card, business, rate card, month or blob; or what was shown does not open it."""
STALE: Final = "stale"
"""Older than what the relay has: a card version that rolls back, an hour of birth that is past."""
TOO_MANY: Final = "too-many"
"""A count on this connection or of this business is at its limit."""
UNAVAILABLE: Final = "unavailable"
"""The relay cannot write to its disk at present. Nothing was accepted; retry later."""
