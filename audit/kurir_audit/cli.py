"""``kurir-audit``: what a relay exposes, measured.

Exit codes: 0 nothing to object to; 1 found (an unknown table or column, a word that should not be
there, a ledger that does not hold); 2 the command could not be carried out; 3 the search was
blind, or found what it cannot judge without a baseline. Errors go to standard error as
``error: …`` and, where it helps, ``hint: …``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from kurir_audit import (
    as_json,
    canary,
    canary_view,
    document,
    inventory,
    ledger,
    ledger_invoice,
    ledger_view,
    stored,
    views,
)
from kurir_audit.capture import reason
from kurir_audit.controls import Controls
from kurir_audit.errors import EXIT_FOUND, EXIT_OK, EXIT_USAGE, AuditError, UsageError
from kurir_audit.places import gather
from kurir_audit.tap import Endpoint, run_tap

_FILE = click.Path(path_type=Path, dir_okay=False)
_db = click.option("--db", type=_FILE, required=True, help="The relay's database.")
_json = click.option("--json", "json_", is_flag=True, help="Everything, for programs.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kurir", prog_name="kurir-audit")
def cli() -> None:
    """Find out what a kurir relay exposes.

    \b
    Exit codes: 0 nothing to object to
                1 found: an unknown field, a word that should not be there, a ledger that differs
                2 the command could not be carried out
                3 the search was blind, or found what it cannot judge
    """


@cli.command("inventory")
@_db
@_json
def inventory_command(db: Path, json_: bool) -> int:
    """List every table and column with purpose and retention; fail on an unknown one.

    The database is opened read-only, also while a relay runs.
    """
    taken = inventory.take(db)
    if json_:
        click.echo(as_json.dump(as_json.inventory_json(taken)))
    else:
        out = views.console()
        out.print(views.inventory_view(taken))
        out.print(views.inventory_verdict(taken))
    return EXIT_FOUND if taken.unknown else EXIT_OK


@cli.command("metadata")
def metadata_command() -> None:
    """Print docs/metadata.md from the declaration."""
    click.echo(document.render(), nl=False)


@cli.command("stored")
@_db
@click.option("--log", "logs", type=_FILE, multiple=True, help="A log of the relay; repeatable.")
@click.option("--rows", default=views.MAX_ROWS, help="Rows shown of each table; 0 for all.")
@click.option("--log-lines", default=views.LOG_LINES, help="Last log lines shown; 0 for all.")
@_json
def stored_command(
    db: Path, logs: tuple[Path, ...], rows: int, log_lines: int, json_: bool
) -> None:
    """Show what a relay stored and logged, field by field, each with its purpose."""
    if rows < 0 or log_lines < 0:
        raise UsageError("a number of rows or lines is 0 or more")
    found = stored.read(db, logs)
    if json_:
        click.echo(as_json.dump(as_json.stored_json(found)))
    else:
        views.console().print(views.stored_view(found, rows, log_lines))


@cli.command("canary")
@click.option(
    "--words", type=_FILE, required=True, help="One search term a line, UTF-8; blank lines are not."
)
@_db
@click.option("--log", "logs", type=_FILE, multiple=True, help="A log of the relay; repeatable.")
@click.option("--capture", type=_FILE, help="A capture by kurir-audit tap.")
@click.option("--baseline-db", type=_FILE, help="The database of a run with other words.")
@click.option("--baseline-log", "baseline_logs", type=_FILE, multiple=True, help="Its log.")
@click.option("--baseline-capture", type=_FILE, help="Its capture.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, file_okay=False),
    help="Instead: a folder with files of the same names.",
)
@click.option("--control", multiple=True, help="A word that crossed the wire, both ways.")
@click.option("--control-db", multiple=True, help="A word that is in the database.")
@click.option("--control-log", multiple=True, help="A word that is in the log.")
@click.option("--all", "everything", is_flag=True, help="List all occurrences in the baseline.")
@_json
def canary_command(
    words: Path,
    db: Path,
    logs: tuple[Path, ...],
    capture: Path | None,
    baseline_db: Path | None,
    baseline_logs: tuple[Path, ...],
    baseline_capture: Path | None,
    baseline: Path | None,
    control: tuple[str, ...],
    control_db: tuple[str, ...],
    control_log: tuple[str, ...],
    everything: bool,
    json_: bool,
) -> int:
    """Search everything that a relay could see for the words of a conversation.

    Looks in the database (also its -wal and -journal), the log, and the bytes on the wire, raw and
    unmasked, for each term as written and in lower case, in UTF-8 and UTF-16. What a baseline run
    with other words has too does not count; without one, short words in text are found and not
    judged. Controls must be found, or the search is blind.
    """
    terms = read_words(words)
    if baseline is not None:
        if baseline_db or baseline_logs or baseline_capture:
            raise UsageError("give --baseline or the single --baseline-… files, not both")
        baseline_db = _twin(baseline, db)
        baseline_logs = tuple(_twin(baseline, log) for log in logs)
        baseline_capture = _twin(baseline, capture) if capture else None
    evidence = gather(db, logs, capture)
    compared = None
    if baseline_db or baseline_logs or baseline_capture:
        compared = gather(baseline_db, baseline_logs, baseline_capture)
    outcome = canary.search(terms, evidence, compared, Controls(control, control_db, control_log))
    if json_:
        click.echo(as_json.dump(as_json.outcome_json(outcome)))
    else:
        out = views.console()
        out.print(canary_view.outcome_view(outcome, everything))
        out.print()
        out.print(canary_view.verdict(outcome))
    return outcome.exit_code


@cli.command("ledger")
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.option(
    "--checkpoint", "notes", type=_FILE, multiple=True, help="A checkpoint that somebody kept."
)
@click.option(
    "--invoice",
    "invoices",
    type=_FILE,
    multiple=True,
    help="Has to say the same, to the micro-USD.",
)
@_json
def ledger_command(
    files: tuple[Path, ...], notes: tuple[Path, ...], invoices: tuple[Path, ...], json_: bool
) -> int:
    """Recompute a relay's ledger from what `kurir-relay ledger export` wrote.

    Checks each leaf (signed by the business, opened by the customer's device, priced by its rate
    card, there once), each adjustment, each checkpoint (signed by the relay, with the root that the
    entries give), and whether several files of one relay, or checkpoints that others kept, are of
    the same ledger. Prints what each business owes for each month, after quotas, tiers,
    conversations, fees and adjustments; there is no mailbox in it to see.
    """
    given = {file: ledger_invoice.read(file) for file in invoices}
    wanted = [ledger_invoice.name_of(invoice) for invoice in given.values()]
    accounts = [ledger.examine(file, wanted) for file in files]
    forks = ledger.forks(accounts)
    for account in ledger.longest(accounts):
        forks += (found for note in notes if (found := ledger.missing(account, note)))
        for file, invoice in given.items():
            found = None if account.fault else ledger_invoice.difference(account, invoice)
            if found is not None:
                forks.append(f"{file} and {account.file}, {found}")
    if json_:
        click.echo(as_json.dump(ledger_view.accounts_json(accounts, forks)))
    else:
        out = views.console()
        out.print(ledger_view.accounts_view(accounts))
        out.print(ledger_view.verdict(accounts, forks))
    return EXIT_FOUND if forks or any(account.fault for account in accounts) else EXIT_OK


@cli.command("tap")
@click.option("--listen", required=True, help="HOST:PORT of this computer; port 0 for any.")
@click.option("--upstream", required=True, help="HOST:PORT of the relay, on this computer.")
@click.option("--out", type=_FILE, required=True, help="The capture; must not exist yet.")
@click.option("--ready-file", type=_FILE, help="Holds the bound address once it accepts.")
def tap_command(listen: str, upstream: str, out: Path, ready_file: Path | None) -> None:
    """Record what crosses a relay's sockets: a proxy that forwards bytes unchanged.

    Records raw bytes and unmasked WebSocket payloads, both ways. SIGTERM or Ctrl-C ends it.
    """
    ends = Endpoint.parse(listen, "--listen"), Endpoint.parse(upstream, "--upstream")
    try:
        summary = asyncio.run(run_tap(*ends, out, ready_file))
    except OSError as error:
        raise AuditError(f"cannot record: {reason(error)}") from error
    to_relay, to_client = summary.raw.values()
    click.echo(f"{summary.connections} connections, {to_relay:,} bytes in, {to_client:,} out")
    if summary.refused:
        click.echo(f"note: the relay could not be reached {summary.refused} times", err=True)
    for note in summary.notes:
        click.echo(f"note: recorded raw only: {note}", err=True)


@cli.command("ping")
@click.option("--relay", required=True, help="HOST:PORT or wss://HOST, or of a tap before it.")
@click.option("--word", required=True, help="1 to 125 bytes; comes back in the pong.")
def ping_command(relay: str, word: str) -> None:
    """Send a control word over the wire and see it come back."""
    # Here, for websockets takes longer to import than all else together.
    from kurir_audit.ping import ping

    echo = ping(relay, word)
    click.echo(f"came back after {echo.seconds * 1_000:.1f} ms")


@cli.command("bill")
@click.argument("events", type=_FILE)
@click.option("--tariff", "name", required=True, help="flat, reply-2018, and so on.")
@click.option(
    "--card",
    "card_files",
    type=_FILE,
    multiple=True,
    help="Other prices than the bundled rate card; repeatable.",
)
@click.option("--out", type=_FILE, help="Write there, and print a summary.")
def bill_command(events: Path, name: str, card_files: tuple[Path, ...], out: Path | None) -> None:
    """Price a plain list of messaging events (EVENTS.jsonl) under any tariff.

    One JSON object a line, in and out; docs/billing.md, "Replay", has the fields and the rules. A
    file with a bad line, or with two that contradict each other, is not priced at all. Of several
    cards each prices what was accepted from its effective_from on.
    """
    # Here, for the other commands do without prices.
    from kurir_audit import bill

    bill.run(events, name, card_files, out)


def read_words(path: Path) -> list[str]:
    """One term a line, without the white space around it.

    :raises UsageError: no terms, or not UTF-8
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", "one search term a line") from error
    terms = [line.strip() for line in text.splitlines() if line.strip()]
    if not terms:
        raise UsageError(f"{path} has no words", "one search term a line")
    return terms


def _twin(folder: Path, file: Path) -> Path:
    """The file in the baseline's folder that has this one's name.

    :raises UsageError: there is none, or more than one
    """
    found = sorted(folder.rglob(file.name))
    if len(found) != 1:
        raise UsageError(
            f"{folder} holds {len(found)} files called {file.name}",
            "name the files with --baseline-db, --baseline-log and --baseline-capture",
        )
    return found[0]


def main() -> NoReturn:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One command; returns its exit code."""
    try:
        code: Any = cli.main(arguments, prog_name="kurir-audit", standalone_mode=False)
        sys.stdout.flush()
    except AuditError as error:
        return _fail(str(error), error.hint)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_USAGE
    except click.ClickException as error:
        text = error.format_message().rstrip(".")
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "kurir-audit"
        return _fail(text[:1].lower() + text[1:], f"see {path} --help")
    except click.Abort:
        return _fail("interrupted", "")
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        sys.stderr.close()
        return EXIT_OK
    except OSError as error:
        # Files are told of by name where they are used; what is left is the output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail(f"cannot write the output: {reason(error)}", "")
    return code if isinstance(code, int) else EXIT_OK


def _fail(what: str, hint: str) -> int:
    click.echo(f"error: {what}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    return EXIT_USAGE
