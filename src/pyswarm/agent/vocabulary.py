"""What comes into an agent and what it asks for.

Inputs come from the leader (through whatever carries its messages), from the executor, from the
node itself and from time. Effects go to a manager, to the executor and to the local task database.
Effects may be repeated; an executor and a disk treat a repeated one as done.
"""

from __future__ import annotations

from enum import Enum

import attrs

from pyswarm.agent.executor import Exited, Started
from pyswarm.errors import SwarmError
from pyswarm.machine import Effect
from pyswarm.model.objects import NodeDescription, Sealed, Task, TaskStatus
from pyswarm.model.session import Driven, ManagerAddress, Plain, ToAgent, ToLeader


class Operation(Enum):
    """What an executor can be asked to do with one task."""

    PREPARE = "prepare"
    START = "start"
    WAIT = "wait"
    SHUTDOWN = "shutdown"
    TERMINATE = "terminate"
    REMOVE = "remove"

    def __str__(self) -> str:
        return self.value


# -- inputs ----------------------------------------------------------------------------------------


@attrs.frozen
class FromManager:
    """A manager said something. Managers are told apart by ``manager.addr``."""

    manager: ManagerAddress
    message: ToAgent


@attrs.frozen
class ManagersKnown:
    """Where managers are: at the start, and whenever the node learns more.

    ``leader_addr`` is the leader's, where the node happens to know it (a manager does).
    """

    managers: tuple[ManagerAddress, ...]
    leader_addr: str = ""


@attrs.frozen
class SessionLost:
    """The line to this manager broke, or it could not be reached. ``untrusted``: since one of the
    two does not trust the other's certificate."""

    addr: str
    reason: str = ""
    untrusted: bool = False


@attrs.frozen
class OperationDone:
    """The executor finished (or failed) what :class:`Perform` asked for."""

    task_id: str
    operation: Operation
    result: Started | Exited | None = None
    """Of START, :class:`Exited` tells that the task ended before it was healthy."""
    error: SwarmError | None = None


@attrs.frozen
class TaskUnhealthy:
    """The task's health check has failed for good; it is being ended, and WAIT will tell how."""

    task_id: str


@attrs.frozen
class DescriptionChanged:
    """The node looks different from what the leader was told."""

    description: NodeDescription


@attrs.frozen
class Stop:
    """The node stops: every task is asked to stop within its grace period."""


@attrs.frozen
class Tick:
    """Time passed: nothing else did. Due at :meth:`Agent.wake_at`."""


AgentInput = (
    FromManager
    | ManagersKnown
    | SessionLost
    | OperationDone
    | TaskUnhealthy
    | DescriptionChanged
    | Stop
    | Tick
)


# -- effects ---------------------------------------------------------------------------------------


@attrs.frozen
class FileSource:
    """A file of a task before its payload was opened and its template expanded."""

    kind: str
    id: str
    name: str
    path: str
    payload: Sealed | Plain | Driven = attrs.field(repr=False)
    uid: str = "0"
    gid: str = "0"
    mode: int = 0o444
    templating: str = ""


@attrs.frozen
class ToManager(Effect):
    manager: ManagerAddress
    message: ToLeader


@attrs.frozen
class Perform(Effect):
    """Have the executor do ``operation``; the answer is :class:`OperationDone`.

    A later operation on a task takes the place of an earlier one: SHUTDOWN cancels a pending
    PREPARE or START, TERMINATE a pending SHUTDOWN too, REMOVE everything. ``files`` come with
    PREPARE only.
    """

    task: Task
    operation: Operation
    description: NodeDescription
    files: tuple[FileSource, ...] = ()


@attrs.frozen
class SaveTask(Effect):
    """Keep this in the local task database, or forget the task (``task`` None)."""

    task_id: str
    task: Task | None
    status: TaskStatus | None


@attrs.frozen
class SessionMissing(Effect):
    """For ``seconds`` no manager has given this node a session: to be shown to people."""

    seconds: float
    addrs: tuple[str, ...]
    reason: str
    untrusted: bool

    def __str__(self) -> str:
        tried = ", ".join(self.addrs)
        return f"no session with a manager (tried {tried}): {self.reason}"

    @property
    def hint(self) -> str:
        """The next step for a person."""
        if self.untrusted:
            return (
                "if this host's clock is right: the swarm does not know this node any more, "
                "leave it and join again with a new token"
            )
        return "look whether a manager runs at one of these addresses, and can be reached from here"


@attrs.frozen
class SessionFound(Effect):
    """There is a session again, after it was said to be missing."""

    addr: str


@attrs.frozen
class AgentStopped(Effect):
    """After :class:`Stop`: no task runs any more."""


@attrs.frozen
class SavedTask:
    """What :class:`SaveTask` kept, handed back when the node starts again."""

    task: Task
    status: TaskStatus
