"""Probing tasks: when, how long, and what follows. The arithmetic is :mod:`pyswarm.agent.health`'s.

A task with a health check counts as started when its first probe succeeds. If it ends before, that
is how starting it went; if it becomes unhealthy, then or later, it is shut down within its grace
period, and ended with code 137 and Docker's reason. An executor that has no ``probe`` is asked
for ``start`` and ``wait`` alone: a container engine looks after health itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import attrs
import trio

from pyswarm.agent.executor import Executor, Exited, Started, TaskGone
from pyswarm.agent.health import (
    UNHEALTHY_CODE,
    UNHEALTHY_REASON,
    Health,
    HealthState,
    Prober,
    healthcheck_of,
)
from pyswarm.errors import SwarmError
from pyswarm.model.objects import Task
from pyswarm.runtime.errorgroups import plain_errors

logger = logging.getLogger("pyswarm.executor")

ENDED_FOR_HEALTH = Exited(UNHEALTHY_CODE, UNHEALTHY_REASON)

NO_ANSWER = 124
"""The code of a probe that took too long, as timeout(1) has it."""


class HealthWatch:
    """The health of the tasks of one executor."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._known: dict[str, Health] = {}

    def of(self, task_id: str) -> Health | None:
        """How a task that is watched is."""
        return self._known.get(task_id)

    def forget(self, task_id: str) -> None:
        """The task is removed."""
        self._known.pop(task_id, None)

    async def start(
        self, task: Task, begun: Callable[[str], None] = lambda task_id: None
    ) -> Started | Exited:
        """Start it and wait until it is healthy; how it ended, if it ended badly before.
        ``begun`` is told of it as soon as it runs."""
        started = await self._executor.start(task.id)
        begun(task.id)
        health = self._begin(task, healthy=False)
        if health is None:
            return started
        ended = await self._until_decided(task.id, health)
        if health.state is HealthState.UNHEALTHY:
            await self._end(task.id)
            return ENDED_FOR_HEALTH
        return ended if ended is not None and ended.code else started

    async def wait(
        self, task: Task, *, is_stopping: Callable[[], bool], tell: Callable[[], None]
    ) -> Exited:
        """How it ended. ``tell`` is called as soon as it is unhealthy, before it is shut down.
        While it ``is_stopping`` it is not probed."""
        health = self._known.get(task.id) or self._begin(task, healthy=True)
        if health is None:
            return await self._executor.wait(task.id)
        with plain_errors():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, task.id, health, is_stopping, tell)
                exited = await self._executor.wait(task.id)
                nursery.cancel_scope.cancel()
        self.forget(task.id)
        if health.state is HealthState.UNHEALTHY and not is_stopping():
            return ENDED_FOR_HEALTH
        return exited

    def _begin(self, task: Task, *, healthy: bool) -> Health | None:
        container = task.spec.container
        if container is not None and container.healthcheck is None:
            own = getattr(self._executor, "image_healthcheck", None)
            own = own(container.image) if own is not None else None
            container = attrs.evolve(container, healthcheck=own)
        check = healthcheck_of(container) if container is not None else None
        if check is None or not isinstance(self._executor, Prober):
            return None
        known = self._known.get(task.id)
        if known is None:
            known = Health(check, trio.current_time(), healthy=healthy)
            self._known[task.id] = known
        return known

    async def _until_decided(self, task_id: str, health: Health) -> Exited | None:
        """Probe until there is an answer, or until the task has ended: how."""
        exited: Exited | None = None

        async def wait() -> None:
            nonlocal exited
            exited = await self._executor.wait(task_id)
            nursery.cancel_scope.cancel()

        with plain_errors():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                while health.state is HealthState.STARTING:
                    await self._probe(task_id, health)
                nursery.cancel_scope.cancel()
        return exited

    async def _watch(
        self,
        task_id: str,
        health: Health,
        is_stopping: Callable[[], bool],
        tell: Callable[[], None],
    ) -> None:
        while health.state is HealthState.HEALTHY:
            await self._probe(task_id, health)
            if is_stopping():
                return
        tell()
        await self._end(task_id)

    async def _probe(self, task_id: str, health: Health) -> None:
        await trio.sleep_until(health.due)
        code = NO_ANSWER
        assert isinstance(self._executor, Prober)
        with trio.move_on_after(health.timeout):
            try:
                code = await self._executor.probe(task_id)
            except SwarmError as error:
                logger.info("the health check of task %s cannot be run: %s", task_id, error)
                code = 1
        health.probed(trio.current_time(), code)

    async def _end(self, task_id: str) -> None:
        self.forget(task_id)
        with suppress(TaskGone):
            await self._executor.shutdown(task_id)
