"""A control word over a real connection: one WebSocket ping, and its echo.

A relay answers a ping with the same bytes (RFC 6455, section 5.5.3), so the word crosses the wire
in both directions in the clear. Whoever then searches a capture of that wire and does not find it
in both is blind.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from kurir_audit.capture import reason
from kurir_audit.errors import AuditError, UsageError
from kurir_wire.errors import LinkError
from kurir_wire.limits import SUBPROTOCOL
from kurir_wire.links import RelayAddress

MAX_WORD_BYTES = 125
"""What a WebSocket control frame holds (RFC 6455, section 5.5)."""


@dataclass(frozen=True, slots=True)
class Echo:
    """The pong that came back."""

    seconds: float


def ping(relay: str, word: str, timeout: float = 5.0) -> Echo:
    """Send ``word`` as a ping and wait for the pong that brings it back.

    :raises UsageError: the address or the word cannot be used
    :raises AuditError: no connection, or no pong in time
    """
    data = word.encode()
    if not 0 < len(data) <= MAX_WORD_BYTES:
        raise UsageError(f"the word is {len(data)} bytes", f"a ping holds 1 to {MAX_WORD_BYTES}")
    try:
        address = RelayAddress.parse(relay)
    except LinkError as error:
        raise UsageError(str(error)) from error
    try:
        with connect(
            address.url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            user_agent_header=None,
            open_timeout=timeout,
            close_timeout=timeout,
            # This connection goes to the address given, never through somebody's proxy.
            proxy=None,
        ) as socket:
            begun = time.monotonic()
            # The library sets the event only for a pong with the same bytes.
            if not socket.ping(data).wait(timeout):
                raise AuditError("the relay did not answer the ping", "is it overloaded?")
            return Echo(time.monotonic() - begun)
    except (OSError, WebSocketException) as error:
        what = reason(error) if isinstance(error, OSError) else type(error).__name__
        raise AuditError(
            f"no WebSocket connection to {relay}: {what}", "check that the relay is running"
        ) from error
