"""The relay's keys on disk: one folder, one file per key, readable by the operator alone.

``root.key`` certifies the others. Serving does not need it, so an operator may keep it elsewhere
and bring it back for ``kurir-relay renew``.
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
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import WireError
from kurir_wire.ids import DAY
from kurir_wire.relaycert import RelayCert

ROOT: Final = "root.key"
BEACON: Final = "beacon.key"
RECEIPT: Final = "receipt.key"
OPERATOR: Final = "operator.key"
CHECKPOINT: Final = "checkpoint.key"
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
    except OSError as error:
        raise KeyFileError(f"cannot write keys to {folder}: {error.strerror}") from error
    return renew(folder, now)


def remove(folder: Path) -> None:
    """Undo :func:`create`, for a relay that came to nothing."""
    for name in (ROOT, *WORKING, PRF, CERT):
        (folder / name).unlink(missing_ok=True)


def renew(folder: Path, now: int) -> RelayKeys:
    """Write a new certificate of the same working keys, good for a year from ``now``.

    A relay that was made before there was a ledger gets its key for checkpoints here.

    :raises KeyFileError: a key is missing
    """
    root = SigningKey.from_seed(_read(folder / ROOT))
    if not (folder / CHECKPOINT).exists():
        _put(folder / CHECKPOINT, secrets.token_bytes(SEED_BYTES))
    working = _working(folder)
    until = now + CERT_DAYS * DAY
    cert = certify(root, *working, now, until)
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
        data = (folder / CERT).read_bytes()
        cert = unpack(data, RelayCert)
        cert.verify(cert.not_before)
    except (OSError, WireError) as error:
        raise KeyFileError(
            f"{folder / CERT} is missing or damaged",
            "make a new one with: kurir-relay renew",
        ) from error
    certified = (cert.beacon_pk, cert.receipt_pk, cert.operator_pk, cert.checkpoint_pk)
    if certified != tuple(key.public for key in working):
        raise KeyFileError(
            f"the certificate in {folder} is of other keys",
            "restore the folder from a backup, or renew the certificate",
        )
    return RelayKeys(cert, *working, _read(folder / PRF))


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


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii")
        seed = bytes.fromhex(text)
    except OSError as error:
        raise KeyFileError(
            f"cannot read {path}: {error.strerror}",
            "give the folder with --keys, or make keys with: kurir-relay init",
        ) from error
    except ValueError as error:
        raise KeyFileError(f"{path} is damaged", "restore it from a backup") from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeyFileError(f"{path} can be read by others", f"run: chmod 600 {path}")
    if len(seed) != SEED_BYTES:
        raise KeyFileError(f"{path} is damaged", "restore it from a backup")
    return seed


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
