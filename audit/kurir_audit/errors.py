"""What can go wrong in an audit, and the exit codes of ``kurir-audit``.

::

    AuditError              exit 2
    ├── UsageError          the command cannot be carried out as it was asked
    └── EvidenceFileError   a file is missing, unreadable, or not what it should be
"""

from __future__ import annotations

from typing import Final

EXIT_OK: Final = 0
"""Nothing to object to."""
EXIT_FOUND: Final = 1
"""Something was found: an unknown table or column, a word that should not be there."""
EXIT_USAGE: Final = 2
"""The command could not be carried out: a wrong option, a file that cannot be read."""
EXIT_BLIND: Final = 3
"""The search could not see what it should have seen, so its silence proves nothing; or it found
what it cannot judge without a baseline."""


class AuditError(Exception):
    """the audit could not be carried out

    ``hint`` says what to do about it.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


class UsageError(AuditError):
    """the command cannot be carried out as it was asked"""


class EvidenceFileError(AuditError):
    """a file is missing, unreadable, or not what it should be"""
