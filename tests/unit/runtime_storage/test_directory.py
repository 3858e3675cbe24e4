"""A node's directory as a whole: the lock, locking with an unlock key, a log that goes."""

from __future__ import annotations

import sys

import pytest
import trio
from storage_helpers import IDENTITY, batch, entries, entry, snapshot

from pyswarm.runtime.storage import (
    Batch,
    DirectoryInUse,
    FileDirectory,
    LogStorage,
    MemoryDirectory,
    MissingFile,
    StorageLocked,
    WrongUnlockKey,
)
from pyswarm.secretstore import UnlockKey

KEK = UnlockKey(b"k" * 32)


async def put(log: LogStorage, *batches: Batch) -> None:
    ended = trio.Event()
    errors: list[BaseException] = []

    def done(error: BaseException | None) -> None:
        if error is not None:
            errors.append(error)
        ended.set()

    for item in batches[:-1]:
        log.submit(item, lambda error: None)
    log.submit(batches[-1], done)
    await ended.wait()
    assert not errors


async def test_a_life_and_the_next(tmp_path) -> None:
    path = tmp_path / "deep" / "node"
    directory = FileDirectory.open(path)
    assert not directory.has_log()
    directory.state.save("node", b"me")
    log = directory.log(IDENTITY)
    assert log.load().is_empty
    await put(log, batch(*entries(1, 3), term=1))
    assert directory.has_log()
    await directory.aclose()
    await directory.aclose()
    assert path.stat().st_mode & 0o777 == 0o700
    again = FileDirectory.open(path)
    assert again.state.load("node") == b"me"
    assert again.log(IDENTITY).load().entries == entries(1, 3)
    await again.aclose()


async def test_one_at_a_time(tmp_path) -> None:
    directory = FileDirectory.open(tmp_path)
    with pytest.raises(DirectoryInUse, match="in use by another process"):
        FileDirectory.open(tmp_path)
    code = (
        "import sys; from pyswarm.runtime.storage import FileDirectory as D, DirectoryInUse as U\n"
        "try: D.open(sys.argv[1])\n"
        "except U: print('in use')"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    other = await trio.run_process(command, capture_stdout=True)
    assert other.stdout == b"in use\n"
    await directory.aclose()
    free = await trio.run_process(command, capture_stdout=True)
    assert free.stdout == b""


async def test_autolock_on_and_off(tmp_path) -> None:
    directory = FileDirectory.open(tmp_path)
    directory.state.save("node", b"me")
    log = directory.log(IDENTITY)
    log.load()
    await put(log, batch(*entries(1, 5), term=1))
    key_in_clear = directory.ring._keys[1]
    assert await directory.rewrap(KEK, 4) is True
    assert directory.ring.ids == (1, 2), "the log still needs the old one"
    await put(log, batch(entry(6)), batch(snap=snapshot(6)))
    await directory.state.flush()  # the old key goes after the answer
    assert directory.ring.ids == (2,)
    await directory.aclose()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or key_in_clear not in path.read_bytes()

    assert FileDirectory.is_locked(tmp_path)
    with pytest.raises(StorageLocked):
        FileDirectory.open(tmp_path)
    with pytest.raises(WrongUnlockKey):
        FileDirectory.open(tmp_path, unlock_key=UnlockKey(b"x" * 32))
    directory = FileDirectory.open(tmp_path, unlock_key=KEK)
    assert directory.state.load("node") == b"me"
    log = directory.log(IDENTITY)
    found = log.load()
    assert found.snapshot == snapshot(6) and found.hard_state.term == 1
    assert await directory.rewrap(None, 9) is False
    await directory.aclose()
    assert not FileDirectory.is_locked(tmp_path)
    await FileDirectory.open(tmp_path).aclose()


async def test_locked_from_the_start(tmp_path) -> None:
    directory = FileDirectory.open(tmp_path, unlock_key=KEK)
    directory.state.save("node", b"me")
    await directory.aclose()
    with pytest.raises(StorageLocked):
        FileDirectory.open(tmp_path)


async def test_a_log_that_goes(tmp_path) -> None:
    directory = FileDirectory.open(tmp_path)
    log = directory.log(IDENTITY)
    log.load()
    await put(log, batch(*entries(1, 5), term=1), batch(snap=snapshot(3)))
    directory.drop_log()
    await directory.state.flush()
    assert not directory.has_log() and not list((tmp_path / "raft").iterdir())
    log = directory.log(IDENTITY)
    assert log.load().is_empty
    await put(log, batch(entry(1), term=1))
    await directory.aclose()


async def test_keys_that_are_gone(tmp_path) -> None:
    directory = FileDirectory.open(tmp_path)
    directory.state.save("node", b"me")
    await directory.aclose()
    (tmp_path / "keys").unlink()
    with pytest.raises(MissingFile, match="keys is missing"):
        FileDirectory.open(tmp_path)


async def test_in_memory() -> None:
    directory = MemoryDirectory().open()
    log = directory.log(IDENTITY)
    assert log.load().is_empty
    await put(log, batch(*entries(1, 9), term=1), batch(snap=snapshot(4)))
    log.submit(batch(entry(10)), lambda error: None)  # and the node crashes
    log = directory.open().log(IDENTITY)
    found = log.load()
    assert found.entries == entries(5, 9) and found.snapshot == snapshot(4)
    await put(log, batch(*entries(7, 8, 2), term=2))
    assert log.load().entries == entries(5, 6) + entries(7, 8, 2)
    await put(log, batch(*entries(21, 22, 4), snap=snapshot(20, 3)))
    assert log.load().entries == entries(21, 22, 4)
    assert directory.has_log()
    directory.drop_log()
    assert not directory.has_log()
    await directory.aclose()
