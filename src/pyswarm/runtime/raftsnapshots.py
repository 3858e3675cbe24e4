"""When a member of a :class:`~pyswarm.runtime.raftnode.RaftNode` group takes its next snapshot.

Not before the log has grown by what the last one had (dissertation, 5.1.3), so that the cost of a
commit does not grow with the state; and each member at its own time, so that the disks of a
majority are always free of it.
"""

from __future__ import annotations

from pyswarm.raft import MemberID

ENTRY_BYTES = 128
"""What an entry takes in memory besides its command."""


class SnapshotSchedule:
    """One member's, from the start at ``index`` on: every ``every`` entries, or later."""

    __slots__ = (
        "_every",
        "_grown",
        "_index",
        "_is_saving",
        "_phase",
        "_size",
        "installed",
        "taken",
    )

    def __init__(self, member: MemberID, every: int, index: int) -> None:
        self._every = every
        self._phase = member * every * 2 // 5
        self._index = index
        self._size = self._grown = 0
        self._is_saving = False
        self.taken = 0
        self.installed = 0
        """Received from a leader."""

    def applied(self, entries: int, size: int) -> None:
        """So many more entries, with commands of ``size`` bytes together."""
        self._grown += size + ENTRY_BYTES * entries

    def is_due(self, index: int) -> bool:
        """Whether to take one now, everything up to ``index`` being applied."""
        phase, every = self._phase, self._every
        due = (index + phase) // every > (self._index + phase) // every
        return due and not self._is_saving and self._grown >= self._size

    def begins(self, size: int) -> None:
        """One of so many bytes is on its way to the disk."""
        self._is_saving = True
        self._size, self._grown = size, 0

    def ended(self, index: int, *, saved: bool) -> None:
        """It is there, or could not be written."""
        self._is_saving = False
        self._index = index
        self.taken += saved

    def received(self, index: int) -> None:
        """A leader's was installed."""
        self._index = index
        self.installed += 1
