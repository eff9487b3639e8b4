"""``kurir demo``: the options. What it does is imported when it runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo")
@click.option(
    "--transcript",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Type the lines of this text file; by default, without a terminal, a bundled one.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep everything here for inspection; the folder must be empty or not exist.",
)
def demo_command(transcript: Path | None, out: Path | None) -> int:
    """Talk to a business through a relay that cannot read, and see the bill.

    Starts a relay, a bus company's bot and a customer on this computer. On a terminal you are the
    customer. Ends with what the customer saw, what the relay stored, the invoice, and a search for
    every word of the conversation in everything that the relay could see.

    Exit codes: 0 all well; 1 a step failed, the invoice differs, or a word was found.
    """
    from kurir_client.demo.run import demo

    return demo(transcript, out)


__all__ = ["demo_command"]
