"""The node's key and certificate as files: readable by others, locked, and whole after a crash."""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs
import msgpack
import pytest
import trio

from pyswarm.ca import Identity, RootCA, create_csr, create_key
from pyswarm.ca.errors import InvalidCertificate
from pyswarm.env import Rng
from pyswarm.model import Role
from pyswarm.runtime.disk import Disk
from pyswarm.runtime.storage import FileDirectory, MemoryDirectory
from pyswarm.runtime.storage.errors import DamagedRecords, MissingFile, ReadFailed, StorageLocked
from pyswarm.runtime.tls.credentials import BLOB, Credentials, ForeignCertificate
from pyswarm.runtime.tls.keyfiles import (
    AS_OF,
    CERTIFICATE,
    COMING,
    KEY,
    NEXT_CERTIFICATE,
    NEXT_KEY,
    ROOT,
    CertificateFiles,
)
from pyswarm.secretstore import UnlockKey

NOW = 1_795_370_897.0
ROOT_CA = RootCA.create(NOW, entropy=Rng("root").bytes)
WHO = Identity("node", Role.MANAGER, "swarm")
FIRST, SECOND = UnlockKey(b"1" * 32), UnlockKey(b"2" * 32)


def made(name: str) -> Credentials:
    key = create_key(Rng(name).bytes)
    return Credentials(key, ROOT_CA.sign(create_csr(key), WHO, NOW), ROOT_CA.cert_pem)


ONE, OTHER = made("one"), made("other")


def opened(path: Path, key: UnlockKey | None = None) -> Disk:
    return Disk(FileDirectory.open(path, unlock_key=key))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_pem_files_with_their_modes(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    assert disk.certificates.load() is None
    disk.certificates.put(ONE)
    place = tmp_path / "certificates"
    assert (place / KEY).read_bytes() == ONE.key_pem
    assert (place / CERTIFICATE).read_bytes() == ONE.chain_pem
    assert (place / ROOT).read_bytes() == ROOT_CA.cert_pem
    assert [mode(place / name) for name in (KEY, CERTIFICATE, ROOT)] == [0o600, 0o644, 0o644]
    await disk.aclose()
    again = opened(tmp_path)
    assert again.certificates.load() == ONE
    coming = RootCA.create(NOW, entropy=Rng("coming").bytes).cert_pem
    await again.certificates.save(Credentials(OTHER.key_pem, OTHER.chain_pem, ONE.root_pem, coming))
    found = again.certificates.load()
    assert found is not None
    assert (found.key_pem, found.coming_pem) == (OTHER.key_pem, coming)
    again.certificates.put(OTHER)
    assert not (place / COMING).exists()
    await again.forget()
    assert list(place.iterdir()) == []
    await again.aclose()


async def test_locked_rotated_and_unlocked(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    disk.certificates.put(ONE)
    place = tmp_path / "certificates" / KEY
    await disk.wrap_keys(FIRST, 5)
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in place.read_bytes()
    assert mode(place) == 0o600
    assert disk.certificates.was_laid_open, "the disk may still hold it in clear somewhere"
    await disk.aclose()
    with pytest.raises(StorageLocked):
        opened(tmp_path)
    disk = opened(tmp_path, FIRST)
    assert disk.certificates.load() == ONE
    assert disk.certificates.was_laid_open, "also after a restart"
    await disk.certificates.save(OTHER)
    assert not disk.certificates.was_laid_open
    await disk.wrap_keys(SECOND, 6)
    assert not disk.certificates.was_laid_open
    await disk.wrap_keys(FIRST, 4)  # old news
    await disk.aclose()
    disk = opened(tmp_path, SECOND)
    assert disk.certificates.load() == OTHER
    await disk.wrap_keys(None, 7)
    assert place.read_bytes() == OTHER.key_pem
    await disk.aclose()


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
async def test_openssl_reads_it_with_the_unlock_key(tmp_path: Path) -> None:
    disk = opened(tmp_path, FIRST)
    disk.certificates.put(ONE)
    await disk.wrap_keys(FIRST, 5)
    await disk.aclose()
    command = ["openssl", "pkey", "-in", str(tmp_path / "certificates" / KEY), "-passin"]
    done = await trio.run_process([*command, f"pass:{FIRST.text}"], capture_stdout=True)
    assert b"BEGIN PRIVATE KEY" in done.stdout


async def test_a_crash_between_the_key_and_the_data_keys(tmp_path: Path) -> None:
    """Whether the data keys had followed or not, what opens them opens the key."""
    disk = opened(tmp_path)
    disk.certificates.put(ONE)
    await disk.wrap_keys(FIRST, 5)
    place = tmp_path / "certificates"
    before = (place / KEY).read_bytes()
    await disk.wrap_keys(SECOND, 6)
    after = (place / KEY).read_bytes()
    await disk.aclose()
    (place / NEXT_KEY).write_bytes(after)
    (place / KEY).write_bytes(before)  # the data keys have followed, the key has not
    disk = opened(tmp_path, SECOND)
    assert disk.certificates.load() == ONE
    assert not (place / NEXT_KEY).exists()
    (place / NEXT_KEY).write_bytes(before)  # a key that never came to count
    assert disk.certificates.load() == ONE
    (place / KEY).write_bytes(before)
    with pytest.raises(DamagedRecords, match=r"swarm-node.key is damaged"):
        disk.certificates.load()
    (place / KEY).write_bytes(ONE.key_pem)  # still in clear, though the data keys are not
    assert disk.certificates.load() == ONE
    assert ONE.key_pem not in (place / KEY).read_bytes()
    assert disk.certificates.was_laid_open
    await disk.aclose()


async def test_a_crash_between_the_key_and_its_certificate(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    disk.certificates.put(ONE)
    place = tmp_path / "certificates"
    (place / NEXT_CERTIFICATE).write_bytes(OTHER.chain_pem)
    assert disk.certificates.load() == ONE, "the key was not written yet"
    (place / KEY).write_bytes(OTHER.key_pem)
    assert disk.certificates.load() == OTHER, "the key was written"
    (place / NEXT_CERTIFICATE).unlink()
    with pytest.raises(ForeignCertificate, match="is not the key of"):
        disk.certificates.load()
    await disk.aclose()


@pytest.mark.parametrize("name", [KEY, CERTIFICATE, ROOT])
async def test_files_that_are_missing_damaged_or_unreadable(tmp_path: Path, name: str) -> None:
    disk = opened(tmp_path)
    disk.certificates.put(ONE)
    await disk.wrap_keys(FIRST, 5)
    place = tmp_path / "certificates" / name
    text = place.read_bytes()
    place.unlink()
    with pytest.raises(MissingFile, match=f"{name} is missing"):
        disk.certificates.load()
    for damage in (b"", text[:100], text[:100] + b"\0" + text[101:]):
        place.write_bytes(damage)
        with pytest.raises((DamagedRecords, InvalidCertificate, ForeignCertificate)):
            disk.certificates.load()
    place.unlink()
    place.mkdir()
    with pytest.raises(ReadFailed, match=f"cannot read .*/{name}: Is a directory"):
        disk.certificates.load()
    place.rmdir()
    place.write_bytes(text)
    assert disk.certificates.load() == ONE
    await disk.aclose()


async def test_when_the_swarm_named_the_roots_is_kept(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    told = attrs.evolve(ONE, as_of=(1_795_370_897.25, 12))
    disk.certificates.put(told)
    assert disk.certificates.load() == told
    place = tmp_path / "certificates" / AS_OF
    place.write_bytes(b"yesterday")
    with pytest.raises(DamagedRecords, match=AS_OF):
        disk.certificates.load()
    place.unlink()
    assert disk.certificates.load() == ONE, "a directory of before this was kept"
    await disk.aclose()


@pytest.mark.parametrize(
    "record",
    [
        ONE.to_bytes(),
        msgpack.packb((1, ONE.key_pem, ONE.chain_pem, ONE.root_pem, ONE.coming_pem)),
    ],
    ids=["today", "first format"],
)
async def test_a_record_of_a_backup_becomes_files(tmp_path: Path, record: bytes) -> None:
    disk = opened(tmp_path)
    disk.save(BLOB, record)
    assert disk.certificates.load() == ONE
    assert disk.directory.state.load(BLOB) is None
    assert isinstance(disk.certificates, CertificateFiles)
    assert disk.certificates.load() == ONE
    await disk.aclose()


async def test_in_memory() -> None:
    disk = Disk(MemoryDirectory().open())
    disk.certificates.put(ONE)
    await disk.certificates.save(OTHER)
    await disk.wrap_keys(FIRST, 1)
    assert disk.certificates.load() == OTHER
    await disk.forget()
    assert disk.certificates.load() is None
