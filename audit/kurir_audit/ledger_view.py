"""What ``kurir-audit ledger`` prints, for people and for programs."""

from __future__ import annotations

from typing import Any, Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from kurir_audit.ledger import Account
from kurir_billing.dates import show_month

SHOWN_ID: Final = 16
"""Hex digits of a business id that are shown: enough to find it."""


def accounts_view(accounts: list[Account]) -> Group:
    """Totals of each file."""
    parts: list[Table | Text] = []
    for account in accounts:
        title = Text(f"{account.file}\n", style="bold cyan")
        settled = len(account.hashes) - account.adjustments
        counts = f"{settled:,} settled charges, "
        if account.adjustments:
            counts += f"{account.adjustments:,} adjustments, "
        counts += f"{account.checkpoints:,} checkpoints"
        title.append(counts, style="bold")
        if account.relay_id:
            title.append(f"  of relay {account.relay_id.hex()[:SHOWN_ID]}…", style="dim")
        parts += (title, _totals(account), Text())
    return Group(*parts)


def verdict(accounts: list[Account], forks: list[str]) -> Text:
    """What is wrong, or that nothing is."""
    text = Text()
    faults = [f"{account.file}, {account.fault}" for account in accounts if account.fault]
    for fault in (*faults, *forks):
        text.append(f"differs: {fault}\n", style="bold red")
    if faults:
        text.append("this ledger does not hold", style="bold red")
    elif forks:
        text.append("these do not agree", style="bold red")
    else:
        text.append(
            "every leaf signed, opened, priced by its card and there once; "
            "every root and every bill recomputed",
            style="bold green",
        )
    return text


def accounts_json(accounts: list[Account], forks: list[str]) -> dict[str, Any]:
    """All of it."""
    return {
        "files": [
            {
                "file": str(account.file),
                "relay": account.relay_id.hex() if account.relay_id else None,
                "leaves": len(account.hashes) - account.adjustments,
                "adjustments": account.adjustments,
                "checkpoints": account.checkpoints,
                "fault": account.fault,
                "totals": [
                    {
                        "business": business.hex(),
                        "month": show_month(month),
                        "market": group.market,
                        "tariff": group.tariff,
                        "category": group.category.name.lower(),
                        "class": group.klass.name.lower(),
                        "why": group.why.name.lower(),
                        "unit_micro_usd": group.unit,
                        "count": group.count,
                        "micro_usd": group.amount,
                    }
                    for (business, month), bill in sorted(account.bills.items())
                    for group in bill.groups
                ],
                "bills": [
                    {
                        "business": business.hex(),
                        "month": show_month(month),
                        "count": bill.count,
                        "subtotal_micro_usd": bill.sums.subtotal,
                        "fee_micro_usd": bill.sums.fee,
                        "adjustments_micro_usd": bill.sums.adjustments,
                        "total_micro_usd": bill.sums.total,
                    }
                    for (business, month), bill in sorted(account.bills.items())
                ],
            }
            for account in accounts
        ],
        "forks": forks,
    }


def _totals(account: Account) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in ("business", "month"):
        table.add_column(head)
    for head in ("settled", "messages", "fee", "adjustments", "micro-USD"):
        table.add_column(head, justify="right")
    for (business, month), bill in sorted(account.bills.items()):
        sums = bill.sums
        table.add_row(
            business.hex()[:SHOWN_ID],
            show_month(month),
            f"{bill.count:,}",
            *(f"{part:,}" for part in (sums.subtotal, sums.fee, sums.adjustments, sums.total)),
        )
    return table
