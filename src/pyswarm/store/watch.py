"""Watches: what was committed after a version, entry by entry.

There are no queues. The store keeps one bounded history of its last commits, and a watch is a
place in it; so a thousand watchers cost no more memory than one, an entry's events come all or not
at all, and a watcher that falls behind the history's end learns so by
:class:`~pyswarm.errors.Compacted`: it lists the objects and watches anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection
from operator import attrgetter

from pyswarm.errors import Compacted, ResourceExhausted
from pyswarm.store.change import Change, Commit

HISTORY_CHANGES_MAX = 100_000
"""Changes kept for watches to resume: some 10 MB beyond the objects themselves."""

WATCHES_MAX = 10_000
"""Open watches; each is woken at every commit, so this bounds the time of one."""


class History:
    """The last commits, oldest first, and the watches on them."""

    __slots__ = ("_commits", "_dropped", "_first", "_size", "_watches", "changes_max", "compacted")

    def __init__(self, compacted: int, changes_max: int = HISTORY_CHANGES_MAX) -> None:
        self.compacted = compacted
        """The version of the newest commit that is no longer here."""
        self.changes_max = changes_max
        self._commits: list[Commit] = []
        self._first = 0  # place of the oldest kept commit; dropped ones are cut off in bulk
        self._dropped = 0  # commits cut off so far: place + dropped is a watch's cursor
        self._size = 0
        self._watches: dict[Watch, None] = {}

    def append(self, commit: Commit) -> None:
        """Add the newest commit, drop what is too old, wake the watches."""
        self._commits.append(commit)
        self._size += len(commit.changes)
        if self._size > self.changes_max:
            self._trim()
        for watch in tuple(self._watches):
            if watch.wake is not None:
                watch.wake()

    def _trim(self) -> None:
        commits = self._commits
        while self._size > self.changes_max:
            oldest = commits[self._first]
            self._size -= len(oldest.changes)
            self.compacted = oldest.version
            self._first += 1
        if self._first > len(commits) // 2:
            del commits[: self._first]
            self._dropped += self._first
            self._first = 0

    def open(self, watch: Watch, after: int | None, version: int) -> int:
        """Register a watch; its first cursor. See :meth:`Store.watch`."""
        if len(self._watches) >= WATCHES_MAX:
            raise ResourceExhausted(f"more than {WATCHES_MAX} watches")
        if after is None:
            after = version
        if after < self.compacted:
            raise self.gone(after)
        self._watches[watch] = None
        return self._dropped + bisect_right(self._commits, after, key=attrgetter("version"))

    def close(self, watch: Watch) -> None:
        """Forget a watch."""
        self._watches.pop(watch, None)

    def since(self, cursor: int, count: int) -> list[Commit] | None:
        """At most ``count`` commits from ``cursor`` on; None when they are gone."""
        place = cursor - self._dropped
        if place < self._first:
            return None
        return self._commits[place : place + count]

    def gone(self, after: int) -> Compacted:
        """The error for asking for what came after ``after``."""
        return Compacted(
            f"changes after version {after} are gone: the history begins after {self.compacted}",
            hint="list the objects and watch from the version of that list",
            details={"after": after, "compacted": self.compacted},
        )


class Watch:
    """A place in the history. ``version`` is that of the last commit taken: resume from there.

    ``wake`` is called (without arguments, and must not touch the store) after each commit.
    """

    __slots__ = ("_cursor", "_ended", "_history", "kinds", "version", "wake")

    def __init__(
        self,
        history: History,
        *,
        after: int | None,
        version: int,
        kinds: Collection[str] | None,
        wake: Callable[[], None] | None,
    ) -> None:
        self._history = history
        self.kinds = None if kinds is None else frozenset(kinds)
        self.wake = wake
        self.version = version if after is None else after
        self._cursor = history.open(self, after, version)
        self._ended = False

    def take(self, count: int = 1000) -> list[Commit]:
        """What was committed since the last time, at most ``count`` entries, oldest first.

        With ``kinds``, each commit holds the changes of those kinds only, and commits without any
        are left out. Raises :class:`~pyswarm.errors.Compacted` once this watch fell too far behind
        (then it is closed).
        """
        commits = None if self._ended else self._history.since(self._cursor, count)
        if commits is None:
            self.close()
            raise self._history.gone(self.version)
        if not commits:
            return []
        self._cursor += len(commits)
        if commits[0].version <= self.version:  # this watch began ahead of the store
            commits = [commit for commit in commits if commit.version > self.version]
            if not commits:
                return []
        self.version = commits[-1].version
        if self.kinds is None:
            return commits
        taken = [c._replace(changes=self._matching(c)) for c in commits]
        return [commit for commit in taken if commit.changes]

    def _matching(self, commit: Commit) -> tuple[Change, ...]:
        kinds = self.kinds
        assert kinds is not None
        return tuple(change for change in commit.changes if change.kind in kinds)

    def close(self) -> None:
        """End the watch; taking from it then raises ``Compacted``."""
        self._ended = True
        self._history.close(self)
