"""What the leader has to hear about tasks, until it has said that it recorded it.

Of each task only the last status counts. One report is under way at a time; what changes meanwhile
goes into the next one. A report that is not answered is sent again, unchanged, so that a late
answer to the first one still counts; a new session starts with every status again.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyswarm.model.objects import TaskStatus
from pyswarm.model.session import ReportStatus

REPORT_TASKS_MAX = 1024
"""Statuses in one report: Swarm's; some 100 KiB."""

RESEND_SECONDS = 5.0
"""How long the leader may take to record a report: the time-out of Swarm's calls."""


class Reporter:
    """Statuses on their way to the leader."""

    __slots__ = ("_flying", "_latest", "_sequence", "_waiting", "resend_at")

    def __init__(self) -> None:
        self._latest: dict[str, TaskStatus] = {}
        self._waiting: dict[str, TaskStatus] = {}
        self._flying: ReportStatus | None = None
        self._sequence = 0
        self.resend_at: float | None = None

    def add(self, task_id: str, status: TaskStatus | None) -> None:
        """The task's status is now ``status`` (a lower state than before is not news); None: the
        task is no longer this node's, nobody wants to hear of it."""
        if status is None:
            self._latest.pop(task_id, None)
            self._waiting.pop(task_id, None)
            return
        known = self._latest.get(task_id)
        if known is not None and (status.state < known.state or status == known):
            return
        self._latest[task_id] = status
        self._waiting[task_id] = status

    def restart(self, statuses: Iterable[tuple[str, TaskStatus]]) -> None:
        """A new session: all of them again."""
        self._flying = None
        self.resend_at = None
        self._waiting = dict(statuses)
        self._latest = dict(self._waiting)

    def recorded(self, sequence: int) -> None:
        """The leader recorded this report."""
        if self._flying is not None and self._flying.sequence == sequence:
            self._flying = None
            self.resend_at = None

    def next(self, now: float, session_id: str) -> ReportStatus | None:
        """The report to send now, if any: a new one, or the last one again."""
        if self._flying is not None:
            if self.resend_at is None or now < self.resend_at:
                return None
        elif not self._waiting:
            return None
        else:
            ids = list(self._waiting)[:REPORT_TASKS_MAX]
            statuses = tuple((id, self._waiting.pop(id)) for id in ids)
            self._sequence += 1
            self._flying = ReportStatus(session_id, self._sequence, statuses)
        self.resend_at = now + RESEND_SECONDS
        return self._flying
