"""What a node's agent and the leader's dispatcher say to each other.

A session belongs to one node and one leader. Assignments come in full first (``full``), then as
differences with a sequence number that grows by one; a gap makes the agent open a new session.
Status reports are kept by the agent until ``StatusRecorded`` names their sequence.
"""

from __future__ import annotations

import attrs

from pyswarm.model.labels import Labels, no_labels
from pyswarm.model.objects import Network, Node, NodeDescription, Sealed, Task, TaskStatus
from pyswarm.model.specs import Driver
from pyswarm.model.value import value


@value
@attrs.frozen(weakref_slot=False)
class ManagerAddress:
    """Where a manager listens."""

    node_id: str
    addr: str


@value
@attrs.frozen(weakref_slot=False)
class Trust:
    """Whom to believe: the root certificates (PEM), the swarm's and during a rotation the
    ``coming`` one; and the ids of ``removed`` nodes, whose certificates count no more.

    ``as_of``: cluster time and version of the store that says so. Later entries have later ones,
    and so has a new cluster that begins with an old backup.
    """

    root: bytes = b""
    coming: bytes = b""
    removed: tuple[str, ...] = ()
    as_of: tuple[float, int] = (0.0, 0)

    def told(self, news: Trust) -> Trust:
        """Whom to believe after hearing ``news``: a leader that was deposed may not know of it, and
        its word may be long under way. What is older is never believed over what is newer."""
        return news if news.as_of >= self.as_of else self


@value
@attrs.frozen(weakref_slot=False)
class Plain:
    """An opened payload, on its way to the one node that may see it; never stored, never shown."""

    data: bytes = attrs.field(repr=False)


@value
@attrs.frozen(weakref_slot=False)
class Driven:
    """A payload that a driver of the embedder's brings when it is needed: the leader's runtime asks
    it before the message leaves. ``task_id`` is a task that needs it, the first on its node."""

    driver: Driver
    labels: Labels = no_labels
    task_id: str = ""


@value
@attrs.frozen(weakref_slot=False)
class Dependency:
    """A secret or config (``kind``) that a task on this node refers to.

    ``error`` tells why a driver brought nothing: the task is rejected with it.
    """

    kind: str
    id: str
    name: str
    payload: Sealed | Plain | Driven = attrs.field(repr=False)
    templating: str = ""
    error: str = ""


@value
@attrs.frozen(weakref_slot=False)
class OpenSession:
    """Agent: here I am. ``session_id`` is the last one, or "" the first time."""

    session_id: str
    description: NodeDescription


@value
@attrs.frozen(weakref_slot=False)
class Heartbeat:
    session_id: str


@value
@attrs.frozen(weakref_slot=False)
class ReportStatus:
    """Agent: these tasks changed (last state of each); at most 1024 a message."""

    session_id: str
    sequence: int
    statuses: tuple[tuple[str, TaskStatus], ...]


@value
@attrs.frozen(weakref_slot=False)
class SessionOpened:
    """Leader: here is your session. ``networks`` are those that the node is on."""

    session_id: str
    period: float
    node: Node
    managers: tuple[ManagerAddress, ...] = ()
    trust: Trust = Trust()
    networks: tuple[Network, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class SessionRefused:
    """No session (any more): try ``leader_addr`` where it is known, else any manager."""

    session_id: str
    code: str
    message: str
    leader_addr: str = ""


@value
@attrs.frozen(weakref_slot=False)
class HeartbeatAnswer:
    """``sequence`` is that of the last assignments sent, ``changes`` the number of the last
    ``SessionChanged``: an agent that has not seen them missed something and opens a new session."""

    session_id: str
    period: float
    sequence: int = 0
    changes: int = 0


@value
@attrs.frozen(weakref_slot=False)
class SessionChanged:
    """The node's own object (with the networks that it is on), the list of managers or the roots to
    trust changed. ``number`` counts them from 1."""

    session_id: str
    node: Node
    managers: tuple[ManagerAddress, ...] = ()
    number: int = 0
    trust: Trust = Trust()
    networks: tuple[Network, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class Assignments:
    """The tasks of this node with what they depend on: the full set, or a difference."""

    session_id: str
    sequence: int
    full: bool
    tasks: tuple[Task, ...] = ()
    removed_tasks: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    removed_dependencies: tuple[tuple[str, str], ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class StatusRecorded:
    session_id: str
    sequence: int


ToLeader = OpenSession | Heartbeat | ReportStatus
ToAgent = (
    SessionOpened | SessionRefused | HeartbeatAnswer | SessionChanged | Assignments | StatusRecorded
)
