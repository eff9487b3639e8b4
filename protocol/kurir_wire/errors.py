"""What can be wrong with bytes that came from elsewhere.

::

    WireError
    ├── MalformedError      the bytes do not have the shape that the protocol asks for
    │   ├── TooLargeError   they are larger than a documented limit
    │   └── UnknownFrameError   a frame of this name is not known here
    ├── SignatureError      a signature does not match, or its key is not acceptable
    ├── ExpiredError        correct, but not valid at this time
    └── LinkError           a kurir:// link cannot be used

The docstring of each class is the sentence that a user reads when no better one is at hand.
"""


class WireError(Exception):
    """the data received is not valid"""


class MalformedError(WireError):
    """the data received does not have the expected form"""


class TooLargeError(MalformedError):
    """the data received is larger than the limit"""


class UnknownFrameError(MalformedError):
    """a frame of this name is not known here; the other side may be newer"""


class SignatureError(WireError):
    """a signature does not match; the data was changed or comes from somebody else"""


class ExpiredError(WireError):
    """this was valid once, but not at this time"""


class LinkError(WireError):
    """this is not a usable kurir link; ask for it again and paste it whole"""
