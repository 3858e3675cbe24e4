"""What can be asked of a node's host, and why it refuses: values between front doors and runtime.

A *host* is a process that may be a node of a swarm, now or later: what dockerd is to swarm mode.
``Host(verb, arguments)`` of :mod:`pyswarm.api.asks` carries these arguments; the runtime's
:class:`pyswarm.runtime.daemon.Host` answers. Sentences are the Docker Engine's. Every
:class:`HostRefusal` is *service unavailable* there (503), whatever its code.
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from pyswarm.errors import (
    FailedPrecondition,
    InvalidArgument,
    Locked,
    SwarmError,
    Unauthenticated,
    Unavailable,
)
from pyswarm.model import SwarmSpec

NO_MANAGER = "This node is not a swarm manager. "
NEVER_JOINED = (
    NO_MANAGER + 'Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
WORKER = (
    NO_MANAGER + "Worker nodes can't be used to view or modify cluster state. Please run this "
    "command on a manager node or promote the current node to a manager."
)
STARTING = NO_MANAGER + "Manager is being prepared or has trouble connecting to the cluster."
LOCKED = (
    "Swarm is encrypted and needs to be unlocked before it can be used. "
    'Please use "docker swarm unlock" to unlock it.'
)
EXPIRED = "Swarm certificates have expired. To replace them, leave the swarm and join again."
ALREADY_IN_SWARM = (
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join '
    "another one."
)
NOT_IN_SWARM = "This node is not part of a swarm"
JOIN_TIMEOUT = (
    "Timeout was reached before node joined. The attempt to join the swarm will continue in the "
    'background. Use the "docker info" command to see the current swarm status of your node.'
)
LEAVING_LOCKED = (
    "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message."
)
DATA_PATH_PORTS = (1024, 49151)
"""The range that Docker allows for the data path's port."""


class HostState(StrEnum):
    """Where a host stands between being no node and being one."""

    INACTIVE = "inactive"
    """It is in no swarm."""
    PENDING = "pending"
    """It tries to join, or its swarm does not know it any more."""
    ACTIVE = "active"
    """It is a node."""
    ERROR = "error"
    """It was a node and cannot run."""
    LOCKED = "locked"
    """It is a manager whose disk needs the unlock key."""


# -- refusals


class HostRefusal(SwarmError):
    """A host's state does not allow what was asked. A mixin: each class below has a code too."""


class NoManager(HostRefusal, FailedPrecondition):
    """The swarm cannot be asked here: this node is in none, a worker, or not ready yet."""


class SwarmLocked(HostRefusal, Locked):
    """The swarm cannot be asked here: this manager's disk is locked."""

    def __init__(self) -> None:
        super().__init__(LOCKED, hint="unlock it with the swarm's unlock key: SWMKEY-1-…")


class CertificatesExpired(HostRefusal, FailedPrecondition):
    """This node's certificate has expired while it was away: nobody will talk to it."""

    def __init__(self) -> None:
        super().__init__(EXPIRED)


class AlreadyInSwarm(HostRefusal, FailedPrecondition):
    """init or join, and this node is part of a swarm already."""

    def __init__(self) -> None:
        super().__init__(ALREADY_IN_SWARM)


class NotInSwarm(HostRefusal, FailedPrecondition):
    """leave or unlock, and there is no swarm."""

    def __init__(self) -> None:
        super().__init__(NOT_IN_SWARM)


class JoinContinues(HostRefusal, Unavailable):
    """Joining takes longer than a caller waits; it goes on in the background."""

    def __init__(self) -> None:
        super().__init__(JOIN_TIMEOUT, outcome="unknown")


class LeaveRefused(HostRefusal, FailedPrecondition):
    """Leaving needs force; the sentence says what would be lost."""


class InvalidDataPathPort(InvalidArgument):
    """The data path's port is outside :data:`DATA_PATH_PORTS`."""

    def __init__(self, port: int) -> None:
        low, high = DATA_PATH_PORTS
        super().__init__(f"Datapath port number is not in valid range ({low}-{high}) : {port}")


class WrongKey(Unauthenticated):
    """The unlock key given is not the one of this node's disk (401)."""

    def __init__(self) -> None:
        super().__init__(
            "swarm could not be unlocked: invalid key provided",
            hint="a manager that was down while the key was rotated still has the one before",
        )


class NotLocked(FailedPrecondition):
    """unlock, and nothing is locked (409)."""

    def __init__(self) -> None:
        super().__init__("swarm is not locked")


# -- arguments of the verbs


@attrs.frozen(kw_only=True)
class InitSwarm:
    """Found a swarm with this host as its first manager; answered with the node's id."""

    listen_addr: str
    advertise_addr: str = ""
    data_path_addr: str = ""
    data_path_port: int = 0
    """0: the default, 4789."""
    default_addr_pools: tuple[str, ...] = ("10.0.0.0/8",)
    subnet_size: int = 24
    force_new_cluster: bool = False
    """Of a manager that lost its quorum: begin the swarm anew with this manager alone. Pools, port
    and spec stay what they are then."""
    availability: str = "active"
    spec: SwarmSpec = SwarmSpec()
    """With ``autolock``, this host's disk is sealed by the unlock key from the start."""


@attrs.frozen(kw_only=True)
class JoinSwarm:
    """Become a node of the swarm whose managers listen at ``remote_addrs``."""

    listen_addr: str
    remote_addrs: tuple[str, ...]
    token: str = attrs.field(repr=False)
    advertise_addr: str = ""
    data_path_addr: str = ""
    availability: str = "active"


@attrs.frozen
class LeaveSwarm:
    """Give membership up; a manager needs ``force``."""

    force: bool = False


@attrs.frozen
class UnlockSwarm:
    """Start the manager whose disk is locked."""

    key: str = attrs.field(repr=False)


# -- what a host says of itself


@attrs.frozen
class RemoteManager:
    """A manager that this host knows of."""

    node_id: str
    addr: str


@attrs.frozen(kw_only=True)
class HostStatus:
    """The host as the Engine's ``info`` shows it."""

    state: HostState = HostState.INACTIVE
    node_id: str = ""
    node_addr: str = ""
    """The advertised address without its port."""
    control_available: bool = False
    """Whether this node is a manager."""
    error: str = ""
    remote_managers: tuple[RemoteManager, ...] | None = None
