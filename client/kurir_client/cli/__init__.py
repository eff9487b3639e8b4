"""``kurir``: the plain command line. Append-only output, one line for each change it makes.

Exit codes: 0 done, 1 something went wrong, 2 wrong usage, 3 the profile (missing, locked, damaged,
wrong passphrase), 4 the relay cannot be reached, 5 the relay refused or is another one, 6 the
other side (keys changed, invite used), 7 a business message was refused, 8 an invoice differs,
130 Ctrl+C (a chat and read --follow end by it, with 0).
"""

from __future__ import annotations

import io
import sys

import click

from kurir_billing.errors import BillingError, InvoiceError
from kurir_client.cli import businesses, people, reports, sending
from kurir_client.cli.chat import chat
from kurir_client.cli.output import Output
from kurir_client.cli.session import Options
from kurir_client.demo.command import demo_command
from kurir_client.errors import ClientError, ProfileError, RefusedError
from kurir_client.process import no_core_dumps
from kurir_crypto.errors import CryptoError
from kurir_wire.errors import WireError

INVOICE_DIFFERS = 8
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    envvar="KURIR_HOME",
    metavar="DIR",
    help="The profile's folder [env KURIR_HOME].",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--ascii", "ascii_only", is_flag=True, help="No glyphs outside ASCII.")
@click.option(
    "--ca-file", envvar="KURIR_CA_FILE", metavar="FILE", help="Trust this authority for TLS too."
)
@click.version_option(package_name="kurir")
@click.pass_context
def cli(
    context: click.Context,
    home: str | None,
    as_json: bool,
    ascii_only: bool,
    ca_file: str | None,
) -> None:
    """End-to-end encrypted messaging, with businesses that are billed from metadata only.

    The passphrase is asked for, or taken from KURIR_PASSPHRASE.

    Exit codes: 0 done; 1 something went wrong; 2 wrong usage; 3 the profile cannot be used; 4 the
    relay cannot be reached; 5 the relay refused, or is another one; 6 the other side cannot be
    written to; 7 a business message was refused; 8 an invoice differs; 130 Ctrl+C.
    """
    context.obj = Options(home, Output(as_json, ascii_only), ca_file)


for command in (
    *people.COMMANDS,
    *sending.COMMANDS,
    chat,
    *reports.COMMANDS,
    *businesses.COMMANDS,
    demo_command,
):
    cli.add_command(command)


def main() -> None:
    """The console script."""
    no_core_dumps()
    out = Output("--json" in sys.argv[1:], ascii_only=False)
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "replace")):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # odd bytes or an old terminal are no reason to end
            stream.reconfigure(errors=errors)
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        usage = getattr(error, "ctx", None)
        hint = f"see: {usage.command_path} --help" if usage else ""
        out.error(error.format_message().rstrip(".").replace("\n", " "), hint, error.exit_code)
        code = error.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo(err=True)
        code = INTERRUPTED
    except InvoiceError as error:
        out.error(f"the invoice differs at {error}", "keep both files; ask the operator", 8)
        code = INVOICE_DIFFERS
    except RefusedError as error:
        figures = {"refusal_code": error.code, "quote_micro_usd": error.quote_micro_usd}
        out.error(error.what, error.hint, error.exit_code, **figures)
        code = error.exit_code
    except ClientError as error:
        out.error(error.what, error.hint, error.exit_code)
        code = error.exit_code
    except (CryptoError, WireError, BillingError) as error:
        out.error(str(error) or (type(error).__doc__ or "something went wrong"), "", 1)
        code = 1
    except BrokenPipeError:
        # The reader of our output went away (kurir … | head): nothing is lost by ending quietly.
        sys.stderr.close()
        code = 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        out.error(f"{where}{error.strerror or error}", "check space and permissions", 3)
        code = ProfileError.exit_code
    sys.exit(code if isinstance(code, int) else 0)
