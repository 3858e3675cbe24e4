"""What a handler may ask for: the vocabulary between the Engine API and whoever runs it.

The runtime answers each with the value described, or raises the typed error at the ``yield``. Asks
of the swarm raise what a node outside a swarm, on a worker or locked answers: a ``HostRefusal`` of
:mod:`pyswarm.api.hosting`. An error of the managers that a handler lets pass gets the prefix
``rpc error: …``; one that the handler, or the question of a :class:`Read`, raised does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import attrs

from pyswarm.api.local import LogWish
from pyswarm.api.rendering import Rendered
from pyswarm.model import Service, ServiceSpec, SwarmSpec, Task
from pyswarm.store import Reader


def _by_version(service: Service) -> Callable[[Task, Reader], bool]:
    return lambda task, _: task.spec_version != service.spec_version


@attrs.frozen
class Live:
    """What only memory knows, beside the store: handed to every read."""

    node_id: str
    """This node."""
    leader_id: str = ""
    """"" while nobody leads."""
    no_leader: str = ""
    """Why nobody does, in Docker's sentence."""
    reachability: Mapping[str, str] = attrs.field(factory=dict)
    """Manager's node id → ``reachable``, ``unreachable`` or ``unknown``."""
    outdated: Callable[[Service], Callable[[Task, Reader], bool]] = _by_version
    """The orchestrator's judgement: ``outdated(service)(task, reader)`` says whether a task differs
    from what its service wants now. Another number of replicas is no difference."""
    rendered: Rendered = attrs.field(factory=Rendered, repr=False, eq=False)
    """Objects' JSON as it was made before."""


Question: TypeAlias = Callable[[Reader, Live], Any]


# -- of the swarm


@attrs.frozen
class Read:
    """A question to the settled store, answered in one piece: ``question(store, live)``.

    Linearizable, unless ``stale``: then this manager's own state at once.
    """

    question: Question
    stale: bool = False


@attrs.frozen
class Do:
    """A command (a value of :mod:`pyswarm.model.requests`); answered with what it returns."""

    body: Any


@attrs.frozen
class Seal:
    """Seal a payload before it enters a command; answered with a ``Sealed``."""

    data: bytes = attrs.field(repr=False)


@attrs.frozen
class OpenSealed:
    """The plain payload of a config; answered with bytes."""

    sealed: Any


@attrs.frozen
class CheckDriver:
    """Whether this manager has the driver of secrets that is so called; answered with None, or
    raises ``NotFound``."""

    name: str


@attrs.frozen
class Prepare:
    """A service's spec made ready (image pinned where the client did not, templates checked,
    registry credentials sealed); answered with ``(spec, warnings)``."""

    spec: ServiceSpec
    current: ServiceSpec | None = None
    image_changed: bool = False
    auth: str = attrs.field(default="", repr=False)
    """The X-Registry-Auth header; "" for none."""


@attrs.frozen
class ChangeSwarm:
    """New settings for the swarm, and fresh keys in the place of those named; answered with the
    swarm's object once this node's own keys follow."""

    version: int
    spec: SwarmSpec
    rotate_worker_token: bool = False
    rotate_manager_token: bool = False
    rotate_unlock_key: bool = False


@attrs.frozen
class ShowUnlockKey:
    """The unlock key as people keep it; "" while autolock is off."""


@attrs.frozen
class Follow:
    """A stream of ``Commit`` values of the store, as the source of a ``Streamed``.

    It begins with what the history still holds since ``since`` (cluster time; None: nothing) and
    ends after ``until`` (None: never). On a node that is no manager nothing comes.
    """

    kinds: Collection[str]
    since: float | None = None
    until: float | None = None


@attrs.frozen(kw_only=True)
class ReadLogs:
    """Lines that tasks wrote, wherever they run, as the source of a ``Streamed``: values with
    ``stream``, ``time``, ``data``, ``task_id``, ``service_id`` and ``node_id``.

    Raises nothing: it ends where nobody can say more; if there was more, with a
    :class:`LogsMissing`.
    """

    tasks: Callable[[Reader], Iterable[Task]]
    """Those wanted, as of now; asked again while following, until it raises ``NotFound``."""
    task_id: str = ""
    """The only one, if it is one."""
    wish: LogWish


@attrs.frozen
class LogsMissing:
    """The end of a stream of logs that lacks some."""

    why: str


# -- of this node alone, swarm or not


LocalVerb: TypeAlias = Literal[
    "containers",
    "networks",
    "signal",
    "stop",
    "remove",
    "images",
    "volumes",
    "create_volume",
    "remove_volume",
    "processes",
    "create_exec",
    "exec",
    "start_exec",
    "resize_exec",
]


@attrs.frozen
class Local:
    """Something of this node's executor. Values are those of :mod:`pyswarm.api.local`.

    ============== ======================================= ===========================
    verb           arguments                               answered with
    ============== ======================================= ===========================
    containers     none                                    ``Containers``
    networks       none                                    ``OnNetworks``
    signal         task id, signal's name ("": end it)     None
    stop           task id, seconds (None: its own grace)  None
    remove         task id                                 None; what runs is ended
    images         none                                    ``Image`` s by name
    volumes        none                                    ``Volume`` s by name
    create_volume  name (""), labels, driver's options     the ``Volume``
    remove_volume  name                                    None
    processes      task id, arguments of ``ps``            ``Processes``
    create_exec    task id, container's id, ``ExecWish``   the id of an ``Exec``
    exec           its id                                  the ``Exec``, or None
    start_exec     its id                                  None, once it has begun
    resize_exec    its id, rows, columns                   None
    ============== ======================================= ===========================
    """

    verb: LocalVerb
    arguments: tuple[Any, ...] = ()


@attrs.frozen
class ReadLocalLogs:
    """Lines that one task of this node wrote, as the source of a ``Streamed``."""

    task_id: str
    wish: LogWish


@attrs.frozen
class WatchUsage:
    """What a task of this node uses, as the source of a ``Streamed``: pairs of a ``Sample`` and the
    one a second before (None: it is the first), until the task has ended."""

    task_id: str
    once: bool = False
    """One pair."""
    is_primed: bool = False
    """The first one has a sample before: it takes a second."""


@attrs.frozen
class RunExec:
    """Run a command that was created beside a task of this node, as the source of a ``Streamed``:
    values with ``stream`` and ``data``. It begins with the stream, and what the client sends is
    its input. Where it cannot begin, the reason is what it writes."""

    exec_id: str
    size: tuple[int, int] = (0, 0)
    """Of its terminal, over what was said before: rows and columns."""


@attrs.frozen
class AwaitEnd:
    """The exit code of a task of this node, once it has ended, as the source of a ``Streamed``."""

    task_id: str


# -- of the host


@attrs.frozen
class ResolveImage:
    """What a registry says of an image; answered with a ``Described``."""

    image: str
    auth: str = attrs.field(default="", repr=False)


@attrs.frozen
class LogIn:
    """Whether a registry knows these credentials; answered with an identity token, "" for none."""

    server: str
    """Its host and port; "" for Docker Hub."""
    auth: str = attrs.field(repr=False)
    """In the form of the X-Registry-Auth header."""


Verb: TypeAlias = Literal["init", "join", "leave", "unlock", "status", "facts"]


@attrs.frozen
class Host:
    """Something of this process's host, swarm or not.

    ======== =========================================== =====================
    verb     arguments (:mod:`pyswarm.api.hosting`)      answered with
    ======== =========================================== =====================
    init     ``InitSwarm``                               this node's id
    join     ``JoinSwarm``                               None
    leave    ``LeaveSwarm``                              None
    unlock   ``UnlockSwarm``                             None
    status   none                                        ``HostStatus``
    facts    none                                        ``Facts``
    ======== =========================================== =====================
    """

    verb: Verb
    arguments: Any = attrs.field(default=None, repr=False)
