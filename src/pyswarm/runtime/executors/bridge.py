"""Between an agent that says what should be done and an executor that takes its time over it.

``perform`` takes a :class:`~pyswarm.agent.Perform` and returns at once; when the executor is done,
the answer is posted as an :class:`~pyswarm.agent.OperationDone`. Of one task, a more forceful
operation cancels what it replaces and begins when that has let go: SHUTDOWN cancels PREPARE and
START, TERMINATE also SHUTDOWN, REMOVE everything. WAIT goes on beside them, since it is what tells
the exit code. A cancelled operation posts nothing.

A task with a health check is watched here (:mod:`pyswarm.runtime.executors.health`), if its
executor can probe: START is over when the task is healthy, WAIT when it was ended for its health.

Here templates are expanded and sealed payloads opened, by functions handed in: the agent itself
never sees a secret, and a task that needs what is not there is answered like any other failure.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Literal

import attrs
import trio

from pyswarm.agent import (
    Executor,
    Exited,
    FileSource,
    Operation,
    OperationDone,
    Perform,
    Started,
    TaskContext,
    TaskFailed,
    TaskFile,
    TaskRejected,
    TaskUnhealthy,
    TemporaryFailure,
    task_context,
)
from pyswarm.errors import SwarmError
from pyswarm.model.objects import NodeDescription, Sealed, Task
from pyswarm.model.session import Driven, Plain
from pyswarm.runtime.clock import SystemClock
from pyswarm.runtime.executors.belonging import belonging
from pyswarm.runtime.executors.health import HealthWatch
from pyswarm.runtime.executors.lives import Lives
from pyswarm.runtime.executors.templates import expand_file
from pyswarm.templating import expand_task

logger = logging.getLogger("pyswarm.executor")

Unseal = Callable[[Sealed], bytes]
"""Opens a sealed payload; only a manager's runtime can."""

ExpandTask = Callable[[Task, NodeDescription], Task]
"""Fills in the placeholders of a task's spec (environment, host name, mounts)."""

ExpandFile = Callable[[FileSource, bytes, TaskContext], bytes]
"""Fills in the placeholders of a secret or config that is a template; given all its files."""

Fetch = Callable[[FileSource], Awaitable[Plain]]
"""Asks the driver of a payload; raises :class:`TaskRejected` where it brings none."""

_CANCELS: dict[Operation, tuple[Operation, ...]] = {
    Operation.PREPARE: (),
    Operation.START: (),
    Operation.WAIT: (),
    Operation.SHUTDOWN: (Operation.PREPARE, Operation.START),
    Operation.TERMINATE: (Operation.PREPARE, Operation.START, Operation.SHUTDOWN),
    Operation.REMOVE: tuple(op for op in Operation if op is not Operation.REMOVE),
}


class _Pending:
    """An operation under way."""

    __slots__ = ("ended", "scope")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.ended = trio.Event()


class ExecutorBridge:
    """See :func:`open_bridge`."""

    def __init__(
        self,
        executor: Executor,
        post: Callable[[OperationDone | TaskUnhealthy], None],
        nursery: trio.Nursery,
        unseal: Unseal | None,
        expand_task: ExpandTask | None,
        expand_file: ExpandFile | None,
        fetch: Fetch | None,
    ) -> None:
        self.executor = executor
        self._post = post
        self._nursery = nursery
        self._unseal = unseal
        self._expand_task = expand_task
        self._expand_file = expand_file
        self._fetch = fetch
        self._pending: dict[str, dict[Operation, _Pending]] = {}
        self.health = HealthWatch(executor)
        self.lives = Lives(SystemClock())

    @property
    def busy(self) -> int:
        """How many tasks have an operation under way."""
        return len(self._pending)

    def perform(self, effect: Perform) -> None:
        """Begin an operation. One that is under way already is not begun twice."""
        operation = effect.operation
        under_way = self._pending.setdefault(effect.task.id, {})
        if operation in under_way:
            return
        before = [under_way[op] for op in _CANCELS[operation] if op in under_way]
        for other in before:
            other.scope.cancel()
        under_way[operation] = _Pending()
        self._nursery.start_soon(self._run, effect, under_way, before)

    async def _run(
        self, effect: Perform, under_way: dict[Operation, _Pending], before: list[_Pending]
    ) -> None:
        own = under_way[effect.operation]
        answer: OperationDone | None = None
        try:
            with own.scope:
                for other in before:
                    await other.ended.wait()
                answer = await self._do(effect)
        finally:
            del under_way[effect.operation]
            if not under_way:
                self._pending.pop(effect.task.id, None)
            own.ended.set()
        if answer is not None:
            self.lives.note(answer)
            self._post(answer)

    async def _do(self, effect: Perform) -> OperationDone:
        task_id, operation = effect.task.id, effect.operation
        try:
            result = await self._ask(effect)
        except SwarmError as error:
            return OperationDone(task_id, operation, error=error)
        except trio.TooSlowError as error:
            failure = TemporaryFailure(str(error) or "it took too long")
            return OperationDone(task_id, operation, error=failure)
        except Exception as error:
            logger.exception("executor: %s of task %s failed", operation, task_id)
            reason = f"{type(error).__name__}: {error}"
            return OperationDone(task_id, operation, error=TaskFailed(reason))
        return OperationDone(task_id, operation, result)

    async def _ask(self, effect: Perform) -> Started | Exited | None:
        executor, task_id = self.executor, effect.task.id
        match effect.operation:
            case Operation.PREPARE:
                await executor.prepare(self.context(await self._fetched(effect)))
            case Operation.START:
                return await self.health.start(effect.task, self.lives.begun)
            case Operation.WAIT:
                return await self.health.wait(
                    effect.task,
                    is_stopping=lambda: self._is_stopping(task_id),
                    tell=lambda: self._post(TaskUnhealthy(task_id)),
                )
            case Operation.SHUTDOWN:
                await executor.shutdown(task_id)
            case Operation.TERMINATE:
                await executor.terminate(task_id)
            case Operation.REMOVE:
                self.health.forget(task_id)
                await executor.remove(task_id)
        return None

    def _is_stopping(self, task_id: str) -> bool:
        under_way = self._pending.get(task_id, {})
        return Operation.SHUTDOWN in under_way or Operation.TERMINATE in under_way

    async def _fetched(self, effect: Perform) -> Perform:
        """With what drivers bring: a leader's own tasks come here before they were asked."""
        fetch = self._fetch
        if fetch is None or not any(isinstance(one.payload, Driven) for one in effect.files):
            return effect
        files = []
        for source in effect.files:
            if isinstance(source.payload, Driven):
                source = attrs.evolve(source, payload=await fetch(source))
            files.append(source)
        return attrs.evolve(effect, files=tuple(files))

    def context(self, effect: Perform) -> TaskContext:
        """What the executor is handed: templates expanded, payloads opened."""
        task = effect.task
        if self._expand_task is not None:
            task = self._expand_task(task, effect.description)
        hostname, platform = effect.description.hostname, effect.description.platform
        sources = [source for source in effect.files if source.kind != "registry"]
        plain = {source.path: self._file(source) for source in sources}
        auth = [self._opened(one).decode() for one in effect.files if one.kind == "registry"]
        context = task_context(task, hostname=hostname, files=plain, platform=platform)
        if auth:
            context = attrs.evolve(context, registry_auth=auth[0])
        if self._expand_file is None or not any(s.templating for s in sources):
            return context
        expanded: Mapping[str, TaskFile] = {
            source.path: self._expanded(source, plain[source.path], context) for source in sources
        }
        return attrs.evolve(context, files=expanded)

    def _opened(self, source: FileSource) -> bytes:
        if isinstance(source.payload, Plain):
            return source.payload.data
        if self._unseal is not None and isinstance(source.payload, Sealed):
            return self._unseal(source.payload)
        raise TaskRejected(f"{source.kind} {source.name} came sealed to this node")

    def _file(self, source: FileSource) -> TaskFile:
        data = self._opened(source)
        kind: Literal["secret", "config"] = "secret" if source.kind == "secret" else "config"
        return TaskFile(kind, source.name, source.path, data, source.uid, source.gid, source.mode)

    def _expanded(self, source: FileSource, file: TaskFile, context: TaskContext) -> TaskFile:
        if not source.templating or self._expand_file is None:
            return file
        data = self._expand_file(source, file.data, context)
        return TaskFile(file.kind, file.name, file.path, data, file.uid, file.gid, file.mode)


@asynccontextmanager
async def open_bridge(
    executor: Executor,
    post: Callable[[OperationDone | TaskUnhealthy], None],
    *,
    unseal: Unseal | None = None,
    expand_task: ExpandTask | None = expand_task,
    expand_file: ExpandFile | None = expand_file,
    fetch: Fetch | None = None,
    close_executor: bool = True,
) -> AsyncIterator[ExecutorBridge]:
    """A bridge to ``executor``; leaving the block cancels what is under way and closes it.

    ``post`` is called in the host's loop, never from within ``perform``. Raises
    ``InvalidArgument`` for an executor that belongs to another node.
    """
    with belonging(executor):
        try:
            async with trio.open_nursery() as nursery:
                bridge = ExecutorBridge(
                    executor, post, nursery, unseal, expand_task, expand_file, fetch
                )
                try:
                    yield bridge
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            if close_executor:
                with trio.CancelScope(shield=True):
                    await executor.aclose()
