"""Tasks that wait: for one answer (:class:`Waiter`), and for work (:class:`Bell`)."""

from __future__ import annotations

from math import inf
from typing import Any

import trio

from pyswarm.errors import InvalidArgument


class Waiter:
    """Somebody who waits for an answer. Lighter than an event and a deadline of trio's own, since
    there is one for every proposal and every request; whoever keeps them looks after the deadlines,
    a few times a second."""

    __slots__ = ("answered", "deadline", "error", "task", "term", "value")

    def __init__(self, term: int = 0, deadline: float = inf) -> None:
        self.term = term
        self.deadline = deadline
        self.answered = False
        self.task: trio.lowlevel.Task | None = None
        self.value: Any = None
        self.error: BaseException | None = None

    def answer(self, value: Any, error: BaseException | None = None) -> None:
        if not self.answered:
            self.answered, self.value, self.error = True, value, error
            task, self.task = self.task, None
            if task is not None:
                trio.lowlevel.reschedule(task)

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def wait(self) -> Any:
        if self.answered:
            await trio.lowlevel.checkpoint()
        else:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        return self.result()

    def result(self) -> Any:
        """The answer, which is there; or its error is raised."""
        if self.error is not None:
            raise self.error
        return self.value


class Bell:
    """Wakes one task, however often it is rung. Lighter than an event for every time."""

    __slots__ = ("rung", "task")

    def __init__(self) -> None:
        self.rung = False
        self.task: trio.lowlevel.Task | None = None

    def ring(self) -> None:
        """There is something to do."""
        self.rung = True
        self.wake()

    def wake(self) -> None:
        """Let the task look around, though it is not rung for."""
        task, self.task = self.task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    @property
    def has_sleeper(self) -> bool:
        """Whether its task waits for it, and nothing has woken it yet."""
        return self.task is not None

    async def wait(self) -> None:
        """Until it is rung or its task woken; at once while it is ``rung``, which whoever does what
        it was rung for takes back."""
        if self.rung:
            await trio.lowlevel.checkpoint()
        else:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)


def checked_timeout(timeout: float) -> float:
    """``timeout``, if one can wait so many seconds: 0 (what is there at once) and infinity too.
    Raises ``InvalidArgument``."""
    try:
        if timeout >= 0:  # so no NaN either
            return timeout
    except TypeError:
        pass
    raise InvalidArgument(f"a timeout is a number of seconds, 0 or more: {timeout!r}")
