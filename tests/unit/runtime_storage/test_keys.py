"""Data keys, and the key that wraps them (spec: security, 7)."""

from __future__ import annotations

import pytest

from pyswarm.env import Rng
from pyswarm.errors import FailedPrecondition, Locked
from pyswarm.runtime.storage import (
    DamagedRecords,
    KeyRing,
    MissingFile,
    NewerFormat,
    StorageLocked,
    WrongUnlockKey,
)
from pyswarm.runtime.storage.files import SystemFiles
from pyswarm.secretstore import UnlockKey

FILES = SystemFiles()
ONE, TWO = UnlockKey(b"1" * 32), UnlockKey(b"2" * 32)


def ring(path, **options) -> KeyRing:
    return KeyRing.create(path / "keys", FILES, entropy=Rng(1).bytes, **options)


def load(path, kek=None) -> KeyRing:
    return KeyRing.load(path / "keys", FILES, kek=kek)


def test_an_open_ring(tmp_path) -> None:
    made = ring(tmp_path)
    found = load(tmp_path)
    assert found.ids == made.ids == (1,) and found.current_id == 1 and not found.locked
    assert found._keys == made._keys
    assert not KeyRing.is_locked(tmp_path / "keys", FILES)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    assert load(tmp_path, ONE)._keys == made._keys, "a key that is not needed is not used"


def test_a_locked_ring(tmp_path) -> None:
    made = ring(tmp_path, kek=ONE)
    assert KeyRing.is_locked(tmp_path / "keys", FILES)
    assert made._keys[1] not in (tmp_path / "keys").read_bytes()
    assert load(tmp_path, ONE)._keys == made._keys
    with pytest.raises(StorageLocked) as caught:
        load(tmp_path)
    assert isinstance(caught.value, Locked)
    assert str(caught.value) == (
        "Swarm is encrypted and needs to be unlocked before it can be used. "
        'Please use "docker swarm unlock" to unlock it.'
    )
    with pytest.raises(WrongUnlockKey, match="invalid key provided"):
        load(tmp_path, TWO)


def test_locking_wraps_and_draws_a_new_data_key(tmp_path) -> None:
    made = ring(tmp_path)
    assert made.rewrap(ONE, 5) is True
    found = load(tmp_path, ONE)
    assert found.ids == (1, 2) and found.current_id == 2 and found.kek_version == 5
    found.forget({2})
    assert load(tmp_path, ONE).ids == (2,)


def test_rotation_of_the_unlock_key(tmp_path) -> None:
    made = ring(tmp_path, kek=ONE, kek_version=3)
    assert made.rewrap(TWO, 4) is False
    with pytest.raises(WrongUnlockKey):
        load(tmp_path, ONE)
    assert load(tmp_path, TWO).kek_version == 4


def test_older_news_is_ignored(tmp_path) -> None:
    made = ring(tmp_path, kek=TWO, kek_version=4)
    before = (tmp_path / "keys").read_bytes()
    assert made.rewrap(ONE, 3) is False
    assert made.rewrap(TWO, 9) is False
    assert (tmp_path / "keys").read_bytes() == before
    with pytest.raises(FailedPrecondition, match="candidate KEK has the same version"):
        made.rewrap(ONE, 4)


def test_unlocking_for_good(tmp_path) -> None:
    made = ring(tmp_path, kek=ONE, kek_version=3)
    assert made.rewrap(None, 4) is False
    assert load(tmp_path)._keys == made._keys


def test_without_a_seat_all_is_open_and_the_next_news_counts(tmp_path) -> None:
    made = ring(tmp_path, kek=ONE, kek_version=30)
    assert made.rewrap(None, 0) is False
    assert load(tmp_path).kek_version == 0
    assert made.rewrap(TWO, 2) is True
    assert load(tmp_path, TWO).kek_version == 2


def test_the_current_key_is_never_forgotten(tmp_path) -> None:
    made = ring(tmp_path)
    for kek, version in ((ONE, 1), (None, 2), (TWO, 3)):
        made.rewrap(kek, version)
    made.forget({2})
    assert made.ids == (2, 3)
    made.forget(())
    assert made.ids == load(tmp_path, TWO).ids == (3,)


def test_damage(tmp_path) -> None:
    with pytest.raises(MissingFile):
        load(tmp_path)
    ring(tmp_path, kek=ONE)
    path = tmp_path / "keys"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises((DamagedRecords, NewerFormat)):
            load(tmp_path, ONE)
    path.write_bytes(whole[:20])
    with pytest.raises(DamagedRecords):
        load(tmp_path, ONE)
    path.write_bytes(whole[:8] + b"\x07\x00" + whole[10:])
    with pytest.raises(NewerFormat, match="is in format 7"):
        load(tmp_path, ONE)


def test_no_key_in_a_repr(tmp_path) -> None:
    made = ring(tmp_path, kek=ONE)
    assert repr(made) == "<KeyRing [1] locked>"
