"""Small batches of a quick disk are written on the loop itself; all others by the disk's thread."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import trio
from storage_helpers import IDENTITY, batch, entries, entry, snapshot

from pyswarm.runtime.storage import DiskFull, DiskThread, FileStorage
from pyswarm.runtime.storage.disk import HERE_SECONDS, REST_SECONDS, STALL_SECONDS, Pace
from pyswarm.runtime.storage.files import SystemFiles
from pyswarm.runtime.storage.filestorage import PROMPT_BYTES_MAX, PROMPT_ENTRIES_MAX


class Desk:
    """A storage whose disk's thread answers into ``heard``, and what each answer was."""

    def __init__(self, path, *, files=None, segment_bytes=16 * 1024 * 1024) -> None:
        self.path = path
        self.heard = []
        self.told = threading.Event()
        self.disk = DiskThread(self._hear)
        self.storage = FileStorage(
            path / "raft", IDENTITY, None, self.disk, files=files, segment_bytes=segment_bytes
        )
        self.storage.load()
        self.answers = []

    def _hear(self, job) -> None:
        self.heard.append(job)
        self.told.set()

    def put(self, item, *, prompt=True) -> bool:
        """Write ``item``; True if that was done before ``submit`` returned."""
        before = len(self.answers)
        self.told.clear()
        self.storage.submit(item, self.answers.append, prompt=prompt)
        here = len(self.answers) > before
        if not here:
            assert self.told.wait(20)
            self.heard.pop()()
            while self.disk._finished != self.disk._submitted:
                time.sleep(0.001)  # the thread has answered, and is about to be idle
        assert len(self.answers) == before + 1
        return here

    def quick(self) -> Desk:
        self.put(batch(term=1))  # makes the first segment
        self.disk.pace.expected = 0.0
        return self

    def indexes(self) -> list[int]:
        self.disk.close()
        self.storage.close_blocking()
        found = FileStorage(self.path / "raft", IDENTITY, None, DiskThread()).load()
        return [one.index for one in found.entries]


def test_a_quick_disk_is_waited_for(tmp_path) -> None:
    desk = Desk(tmp_path).quick()
    assert desk.put(batch(entry(1), term=2))
    desk.disk.pace.expected = 0.0
    assert not desk.put(batch(entry(2)), prompt=False)
    desk.disk.pace.expected = 0.0
    assert desk.put(batch(entry(3)))
    assert desk.answers == [None] * 4
    assert desk.disk.times.items == 4
    assert desk.indexes() == [1, 2, 3]


def test_a_disk_is_slow_until_it_has_shown_otherwise(tmp_path) -> None:
    desk = Desk(tmp_path)
    assert not desk.put(batch(term=1))
    desk.disk.pace.expected = 2 * HERE_SECONDS
    assert not desk.put(batch(entry(1)))
    assert desk.indexes() == [1]


def test_nobody_is_overtaken(tmp_path) -> None:
    """What was handed to the thread comes first, and so the rest goes there as well."""
    desk = Desk(tmp_path).quick()
    gate, order = threading.Event(), []
    desk.disk.run(lambda: gate.wait(20))
    for index in (1, 2):
        done = lambda error, index=index: order.append(index)  # noqa: E731
        desk.storage.submit(batch(entry(index)), done, prompt=True)
    assert order == []
    gate.set()
    assert desk.indexes() == [1, 2]
    for job in desk.heard:
        job()
    assert order == [1, 2]


def test_answers_come_in_order(tmp_path) -> None:
    """What the thread has written and nobody has heard of yet is still before."""
    desk = Desk(tmp_path).quick()
    desk.told.clear()
    desk.storage.submit(batch(entry(1)), desk.answers.append)
    assert desk.told.wait(20)
    while desk.disk._finished != desk.disk._submitted:
        time.sleep(0.001)
    before = len(desk.answers)
    desk.told.clear()
    desk.storage.submit(batch(entry(2)), desk.answers.append, prompt=True)
    assert len(desk.answers) == before
    assert desk.told.wait(20)
    assert desk.indexes() == [1, 2]


@pytest.mark.parametrize(
    "item",
    [
        batch(*entries(1, PROMPT_ENTRIES_MAX + 1)),
        batch(entry(1, 1, b"x" * (PROMPT_BYTES_MAX + 1))),
        batch(snap=snapshot(3)),
    ],
    ids=["many entries", "many bytes", "a snapshot"],
)
def test_what_is_not_small_goes_to_the_thread(tmp_path, item) -> None:
    desk = Desk(tmp_path).quick()
    assert not desk.put(item)
    desk.disk.close()


def test_the_thread_makes_a_new_segment(tmp_path) -> None:
    desk = Desk(tmp_path, segment_bytes=8192).quick()
    assert desk.put(batch(entry(1, 1, b"x" * 4000)))
    desk.disk.pace.expected = 0.0
    assert not desk.put(batch(entry(2, 1, b"x" * 4000)))
    assert desk.indexes() == [1, 2]


def test_a_full_disk_refuses_here_as_there(tmp_path) -> None:
    class Full(SystemFiles):
        full = False

        def write(self, fd, data, offset, *, sync) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(fd, data, offset, sync=sync)

    files = Full()
    desk = Desk(tmp_path, files=files).quick()
    files.full = True
    assert desk.put(batch(entry(1)))
    assert isinstance(desk.answers[-1], DiskFull)
    files.full = False
    desk.disk.pace.expected = 0.0
    assert not desk.put(batch(entry(1))), "it begins a new segment"
    assert desk.answers[-1] is None
    assert desk.indexes() == [1]


def test_the_pace_follows_the_disk() -> None:
    pace = Pace()
    assert not pace.is_quick(0.0)
    for _ in range(20):
        pace.add(0.0002)
    assert pace.is_quick(0.0)
    for _ in range(20):
        pace.add(0.004)
    assert not pace.is_quick(0.0)
    for _ in range(40):
        pace.add(0.0002)
    assert pace.is_quick(0.0)


def test_a_stall_that_the_loop_felt_is_the_last_for_a_while() -> None:
    pace = Pace()
    pace.expected = 0.0
    pace.felt(STALL_SECONDS / 2, 100.0)
    assert pace.is_quick(100.0)
    pace.felt(STALL_SECONDS, 100.0)
    assert not pace.is_quick(100.0 + 0.9 * REST_SECONDS)
    assert pace.is_quick(100.0 + REST_SECONDS)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C is Python's own: what runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_is_no_fault_of_the_disk(tmp_path) -> None:
    """It comes once the write is done, and the storage takes the next one."""

    class Interrupted(SystemFiles):
        armed = False

        def write(self, *args, **options) -> None:
            super().write(*args, **options)
            if self.armed:
                self.armed = False
                signal.raise_signal(signal.SIGINT)

    files = Interrupted()
    desk = Desk(tmp_path, files=files).quick()

    async def main() -> None:
        files.armed = True
        assert desk.put(batch(entry(1), term=2))
        assert desk.answers == [None, None]
        await trio.sleep_forever()  # trio brings it when it comes round

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    desk.put(batch(entry(2)))
    assert desk.answers == [None] * 3
    assert desk.indexes() == [1, 2]
