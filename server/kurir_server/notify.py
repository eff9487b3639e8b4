"""Telling systemd how things are: sd_notify(3), which is one datagram.

Without ``NOTIFY_SOCKET`` in the environment nobody wants to know, and nothing is sent.
"""

from __future__ import annotations

import os
import socket

from kurir_server.errors import ConfigError

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"


def notify(state: str) -> None:
    """:raises ConfigError: somebody wants to know and cannot be told"""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket, which is no file
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            # The event loop waits for nobody; systemd reads soon enough.
            out.setblocking(False)
            out.connect(address)
            out.sendall(state.encode("ascii"))
    except OSError as error:
        raise ConfigError(
            f"cannot tell the service manager {state}: {error.strerror}",
            "NOTIFY_SOCKET names a socket that is not there: start it as a service, or unset it",
        ) from error


def is_watched() -> bool:
    """Whether a service manager wants to hear that the process is alive."""
    pid = os.environ.get("WATCHDOG_PID")
    return "WATCHDOG_USEC" in os.environ and pid in (None, str(os.getpid()))
