"""What a leader knows about one follower, and how it feeds it (dissertation, 3.5, 10.2).

======== ======================================================== ==============================
state    what is sent                                             leaves it when
======== ======================================================== ==============================
PROBE    one append at a time, to find where the logs agree       it is accepted: REPLICATE;
                                                                  that part is compacted: SNAPSHOT
REPLICATE appends one after the other without waiting, up to a    one is rejected, or nothing is
         window                                                   heard for long: PROBE
SNAPSHOT chunks of a snapshot, a few ahead of the answers         it is installed: REPLICATE;
                                                                  nothing is heard for long: PROBE
======== ======================================================== ==============================

In every state heartbeats go out besides.
"""

from __future__ import annotations

import zlib
from collections import deque
from enum import Enum

from pyswarm.raft.entry import MemberID
from pyswarm.raft.snapshot import Snapshot


class ProgressState(Enum):
    """How a leader feeds a follower."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Reachability(Enum):
    """What a leader believes of a member, from what it heard lately."""

    UNKNOWN = "unknown"
    """A learner, or nothing was heard of it yet."""
    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    """Silent for an election timeout."""


class SnapshotSender:
    """A snapshot on its way to one follower."""

    __slots__ = ("acked", "moved_tick", "next", "running", "snapshot", "window", "window_max")

    def __init__(self, snapshot: Snapshot, window: int, now: int) -> None:
        self.snapshot = snapshot
        self.window = self.window_max = window
        """How many chunks may be ahead of the answers: one after a loss, then one more with each
        answer."""
        self.acked = 0
        """Chunks before this one have arrived."""
        self.next = 0
        """The chunk to send next."""
        self.moved_tick = now
        """When ``acked`` moved last."""
        self.running: list[int] = []
        """CRC-32 of all chunks up to each; as far as they were sent."""

    @property
    def count(self) -> int:
        """Number of messages: at least one."""
        return max(1, len(self.snapshot.chunks))

    def chunk(self, number: int) -> tuple[bytes, int]:
        """A chunk and the running checksum up to it."""
        chunks = self.snapshot.chunks
        while len(self.running) <= number:
            before = self.running[-1] if self.running else 0
            data = chunks[len(self.running)] if chunks else b""
            self.running.append(zlib.crc32(data, before))
        return (chunks[number] if chunks else b""), self.running[number]

    def acknowledge(self, next_chunk: int, now: int) -> None:
        """The follower expects ``next_chunk``: 0 means that it has begun anew."""
        if next_chunk == 0 and self.acked:
            self.acked = self.next = 0
            self.moved_tick = now
        elif self.acked < next_chunk <= self.count:
            self.acked = next_chunk
            self.next = max(self.next, next_chunk)
            self.window = min(self.window + 1, self.window_max)
            self.moved_tick = now

    def resume(self, now: int) -> None:
        """Nothing moved for long: what was sent last is lost, or came in too wild an order."""
        self.next = self.acked
        self.window = 1
        self.moved_tick = now


class Progress:
    """A leader's view of one follower."""

    __slots__ = (
        "beat_match",
        "caught_up",
        "commit_sent",
        "heard_tick",
        "id",
        "inflight",
        "known",
        "match",
        "next",
        "paused",
        "round",
        "round_start",
        "round_target",
        "sender",
        "state",
    )

    def __init__(self, id: MemberID, next: int, now: int) -> None:
        self.id = id
        self.match = 0
        """matchIndex: the highest index known to be on its disk (figure 3.1)."""
        self.next = next
        """nextIndex: the next entry to send."""
        self.state = ProgressState.PROBE
        self.paused = False
        """PROBE: an append is out, wait for its answer or the next heartbeat's."""
        self.inflight: deque[int] = deque()
        """REPLICATE: the last index of each append that is not answered."""
        self.sender: SnapshotSender | None = None
        self.heard_tick = now
        """When it was heard last; counts from the beginning of the term."""
        self.known = False
        """It was heard in this term."""
        self.round = 0
        """The highest round of heartbeats it answered."""
        self.beat_match = 0
        """``match`` at its last heartbeat reply: no progress since then means a lost message."""
        self.commit_sent = 0
        """The commit index it should know by now, if nothing was lost."""
        self.round_target = next - 1
        self.round_start = now
        self.caught_up = False
        """See :meth:`note_catching_up`."""

    def probe(self) -> None:
        """Goes back to asking where the logs agree."""
        self.state = ProgressState.PROBE
        self.next = self.match + 1
        self.paused = False
        self.sender = None
        self.inflight.clear()

    def lose_touch(self, last_index: int, now: int) -> None:
        """Nothing was heard for an election timeout: it has to show anew that it keeps up."""
        if self.state is not ProgressState.PROBE:
            self.probe()
        self.caught_up = False
        self.round_target, self.round_start = last_index, now

    def replicate(self) -> None:
        """The logs agree up to ``match``: entries may flow."""
        self.state = ProgressState.REPLICATE
        self.next = self.match + 1
        self.paused = False
        self.sender = None
        self.inflight.clear()

    def send_snapshot(self, snapshot: Snapshot, window: int, now: int) -> None:
        """What it needs is compacted away: sends a snapshot instead."""
        self.state = ProgressState.SNAPSHOT
        self.sender = SnapshotSender(snapshot, window, now)
        self.paused = False
        self.inflight.clear()

    def accepted(self, index: int) -> bool:
        """Everything up to ``index`` is on its disk; True if that is news."""
        inflight = self.inflight
        while inflight and inflight[0] <= index:
            inflight.popleft()
        if index <= self.match:
            return False
        self.match = index
        if self.next <= index:
            self.next = index + 1
        return True

    def rejected(self, index: int, candidate: int) -> bool:
        """The log disagrees at ``index``; ``candidate`` is the last index that may agree.

        False if the message is out of date.
        """
        if self.state is ProgressState.REPLICATE:
            if index <= self.match:
                return False
            self.probe()
            return True
        if self.state is ProgressState.SNAPSHOT or index != self.next - 1:
            return False
        self.next = max(self.match + 1, min(index, candidate + 1))
        self.paused = False
        return True

    def note_catching_up(self, last_index: int, now: int, timeout: int) -> None:
        """Measures the last round of catching up (4.2.1).

        In each round the follower receives what the log held at the round's beginning. If a round
        takes less than an election timeout, the next one will too, and the member may vote: it
        would hold up commits no longer than an election does.
        """
        if self.match < self.round_target:
            return
        self.caught_up = now - self.round_start <= timeout
        self.round_target, self.round_start = last_index, now
