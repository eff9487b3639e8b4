"""SIGHUP: read again what may change while the relay runs. What cannot be used stays as it was."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final, Protocol

from kurir_server import keyfiles
from kurir_server.config import Config
from kurir_server.errors import KeyFileError, RelayError
from kurir_server.keys import RelayKeys
from kurir_server.log import Event, Log
from kurir_server.startup import check_certificate
from kurir_server.tls import ends_at, reload_into

LOG: Final = "log"
KEYS: Final = "certificate"
TLS: Final = "tls"


class Running(Protocol):
    """What of a running relay can be replaced."""

    tls_ends: int | None

    @property
    def keys(self) -> RelayKeys: ...

    @property
    def now(self) -> int: ...

    def use_certificate(self, keys: RelayKeys) -> None: ...


class Reload:
    """Called at each SIGHUP."""

    def __init__(
        self, config: Config, log: Log, context: ssl.SSLContext | None, running: Running
    ) -> None:
        self._config = config
        self._log = log
        self._context = context
        self._running = running
        if config.tls is not None:
            running.tls_ends = ends_at(config.tls[0])

    def __call__(self) -> None:
        self._part(LOG, self._log.reopen)
        self._part(KEYS, self._certificate)
        if self._context is not None:
            self._part(TLS, self._tls)

    def _part(self, name: str, again: Callable[[], None]) -> None:
        try:
            again()
        except RelayError as error:
            self._log(Event.RELOAD_FAILED, part=name, error=str(error), hint=error.hint or "")
        else:
            self._log(Event.RELOADED, part=name)

    def _certificate(self) -> None:
        """The certificate of the relay's keys, after ``kurir-relay renew``."""
        keys = keyfiles.load(self._config.keys)
        if not keys.has_same_secrets(self._running.keys):
            raise KeyFileError(
                f"{self._config.keys} holds other keys than the relay runs with",
                "stop the relay and start it to use them",
            )
        check_certificate(keys, self._running.now, self._log)
        self._running.use_certificate(keys)

    def _tls(self) -> None:
        if self._context is not None and self._config.tls is not None:
            ends = ends_at(self._config.tls[0])
            reload_into(self._context, *self._config.tls)
            self._running.tls_ends = ends
