"""What can go wrong in running a relay.

::

    RelayError
    ├── ConfigError         the command line or the files do not fit together
    │   └── KeyFileError    the relay's keys are missing, damaged or readable by others
    └── StorageError        the database cannot be written or read
        ├── DamagedError    something in it is not as it was written
        └── DatabaseError   the file is not a database of this relay, or of another version

The docstring of each class is the sentence that an operator reads when no better one is at hand.
``hint`` says what to do. What a *client* did wrong is never an exception that leaves a rule: it is
a :class:`kurir_wire.frames.Result` with a code of ``kurir_wire.codes``.
"""

from __future__ import annotations


class RelayError(Exception):
    """the relay cannot go on"""

    exit_code = 1

    def __init__(self, message: str | None = None, hint: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.hint = hint


class ConfigError(RelayError):
    """the options or files given cannot be used"""

    exit_code = 2


class KeyFileError(ConfigError):
    """the relay's keys are missing, damaged or readable by others"""

    exit_code = 3


class StorageError(RelayError):
    """the database cannot be written at present"""

    exit_code = 4


class DamagedError(StorageError):
    """the database holds something that is not as it was written"""


class DatabaseError(StorageError):
    """this file is not a database of this version of the relay"""
