"""The files in deploy/: their command lines are of this kurir-relay, and systemd can read them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kurir_server.cli import main
from kurir_server.config import Config
from tests.server.helpers import ROOT

DEPLOY = ROOT / "deploy"
SERVICE = DEPLOY / "kurir-relay.service"
CONTAINER = DEPLOY / "Containerfile"


def parsed(arguments: list[str]) -> tuple[str, dict[str, object]]:
    """The command and its values, as the real parser has them.

    :raises click.ClickException: it would refuse them
    """
    group = main.make_context("kurir-relay", arguments, resilient_parsing=False)
    name, command, rest = main.resolve_command(group, [*group._protected_args, *group.args])
    assert command is not None
    while isinstance(command, click.Group):
        inner = command.make_context(name, rest, parent=group)
        name, command, rest = command.resolve_command(inner, [*inner._protected_args, *inner.args])
        assert command is not None
    return str(name), command.make_context(name, rest, parent=group).params


def lines(unit: Path, key: str) -> list[list[str]]:
    """The command lines of a key, each as a list of words."""
    text = unit.read_text().replace("\\\n", " ")
    found = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return [shlex.split(line) for line in found]


def commands_in(text: str) -> list[list[str]]:
    """Calls of kurir-relay within a line of shell."""
    return [
        shlex.split(part)[1:]
        for part in re.split(r";|&&", text)
        if "kurir-relay" in part.split(" ")[0] or part.strip().startswith("/opt/kurir/bin")
    ]


def test_the_units_command_is_one() -> None:
    ((program, *arguments),) = lines(SERVICE, "ExecStart")
    assert program == "/opt/kurir/bin/kurir-relay"
    name, values = parsed(arguments)
    assert name == "serve"
    assert values["db"] == Path("/var/lib/kurir/relay.db")
    host, _, port = str(values["address"]).rpartition(":")
    config = Config(Path("x"), host, int(port), Path("y"), tls_cert=Path("c"), tls_key=Path("k"))
    config.check()
    assert values["tls_cert"]
    assert values["metrics"] == 9464


def test_the_timers_commands_are_some() -> None:
    ((_, flag, script), prune) = lines(DEPLOY / "kurir-relay-backup.service", "ExecStart")
    assert flag == "-ec"
    found = [parsed(words)[0] for words in commands_in(script)]
    assert found == ["backup", "export"]
    kept = int(prune[prune.index("-mmin") + 1].removeprefix("+"))
    told = (ROOT / "docs" / "operations.md").read_text("utf-8").split()
    assert "the timer keeps two days of them, about 48." in " ".join(told)
    assert kept == 2 * 24 * 60
    # What it deletes is what it makes.
    made = [Path(words[-1]).name for words in commands_in(script)]
    patterns = [word for word in prune if word.endswith(("db", "jsonl"))]
    assert [Path(name).match(pattern) for name, pattern in zip(made, patterns, strict=True)] == [
        True,
        True,
    ]


def test_the_containers_command_is_one() -> None:
    text = CONTAINER.read_text()
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    assert json.loads(entry) == ["kurir-relay"]
    (command,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    name, values = parsed(json.loads(command))
    assert name == "serve"
    assert values["behind_proxy"] is True
    assert f"127.0.0.1:{values['metrics']}/readyz" in text
    (user,) = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert user != "root"
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(click.ClickException):
        parsed(["serve", "--db", "x", "--metric-port", "1"])


def test_compose_builds_what_is_there() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    (file,) = re.findall(r"dockerfile: (\S+)", text)
    assert (ROOT / file).is_file()
    assert "reverse-proxy" in text
    port = re.findall(r"relay:(\d+)", text)
    assert f"EXPOSE {port[0]}" in CONTAINER.read_text()


@pytest.mark.parametrize("name", ["kurir-relay.service", "kurir-relay-backup.service"])
def test_systemd_reads_the_units(name: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd here")
    unit = tmp_path / name
    text = (DEPLOY / name).read_text()
    unit.write_text(text.replace("/opt/kurir/bin/kurir-relay", sys.executable))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    if name == "kurir-relay.service":
        strict = [analyze, "security", "--offline=yes", "--threshold=25", str(unit)]
        done = subprocess.run(strict, capture_output=True, text=True, check=False)
        if "unrecognized option" in done.stderr:
            pytest.skip("an older systemd")
        assert done.returncode == 0, done.stdout


def test_reload_is_the_signal_that_the_relay_handles() -> None:
    assert lines(SERVICE, "ExecReload") == [["/bin/kill", "-HUP", "$MAINPID"]]
    text = SERVICE.read_text()
    assert "Type=notify" in text
    assert "WatchdogSec=" in text


def test_the_image_installs_what_the_locks_say() -> None:
    """The image has what pyproject.toml asks for, in the versions that the tests run with."""
    run = pinned("requirements-run.lock")
    assert run.items() <= pinned("requirements.lock").items()
    text = (ROOT / "pyproject.toml").read_text()
    (wanted,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    names = {name.lower() for name in re.findall(r'^    "([A-Za-z0-9-]+)', wanted, re.MULTILINE)}
    assert names <= set(run)
    assert not {"pytest", "mypy", "hatchling"} & set(run)


def pinned(name: str) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)
    return dict(found)
