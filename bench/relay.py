"""The relay as an operator runs it: on disk, synced, rules on."""

from __future__ import annotations

import subprocess
import sys

from bench.process import Server


class Relay(Server):
    """``kurir-relay serve`` over a fresh database.

    :param options: more of ``serve``
    """

    def __init__(self, *options: str) -> None:
        super().__init__()
        self._options = options

    def arguments(self) -> list[str]:
        """See :meth:`.process.Server.arguments`."""
        db = str(self.folder / "relay.db")
        command = [sys.executable, "-m", "kurir_server.cli", "init", "--db", db]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        ready = str(self.folder / "ready")
        serve = ["-m", "kurir_server.cli", "serve", "--db", db]
        return [*serve, "--listen", "127.0.0.1:0", "--ready-file", ready, *self._options]
