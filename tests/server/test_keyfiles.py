"""The relay's keys on disk, and folders from before there was a ledger, or reports."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kurir_server import keyfiles
from kurir_server.errors import KeyFileError
from tests.server.rig import START

ALL_OF_THEM = (*keyfiles.WORKING, keyfiles.PRF)
"""That serving needs."""


def test_a_folder_keeps_its_keys(tmp_path: Path) -> None:
    made = keyfiles.create(tmp_path / "keys", START)
    made.cert.verify(START)
    loaded = keyfiles.load(tmp_path / "keys")
    assert loaded == made
    assert keyfiles.renew(tmp_path / "keys", START) == made
    names = {path.name for path in (tmp_path / "keys").iterdir()}
    assert names == {keyfiles.ROOT, *keyfiles.WORKING, keyfiles.REPORT, keyfiles.PRF, keyfiles.CERT}
    publics = {made.cert.beacon_pk, made.cert.receipt_pk, made.cert.operator_pk}
    assert made.cert.checkpoint_pk not in publics


def test_a_folder_from_before_the_ledger_is_renewed(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = keyfiles.create(folder, START)
    (folder / keyfiles.CHECKPOINT).unlink()
    with pytest.raises(KeyFileError, match=r"no checkpoint\.key") as caught:
        keyfiles.load(folder)
    assert "kurir-relay renew" in str(caught.value.hint)
    renewed = keyfiles.renew(folder, START)
    assert keyfiles.load(folder) == renewed
    assert renewed.relay_id == made.relay_id
    assert renewed.cert.checkpoint_pk != made.cert.checkpoint_pk
    assert (renewed.beacon_key, renewed.receipt_key) == (made.beacon_key, made.receipt_key)


def test_a_certificate_of_another_checkpoint_key(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    keyfiles.create(folder, START)
    keyfiles.create(tmp_path / "other", START)
    stolen = (tmp_path / "other" / keyfiles.CHECKPOINT).read_bytes()
    (folder / keyfiles.CHECKPOINT).write_bytes(stolen)
    with pytest.raises(KeyFileError, match="of other keys"):
        keyfiles.load(folder)


# The key for reports


def test_the_key_for_reports_is_apart(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = keyfiles.create(folder, START)
    key = keyfiles.load_report_key(folder, made.cert)
    assert key.public == made.cert.report_pk
    kept = (folder / keyfiles.REPORT).read_bytes()
    assert kept.strip() not in repr(key).encode()
    (folder / keyfiles.REPORT).unlink()
    assert keyfiles.load(folder) == made, "serving does not need it"
    with pytest.raises(KeyFileError, match=r"cannot read .*report\.key"):
        keyfiles.load_report_key(folder, made.cert)
    # It may be kept elsewhere: renewing does not put another in its place.
    assert keyfiles.renew(folder, START + 1).cert.report_pk == made.cert.report_pk
    assert not (folder / keyfiles.REPORT).exists()
    (folder / keyfiles.REPORT).write_bytes(kept)
    with pytest.raises(KeyFileError, match="can be read by others"):
        keyfiles.load_report_key(folder, made.cert)
    (folder / keyfiles.REPORT).chmod(0o600)
    assert keyfiles.load_report_key(folder, made.cert) == key


@pytest.mark.parametrize("damage", [b"", b"00" * 32, b"zz" * 96, b"00" * 97])
def test_a_damaged_key_for_reports(tmp_path: Path, damage: bytes) -> None:
    made = keyfiles.create(tmp_path, START)
    (tmp_path / keyfiles.REPORT).write_bytes(damage)
    with pytest.raises(KeyFileError, match="is damaged"):
        keyfiles.load_report_key(tmp_path, made.cert)


def test_a_key_that_the_certificate_does_not_name(tmp_path: Path) -> None:
    made = keyfiles.create(tmp_path / "keys", START)
    keyfiles.create(tmp_path / "other", START)
    other = tmp_path / "other" / keyfiles.REPORT
    other.replace(tmp_path / "keys" / keyfiles.REPORT)
    with pytest.raises(KeyFileError, match="not the key that the certificate names"):
        keyfiles.load_report_key(tmp_path / "keys", made.cert)
    renewed = keyfiles.renew(tmp_path / "keys", START)
    keyfiles.load_report_key(tmp_path / "keys", renewed.cert)


def test_a_folder_from_before_there_were_reports_is_renewed(tmp_path: Path) -> None:
    made = keyfiles.create(tmp_path, START)
    (tmp_path / keyfiles.REPORT).unlink()
    cert = msgspec.to_builtins(made.cert, builtin_types=(bytes,))
    del cert[5]
    (tmp_path / keyfiles.CERT).write_bytes(msgspec.msgpack.encode(cert))
    with pytest.raises(KeyFileError, match="of an older kurir-relay") as caught:
        keyfiles.load(tmp_path)
    assert "kurir-relay renew" in str(caught.value.hint)
    renewed = keyfiles.renew(tmp_path, START)
    assert keyfiles.load(tmp_path) == renewed
    assert renewed.relay_id == made.relay_id
    assert keyfiles.load_report_key(tmp_path, renewed.cert).public == renewed.cert.report_pk


def hint_of(folder: Path) -> str:
    with pytest.raises(KeyFileError) as caught:
        keyfiles.load(folder)
    return str(caught.value.hint)


@pytest.mark.parametrize("name", [name for name in ALL_OF_THEM if name != keyfiles.CHECKPOINT])
def test_one_key_that_is_missing_comes_from_the_copy(tmp_path: Path, name: str) -> None:
    """New ones would be another relay's."""
    keyfiles.create(tmp_path, START)
    (tmp_path / name).unlink()
    assert "put the copy of the folder back" in hint_of(tmp_path)
    assert "init" not in hint_of(tmp_path)


def test_where_no_key_is_they_may_be_elsewhere(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert "--keys" in hint_of(folder)
        assert "kurir-relay init" in hint_of(folder)


def test_keys_that_are_kept_elsewhere_are_brought_back(tmp_path: Path) -> None:
    made = keyfiles.create(tmp_path, START)
    for name in (keyfiles.ROOT, keyfiles.REPORT):
        (tmp_path / name).unlink()
    with pytest.raises(KeyFileError) as of_root:
        keyfiles.renew(tmp_path, START)
    with pytest.raises(KeyFileError) as of_report:
        keyfiles.load_report_key(tmp_path, made.cert)
    for caught in (of_root, of_report):
        assert "bring it back from where it is kept" in str(caught.value.hint)
