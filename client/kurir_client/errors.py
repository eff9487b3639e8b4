"""What a client can fail with. Every error says what happened and, as its hint, what to do.

::

    ClientError            exit code 1
    ├── UsageError         2   the request makes no sense as given
    ├── ProfileError       3   the home folder: missing, locked, damaged, wrong passphrase
    ├── OfflineError       4   the relay cannot be reached; what was asked waits in the outbox
    ├── RelayError         5   the relay, or who speaks for it, did something that is not allowed
    │   └── LedgerForkError    it signed two states of its ledger that contradict each other
    ├── PeerError          6   the other side: keys changed, invite used, mailbox gone
    └── RefusedError       7   a business message was refused, with code and quote

The command line prints ``error: …`` and ``hint: …`` and exits with the code of the class.
"""

from __future__ import annotations

from typing import ClassVar


class ClientError(Exception):
    """something went wrong"""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class UsageError(ClientError):
    """the request makes no sense as given"""

    exit_code = 2


class ProfileError(ClientError):
    """the home folder cannot be used"""

    exit_code = 3


class OfflineError(ClientError):
    """the relay cannot be reached"""

    exit_code = 4


class RelayError(ClientError):
    """the relay did something that is not allowed, or refused"""

    exit_code = 5

    def __init__(
        self, what: str, hint: str = "", code: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(what, hint)
        self.code = code
        self.retry_after = retry_after


class LedgerForkError(RelayError):
    """the relay signed two states of its ledger that contradict each other"""


class PeerError(ClientError):
    """the other side cannot be written to"""

    exit_code = 6


class RefusedError(ClientError):
    """a business message was refused

    ``code`` is the number that business software knows; ``quote_micro_usd`` what it would cost now,
    if it can be sent at all.
    """

    exit_code = 7

    def __init__(self, what: str, hint: str, code: int, quote_micro_usd: int | None = None) -> None:
        super().__init__(what, hint)
        self.code = code
        self.quote_micro_usd = quote_micro_usd
