"""docs/metadata.md, printed from the declaration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kurir_audit.declaration import Content, Field, Group
from kurir_audit.declared_billing import STRUCTURES
from kurir_audit.declared_blobs import BLOB_META, BLOB_META_KEYS, BLOB_STORE
from kurir_audit.declared_log import COMMON, LOG
from kurir_audit.declared_metrics import METRICS
from kurir_audit.declared_network import NETWORK
from kurir_audit.declared_store import INDEXES, META, META_KEYS, STORE
from kurir_audit.declared_together import TOGETHER
from kurir_audit.declared_wire import ENTRIES, REPLIES, REQUESTS

_HEAD: Final = """\
<!-- Printed by `kurir-audit metadata` from audit/kurir_audit/declared_*.py. Change it there. -->

# What the relay can see

A relay that cannot read messages still sees that there are some. This is the complete list of what
it sees: every column of its files, every field of its log, every field that crosses its sockets,
and what it holds in memory. Tests hold the list against the relay's real schema, log and frames,
and fail on anything that is not here; `kurir-audit inventory --db FILE` does the same with a
database that you have.

**How to read it.** Each field has one *purpose*: **delivery** (a message would not arrive),
**billing** (an invoice could not be proved), **abuse** (somebody could do harm unhindered) or
**operation** (the relay could not be run). *Kept* says how long the relay has it. *Lets the relay
infer* is what a curious operator could conclude, said plainly: the column to read if you look for
weaknesses. Fields marked ● are sealed: the relay carries the bytes and has no key to them.

A field whose loss would break neither delivery nor billing has no business being there; if you find
one, that is a bug.

## In short

| the relay learns | from |
|---|---|
| that a mailbox exists, how many envelopes wait in it, of which bucket | `mailboxes`, `envelopes` |
| which businesses there are, under which legal name | `businesses` |
| which mailboxes are customers of a business: while a charge is open, and for as long as a relay \
that breaks its own rules cares to remember | `charges.body`, `Charge.opening` |
| market, category, class, price and day of each settled business message; not whose, but see \
[What columns give together](#what-columns-give-together) | `leaves` |
| that attachments wait, of how many chunks of 64 KiB, until which hour, and that somebody \
brings and fetches them; not from whom, for whom, or with which message | `blobs` |
| network addresses, and what one connection opens | the connection |

## What it does not learn

- **Text, files, templates, names of people.** They are inside sealed bodies and encrypted cards.
- **Phone numbers, e-mail addresses, contact lists, groups.** No field exists for them.
- **Who writes into a personal mailbox.** All who may write show the same token, over any
  connection; a submission names no sender.
- **What kind of message it is.** A greeting and a text are the same in size and form.
- **Exact lengths.** Bodies have 2, 4, 16 or 64 KiB.
- **When somebody read something**, beyond the acknowledgement that removes the envelope: this
  version sends no read receipts.
- **Arrival times from what is stored.** No stored time is finer than an hour, but for the second of
  acceptance of a charge, erased within 51 minutes, and that of a charge that opened a window, which
  is encrypted until the window ends; no row order ties unrelated mailboxes. The
  write-ahead log is an exception of a few seconds, and what is stored gives more together than
  piece by piece: see [What columns give together](#what-columns-give-together). An operator that
  asks for metrics and keeps them has counts over time of all users together
  ([In the operator's monitoring](#in-the-operators-monitoring)).
- **What is gone**, except from backups: one keeps what waited when it was made.

What a *live* relay can conclude by watching times and connections is another matter: see
[threat-model.md](threat-model.md).
"""


def render() -> str:
    """The whole document."""
    parts = [_HEAD, "## In the database\n", _store(), "## In the file of blobs\n", _blobs()]
    parts += ["## In the log\n", _log()]
    parts += ["## In the operator's monitoring\n", _section(METRICS, "`metrics`")]
    parts += ["## On the wire\n", _wire(), "## From the network, and in memory\n"]
    parts += [_section(group, group.name[0].upper() + group.name[1:]) for group in NETWORK]
    return "\n".join(parts)


def _store() -> str:
    parts = [
        "One SQLite file with its write-ahead log. Deleted rows are overwritten (`secure_delete`), "
        "and the\nlog is truncated within 5 seconds. The relay's secret keys are not in it: they "
        "are files of their own.\n"
    ]
    for group in STORE:
        parts.append(_section(group, f"`{group.name}`"))
        if group is META:
            parts.append(_section(META_KEYS, "`meta`, its keys"))
    parts.append("### Indexes\n")
    parts.append("An index is a second copy of columns above. Keys have implicit ones; by name:\n")
    rows = ((f"`{e.name}`", f"`{e.table}` ({', '.join(e.columns)})", e.why) for e in INDEXES)
    parts.append(_table(("index", "copies", "why"), rows))
    parts.append("### What columns give together\n")
    parts.append(
        "Each column by itself says what stands beside it above. Side by side some say more, to a "
        "curious\noperator and to whoever takes the files.\n"
    )
    pairs = ((", ".join(f"`{c}`" for c in t.columns), t.follows, t.lasts) for t in TOGETHER)
    parts.append(_table(("columns", "what follows", "for how long"), pairs))
    return "\n".join(parts)


def _blobs() -> str:
    parts = [
        "A second SQLite file beside the database, with the same settings, for attachments. "
        "Nothing in one of the\nfiles refers to the other.\n"
    ]
    for group in BLOB_STORE:
        parts.append(_section(group, f"`{group.name}`" + (" of blobs" * (group is BLOB_META))))
        if group is BLOB_META:
            parts.append(_section(BLOB_META_KEYS, "`meta` of blobs, its keys"))
    return "\n".join(parts)


def _log() -> str:
    rows = [
        (f"*{group.name}*" if group is COMMON else f"`{group.name}`", f"`{field.name}`", field.why)
        for group in (COMMON, *LOG)
        for field in group.fields
    ]
    rows += [(f"`{group.name}`", "", f"({group.about})") for group in LOG if not group.fields]
    return (
        "JSON, one object a line. No field holds a mailbox, an envelope, a customer or a client's "
        "network\naddress. Purpose: operation. Kept as long as the operator keeps the log.\n\n"
        + _table(("event", "field", "why"), rows)
    )


def _wire() -> str:
    parts = [
        "Each frame is one WebSocket message. What is stored of it is listed above; all else is "
        "*not kept*:\ngone when the answer is sent. Every request carries a number `n` that its "
        "reply repeats (delivery:\nmatches the two; not kept; nothing to infer), left out "
        "below.\n",
        "### Frames, client to relay\n",
        _merged(REQUESTS),
        "### Frames, relay to client\n",
        _merged(REPLIES),
        "### Entries of frames\n",
        _merged(ENTRIES),
        "### Signed structures within them\n",
        _merged(STRUCTURES),
    ]
    return "\n".join(parts)


def _section(group: Group, title: str) -> str:
    """One group. What all of its fields are kept for stands above the table, once."""
    kept = {field.retention for field in group.fields}
    about = _sentence(group.about)
    heads: tuple[str, ...] = ("field", "purpose", "why", "kept", "lets the relay infer")
    rows = [_row(f"`{f.name}`" if title.startswith("`") else f.name, f) for f in group.fields]
    if len(kept) == 1 and len(rows) > 1:
        about += f" Kept {kept.pop()}."
        heads = (*heads[:3], heads[4])
        rows = [(*row[:3], row[4]) for row in rows]
    return f"### {title}\n\n{about}\n\n{_table(heads, rows)}"


def _merged(groups: Iterable[Group]) -> str:
    """Many small groups as one table; a group's first line says what it is."""
    rows: list[tuple[str, ...]] = []
    for group in groups:
        rows.append((f"**{group.name}**", "", f"*{group.about}*", "", ""))
        rows += [_row(f"`{field.name}`", field) for field in group.fields if field.name != "n"]
    return _table(("field", "purpose", "why", "kept", "lets the relay infer"), rows)


def _row(name: str, field: Field) -> tuple[str, ...]:
    mark = " ●" if field.content is Content.SEALED else ""
    return (name + mark, field.purpose.value, field.why, field.retention, field.infers)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
