"""Those who wait for a :class:`~pyswarm.runtime.raftnode.RaftNode`, and what they may be told."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import trio

from pyswarm.errors import Unavailable
from pyswarm.raft import Ready


class Waiter:
    """Somebody who waits for an answer. Lighter than an event and a deadline of trio's own, since
    there is one for every proposal; the tick looks after the deadlines."""

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

    async def wait(self) -> None:
        """Until it is rung or its task woken; at once while it is ``rung``, which whoever does what
        it was rung for takes back."""
        if self.rung:
            await trio.lowlevel.checkpoint()
        else:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)


def tell_readers(waiting: Mapping[int, Waiter], ready: Ready) -> None:
    """Those whose reads are done, or cannot be."""
    for number, _ in ready.reads:
        if (waiter := waiting.get(number)) is not None:
            waiter.answer(None)
    for number in ready.aborted_reads:
        if (waiter := waiting.get(number)) is not None:
            waiter.answer(None, Unavailable("raft: the leader changed"))


def expire(waiting: Mapping[int, Waiter], now: float) -> None:
    """Those who have waited long enough."""
    for waiter in waiting.values():
        if waiter.deadline <= now:
            waiter.answer(None, too_late())


def lost() -> Unavailable:
    """The fate of a proposal is not known here."""
    return Unavailable(
        "raft: the leader was lost before the proposal was committed",
        hint="it may still be applied: propose again only what may be applied twice",
        outcome="unknown",
    )


def too_late() -> Unavailable:
    """The caller's time is over."""
    return Unavailable("raft: no answer in time", outcome="unknown")


def stopped(**how: Any) -> Unavailable:
    """Nobody drives this member any more: its owner left, or the others removed it."""
    return Unavailable("raft: this member has stopped", **how)


def displaced() -> Unavailable:
    """The proposal is certainly not applied."""
    return Unavailable("raft: another leader's entry took the proposal's place")


def outcome_of(term: int, result: tuple[int, Any, BaseException | None]) -> Any:
    """What applying gave, if the entry is the one of ``term`` and no other at its index."""
    applied_term, value, error = result
    if applied_term != term:
        raise displaced()
    if error is not None:
        raise error
    return value
