"""States and choices, each with the table of what may follow what.

``TaskState`` is a Lamport clock: it only moves forward, and its numbers matter, because managers,
agents and users compare with ``<`` and ``>``. Gaps leave room. The names are Docker Swarm's.
"""

from __future__ import annotations

from enum import Enum, IntEnum


class TaskState(IntEnum):
    """Where a task stands (``state``), or should get to (``desired_state``)."""

    NEW = 0
    PENDING = 64
    ASSIGNED = 192
    ACCEPTED = 256
    PREPARING = 320
    READY = 384
    STARTING = 448
    RUNNING = 512
    COMPLETE = 576
    SHUTDOWN = 640
    FAILED = 704
    REJECTED = 768
    REMOVE = 800
    ORPHANED = 832

    def __str__(self) -> str:
        return self.name.lower()


DESIRED_STATES = (
    TaskState.READY,
    TaskState.RUNNING,
    TaskState.COMPLETE,
    TaskState.SHUTDOWN,
    TaskState.REMOVE,
)
"""The only values a desired state takes; like the observed state it only grows."""


class Role(IntEnum):
    """What a node is: every manager is a worker too."""

    WORKER = 0
    MANAGER = 1

    def __str__(self) -> str:
        return self.name.lower()

    @property
    def organizational_unit(self) -> str:
        """The OU of a node certificate of this role."""
        return f"swarm-{self}"


class Membership(IntEnum):
    """Whether a node was let in."""

    PENDING = 0
    ACCEPTED = 1

    def __str__(self) -> str:
        return self.name.lower()


class Availability(IntEnum):
    """Whether a node takes tasks: active; keeps those it has (pause); gives them up (drain)."""

    ACTIVE = 0
    PAUSE = 1
    DRAIN = 2

    def __str__(self) -> str:
        return self.name.lower()


class NodeState(IntEnum):
    """What the leader knows of a node by its heartbeats."""

    UNKNOWN = 0
    DOWN = 1
    READY = 2
    DISCONNECTED = 3

    def __str__(self) -> str:
        return self.name.lower()


class Reachability(IntEnum):
    """What the leader sees of a manager; merged into answers, never stored."""

    UNKNOWN = 0
    UNREACHABLE = 1
    REACHABLE = 2

    def __str__(self) -> str:
        return self.name.lower()


class RestartCondition(Enum):
    """After which ends of a task it gets a successor."""

    NONE = "none"
    ON_FAILURE = "on-failure"
    ANY = "any"

    def __str__(self) -> str:
        return self.value


class FailureAction(Enum):
    """What an update does when too many of its tasks fail."""

    PAUSE = "pause"
    CONTINUE = "continue"
    ROLLBACK = "rollback"

    def __str__(self) -> str:
        return self.value


class UpdateOrder(Enum):
    """Whether the old task of a slot ends first, or the new one runs first."""

    STOP_FIRST = "stop-first"
    START_FIRST = "start-first"

    def __str__(self) -> str:
        return self.value


class UpdateState(Enum):
    """How a rolling update or rollback stands."""

    UPDATING = "updating"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLBACK_STARTED = "rollback_started"
    ROLLBACK_PAUSED = "rollback_paused"
    ROLLBACK_COMPLETED = "rollback_completed"

    def __str__(self) -> str:
        return self.value


UPDATE_TRANSITIONS: dict[UpdateState | None, tuple[UpdateState, ...]] = {
    None: (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED),
    UpdateState.UPDATING: (
        UpdateState.PAUSED,
        UpdateState.COMPLETED,
        UpdateState.ROLLBACK_STARTED,
    ),
    UpdateState.ROLLBACK_STARTED: (
        UpdateState.ROLLBACK_COMPLETED,
        UpdateState.ROLLBACK_PAUSED,
    ),
    UpdateState.PAUSED: (),
    UpdateState.COMPLETED: (),
    UpdateState.ROLLBACK_PAUSED: (),
    UpdateState.ROLLBACK_COMPLETED: (),
}
"""What an update may become by itself; a new update of the service starts again at None (an
automatic or manual rollback starts at ROLLBACK_STARTED)."""


class EndpointMode(Enum):
    """What a service's name stands for: one virtual IP, or all addresses of its tasks."""

    VIP = "vip"
    DNSRR = "dnsrr"

    def __str__(self) -> str:
        return self.value


class PublishMode(Enum):
    """Where a published port is open: on every node, or where the task is."""

    INGRESS = "ingress"
    HOST = "host"

    def __str__(self) -> str:
        return self.value


class Protocol(Enum):
    """What a port speaks."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"

    def __str__(self) -> str:
        return self.value


class MountType(Enum):
    """What is mounted."""

    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"
    NPIPE = "npipe"
    CLUSTER = "cluster"
    IMAGE = "image"

    def __str__(self) -> str:
        return self.value


class TaskOrigin(IntEnum):
    """Who made a task: counting restarts and failed updates is derived from it."""

    CREATED = 0
    RESTARTED = 1
    UPDATED = 2

    def __str__(self) -> str:
        return self.name.lower()


UNKNOWN_WORDS: dict[type[Enum], str] = {
    RestartCondition: "invalid RestartCondition: %q",
    FailureAction: "unrecognized update failure action %s",
    UpdateOrder: "unrecognized update order %s",
    EndpointMode: "invalid resolution mode: %q",
    MountType: "invalid MountType: %q",
    Role: "invalid Role: %q",
    Availability: "invalid Availability: %q",
}
"""Docker's sentence for a word that is none of an enum's (``%q`` quoted, ``%s`` as it is)."""
