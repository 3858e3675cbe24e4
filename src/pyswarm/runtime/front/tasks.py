"""Tasks: attempts at a slot, as they are and as they were. Nobody creates them by hand."""

from __future__ import annotations

from typing import Any

from pyswarm.model import Task, TaskState
from pyswarm.model.requests import RemoveTask
from pyswarm.node.explain import explain_task
from pyswarm.runtime.front.handles import Collection, Handle
from pyswarm.runtime.front.logdesk import Wish
from pyswarm.runtime.front.logs import TaskLine, read_logs
from pyswarm.runtime.front.streams import Stream
from pyswarm.scheduler.explain import Explanation
from pyswarm.store import Store


class TaskHandle(Handle[Task]):
    """One task. ``name`` is ``service.slot.id``."""

    kind = "task"

    @property
    def name(self) -> str:
        return self.value.name

    @property
    def is_running(self) -> bool:
        """Whether it was seen running and should be."""
        task = self.value
        return task.state is TaskState.RUNNING and task.desired_state is TaskState.RUNNING

    async def explain(self) -> Explanation:
        """Why it is where it is, or why it has no node: filter by filter, node by node."""
        return await self._member.read(lambda store: explain_task(store, self._current(store)))

    def logs(
        self, *, follow: bool = False, tail: int | None = None, since: float = 0.0
    ) -> Stream[TaskLine]:
        """What it wrote, line by line, from whichever node it runs on.

        ``tail``: the last so many lines only; ``since``: seconds since the epoch; ``follow``: go
        on until it has ended.
        """

        def this(store: Store) -> list[Task]:
            task = store.task(self.id)
            return [] if task is None else [task]

        wish = Wish(self.id, since, follow, tail)
        return read_logs(self._member, this, wish, is_one=True)

    async def remove(self) -> None:
        """Forget the task at once, whatever its state."""
        await self._member.request(RemoveTask(self.id))


class Tasks(Collection[TaskHandle]):
    """``cluster.tasks``. Filters of ``list`` beside the common ones: ``service``, ``node``,
    ``desired_state`` (running, shutdown, accepted), ``state``, ``slot``."""

    handle = TaskHandle

    async def running(self, **filters: Any) -> list[TaskHandle]:
        """Those that run and should."""
        found = await self.list(**filters)
        return [task for task in found if task.is_running]
