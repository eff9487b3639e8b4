"""What can go wrong with keys and ciphertexts.

::

    CryptoError
    ├── AuthenticationError       a tag does not match
    │   └── CommitmentError       the content key is not the one that was committed to
    ├── ReplayError               opened before, or too old to be opened
    ├── UnknownSessionError       no session for it
    ├── MissingPreKeyError        a first message to a prekey that is gone
    ├── InvalidKeyError           a public key that no honest party makes
    │   └── UntrustedKeyError     a public key that its owner did not sign
    ├── SkippedTooFarError        more lost messages than are bridged
    ├── StartedLaterError         a handshake from the future
    ├── MalformedMessageError     not the layout of a message
    │   └── UnknownSuiteError     a suite that this version does not have
    ├── MessageTooLongError       it does not fit the bucket, or any bucket
    ├── WeekError                 a mailbox key cannot go back, or so far
    ├── DamagedStateError         stored keys or a stored session cannot be read
    └── VaultError                the passphrase header
        ├── WrongPassphraseError
        └── DamagedVaultError

The docstring of each class is the sentence that a user reads when no better one is at hand.
"""

from __future__ import annotations


class CryptoError(Exception):
    """the message or key could not be used"""

    def __str__(self) -> str:
        """What was said when it was raised, else the docstring."""
        return super().__str__() or (type(self).__doc__ or "").strip()


class AuthenticationError(CryptoError):
    """the message was changed on the way, or was not meant for this key"""


class CommitmentError(AuthenticationError):
    """the message shows different content to different devices, so it is not shown at all"""


class ReplayError(CryptoError):
    """this message was opened before, or is too old to be opened"""


class UnknownSessionError(CryptoError):
    """this message belongs to a session that is not known here; a new session must be started"""


class MissingPreKeyError(CryptoError):
    """this first message uses a prekey that was used or deleted; ask the sender to start again"""


class InvalidKeyError(CryptoError):
    """a public key is not valid, so nothing was encrypted with it"""


class UntrustedKeyError(InvalidKeyError):
    """a key is not signed by the person it claims to come from, so it was not used"""


class SkippedTooFarError(CryptoError):
    """too many messages are missing before this one; a new session must be started"""


class StartedLaterError(CryptoError):
    """this session claims to start in the future; check the clocks of both devices"""


class MalformedMessageError(CryptoError):
    """the message does not have the expected form"""


class UnknownSuiteError(MalformedMessageError):
    """the message uses encryption that this version does not have; update kurir"""


class MessageTooLongError(CryptoError):
    """the message is too long for one envelope"""


class WeekError(CryptoError):
    """the mailbox key for that week is not held any more, or not yet"""


class DamagedStateError(CryptoError):
    """stored keys cannot be read; restore a backup or set this device up again"""


class VaultError(CryptoError):
    """the store cannot be unlocked"""


class WrongPassphraseError(VaultError):
    """wrong passphrase"""


class DamagedVaultError(VaultError):
    """the store's passphrase header is damaged; restore it from a backup"""
