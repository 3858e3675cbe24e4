"""What can be asked of the swarm: one value per command, whoever asks and through whichever door.

Everything that a command needs from outside (a sealed payload, new tokens and keys, a resolved
digest) is in the value already, so that deciding it never waits. Missing ids are drawn by the
leader. ``version`` is always the version of the object that the caller saw: another one is refused
as out of sequence.

The second half are requests that no person makes: the managers' own runtimes and dispatchers do.
"""

from __future__ import annotations

import attrs

from pyswarm.model.identity import Identity
from pyswarm.model.labels import Labels, no_labels
from pyswarm.model.objects import (
    Certificate,
    NodeDescription,
    RootCAState,
    Sealed,
    TaskStatus,
)
from pyswarm.model.specs import (
    ConfigSpec,
    ExtensionSpec,
    NetworkSpec,
    NodeSpec,
    ResourceSpec,
    SecretSpec,
    ServiceSpec,
    SwarmSpec,
    VolumeSpec,
)
from pyswarm.model.states import Availability, NodeState
from pyswarm.model.value import value


@value
@attrs.frozen(weakref_slot=False)
class CreateService:
    spec: ServiceSpec
    id: str = ""


@value
@attrs.frozen(weakref_slot=False)
class UpdateService:
    """``rollback``: go back to the previous spec; ``spec`` is then not looked at."""

    service_id: str
    version: int
    spec: ServiceSpec | None = None
    rollback: bool = False


@value
@attrs.frozen(weakref_slot=False)
class RemoveService:
    service_id: str


@value
@attrs.frozen(weakref_slot=False)
class CreateNetwork:
    spec: NetworkSpec
    id: str = ""


@value
@attrs.frozen(weakref_slot=False)
class RemoveNetwork:
    id: str


@value
@attrs.frozen(weakref_slot=False)
class CreateSecret:
    """The size of the payload was checked before it was sealed; None with a driver."""

    spec: SecretSpec
    payload: Sealed | None = None
    id: str = ""


@value
@attrs.frozen(weakref_slot=False)
class UpdateSecret:
    """Only labels can be changed."""

    id: str
    version: int
    labels: Labels = no_labels


@value
@attrs.frozen(weakref_slot=False)
class RemoveSecret:
    id: str


@value
@attrs.frozen(weakref_slot=False)
class CreateConfig:
    spec: ConfigSpec
    payload: Sealed | None = None
    id: str = ""


@value
@attrs.frozen(weakref_slot=False)
class UpdateConfig_:
    """Only labels can be changed. (``UpdateConfig`` is how a rolling update goes.)"""

    id: str
    version: int
    labels: Labels = no_labels


@value
@attrs.frozen(weakref_slot=False)
class RemoveConfig:
    id: str


@value
@attrs.frozen(weakref_slot=False)
class CreateVolume:
    spec: VolumeSpec
    id: str = ""


@value
@attrs.frozen(weakref_slot=False)
class UpdateVolume:
    id: str
    version: int
    spec: VolumeSpec


@value
@attrs.frozen(weakref_slot=False)
class RemoveVolume:
    id: str
    force: bool = False


@value
@attrs.frozen(weakref_slot=False)
class CreateExtension:
    spec: ExtensionSpec
    id: str = ""


@value
@attrs.frozen(weakref_slot=False)
class RemoveExtension:
    id: str


@value
@attrs.frozen(weakref_slot=False)
class CreateResource:
    spec: ResourceSpec
    id: str = ""


@value
@attrs.frozen(weakref_slot=False)
class UpdateResource:
    id: str
    version: int
    spec: ResourceSpec


@value
@attrs.frozen(weakref_slot=False)
class RemoveResource:
    id: str


@value
@attrs.frozen(weakref_slot=False)
class UpdateNode:
    node_id: str
    version: int
    spec: NodeSpec


@value
@attrs.frozen(weakref_slot=False)
class RemoveNode:
    """``force`` removes a node that is not down."""

    node_id: str
    force: bool = False


@value
@attrs.frozen(weakref_slot=False)
class UpdateSwarm:
    """New settings, and new values of what is to be rotated ("" or None = keep)."""

    version: int
    spec: SwarmSpec
    rotate_worker_token: str = attrs.field(default="", repr=False)
    rotate_manager_token: str = attrs.field(default="", repr=False)
    rotate_unlock_key: bytes | None = attrs.field(default=None, repr=False)
    root_ca: RootCAState | None = attrs.field(default=None, repr=False)


@value
@attrs.frozen(weakref_slot=False)
class RemoveTask:
    task_id: str


@value
@attrs.frozen(weakref_slot=False)
class JoinNode:
    """A node with a join token becomes a member; the token decides in which role."""

    token: str = attrs.field(repr=False)
    node_id: str = ""
    addr: str = ""
    description: NodeDescription | None = None
    availability: Availability = Availability.ACTIVE
    certificate: Certificate | None = None


@value
@attrs.frozen(weakref_slot=False)
class LeaveNode:
    """A member gives its membership up. A manager needs ``force``."""

    node_id: str
    force: bool = False


# -- what managers ask of the leader themselves


@value
@attrs.frozen(weakref_slot=False)
class RegisterNode:
    """An agent opened a session: what it says of itself, and where it comes from."""

    node_id: str
    description: NodeDescription
    addr: str = ""
    session: str = ""


@value
@attrs.frozen(weakref_slot=False)
class RecordStatuses:
    """What an agent reports of its tasks: (task id, status), the last state of each."""

    node_id: str
    statuses: tuple[tuple[str, TaskStatus], ...] = ()
    applied_by: str = ""


@value
@attrs.frozen(weakref_slot=False)
class SetNodeStates:
    """What the leader sees of nodes: (node id, state, message)."""

    states: tuple[tuple[str, NodeState, str], ...] = ()


UserBody = (
    CreateService
    | UpdateService
    | RemoveService
    | CreateNetwork
    | RemoveNetwork
    | CreateSecret
    | UpdateSecret
    | RemoveSecret
    | CreateConfig
    | UpdateConfig_
    | RemoveConfig
    | CreateVolume
    | UpdateVolume
    | RemoveVolume
    | CreateExtension
    | RemoveExtension
    | CreateResource
    | UpdateResource
    | RemoveResource
    | UpdateNode
    | RemoveNode
    | UpdateSwarm
    | RemoveTask
    | JoinNode
    | LeaveNode
)
InternalBody = RegisterNode | RecordStatuses | SetNodeStates
Body = UserBody | InternalBody


@value
@attrs.frozen(weakref_slot=False)
class Request:
    """A command with its id (a retry has the same one) and who asks (None: this very process)."""

    id: str
    body: Body
    identity: Identity | None = None
