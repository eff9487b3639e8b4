"""How to serve, and the one file that says so to others."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kurir_server.blobs import DEFAULT_ROOM, Room
from kurir_server.errors import ConfigError
from kurir_wire.links import is_loopback

CANNOT_LISTEN: Final = (
    "end what listens there, or give another --listen; ports under 1024 need the capability "
    "CAP_NET_BIND_SERVICE"
)
"""What to do about an address that cannot be bound."""


@dataclass(frozen=True, slots=True)
class Config:
    """How to serve. ``host`` may be any address with TLS or a proxy, else only loopback.

    ``metrics``: the port on 127.0.0.1 for metrics and health; 0 for any.
    ``blobs``: how much room attachments may take.
    """

    db: Path
    host: str
    port: int
    keys: Path
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    ready_file: Path | None = None
    demo_clock: Path | None = None
    metrics: int | None = None
    blobs: Room = DEFAULT_ROOM

    def check(self) -> None:
        """:raises ConfigError: clients could be reached only in a way that shows the network what
        they fetch"""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("a certificate needs its key", "give both --tls-cert and --tls-key")
        if self.tls_cert is None and not self.behind_proxy and not is_loopback(self.host):
            raise ConfigError(
                f"{self.host} can be reached from other machines, and without TLS the network "
                "would see which mailboxes are read and written",
                "give --tls-cert and --tls-key, or --behind-proxy if a proxy in front has TLS",
            )

    @property
    def tls(self) -> tuple[Path, Path] | None:
        """Certificate and key, if there is TLS."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return self.tls_cert, self.tls_key


def shown(host: str, port: int) -> str:
    """HOST:PORT, as it is typed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def write_ready(path: Path, address: str) -> None:
    """Whole or not at all: whoever sees the file can use it.

    :raises ConfigError: it cannot be written
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        partial.write_text(address + "\n", "ascii")
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
