"""What a service manager hears, over the socket that it gives."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kurir_server.errors import ConfigError
from kurir_server.notify import ALIVE, READY, STOPPING, is_watched, notify
from tests.server.process import RelayProcess


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(15)
        yield listening


def test_ready_alive_stopping(manager: socket.socket, tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path).init()
    relay.environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
    relay.start()
    try:
        assert manager.recv(100).decode() == READY
        assert [manager.recv(100).decode() for _ in range(2)] == [ALIVE] * 2
        assert relay.stop() == 0
        said = manager.recv(100).decode()
        while said == ALIVE:
            said = manager.recv(100).decode()
        assert said == STOPPING
    finally:
        relay.kill()


def test_nobody_wants_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify(READY)


def test_a_socket_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="cannot tell the service manager READY=1"):
        notify(READY)


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind("\0kurir-test-notify")
        monkeypatch.setenv("NOTIFY_SOCKET", "@kurir-test-notify")
        notify(READY)
        assert listening.recv(100).decode() == READY


@pytest.mark.parametrize(
    ("values", "watched"),
    [
        ({}, False),
        ({"WATCHDOG_USEC": "1"}, True),
        ({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}, False),
    ],
)
def test_who_is_watched(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], watched: bool
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert is_watched() is watched
