"""The relay as an operator runs it, and the servers that it is measured beside.

Each keeps what it took over on disk as its documentation recommends; where a server does not sync
by itself, that is said in the table's last column.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from bench.drivers.xmpp import HOST, PASSWORD
from bench.forwarder import Forwarder
from bench.process import Server

PROSODY_ACCOUNTS: Final = 200


class Relay(Server):
    """``kurir-relay serve`` over a fresh database, all rules on.

    :param options: more of ``serve``
    """

    name = "kurir"

    def __init__(self, *options: str) -> None:
        super().__init__()
        self._options = options

    def prepare(self, port: int) -> None:
        db = str(self.folder / "relay.db")
        command = [sys.executable, "-m", "kurir_server.cli", "init", "--db", db]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def command(self, port: int) -> Sequence[str]:
        serve = [sys.executable, "-m", "kurir_server.cli", "serve"]
        where = ["--db", str(self.folder / "relay.db"), "--listen", f"127.0.0.1:{port}"]
        return [*serve, *where, *self._options]


class Redis(Server):
    """Streams in an append-only file that is synced at every write."""

    name = "redis"
    needs = ("redis-server",)

    def command(self, port: int) -> Sequence[str]:
        options = {
            "port": port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "protected-mode": "no",  # it counts other loopback addresses as the world
        }
        given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        return ["redis-server", *given]

    def is_ready(self, connection: socket.socket) -> bool:
        # It answers with an error while it reads its file.
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")


class Mosquitto(Server):
    """QoS 1 with persistence, which it writes when it stops and every half hour: nothing is synced
    before it is acknowledged."""

    name = "mosquitto"
    needs = ("mosquitto",)

    def prepare(self, port: int) -> None:
        (self.folder / "conf").write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.folder}/\nmax_queued_messages 0\n"
            "max_inflight_messages 64\nuser root\nlog_type error\n"
        )

    def command(self, port: int) -> Sequence[str]:
        return ["mosquitto", "-c", str(self.folder / "conf")]


class Prosody(Server):
    """Stream management and offline storage in files, without TLS."""

    name = "prosody"
    needs = ("prosody",)

    def prepare(self, port: int) -> None:
        accounts = self.folder / "data" / HOST / "accounts"
        accounts.mkdir(parents=True)
        for number in range(PROSODY_ACCOUNTS):
            for role in ("sender", "reader"):
                text = f'return {{ ["password"] = "{PASSWORD}"; }};\n'
                (accounts / f"{role}{number}.dat").write_text(text)
        (self.folder / "conf.lua").write_text(
            f"""
run_as_root = true
daemonize = false
pidfile = "{self.folder}/pid"
data_path = "{self.folder}/data"
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
s2s_ports = {{}}
http_ports = {{}}
https_ports = {{}}
modules_enabled = {{ "saslauth"; "smacks"; "offline"; "roster"; "posix"; "mam"; "carbons"; }}
default_archive_policy = true
modules_disabled = {{ "s2s"; "tls"; }}
limits = {{}}
authentication = "internal_plain"
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
storage = "internal"
log = {{ warn = "{self.folder}/log" }}
VirtualHost "{HOST}"
"""
        )

    def command(self, port: int) -> Sequence[str]:
        return ["prosody", "--config", str(self.folder / "conf.lua"), "-F"]


SERVERS: Final[dict[str, type[Server]]] = {
    each.name: each for each in (Relay, Forwarder, Redis, Prosody, Mosquitto)
}
