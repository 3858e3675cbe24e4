"""What the Engine API is told of this node alone: its tasks, images, volumes and logs.

It works on any node, and outside a swarm as far as there is an executor to ask. What an executor
cannot say (an embedder's own may know no images or volumes) is left out.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

import attrs
import trio

from pyswarm.agent import Executor, LogLine, TaskFailed, TaskGone, TaskRejected
from pyswarm.api import asks, local
from pyswarm.api.facts import Facts
from pyswarm.env import Clock, Entropy, system_entropy
from pyswarm.errors import InvalidArgument, SwarmError, Unavailable, Unimplemented
from pyswarm.model import Task, TaskState, replace
from pyswarm.runtime import front
from pyswarm.runtime.execs import Execs
from pyswarm.runtime.executors.images import command_line, find_image
from pyswarm.runtime.executors.usage import host_cpu_seconds
from pyswarm.runtime.node import RunningNode
from pyswarm.runtime.top import listed
from pyswarm.templating import expand_task

NAME_BYTES = 32
"""Of the name of a volume without one, as Docker makes it."""

SAMPLE_S = 1.0
"""Between two samples of what a task uses: Docker's."""

HIDDEN = (TaskState.REJECTED, TaskState.ORPHANED)
"""States of tasks that never became anything on their node."""


class LocalNode:
    """Answers ``Local``, and the streams of one task here."""

    def __init__(
        self,
        node: Callable[[], front.Member | None],
        executor: Callable[[], Executor],
        clock: Clock,
        entropy: Entropy = system_entropy,
    ) -> None:
        self._node = node
        self._executor = executor
        self._clock = clock
        self.execs = Execs(executor, clock, entropy)

    async def answer(self, ask: asks.Local) -> Any:
        """What ``ask`` asks for. Raises what the executor raises."""
        if ask.verb == "networks":
            return self.networks()
        executor: Any = self._executor()
        match ask.verb, ask.arguments:
            case "containers", ():
                return local.Containers(self._clock.realtime(), self.containers())
            case "signal", (task_id, name):
                await self._signal(executor, task_id, name)
            case "stop", (task_id, seconds):
                await self._stop(executor, task_id, seconds)
            case "remove", (task_id,):
                await self._remove(executor, task_id)
            case "images", ():
                return images_of(executor)
            case "volumes", ():
                return await volumes_of(executor)
            case "create_volume", (name, labels, options):
                return await self._create_volume(executor, name, labels, options)
            case "processes", (task_id, arguments):
                return await self._processes(executor, task_id, arguments)
            case "create_exec", (task_id, known_as, wish):
                return self.execs.create(task_id, known_as, wish)
            case "exec", (exec_id,):
                return self.execs.show(exec_id)
            case "start_exec", (exec_id,):
                await self.execs.start(exec_id)
            case "resize_exec", (exec_id, rows, columns):
                self.execs.resize(exec_id, rows, columns)
            case "remove_volume", (name,):
                await _volumes_needed(executor).remove_volume(name)
        return None

    def networks(self) -> local.OnNetworks:
        """What this node was told of the networks that it is on."""
        member = self._node()
        if member is None:
            return local.OnNetworks()
        agent = member.node.machine.agent
        return local.OnNetworks(agent.node, agent.networks)

    # -- containers

    def counted(self, facts: Facts) -> Facts:
        """The facts with the numbers of ``info``."""
        found = self.containers()
        running = sum(1 for one in found if one.task.state is TaskState.RUNNING)
        try:
            images = len(images_of(self._executor()))
        except Unavailable:
            images = 0
        return attrs.evolve(facts, running=running, stopped=len(found) - running, images=images)

    def containers(self) -> tuple[local.Container, ...]:
        """This node's tasks that were made ready, newest first."""
        member = self._node()
        if member is None:
            return ()
        node = member.node
        agent = node.machine.agent
        found = []
        for task_id, status in agent.tasks():
            task = agent.task(task_id)
            life = node.bridge.lives.of(task_id)
            if task is None or task.spec.container is None or life.is_removed:
                continue
            if status.state >= TaskState.READY and status.state not in HIDDEN:
                found.append(_container(node, _filled(node, task, status)))
        found.sort(key=lambda one: (one.created_at, one.task.created_at, one.task.id), reverse=True)
        return tuple(found)

    async def _signal(self, executor: Any, task_id: str, name: str) -> None:
        if not name or name.upper().removeprefix("SIG") in ("KILL", "9"):
            await executor.terminate(task_id)
            return
        send = getattr(executor, "signal", None)
        if send is None:
            raise Unimplemented("tasks of this node take no signals")
        try:
            send(task_id, name)
        except TaskRejected as unknown:
            raise InvalidArgument(unknown.message) from None

    async def _stop(self, executor: Executor, task_id: str, seconds: float | None) -> None:
        with trio.move_on_after(math.inf if seconds is None else seconds) as waiting:
            await executor.shutdown(task_id)
        if waiting.cancelled_caught:
            await executor.terminate(task_id)

    async def _remove(self, executor: Executor, task_id: str) -> None:
        with suppress(TaskGone):
            await executor.terminate(task_id)
        member = self._node()
        if member is not None:
            member.node.bridge.lives.removed(task_id)

    async def _processes(self, executor: Any, task_id: str, arguments: str) -> local.Processes:
        processes = getattr(executor, "processes", None)
        if processes is None:
            raise Unimplemented("tasks of this node are no processes")
        return await listed(await processes(task_id), arguments)

    # -- volumes

    async def _create_volume(
        self, executor: Any, name: str, labels: Mapping[str, str], options: Mapping[str, str]
    ) -> local.Volume:
        name = name or secrets.token_hex(NAME_BYTES)
        try:
            await _volumes_needed(executor).create_volume(name, labels, options)
        except SwarmError as problem:
            raise InvalidArgument(problem.message) from None
        return next(one for one in await volumes_of(executor) if one.name == name)

    # -- streams

    async def lines(self, ask: asks.ReadLocalLogs) -> AsyncGenerator[LogLine, None]:
        """What a task here wrote."""
        wish = ask.wish
        lines = self._executor().logs(
            ask.task_id, since=wish.since, follow=wish.follow, tail=wish.tail
        )
        with suppress(TaskGone):
            async with aclosing(lines) as open_lines:
                async for line in open_lines:
                    if wish.until is not None and line.time > wish.until:
                        break
                    if wish.stderr if line.stream == "stderr" else wish.stdout:
                        yield line

    async def usage(
        self, ask: asks.WatchUsage
    ) -> AsyncGenerator[tuple[local.Sample | None, local.Sample | None], None]:
        """What a task here uses, every second."""
        before = now = None
        while (sample := await self._sample(ask.task_id)) is not None:
            before, now = now, sample
            if before is not None or not ask.is_primed:
                yield before, now
                if ask.once:
                    return
            await trio.sleep(SAMPLE_S)
        if ask.once:
            yield None, now  # it has ended meanwhile

    async def _sample(self, task_id: str) -> local.Sample | None:
        """None if it does not run."""
        try:
            usage = await self._executor().stats(task_id)
        except (TaskGone, TaskFailed):
            return None
        if not usage.processes:
            return None
        return local.Sample(
            at=self._clock.realtime(),
            cpu_seconds=usage.cpu_seconds,
            memory_bytes=usage.memory_bytes,
            processes=usage.processes,
            host_cpu_seconds=host_cpu_seconds(),
        )

    async def end(self, ask: asks.AwaitEnd) -> AsyncGenerator[int, None]:
        """The exit code of a task here, once it has ended."""
        member = self._node()
        status = member.node.machine.agent.status(ask.task_id) if member is not None else None
        try:
            yield (await self._executor().wait(ask.task_id)).code
        except TaskGone:
            yield status.exit_code if status is not None else 0


def _filled(node: RunningNode, task: Task, status: Any) -> Task:
    """The task with its placeholders filled in, and its status as this node knows it."""
    with suppress(SwarmError):
        task = expand_task(task, node.machine.agent.description)
    return replace(
        task,
        state=status.state,
        message=status.message,
        err=status.err,
        container_id=status.container_id,
        pid=status.pid,
        exit_code=status.exit_code,
        port_status=status.ports,
    )


def _container(node: RunningNode, task: Task) -> local.Container:
    life, health = node.bridge.lives.of(task.id), node.bridge.health.of(task.id)
    return local.Container(
        task=task,
        node_id=node.machine.node_id,
        created_at=life.created_at or task.created_at,
        started_at=life.started_at,
        ended_at=life.ended_at,
        health=str(health.state) if health is not None else "",
        failures=health.failures if health is not None else 0,
        argv=_argv(node.bridge.executor, task),
    )


def _argv(executor: Any, task: Task) -> tuple[str, ...]:
    """What a task runs, as far as its executor tells of images."""
    images, container = getattr(executor, "images", None), task.spec.container
    if images is None or container is None:
        return ()
    with suppress(SwarmError):
        return command_line(find_image(images(), container.image), container)
    return ()


def images_of(executor: Any) -> dict[str, local.Image]:
    """What services may name on the node of this executor."""
    listed = getattr(executor, "images", None)
    if listed is None:
        return {}
    return {
        name: local.Image(
            name=name,
            entrypoint=image.entrypoint,
            command=image.command,
            env=image.env,
            dir=image.dir,
            user=image.user,
            stop_signal=image.stop_signal,
        )
        for name, image in listed().items()
    }


async def volumes_of(executor: Any) -> tuple[local.Volume, ...]:
    """The volumes of an executor that has any."""
    if not hasattr(executor, "volumes"):
        return ()
    in_use = executor.volumes_in_use
    return tuple(
        local.Volume(
            name=one.name,
            path=one.path,
            labels=one.labels,
            driver=one.driver,
            created_at=one.created_at,
            in_use=one.name in in_use,
            options=one.options,
        )
        for one in await executor.volumes()
    )


def _volumes_needed(executor: Any) -> Any:
    if not hasattr(executor, "volumes"):
        raise Unimplemented("tasks of this node have no volumes")
    return executor
