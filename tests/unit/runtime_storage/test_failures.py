"""A full disk refuses and recovers; a failing one stops. Nothing in between counts as written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from storage_helpers import IDENTITY, Answers, Log, batch, entries, entry, snapshot

from pyswarm.runtime.storage import DiskFull, DiskThread, FileStorage, StateFile, WriteFailed
from pyswarm.runtime.storage.files import SystemFiles


class FailingFiles(SystemFiles):
    """Operations fail with ``code`` while it is set: those named in ``at``, or all that write.
    A failing write leaves half of its data behind."""

    def __init__(self) -> None:
        self.code = 0
        self.at = {"create", "allocate", "write", "sync", "rename", "sync_directory"}

    def fail(self, operation: str) -> None:
        if self.code and operation in self.at:
            raise OSError(self.code, os.strerror(self.code))

    def create(self, path: Path) -> int:
        self.fail("create")
        return super().create(path)

    def allocate(self, fd: int, size: int) -> None:
        self.fail("allocate")
        super().allocate(fd, size)

    def write(self, fd: int, data: bytes, offset: int, *, sync: bool) -> None:
        if self.code and "write" in self.at:
            super().write(fd, data[: len(data) // 2], offset, sync=sync)
        self.fail("write")
        super().write(fd, data, offset, sync=sync)
        if sync:
            self.fail("sync")

    def sync(self, fd: int) -> None:
        self.fail("sync")
        super().sync(fd)

    def rename(self, source: Path, target: Path) -> None:
        self.fail("rename")
        super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        self.fail("sync_directory")
        super().sync_directory(path)


OPERATIONS = ["create", "allocate", "write", "sync", "rename", "sync_directory"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("when", ["first write", "in a segment", "at a roll", "snapshot"])
def test_a_full_disk_refuses_and_recovers(tmp_path, operation, when) -> None:
    files = FailingFiles()
    log = Log(tmp_path, files=files, segment_bytes=4096)
    written = 0
    if when != "first write":
        log.put(batch(*entries(1, 3), term=1))
        written = 3
    if when == "at a roll":
        log.put(batch(entry(4, 1, b"x" * 3500)))
        written = 4
    item = batch(*entries(written + 1, written + 9))
    if when == "snapshot":
        item = batch(*entries(written + 1, written + 9), snap=snapshot(3))
    files.code, files.at = errno.ENOSPC, {operation}
    error = log.write(item)
    assert error is None or isinstance(error, DiskFull)
    if error is not None:
        again = log.write(item)
        assert again is None or isinstance(again, DiskFull)
        files.code = 0
        if again is not None:
            log.put(item)
    files.code = 0
    log.put(batch(entry(written + 10)))
    log.close()
    found = Log(tmp_path, segment_bytes=4096).recovered
    base = found.snapshot.index if found.snapshot else 0
    assert [e.index for e in found.entries] == list(range(base + 1, written + 11))
    assert base == (3 if when == "snapshot" else 0)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_after_a_refusal_nothing_else_is_taken(tmp_path, operation) -> None:
    """A group whose sync failed lies whole in the file; the segment after it says where the log
    ended, and then the same entries come again."""
    files = FailingFiles()
    log = Log(tmp_path, files=files, segment_bytes=4096)
    log.put(batch(*entries(1, 3), term=1))
    files.code, files.at = errno.ENOSPC, {operation}
    refused = batch(*entries(4, 9, 2), term=2)
    error = log.write(refused)
    files.code = 0
    if error is not None:
        assert log.write(batch(term=3)) is error
        assert log.write(batch(term=3), refused) is error
        log.put(refused, batch(term=3))
    found = Log(tmp_path, segment_bytes=4096).recovered
    assert found.entries == entries(1, 3) + entries(4, 9, 2)
    assert found.hard_state.term == (2 if error is None else 3)


def test_a_failing_disk_stops_the_storage(tmp_path) -> None:
    files = FailingFiles()
    log = Log(tmp_path, files=files)
    log.put(batch(*entries(1, 3), term=1))
    files.code, files.at = errno.EIO, {"sync"}
    assert isinstance(log.write(batch(entry(4))), WriteFailed)
    files.code = 0
    error = log.write(batch(entry(4)))
    assert isinstance(error, WriteFailed) and error.outcome == "unknown"
    log.close()
    found = Log(tmp_path).recovered
    assert found.entries == entries(1, 3)


def test_a_gap_is_refused(tmp_path) -> None:
    log = Log(tmp_path)
    log.put(batch(*entries(1, 3), term=1))
    assert "ends at 3" in str(log.write(batch(entry(5))))


def test_what_was_submitted_before_the_driver_heard_fails_too(tmp_path) -> None:
    """Through the thread: the second batch would fit behind the first, and must not be written
    when the first was not."""
    files = FailingFiles()
    heard: list = []
    disk = DiskThread(heard.append)  # answers are delivered when the test says so
    storage = FileStorage(tmp_path / "raft", IDENTITY, None, disk, files=files)
    storage.load()
    files.code, files.at = errno.ENOSPC, {"create"}
    answers = Answers()
    storage.submit(batch(entry(1), term=1), answers)
    wait_for(lambda: len(heard) == 1)
    files.code = 0
    storage.submit(batch(term=2), answers)  # not heard yet
    wait_for(lambda: len(heard) == 2)
    for tell in heard:
        tell()
    assert [type(error) for error in answers.errors] == [DiskFull, DiskFull]
    storage.submit(batch(entry(1), term=1), answers)  # in order, once more
    storage.submit(batch(term=2), answers)
    wait_for(lambda: len(heard) >= 3)
    disk.close()
    for tell in heard[2:]:
        tell()
    assert answers.errors[2:] == [None, None]
    storage.close_blocking()
    found = FileStorage(tmp_path / "raft", IDENTITY, None, DiskThread()).load()
    assert found.entries == entries(1, 1) and found.hard_state.term == 2


def wait_for(condition) -> None:
    import time

    for _ in range(20_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("it did not come")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_small_state_on_a_full_disk(tmp_path, operation) -> None:
    files = FailingFiles()
    state = StateFile(tmp_path / "state", None, DiskThread(), files=files)
    assert state.write([{"a": b"1"}]) is None
    files.code, files.at = errno.ENOSPC, {operation}
    first = state.write([{"b": b"2"}])
    second = state.write([{"a": b"3"}])
    files.code = 0
    assert all(error is None or isinstance(error, DiskFull) for error in (first, second))
    assert state.write([{}]) is None  # what failed is written with whatever comes next
    state.close_blocking()
    found = StateFile(tmp_path / "state", None, DiskThread())
    assert (found.load("a"), found.load("b")) == (b"3", b"2")


def test_a_job_that_fails_and_one_after_it(tmp_path) -> None:
    disk = DiskThread(lambda job: job())
    answers = Answers()

    def fails() -> None:
        raise DiskFull("no room")

    disk.run(fails, answers)
    disk.run(lambda: None, answers)
    errors = answers.wait(2)
    disk.close()
    assert isinstance(errors[0], DiskFull) and errors[1] is None
