"""The operator's port on 127.0.0.1: ``/metrics``, ``/healthz`` and ``/readyz``.

In a thread of its own, so that it can say that the event loop stands still.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from kurir_server.errors import ConfigError
from kurir_server.health import Health

HOST: Final = "127.0.0.1"
"""Never another: who may read it is who may log in to the machine."""
CLIENT_SECONDS: Final = 10
"""For one request; then its thread is free again."""


class Monitor:
    """Serves until :meth:`stop`.

    :param port: 0 for any
    :raises ConfigError: the port is taken
    """

    def __init__(
        self, port: int, registry: CollectorRegistry, health: Health, tick: Callable[[], float]
    ) -> None:
        try:
            self._server = make_server(
                HOST, port, _app(registry, health, tick), _Server, _QuietHandler
            )
        except OSError as error:
            reason = (error.strerror or "it cannot be used").lower()
            raise ConfigError(f"cannot serve metrics on {HOST}:{port}: {reason}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """HOST:PORT"""
        return f"{HOST}:{self._server.server_port}"

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away in the middle is no event."""


class _QuietHandler(WSGIRequestHandler):
    timeout = CLIENT_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """The relay's log has declared events only."""


def _app(registry: CollectorRegistry, health: Health, tick: Callable[[], float]) -> WSGIApplication:
    metrics: WSGIApplication = make_wsgi_app(registry)

    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return metrics(environ, start)
            case "/healthz":
                stuck = health.stuck(tick())
                return _say(start, [stuck] if stuck else [])
            case "/readyz":
                return _say(start, health.unready(tick()))
            case _:
                return _plain(start, HTTPStatus.NOT_FOUND, "see /metrics, /healthz and /readyz")

    return app


def _say(start: StartResponse, reasons: list[str]) -> list[bytes]:
    if reasons:
        return _plain(start, HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(reasons))
    return _plain(start, HTTPStatus.OK, "ok")


def _plain(start: StartResponse, status: HTTPStatus, text: str) -> list[bytes]:
    body = text.encode() + b"\n"
    head = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start(f"{status.value} {status.phrase}", head)
    return [body]
