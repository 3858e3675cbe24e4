"""Tasks: attempts at a slot, as they are and as they were. Nobody creates them by hand."""

from __future__ import annotations

from typing import Any, Unpack

from pyswarm.model import Task, TaskState
from pyswarm.model.requests import RemoveTask
from pyswarm.node.explain import explain_task
from pyswarm.runtime.front.handles import Collection, Handle
from pyswarm.runtime.front.logs import LogOptions, TaskLine, read_logs
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
        make = self._member.make_scheduler
        return await self._member.read(lambda s: explain_task(s, self._current(s), make))

    def logs(self, **options: Unpack[LogOptions]) -> Stream[TaskLine]:
        """What it wrote, line by line, from whichever node it runs on: ``follow``, ``tail``,
        ``since``, ``timestamps``, ``details``, ``stdout``, ``stderr`` (see :class:`LogOptions`).

        With ``follow`` it goes on until the task has ended. Raises ``InvalidArgument``.
        """

        def this(store: Store) -> list[Task]:
            task = store.task(self.id)
            return [] if task is None else [task]

        return read_logs(self._member, this, options, task_id=self.id)

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
