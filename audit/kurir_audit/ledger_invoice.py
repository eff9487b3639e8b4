"""An invoice against the ledger: both say the same, to the micro-unit."""

from __future__ import annotations

from pathlib import Path

from kurir_audit.books import Month, Name
from kurir_audit.capture import reason
from kurir_audit.errors import EvidenceFileError
from kurir_audit.ledger import ENDS_BEFORE, Account
from kurir_billing.dates import show_month
from kurir_billing.errors import InvoiceError, LedgerError
from kurir_billing.head import head_for
from kurir_billing.headcheck import PLACES
from kurir_billing.invoice import Invoice, Records
from kurir_billing.invoice_file import from_json
from kurir_billing.ledger import open_checkpoint
from kurir_billing.verify import verify_invoice
from kurir_wire.ids import BusinessId, Hash, RelayId
from kurir_wire.merkle import Growing


def read(file: Path) -> Invoice:
    """:raises EvidenceFileError: it cannot be read, or is no invoice"""
    try:
        return from_json(file.read_bytes())
    except OSError as error:
        raise EvidenceFileError(f"cannot read {file}: {reason(error)}") from error
    except InvoiceError as error:
        raise EvidenceFileError(f"{file} is no invoice: {error}") from error


def name_of(invoice: Invoice) -> Name:
    """Which month of the books it is."""
    return invoice.head.business_id, invoice.head.month


def difference(account: Account, invoice: Invoice) -> str | None:
    """The first place where an invoice does not hold, or says something else than the ledger;
    ``None`` if it agrees.

    :param account: of a ledger that holds, with the invoice's month kept
    """
    relay_id = account.relay_id
    if relay_id is None:
        return None  # the ledger has a fault of its own
    try:
        known = _known(account, invoice)
        business_id = BusinessId(invoice.head.business_id)
        verify_invoice(invoice, Records(relay_id, business_id, checkpoints=known))
    except (InvoiceError, LedgerError) as error:
        return str(error)
    return _difference(account, invoice, relay_id)


def _known(account: Account, invoice: Invoice) -> dict[int, Hash]:
    """The state of this ledger that the invoice's checkpoint has to be.

    :raises LedgerError: the ledger ends before it
    """
    if invoice.standing is None:
        return {}
    cert = invoice.cert
    size = open_checkpoint(invoice.standing.checkpoint, cert.checkpoint_pk, cert.relay_id).size
    if size > len(account.hashes):
        raise LedgerError(
            f"checkpoint: is signed over {size} entries, and {account.file} {ENDS_BEFORE}"
        )
    return {size: Growing(account.hashes[:size]).root()}


def _difference(account: Account, invoice: Invoice, relay_id: RelayId) -> str | None:
    head, whole = invoice.head, account.kept.get(name_of(invoice), Month())
    leaves = [leaf for leaf in whole.leaves if leaf.settled_day <= head.through_day]
    adjusts = [adjust for adjust in whole.adjusts if adjust.day <= head.through_day]
    billed = {leaf.hash(relay_id) for leaf in invoice.leaves}
    for leaf in leaves:
        if leaf.hash(relay_id) not in billed:
            charge = leaf.charge_hash(relay_id).hex()[:16]
            month = show_month(head.month)
            return f"lines: the ledger has charge {charge} in {month}, and the invoice has not"
    due = head_for(
        BusinessId(head.business_id),
        head.month,
        head.through_day,
        leaves,
        relay_id,
        account.cards,
        whole.charged,
        adjusts=adjusts,
    )
    for field in (
        "charged_hash",
        "adjustments_hash",
        "lines_hash",
        "count",
        "subtotal_micro_usd",
        "fee_micro_usd",
        "adjustments_micro_usd",
        "total_micro_usd",
    ):
        said, found = getattr(head, field), getattr(due, field)
        if said != found:
            where = PLACES[field].removesuffix("_hash")
            if isinstance(said, bytes):
                return f"{where}: are not those of the ledger"
            return f"{where}: says {said} where the ledger gives {found}"
    return None
