"""The relay's keys on disk: one folder, one file per key, readable by the operator alone.

``root.key`` certifies the others, and ``report.key`` opens what customers report. Serving needs
neither, so an operator may keep them elsewhere and bring the one back for ``kurir-relay renew``,
the other for ``kurir-relay report``.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from kurir_server.errors import KeyFileError
from kurir_server.keys import SEED_BYTES, RelayKeys, SigningKey, certify
from kurir_server.limits import CERT_DAYS
from kurir_server.report_key import SECRET_BYTES, ReportKey
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import WireError
from kurir_wire.ids import DAY
from kurir_wire.relaycert import RelayCert

ROOT: Final = "root.key"
BEACON: Final = "beacon.key"
RECEIPT: Final = "receipt.key"
OPERATOR: Final = "operator.key"
CHECKPOINT: Final = "checkpoint.key"
REPORT: Final = "report.key"
PRF: Final = "prf.key"
CERT: Final = "relay.cert"
WORKING: Final = (BEACON, RECEIPT, OPERATOR, CHECKPOINT)


def default_folder(db: Path) -> Path:
    """Where keys lie unless ``--keys`` says otherwise: ``relay.keys`` beside ``relay.db``."""
    return db.with_suffix(".keys")


def create(folder: Path, now: int) -> RelayKeys:
    """Make all keys and a certificate of a year.

    :param now: seconds
    :raises KeyFileError: there are keys already, or the folder cannot be written
    """
    if (folder / ROOT).exists() or (folder / CERT).exists():
        raise KeyFileError(
            f"{folder} holds the keys of a relay already",
            "give another folder; if its database is lost, see kurir-relay restore; if kurir-relay "
            "init was interrupted and nobody ever used it, remove the folder",
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (ROOT, *WORKING, PRF):
            _write(folder / name, secrets.token_bytes(SEED_BYTES))
        _write(folder / REPORT, secrets.token_bytes(SECRET_BYTES))
    except OSError as error:
        raise KeyFileError(f"cannot write keys to {folder}: {error.strerror}") from error
    return renew(folder, now)


def remove(folder: Path) -> None:
    """Undo :func:`create`, for a relay that came to nothing."""
    for name in (ROOT, *WORKING, PRF, CERT):
        (folder / name).unlink(missing_ok=True)


def renew(folder: Path, now: int) -> RelayKeys:
    """Write a new certificate of the same working keys, good for a year from ``now``.

    A relay that was made before there was a ledger gets its key for checkpoints here, and one from
    before there were reports that for reports.

    :raises KeyFileError: a key is missing
    """
    root = SigningKey.from_seed(_read(folder / ROOT))
    if not (folder / CHECKPOINT).exists():
        _put(folder / CHECKPOINT, secrets.token_bytes(SEED_BYTES))
    working = _working(folder)
    until = now + CERT_DAYS * DAY
    cert = certify(root, *working, _report_public(folder), now, until)
    _put(folder / CERT, pack(cert))
    return RelayKeys(cert, *working, _read(folder / PRF))


def load(folder: Path) -> RelayKeys:
    """The working keys, checked against their certificate's signature; not against the clock.

    :raises KeyFileError: missing, damaged, of another relay, or readable by others
    """
    if (folder / OPERATOR).exists() and not (folder / CHECKPOINT).exists():
        raise KeyFileError(
            f"{folder} has no {CHECKPOINT}, which signs the ledger's checkpoints",
            "make it, and a certificate that names it, with: kurir-relay renew",
        )
    working = _working(folder)
    try:
        cert = _certificate(folder)
    except (OSError, WireError) as error:
        raise KeyFileError(
            f"{folder / CERT} is missing, damaged, or of an older kurir-relay",
            "make a new one with: kurir-relay renew",
        ) from error
    certified = (cert.beacon_pk, cert.receipt_pk, cert.operator_pk, cert.checkpoint_pk)
    if certified != tuple(key.public for key in working):
        raise KeyFileError(
            f"the certificate in {folder} is of other keys",
            "restore the folder from a backup, or renew the certificate",
        )
    return RelayKeys(cert, *working, _read(folder / PRF))


def load_report_key(folder: Path, cert: RelayCert) -> ReportKey:
    """The key that opens reports, for the operator's commands; a relay that serves never calls it.

    :raises KeyFileError: missing, damaged, or not the one that the certificate names
    """
    key = ReportKey.from_bytes(_read(folder / REPORT, SECRET_BYTES))
    if key.public != cert.report_pk:
        raise KeyFileError(
            f"{folder / REPORT} is not the key that the certificate names",
            "restore it from a backup, or renew the certificate",
        )
    return key


def _report_public(folder: Path) -> bytes:
    """What the certificate is to name: of the key that is here; else, as it may be kept elsewhere,
    what it named so far; else of a new one."""
    if not (folder / REPORT).exists():
        try:
            return _certificate(folder).report_pk
        except (OSError, WireError):
            _put(folder / REPORT, secrets.token_bytes(SECRET_BYTES))
    return ReportKey.from_bytes(_read(folder / REPORT, SECRET_BYTES)).public


def _certificate(folder: Path) -> RelayCert:
    cert = unpack((folder / CERT).read_bytes(), RelayCert)
    cert.verify(cert.not_before)
    return cert


def _working(folder: Path) -> tuple[SigningKey, SigningKey, SigningKey, SigningKey]:
    """In the order of the certificate."""
    beacon, receipt, operator, checkpoint = (
        SigningKey.from_seed(_read(folder / name)) for name in WORKING
    )
    return beacon, receipt, operator, checkpoint


def _put(path: Path, data: bytes) -> None:
    try:
        _write(path, data)
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from error


def _read(path: Path, length: int = SEED_BYTES) -> bytes:
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii")
        seed = bytes.fromhex(text)
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}", _hint_for(path)) from error
    except ValueError as error:
        raise KeyFileError(f"{path} is damaged", "restore it from a backup") from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeyFileError(f"{path} can be read by others", f"run: chmod 600 {path}")
    if len(seed) != length:
        raise KeyFileError(f"{path} is damaged", "restore it from a backup")
    return seed


def _hint_for(path: Path) -> str:
    """What to do about a key that cannot be read."""
    if path.exists():
        return "the user that runs this must be able to read the folder of the keys, and all in it"
    if not any((path.parent / name).exists() for name in (*WORKING, PRF)):
        return "give the folder with --keys, or make keys with: kurir-relay init"
    if path.name in (ROOT, REPORT):
        return "bring it back from where it is kept, for as long as this takes"
    return "the relay's other keys are there: put the copy of the folder back"


def _write(path: Path, data: bytes) -> None:
    """Written whole or not at all; mode 0600 from the first byte."""
    partial = path.with_name(path.name + ".new")
    partial.unlink(missing_ok=True)
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data if path.name == CERT else data.hex().encode("ascii") + b"\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
