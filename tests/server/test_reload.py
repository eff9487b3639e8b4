"""SIGHUP to a running relay: files are read again, connections stay, bad files change nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kurir_server import keyfiles, tls
from kurir_server.errors import ConfigError
from kurir_server.log import Event, Log
from kurir_wire.codec import pack
from tests.server.certificates import tls_files
from tests.server.client import Client, welcomed
from tests.server.helpers import until
from tests.server.process import RelayProcess, events, logged, running


async def reload(relay: RelayProcess) -> list[dict[str, Any]]:
    """:returns: what the log says of it"""
    before = len(logged(relay))
    expected = 3 if "--tls-cert" in relay.options else 2
    os.kill(relay.pid, signal.SIGHUP)

    def said() -> list[dict[str, Any]]:
        return [line for line in logged(relay)[before:] if line["event"].startswith("reload")]

    await until(lambda: len(said()) == expected)
    return said()


@asynccontextmanager
async def secure(relay: RelayProcess, trusted: Path) -> AsyncIterator[Client]:
    context = ssl.create_default_context(cafile=str(trusted))
    async with welcomed(relay.address, ssl=context) as client:
        yield client


async def test_a_new_tls_certificate_and_a_broken_one(tmp_path: Path) -> None:
    pem, secret = tls_files(tmp_path)
    old = tmp_path / "old.pem"
    shutil.copy(pem, old)
    with running(tmp_path, "--tls-cert", str(pem), "--tls-key", str(secret)) as relay:
        async with secure(relay, old) as early:
            tls_files(tmp_path)
            assert [line["event"] for line in await reload(relay)] == ["reloaded"] * 3
            assert (await early.beacon()).minute > 0, "the open connection stays"
            async with secure(relay, pem):
                pass
            with pytest.raises(ssl.SSLCertVerificationError):
                async with secure(relay, old):
                    pass

            # Three kinds of broken: a key of another certificate, no key, one with a passphrase.
            good = tmp_path / "good.pem"
            shutil.copy(pem, good)
            other, _ = tls_files(tmp_path, name="other")
            shutil.copy(other, pem)
            for broken in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
                line = (await reload(relay))[-1]
                assert (line["event"], line["part"]) == ("reload-failed", "tls")
                assert "cannot use the TLS certificate" in line["error"]
                assert line["hint"] == tls.HINT
                async with secure(relay, good):
                    pass
                secret.write_bytes(broken)
            tls_files(tmp_path, passphrase=b"secret")
            assert (await reload(relay))[-1]["event"] == "reload-failed"
            secret.unlink()
            line = (await reload(relay))[-1]
            assert line["error"] == f"cannot read {secret}: No such file or directory"
            assert "--tls-key" in line["hint"]
            async with secure(relay, good):
                pass
            assert (await early.beacon()).minute > 0
        tls_files(tmp_path)
        assert (await reload(relay))[-1]["event"] == "reloaded"
        async with secure(relay, pem):
            pass
        assert relay.stop() == 0


async def test_a_renewed_certificate_is_greeted_with(relay: RelayProcess) -> None:
    folder = keyfiles.default_folder(relay.db)
    async with relay.client() as early:
        first = early.welcome.cert
        renewed = keyfiles.renew(folder, first.not_before + 60).cert
        assert renewed != first
        async with relay.client() as client:
            assert client.welcome.cert == first, "not before it is told"
        assert {line["event"] for line in await reload(relay)} == {"reloaded"}
        async with relay.client() as client:
            assert client.welcome.cert == renewed
            beacon = await client.beacon()
            beacon.verify(renewed.beacon_pk, client.relay_id)
        assert (await early.beacon()).minute > 0

        # Other keys, an expired certificate, a damaged one: none is used.
        path = folder / keyfiles.CERT
        whole = path.read_bytes()
        keyfiles.renew(folder, first.not_before - 400 * 86_400)
        line = (await reload(relay))[-1]
        assert "not valid at this time" in line["error"]
        path.write_bytes(whole[:-1])
        assert "missing, damaged, or of an older kurir-relay" in (await reload(relay))[-1]["error"]
        path.write_bytes(whole)
        prf = folder / keyfiles.PRF
        seed = prf.read_text()
        prf.write_text(bytes(32).hex())
        assert "holds other keys than the relay runs with" in (await reload(relay))[-1]["error"]
        prf.write_text(seed)
        keyfiles.create(folder.with_name("other"), first.not_before)
        for name in (keyfiles.CERT, *keyfiles.WORKING):
            shutil.copy(folder.with_name("other") / name, folder / name)
        assert "holds other keys than the relay runs with" in (await reload(relay))[-1]["error"]
        async with relay.client() as client:
            assert client.welcome.cert == renewed
    assert pack(renewed) == whole


async def test_log_rotation(tmp_path: Path) -> None:
    file, moved = tmp_path / "own.log", tmp_path / "own.log.1"
    with running(tmp_path, "--log-file", str(file)) as relay:
        file.rename(moved)
        os.kill(relay.pid, signal.SIGHUP)
        await until(lambda: file.exists() and "certificate" in file.read_text())
        assert '"ready"' in moved.read_text()
        # One that cannot be opened: the old one goes on.
        shutil.copy(file, moved)
        file.unlink()
        file.mkdir()
        os.kill(relay.pid, signal.SIGHUP)
        await asyncio.sleep(0.5)
        file.rmdir()
        os.kill(relay.pid, signal.SIGHUP)
        await until(lambda: file.exists() and "certificate" in file.read_text())
        assert relay.stop() == 0
        assert '"stopped"' in file.read_text()
    assert relay.log.read_text() == ""


def test_a_log_that_cannot_be_opened_anew_goes_on_as_it_was(tmp_path: Path) -> None:
    file, moved = tmp_path / "own.log", tmp_path / "moved"
    log = Log(path=file)
    file.rename(moved)
    file.mkdir()
    with pytest.raises(ConfigError, match="cannot write"):
        log.reopen()
    log(Event.STOPPED)
    assert "stopped" in moved.read_text()
    file.rmdir()
    log.reopen()
    log(Event.DISK_RECOVERED)
    assert "disk-recovered" in file.read_text()
    assert "disk-recovered" not in moved.read_text()
    log.close()
    assert log.counts == {Event.STOPPED: 1, Event.DISK_RECOVERED: 1}


async def test_reloading_while_it_stops_and_again_and_again(relay: RelayProcess) -> None:
    for _ in range(20):
        os.kill(relay.pid, signal.SIGHUP)
    async with relay.client() as client:
        assert (await client.beacon()).minute > 0
    assert relay.stop() == 0
    assert events(relay)[-1] == "stopped"
    assert set(events(relay)) == {"started", "ready", "reloaded", "stopping", "stopped"}


def test_when_a_certificate_ends(tmp_path: Path) -> None:
    pem, _ = tls_files(tmp_path, days=2)
    other, _ = tls_files(tmp_path, days=9, name="other")
    assert tls.ends_at(other) - tls.ends_at(pem) == pytest.approx(7 * 86_400, abs=60)
    pem.write_text("no certificate")
    with pytest.raises(ConfigError, match="holds no certificate"):
        tls.ends_at(pem)
    with pytest.raises(ConfigError, match="cannot read"):
        tls.ends_at(tmp_path / "none.pem")


@pytest.mark.parametrize("number", [0, 1])
def test_a_tls_file_that_is_missing_is_named(tmp_path: Path, number: int) -> None:
    """And not the other one."""
    files = list(tls_files(tmp_path))
    files[number] = tmp_path / "nope"
    relay = RelayProcess(tmp_path).init()
    options = ("--tls-cert", str(files[0]), "--tls-key", str(files[1]))
    for command in (("serve", "--listen", "127.0.0.1:0"), ("doctor",)):
        done = relay.run(*command, *options)
        said = done.stdout + done.stderr
        assert done.returncode != 0
        assert f"cannot read {tmp_path / 'nope'}: No such file or directory" in said
        assert str(files[1 - number]) not in said
        assert "--tls-cert" in said, "what to do"
