"""The log in memory: everything since the last compaction, and four marks on it.

::

    base_index          applied_index   commit_index         handed_index   last_index
        |  compacted |  handed out to be   |  not yet  |                        |
        |  away      |  applied            |  committed|                        |
                                       stable_index: on this member's disk

``base_index <= applied_index <= commit_index <= last_index`` and ``stable_index <= handed_index <=
last_index`` always hold. ``commit_index`` may be above ``stable_index``: a majority of the others
suffices (dissertation, 10.2.1).

Nothing here is copied or searched in proportion to the log's length: terms never decrease along a
log, so a search by term is a bisection, and sizes are kept as running sums.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from pyswarm.raft.configuration import Configuration, decode_configuration
from pyswarm.raft.entry import Entry, EntryKind, MemberID, new_entry
from pyswarm.raft.snapshot import Snapshot

NORMAL = EntryKind.NORMAL
COMMITTED_ENTRIES_MAX = 4096
"""Entries handed out to be applied at once: after a restart there may be very many, and heartbeats
must go between them."""


class Write:
    """One Ready on its way to the disk: what will be true when it is there."""

    __slots__ = ("last_index", "number", "term_voted")

    def __init__(self, number: int, last_index: int, term_voted: int) -> None:
        self.number = number
        self.last_index = last_index
        """The log is on disk up to here. Lowered when a conflict cuts the log meanwhile."""
        self.term_voted = term_voted
        """The term in which this member voted for itself by then, or 0."""


def surviving(snapshot: Snapshot | None, entries: Sequence[Entry]) -> Sequence[Entry]:
    """The entries on disk that still count beside ``snapshot``.

    If they hold the snapshot's last entry (same index and term) or follow it at once, all of them;
    otherwise the snapshot came from a leader whose log was another one, and none. Whoever reads a
    disk uses the same rule.
    """
    if not entries or snapshot is None:
        return entries
    position = snapshot.index - entries[0].index
    if position == -1:
        return entries
    holds = 0 <= position < len(entries) and entries[position].term == snapshot.term
    return entries if holds else ()


class RaftLog:
    """Entries after ``base_index``; see the module's text for the marks."""

    __slots__ = (
        "applied_index",
        "base_index",
        "base_term",
        "commit_index",
        "committed_at",
        "configurations",
        "entries",
        "handed_index",
        "last_index",
        "last_term",
        "stable_index",
        "sums",
        "writes",
    )

    def __init__(self, snapshot: Snapshot | None, entries: Sequence[Entry]) -> None:
        """The log as read from disk: all of it is stable, the snapshot is committed and applied."""
        self.entries: list[Entry] = []
        self.sums: list[int] = [0]
        """``sums[i]``: bytes of the commands before ``entries[i]``, plus a constant."""
        self.writes: deque[Write] = deque()
        self.configurations: list[tuple[int, Configuration]] = []
        """Each configuration with its index, in order; the last is in effect."""
        self.base_index = self.base_term = 0
        self.reset(snapshot)
        entries = surviving(snapshot, entries)
        base = self.base_index
        if entries and entries[0].index <= base:
            # The disk kept a tail from before the snapshot: the first entry becomes the base.
            self.base_index, self.base_term = entries[0].index, entries[0].term
            self.last_index, self.last_term = self.base_index, self.base_term
            entries = entries[1:]
        for entry in entries:
            self.push(entry, with_configuration=entry.index > base)
        assert self.last_index >= base
        self.handed_index = self.stable_index = self.last_index

    def reset(self, snapshot: Snapshot | None) -> None:
        """Replaces everything by ``snapshot``."""
        index, term = (snapshot.index, snapshot.term) if snapshot else (0, 0)
        configuration = snapshot.configuration if snapshot else Configuration()
        self.entries.clear()
        self.sums[:] = [0]
        self.base_index = self.last_index = index
        self.base_term = self.last_term = term
        self.applied_index = self.commit_index = index
        self.handed_index = self.stable_index = index
        self.configurations[:] = [(index, configuration)]
        self.committed_at = 0
        """Position in ``configurations`` of the latest committed one."""

    # -- reading

    def term_at(self, index: int) -> int | None:
        """The term of the entry at ``index``; None if it is compacted away or not there yet."""
        position = index - self.base_index - 1
        if position >= 0:
            return self.entries[position].term if index <= self.last_index else None
        return self.base_term if position == -1 else None

    def matches(self, index: int, term: int) -> bool:
        """True if the log holds the entry (``index``, ``term``)."""
        return self.term_at(index) == term

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """True if a log ending in (``last_index``, ``last_term``) may lead this one (3.6.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def last_with_term(self, index: int, term: int) -> int:
        """The last index up to ``index`` whose term is not above ``term``.

        An index that is compacted away is given back as it is.
        """
        index = min(index, self.last_index)
        count = index - self.base_index
        if count <= 0:
            return index
        return self.base_index + bisect_right(
            self.entries, term, hi=count, key=lambda entry: entry.term
        )

    def slice(self, first: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries from ``first`` on, as many as fit (at least one if there is any)."""
        start = first - self.base_index - 1
        assert start >= 0
        sums = self.sums
        end = len(self.entries)
        if sums[end] - sums[start] > bytes_max:
            end = max(start + 1, bisect_right(sums, sums[start] + bytes_max) - 1)
        return tuple(self.entries[start:end])

    def range(self, first: int, last: int) -> tuple[Entry, ...]:
        """Entries from ``first`` to ``last``, both included."""
        base = self.base_index
        assert base < first and last <= self.last_index
        return tuple(self.entries[first - base - 1 : last - base])

    @property
    def uncommitted_bytes(self) -> int:
        """Size of the commands after ``commit_index``."""
        committed = self.commit_index - self.base_index
        return self.sums[-1] - self.sums[committed if committed > 0 else 0]

    # -- writing

    def push(self, entry: Entry, with_configuration: bool = True) -> None:
        """Appends one entry."""
        index = entry.index
        assert index == self.last_index + 1 and entry.term >= self.last_term
        self.entries.append(entry)
        self.sums.append(self.sums[-1] + len(entry.data))
        self.last_index, self.last_term = index, entry.term
        if entry.kind == EntryKind.MEMBERSHIP and with_configuration:
            self.configurations.append((index, decode_configuration(entry.data)))

    def push_command(self, term: int, data: bytes) -> int:
        """Appends a command at the end; its index. What ``push`` does, and quicker."""
        assert term >= self.last_term
        index = self.last_index = self.last_index + 1
        self.last_term = term
        self.entries.append(new_entry(Entry, (index, term, NORMAL, data)))
        sums = self.sums
        sums.append(sums[-1] + len(data))
        return index

    def accept(self, prev_index: int, entries: Sequence[Entry]) -> int:
        """Appends a leader's ``entries``, whose predecessor at ``prev_index`` agrees.

        What conflicts is cut off first; what is there already stays, for a delayed message must not
        shorten the log (3.5, figure 3.1: "if an existing entry conflicts"). Returns the last index
        that is now known to agree with the leader.
        """
        agreed = max(prev_index + len(entries), self.commit_index)
        if prev_index != self.last_index:
            entries = self.after_agreement(prev_index, entries)
        self.extend(entries)
        return agreed

    def extend(self, entries: Sequence[Entry]) -> None:
        """Appends many entries: what ``push`` does for one, and quicker."""
        index, term, total = self.last_index, self.last_term, self.sums[-1]
        for entry in entries:
            index += 1
            entry_index, entry_term, kind, data = entry
            assert entry_index == index and entry_term >= term
            term = entry_term
            total += len(data)
            self.sums.append(total)
            if kind == EntryKind.MEMBERSHIP:
                self.configurations.append((index, decode_configuration(data)))
        self.entries += entries
        self.last_index, self.last_term = index, term

    def after_agreement(self, prev_index: int, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The part of ``entries`` that the log lacks, once a conflicting suffix is cut off."""
        skip = max(0, self.commit_index - prev_index)
        for position in range(skip, len(entries)):
            entry = entries[position]
            if entry.index > self.last_index:
                return entries[position:]
            if not self.matches(entry.index, entry.term):
                self.cut_after(entry.index - 1)
                return entries[position:]
        return ()

    def cut_after(self, index: int) -> None:
        """Removes the entries after ``index``, which were never committed."""
        assert index >= self.commit_index, "a committed entry never changes (state machine safety)"
        keep = index - self.base_index
        del self.entries[keep:]
        del self.sums[keep + 1 :]
        self.last_index = index
        self.last_term = self.entries[-1].term if keep else self.base_term
        while self.configurations[-1][0] > index:
            self.configurations.pop()
        self.handed_index = min(self.handed_index, index)
        self.lower_writes(index)

    def lower_writes(self, index: int) -> None:
        """What is on disk, or on its way there, after ``index`` does not count any more."""
        self.stable_index = min(self.stable_index, index)
        for write in self.writes:
            write.last_index = min(write.last_index, index)

    def restore(self, snapshot: Snapshot) -> None:
        """Replaces the log by a received snapshot that is ahead of ``commit_index``."""
        assert snapshot.index > self.commit_index
        self.lower_writes(self.commit_index)
        stable = self.stable_index
        self.reset(snapshot)
        self.stable_index = stable

    def compact(self, index: int) -> None:
        """Forgets the entries up to ``index``, which a snapshot covers."""
        count = index - self.base_index
        if count <= 0:
            return
        assert index <= self.applied_index
        term = self.term_at(index)
        assert term is not None
        del self.entries[:count]
        del self.sums[:count]
        self.base_index, self.base_term = index, term

    # -- the marks

    def commit_to(self, index: int) -> bool:
        """Raises ``commit_index`` to ``index``; True if it moved."""
        if index <= self.commit_index:
            return False
        assert index <= self.last_index, "cannot commit what is not there"
        self.commit_index = index
        configurations = self.configurations
        while (
            self.committed_at + 1 < len(configurations)
            and configurations[self.committed_at + 1][0] <= index
        ):
            self.committed_at += 1
        return True

    def take_entries(self) -> tuple[Entry, ...]:
        """The entries not yet handed to the disk."""
        first = self.handed_index + 1
        if first > self.last_index:
            return ()
        self.handed_index = self.last_index
        return tuple(self.entries[first - self.base_index - 1 :])

    def take_committed(self) -> tuple[Entry, ...]:
        """The committed entries not yet handed out to be applied."""
        first = self.applied_index + 1
        if first > self.commit_index:
            return ()
        last = min(self.commit_index, self.applied_index + COMMITTED_ENTRIES_MAX)
        self.applied_index = last
        return self.range(first, last)

    # -- configurations

    @property
    def configuration(self) -> Configuration:
        """The one in effect: the latest in the log, committed or not."""
        return self.configurations[-1][1]

    @property
    def configuration_index(self) -> int:
        """Index of the entry that holds it."""
        return self.configurations[-1][0]

    @property
    def committed_configuration(self) -> Configuration:
        """The latest committed one."""
        return self.configurations[self.committed_at][1]

    def configuration_at(self, index: int) -> Configuration:
        """The latest configuration up to ``index``."""
        position = bisect_right(self.configurations, index, key=lambda item: item[0])
        assert position > 0, "older than the log's snapshot"
        return self.configurations[position - 1][1]

    def may_be_voter(self, id: MemberID) -> bool:
        """True if ``id`` votes in the latest committed configuration or in one after it."""
        return any(id in item[1].voters for item in self.configurations[self.committed_at :])

    def forget_configurations(self, index: int) -> None:
        """Drops those that are older than the one in effect at ``index``."""
        position = bisect_right(self.configurations, index, key=lambda item: item[0]) - 1
        if position > 0:
            del self.configurations[:position]
            self.committed_at -= position
            assert self.committed_at >= 0
