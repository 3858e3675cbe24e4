"""What can run a task: the protocol an executor keeps, and the values it is handed.

An executor is a set of asynchronous operations on one task at a time. The agent decides which
operation comes when; the executor only does it and tells how it went:

``prepare``   make everything ready that the task needs (once; a repeated one changes nothing);
``start``     run it; returns as soon as it runs;
``wait``      until it has ended, and how; may be called again, also when it has long ended;
``shutdown``  ask it to stop, give it its grace period, then end it; returns when it is gone;
``terminate`` end it at once;
``remove``    forget it with all it left behind, running or not (a repeated one changes nothing).

Every operation may be cancelled. After a restart of the node an executor may know tasks of its
former life (a container engine does) or not (operating system processes end with their node): it
says so by :class:`TaskGone`. Errors tell the agent what to make of it: :class:`TemporaryFailure`
means again in a second, everything else ends the task.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import attrs

from pyswarm.errors import FailedPrecondition, NotFound, Unavailable
from pyswarm.model.objects import NodeDescription, Task
from pyswarm.model.resources import Platform
from pyswarm.model.specs import ContainerSpec, PortConfig

STOP_GRACE_SECONDS = 10.0
"""How long a task may take to stop where its spec does not say: Docker's default."""

Stream = Literal["stdout", "stderr"]


class TaskRejected(FailedPrecondition):
    """This node cannot run the task as it is written: an unknown image, no command, a bad value."""


class TaskFailed(FailedPrecondition):
    """The task could not be started, or ended badly.

    ``exit_code`` is what a shell says of a program that cannot run (127, 126), 0 where
    there is nothing to say.
    """

    def __init__(
        self,
        message: str,
        *,
        exit_code: int = 0,
        hint: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.exit_code = exit_code


class TaskGone(NotFound):
    """The executor has no such task (any more)."""


class TemporaryFailure(Unavailable):
    """It did not work now and may work in a second: the agent tries again."""


@attrs.frozen
class TaskFile:
    """A secret or config as a file. ``path`` is absolute and normalised (no ``..``)."""

    kind: Literal["secret", "config"]
    name: str
    path: str
    data: bytes = attrs.field(repr=False)
    uid: str = "0"
    gid: str = "0"
    mode: int = 0o444


def drop_line(line: str) -> None:
    """Where :meth:`TaskContext.log` writes until an executor puts its own log there."""


@attrs.frozen
class TaskContext:
    """One task as an executor sees it.

    ``env`` is final: what the swarm says of the task (``PYSWARM_TASK_ID`` …, see
    :func:`pyswarm.agent.context.task_context`) with the service's own variables over it; an image's
    variables go underneath. ``files`` maps absolute paths to secrets and configs.
    """

    task: Task
    node_id: str
    hostname: str
    container: ContainerSpec
    env: Mapping[str, str] = attrs.field(repr=False)
    files: Mapping[str, TaskFile] = attrs.field(factory=dict, repr=False)
    log: Callable[[str], None] = attrs.field(default=drop_line, repr=False, eq=False)
    platform: Platform = Platform()
    registry_auth: str = attrs.field(default="", repr=False)
    """What to show to the registry of the image: the text of Docker's ``X-Registry-Auth``."""

    @property
    def id(self) -> str:
        return self.task.id

    @property
    def name(self) -> str:
        """``service.slot.id``, or ``service.node.id`` where there is no slot."""
        return self.task.name

    @property
    def service_name(self) -> str:
        return self.task.service_name

    @property
    def slot(self) -> int:
        """Which of the service's replicas this is, from 1; 0 for a global service."""
        return self.task.slot

    @property
    def command(self) -> tuple[str, ...]:
        """What replaces the image's entrypoint; empty where the image's own is meant."""
        return self.container.command

    @property
    def args(self) -> tuple[str, ...]:
        return self.container.args

    @property
    def secrets(self) -> dict[str, bytes]:
        """The payloads of the task's secrets by name."""
        return {file.name: file.data for file in self.files.values() if file.kind == "secret"}

    @property
    def configs(self) -> dict[str, bytes]:
        """The payloads of the task's configs by name."""
        return {file.name: file.data for file in self.files.values() if file.kind == "config"}

    @property
    def stop_grace_seconds(self) -> float:
        """How long the task may take to stop once it was asked to."""
        grace = self.container.stop_grace_period
        return STOP_GRACE_SECONDS if grace is None else grace


@attrs.frozen
class Started:
    """How a running task is known to its node: an opaque id, the main process, its host ports."""

    container_id: str = ""
    pid: int = 0
    ports: tuple[PortConfig, ...] = ()


@attrs.frozen
class Exited:
    """How a task ended: 0 is well; 128 + n when signal n ended it. ``reason`` adds to the code."""

    code: int
    reason: str = ""


@attrs.frozen
class LogLine:
    """One line a task wrote, without its newline. ``time`` is seconds since the epoch."""

    stream: Stream
    time: float
    data: bytes


@attrs.frozen
class Usage:
    """What a task uses now: CPU seconds since its start, resident bytes, processes."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    processes: int = 0


@runtime_checkable
class Executor(Protocol):
    """What runs tasks on a node; see the module's text for what each operation means.

    Raises :class:`TaskRejected`, :class:`TaskFailed`, :class:`TaskGone` (for a task it does not
    have; ``remove`` never) and :class:`TemporaryFailure`. Any other exception counts as
    :class:`TaskFailed`.
    """

    def describe(self) -> NodeDescription:
        """What this node is and has, as the scheduler will see it."""
        ...

    async def prepare(self, task: TaskContext, /) -> None: ...

    async def start(self, task_id: str, /) -> Started: ...

    async def wait(self, task_id: str, /) -> Exited: ...

    async def shutdown(self, task_id: str, /) -> None: ...

    async def terminate(self, task_id: str, /) -> None: ...

    async def remove(self, task_id: str, /) -> None: ...

    def logs(
        self,
        task_id: str,
        /,
        *,
        since: float = 0.0,
        follow: bool = False,
        tail: int | None = None,
    ) -> AsyncGenerator[LogLine, None]:
        """Lines written at or after ``since``, the last ``tail`` of them (None = all).

        With ``follow`` it goes on until the task has ended and every line was given. Whoever stops
        earlier closes it (``contextlib.aclosing``).
        """
        ...

    async def stats(self, task_id: str, /) -> Usage: ...

    async def aclose(self) -> None:
        """End every task at once and leave nothing behind: no process, thread or open file."""
        ...
