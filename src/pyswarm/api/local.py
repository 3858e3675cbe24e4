"""What a node itself holds: its tasks as containers, what it can run, volumes, lines of logs.

Values between the runtime and the handlers of containers, images and volumes. To clients a task is
a container: they know it by an id of 64 hexadecimal digits. An engine's own id is taken as it is;
where tasks are no containers the id is made from the task's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import attrs

from pyswarm.model import Network, Node, Task

ID_DIGITS = 64


def container_id(task_id: str, known: str = "") -> str:
    """The id of a task's container; ``known`` is what its executor calls it."""
    if len(known) == ID_DIGITS:
        return known
    return hashlib.sha256(f"container {task_id}".encode()).hexdigest()


@attrs.frozen(kw_only=True)
class Container:
    """A task that is on this node, as it is now. Times are seconds since the epoch, 0 for unknown.

    Of the task, placeholders are filled in and the status is the node's own.
    """

    task: Task
    node_id: str
    created_at: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0
    health: str = ""
    """``starting``, ``healthy`` or ``unhealthy``; "" without a check."""
    failures: int = 0
    """Of its health check, in a row."""
    argv: tuple[str, ...] = ()
    """What runs, with what the image says of itself; () where only the service is known."""

    @property
    def id(self) -> str:
        return container_id(self.task.id, self.task.container_id)


@attrs.frozen
class Containers:
    """All of them, newest first, as they were at ``now`` (seconds since the epoch)."""

    now: float
    all: tuple[Container, ...]


@attrs.frozen
class OnNetworks:
    """The networks that this node is on, and itself with its addresses there; as its leader last
    said, so nothing before that."""

    node: Node | None = None
    networks: tuple[Network, ...] = ()


@attrs.frozen(kw_only=True)
class ExecWish:
    """A command to run beside a task, as a client describes it."""

    argv: tuple[str, ...] = attrs.field(repr=False)
    env: tuple[str, ...] = attrs.field(default=(), repr=False)
    user: str = ""
    directory: str = ""
    tty: bool = False
    size: tuple[int, int] = (0, 0)
    """Of its terminal: rows and columns; 0 for unknown."""
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    """Which of its streams the client wants."""
    detach_keys: str = ""


@attrs.frozen(kw_only=True)
class Exec:
    """Such a command as it is now: to come, running or over."""

    id: str
    task_id: str
    container_id: str
    wish: ExecWish
    has_begun: bool = False
    exit_code: int | None = None
    pid: int = 0

    @property
    def is_running(self) -> bool:
        return self.has_begun and self.exit_code is None


@attrs.frozen
class ExecOutput:
    """What such a command wrote."""

    stream: str
    """``stdout`` or ``stderr``."""
    data: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Image:
    """A name that services may use here, and what a task of it runs by itself."""

    name: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)
    dir: str = ""
    user: str = ""
    stop_signal: str = ""


@attrs.frozen(kw_only=True)
class Volume:
    """A directory that outlives its tasks."""

    name: str
    path: str
    labels: Mapping[str, str]
    driver: str = "local"
    created_at: float = 0.0
    in_use: bool = False
    options: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Of the driver."""


@attrs.frozen(kw_only=True)
class Sample:
    """What a task and its host had used at a moment: CPU seconds since their beginnings."""

    at: float
    """Seconds since the epoch."""
    cpu_seconds: float
    memory_bytes: int
    processes: int
    host_cpu_seconds: float
    """Of all processors together, idle or not."""


@attrs.frozen
class Processes:
    """A table of processes, as ``ps`` prints it."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@attrs.frozen(kw_only=True)
class LogWish:
    """Which lines of a log are wanted. ``since`` and ``until`` are seconds since the epoch."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    since: float = 0.0
    until: float | None = None
    tail: int | None = None
    """The last so many of each task; None: all."""
