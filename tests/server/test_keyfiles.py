"""The relay's keys on disk, and a folder from before there was a ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from kurir_server import keyfiles
from kurir_server.errors import KeyFileError
from tests.server.rig import START


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
