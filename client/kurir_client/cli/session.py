"""What commands share: the options, unlocking the profile, running with the relay."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import platformdirs

from kurir_client.cli.output import Output
from kurir_client.clock import Clock, demo_clock, system_clock
from kurir_client.errors import ProfileError
from kurir_client.profile import Profile

PASSPHRASE_VARIABLE: Final = "KURIR_PASSPHRASE"  # noqa: S105 - the name, not the passphrase
CLOCK_VARIABLE: Final = "KURIR_DEMO_CLOCK"
SHORT_PASSPHRASE: Final = 12
"""Characters below which a passphrase is called short: argon2id slows guesses, it does not stop
them."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """The options before the command."""

    home_option: str | None
    out: Output
    ca_file: str | None

    @property
    def home(self) -> Path:
        """The profile's folder."""
        if self.home_option:
            return Path(self.home_option)
        return Path(platformdirs.user_data_dir("kurir", appauthor=False))

    @property
    def clock(self) -> Clock:
        """The computer's clock, or that of a demonstration."""
        file = os.environ.get(CLOCK_VARIABLE)
        return demo_clock(Path(file)) if file else system_clock

    @contextmanager
    def profile(self) -> Iterator[Profile]:
        """The unlocked profile.

        :raises ProfileError: none there, wrong passphrase, damaged
        """
        if not (self.home / "vault").exists():
            raise ProfileError(f"there is no profile in {self.home}", "make one with: kurir init")
        passphrase = ask_passphrase()
        profile = Profile.open(self.home, passphrase, self.clock, self.ca_file)
        try:
            yield profile
        finally:
            profile.close()


pass_options = click.make_pass_decorator(Options)


def ask_passphrase() -> str:
    """From the environment, or by prompt.

    :raises ProfileError: neither is possible
    """
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise ProfileError("the passphrase cannot be asked for here", f"set {PASSPHRASE_VARIABLE}")
    return str(click.prompt("Passphrase", hide_input=True, err=True))


def new_passphrase(out: Output) -> str:
    """A new one: twice by prompt with a word on its strength, or from the environment.

    :raises ProfileError: neither is possible
    """
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise ProfileError("the passphrase cannot be asked for here", f"set {PASSPHRASE_VARIABLE}")
    out.note("Choose a passphrase; several words are better than one. There is no reset.")
    chosen = str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True))
    if len(chosen) < SHORT_PASSPHRASE:
        out.note(f"This is short: under {SHORT_PASSPHRASE} characters it can be guessed.")
    return chosen


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run what needs the relay."""
    return asyncio.run(work)
