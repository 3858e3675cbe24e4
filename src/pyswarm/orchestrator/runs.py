"""How far one run of a replicated job has come: its slots, as they were when last looked at.

A slot is under way (a task of it may still complete), over (one has completed, or the restart
policy is spent), or free. A job may have more slots than can be looked at for each task that ends,
so this keeps a count, the slots that were freed, and the lowest number that was never used. It is a
cache of what the tasks say.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from pyswarm.model.objects import Task
from pyswarm.model.states import TaskState
from pyswarm.orchestrator.backlog import Backlog
from pyswarm.orchestrator.task import should_restart


class SlotState(Enum):
    """What is to be done about a slot."""

    FREE = "free"
    UNDER_WAY = "under way"
    OVER = "over"


def slot_state(tasks: Sequence[Task]) -> SlotState:
    """The state of a slot with these tasks of the current run, in order of creation."""
    if not tasks:
        return SlotState.FREE
    if any(task.state is TaskState.COMPLETE for task in tasks):
        return SlotState.OVER
    if any(task.desired_state <= TaskState.COMPLETE for task in tasks):
        return SlotState.UNDER_WAY
    # One that may be tried again is free; the restart policy alone does not make the next try.
    return SlotState.FREE if should_restart(tasks[-1], tasks) else SlotState.OVER


class Run:
    """The slots of one iteration of a replicated job."""

    __slots__ = ("_freed", "_slots", "_unused", "iteration", "touched", "under_way")

    def __init__(self, iteration: int, tasks: Sequence[Task] = ()) -> None:
        self.iteration = iteration
        self.under_way = 0
        """How many slots are under way."""
        self.touched: dict[int, None] = {}
        """Slots whose tasks have changed since they were looked at."""
        self._slots: dict[int, SlotState] = {}  # those that are not free
        self._freed: Backlog[int] = Backlog()  # free ones below the first that was never used
        self._unused = 0
        slots: dict[int, list[Task]] = {}
        for task in tasks:
            slots.setdefault(task.slot, []).append(task)
        for slot, held in slots.items():
            self.set(slot, slot_state(held))

    def __len__(self) -> int:
        """How many slots are not free."""
        return len(self._slots)

    def is_under_way(self, slot: int) -> bool:
        """Whether a task of the slot may still complete."""
        return self._slots.get(slot) is SlotState.UNDER_WAY

    def set(self, slot: int, state: SlotState) -> None:
        """The slot was looked at, or given a task."""
        if self.is_under_way(slot):
            self.under_way -= 1
        if slot >= self._unused:
            self._freed.update(range(self._unused, slot + 1))
            self._unused = slot + 1
        if state is SlotState.FREE:
            self._slots.pop(slot, None)
            self._freed.add(slot)
            return
        self._slots[slot] = state
        self._freed.discard(slot)
        if state is SlotState.UNDER_WAY:
            self.under_way += 1

    def next_free(self, total: int) -> int | None:
        """The lowest free slot below ``total``."""
        slot = self._freed.first()
        if slot is None:
            slot = self._unused
        return slot if slot < total else None
