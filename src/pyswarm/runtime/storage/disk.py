"""One thread that writes, so that the loop never waits for a disk, and that commits in groups.

Everything handed in while the disk is busy is taken at once when it is free: one write, one sync,
one wake-up of the loop for all of it. So the busier it gets the more each sync carries, and nothing
is ever delayed in the hope of company.

The thread is an ordinary one and lives as long as the storage. Handing work over to trio's worker
threads costs half again as much as the sync itself.

Even the way to a thread of one's own and back costs about as much as a sync of a quick disk. So who
has a small item that somebody waits for may ask for it to be written *here*, on the loop itself:
this is done when nothing is before it and the disk is known to be quick (:class:`Pace`). A slow
disk is always left to the thread, so heartbeats never wait for it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from logging import getLogger
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any, Protocol

import trio

from pyswarm.errors import Cancelled
from pyswarm.runtime.storage.protocol import Done

_log = getLogger("pyswarm.storage")

Deliver = Callable[[Callable[[], None]], object]
"""Runs a function soon, on the loop. May be called on any thread."""
GROUP_ITEMS_MAX = 4096
"""Items of one group: beyond that a group's encoding would keep the interpreter's lock too long."""
BUCKET_SECONDS = tuple(2**i / 16_000 for i in range(15))
"""Bounds of the histogram: 62.5 µs to 1.02 s; what takes longer is in a bucket behind them."""
_BUCKETS = len(BUCKET_SECONDS) + 1
HERE_SECONDS = 0.001
"""A disk that is expected to take longer is not waited for on the loop. The way to the thread and
back costs 0.1 to 0.3 ms; a loop notices nothing shorter than this."""
UNKNOWN_SECONDS = 0.002
"""What is expected of a disk before the first sync: too slow."""
PACE_SHARE = 1 / 8
"""How much one sync says of the next."""
STALL_SECONDS = 0.025
REST_SECONDS = 5.0
"""After the loop has waited for ``STALL_SECONDS`` the thread has all writes for so long, whatever
the disk shows: a disk that stalls again and again stops the loop no more often."""


class Writer(Protocol):
    """Somebody who writes on the disk's thread. One with a method ``tidy`` is let do, after each
    answer, what nobody has to wait for."""

    def write(self, items: list[Any]) -> BaseException | None:
        """Write all of ``items`` as one group; the error if they are not on disk."""
        ...


class SyncTimes:
    """How long groups took: ``buckets[i]`` counts those under ``2**i`` × 62.5 µs (the last: all
    others) and not under the one before, for a histogram."""

    __slots__ = ("buckets", "groups", "items", "seconds")

    def __init__(self) -> None:
        self.groups = 0
        self.items = 0
        self.seconds = 0.0
        self.buckets = [0] * _BUCKETS

    def add(self, seconds: float, items: int) -> None:
        self.groups += 1
        self.items += items
        self.seconds += seconds
        bucket = int(seconds * 16_000).bit_length()
        self.buckets[min(bucket, _BUCKETS - 1)] += 1


class Pace:
    """What the next sync may cost, learnt from all of them, by whichever thread."""

    __slots__ = ("expected", "rests_until")

    def __init__(self) -> None:
        self.expected = UNKNOWN_SECONDS
        """A moving average, in seconds."""
        self.rests_until = 0.0

    def add(self, seconds: float) -> None:
        """One more. A very slow one may have been no plain sync: perhaps a file was made."""
        self.expected += (min(seconds, STALL_SECONDS) - self.expected) * PACE_SHARE

    def felt(self, seconds: float, now: float) -> None:
        """The loop was away for so long, until ``now``."""
        if seconds >= STALL_SECONDS:
            self.rests_until = now + REST_SECONDS

    def is_quick(self, now: float) -> bool:
        """True if the loop may wait for the next one."""
        return self.expected <= HERE_SECONDS and now >= self.rests_until


class DiskThread:
    """The thread. ``deliver`` brings answers to the loop; by default that of the trio run which
    first submits something."""

    def __init__(self, deliver: Deliver | None = None, name: str = "pyswarm disk") -> None:
        self._deliver = deliver
        self._name = name
        self._queue: SimpleQueue[tuple[Writer, Any, Done | None] | None] = SimpleQueue()
        self._background: list[tuple[Generator[object, None, None], Done]] = []
        self._held: tuple[Writer, Any, Done | None] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._submitted = self._finished = 0  # items: counted on the loop, and on the thread
        self._heard = self._answers = 0  # answers: the same
        self.times = SyncTimes()
        self.pace = Pace()

    @trio.lowlevel.enable_ki_protection  # Ctrl-C is no fault of the disk
    def write_here(self, writer: Writer, item: Any, done: Done) -> bool:
        """Have ``writer`` write ``item`` on the calling thread, and answer before returning. False,
        and nothing has happened, if something is before it or the disk may be slow.

        To be called where all else is submitted: on the loop.
        """
        assert not self._closed, "the disk is closed"
        started = perf_counter()
        if not (self._is_idle() and self.pace.is_quick(started)):
            return False
        error = self._attempt(writer, [item])
        ended = perf_counter()
        self.pace.add(ended - started)
        self.pace.felt(ended - started, ended)
        done(error)  # before the statistics: somebody waits for it
        self.times.add(ended - started, 1)
        return True

    def _is_idle(self) -> bool:
        """True if all that was submitted is done, and its answers have been heard."""
        done = self._finished == self._submitted and not self._background
        return done and self._heard == self._answers

    def submit(self, writer: Writer, item: Any, done: Done | None = None) -> None:
        """Have ``writer`` write ``item``, after all that was submitted to it before."""
        assert not self._closed, "the disk is closed"
        if self._thread is None:
            self._start()
        self._submitted += 1
        self._queue.put((writer, item, done))

    def run(self, job: Callable[[], object], done: Done | None = None) -> None:
        """Run ``job`` on the disk's thread: after everything that was submitted before, whoever
        writes it, and before everything after. Its error goes to ``done``."""
        self.submit(_JOBS, job, done)

    def run_in_slices(self, slices: Generator[object, None, None], done: Done) -> None:
        """Exhaust ``slices`` on the disk's thread, one at a time, whenever no group waits."""
        self.run(lambda: self._background.append((slices, done)))

    def _start(self) -> None:
        if self._deliver is None:
            self._deliver = trio.lowlevel.current_trio_token().run_sync_soon
        self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits and end the thread. Blocking."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    async def aclose(self) -> None:
        """The same, without blocking the loop; answers that were due are delivered."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self.close)
            await trio.lowlevel.checkpoint()

    # -- on the thread

    def _loop(self) -> None:
        open = True
        while open:
            groups, open = self._take()
            for writer, items, dones in groups:
                started = perf_counter()
                error = self._attempt(writer, items)
                if writer is not _JOBS:
                    seconds = perf_counter() - started
                    self.times.add(seconds, len(items))
                    self.pace.add(seconds)
                if error is not None and len(dones) < len(items):
                    _log.error("cannot write: %s", error)  # somebody did not ask to be told
                self._answer(dones, error)
                tidy = getattr(writer, "tidy", None)
                if tidy is not None:
                    tidy()
                self._finished += len(items)
            if self._background:
                self._slice()
        for slices, done in self._background:
            slices.close()
            self._answer([done], Cancelled("the storage was closed"))

    def _attempt(self, writer: Writer, items: list[Any]) -> BaseException | None:
        """One group, on whatever thread."""
        try:
            return writer.write(items)
        except BaseException as unexpected:
            return unexpected

    def _take(self) -> tuple[list[tuple[Writer, list[Any], list[Done]]], bool]:
        """All that waits, by writer, in order of the writers' first items; False at the end."""
        taken: dict[int, tuple[Writer, list[Any], list[Done]]] = {}
        count = 0
        with contextlib.suppress(Empty):
            entry, self._held = self._held, None
            if entry is None:
                entry = self._queue.get(block=not self._background)
            while entry is not None:
                writer, item, done = entry
                if writer is _JOBS and taken:  # nobody overtakes a job, and it overtakes nobody
                    self._held = entry
                    return list(taken.values()), True
                if writer is _JOBS:
                    return [(writer, [item], [done] if done else [])], True
                group = taken.setdefault(id(writer), (writer, [], []))
                group[1].append(item)
                if done is not None:
                    group[2].append(done)
                count += 1
                if count == GROUP_ITEMS_MAX:
                    return list(taken.values()), True
                entry = self._queue.get_nowait()
            return list(taken.values()), False
        return list(taken.values()), True

    def _slice(self) -> None:
        slices, done = self._background[0]
        try:
            next(slices)
        except StopIteration:
            del self._background[0]
            self._answer([done], None)
        except BaseException as error:
            del self._background[0]
            self._answer([done], error)

    def _answer(self, dones: list[Done], error: BaseException | None) -> None:
        if not dones:
            return
        assert self._deliver is not None

        def tell() -> None:
            self._heard += 1
            for done in dones:
                done(error)

        self._answers += 1
        with contextlib.suppress(trio.RunFinishedError):  # then nobody is left to hear it
            self._deliver(tell)


class _Jobs:
    """The writer whose items are functions, each a group of its own."""

    def write(self, items: list[Any]) -> BaseException | None:
        for job in items:
            job()
        return None


_JOBS = _Jobs()
