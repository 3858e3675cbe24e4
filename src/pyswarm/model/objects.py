"""What the swarm remembers: immutable objects, each with the version of its last commit.

``version`` is the log index of the commit that wrote the object, ``created_at`` and ``updated_at``
are cluster time (seconds since the Unix epoch). A change makes a new object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from pyswarm.model.labels import Labels, no_labels
from pyswarm.model.resources import GenericResource, Platform, Resources
from pyswarm.model.specs import (
    ConfigSpec,
    EndpointSpec,
    ExtensionSpec,
    IPAMConfig,
    LogDriver,
    NetworkSpec,
    NodeSpec,
    PortConfig,
    ResourceSpec,
    SecretSpec,
    ServiceSpec,
    SwarmSpec,
    TaskSpec,
    VolumeSpec,
)
from pyswarm.model.states import NodeState, Role, TaskOrigin, TaskState, UpdateState
from pyswarm.model.value import numbered, trusted_value, value

UNHEALTHY = "unhealthy"
"""The status message of a running task whose health check has failed: it is being ended."""

NO_READING = "configured logging driver does not support reading"
"""Why the log of a task that keeps none cannot be read."""


@value
@attrs.frozen(weakref_slot=False)
class Sealed:
    """A payload nobody can read without the sealing key: what store, log and snapshots hold.

    ``digest`` is keyed; equal payloads under one key have equal digests. ``length`` is that of the
    plain payload in bytes.
    """

    key_id: int
    nonce: bytes = attrs.field(repr=False)
    ciphertext: bytes = attrs.field(repr=False)
    length: int
    digest: bytes = attrs.field(repr=False)


@value
@attrs.frozen(weakref_slot=False)
class NetworkAttachment:
    """A network of a task: its addresses as CIDR with the network's prefix length."""

    network_id: str
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class VirtualIP:
    """A service's address in a network, as CIDR with the network's prefix length; "" in a network
    that is a node's own (``host``)."""

    network_id: str
    address: str


@value
@attrs.frozen(weakref_slot=False)
class Endpoint:
    """Ports and virtual IPs as allocated; ``spec`` is what they were allocated for."""

    spec: EndpointSpec = EndpointSpec()
    ports: tuple[PortConfig, ...] = ()
    virtual_ips: tuple[VirtualIP, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class UpdateStatus:
    """How the service's rolling update stands.

    ``slots_total`` counts the dirty slots when it began (the denominator of the failure ratio);
    ``failed`` the tasks that counted as failures; with the tasks themselves this is all a new
    leader needs to go on.
    """

    state: UpdateState
    message: str = ""
    started_at: float = 0.0
    completed_at: float = 0.0
    slots_total: int = 0
    slots_done: int = 0
    failed: tuple[str, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class JobStatus:
    """Which run of a job this is, and when it began (Unix time)."""

    iteration: int = 0
    last_execution: float = 0.0


@value
@attrs.frozen(weakref_slot=False)
class Service:
    """A service: its spec, the one before (for a rollback), and what came of them."""

    id: str
    spec: ServiceSpec
    version: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    spec_version: int = 0
    previous_spec: ServiceSpec | None = None
    previous_spec_version: int = 0
    endpoint: Endpoint | None = None
    update_status: UpdateStatus | None = None
    job_status: JobStatus | None = None
    pending_delete: bool = False
    spec_written: int = 0
    """The version that wrote the present spec, be it by a rollback; whoever saw it or a later one
    knows the spec."""


@value
@attrs.frozen(weakref_slot=False)
class TaskStatus:
    """The observed side of a task, as one value."""

    state: TaskState
    message: str = ""
    err: str = ""
    at: float = 0.0
    container_id: str = ""
    pid: int = 0
    exit_code: int = 0
    ports: tuple[PortConfig, ...] = ()


@trusted_value
@attrs.frozen(weakref_slot=False)
class Task:
    """One attempt at a slot. Flat, because there are many and they change often.

    ``slot`` counts from 1 (0: a global service's task, known by its node). ``start_after`` is the
    cluster time before which a READY task must not be moved to RUNNING (restart delay), and
    ``replaces`` the task that must have stopped first; ``running_at`` is when it was first observed
    running, ``applied_at`` when a manager last recorded a status.
    """

    id: str
    service_id: str
    spec: TaskSpec
    version: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    spec_version: int = 0
    slot: int = 0
    node_id: str = ""
    desired_state: TaskState = TaskState.RUNNING
    state: TaskState = TaskState.NEW
    message: str = ""
    err: str = ""
    status_at: float = 0.0
    applied_at: float = 0.0
    applied_by: str = ""
    container_id: str = ""
    pid: int = 0
    exit_code: int = 0
    port_status: tuple[PortConfig, ...] = ()
    running_at: float = 0.0
    start_after: float = 0.0
    replaces: str = ""
    origin: TaskOrigin = TaskOrigin.CREATED
    service_name: str = ""
    service_labels: Labels = no_labels
    networks: tuple[NetworkAttachment, ...] = ()
    endpoint: Endpoint | None = None
    log_driver: LogDriver | None = None
    assigned_generic: tuple[GenericResource, ...] = ()
    job_iteration: int | None = None
    volumes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``service.slot.id``, or ``service.node.id`` where there is no slot."""
        return f"{self.service_name}.{self.slot or self.node_id}.{self.id}"

    @property
    def takes_traffic(self) -> bool:
        """Whether connections may be sent to it: it runs, should run, and is healthy."""
        return (
            self.state is TaskState.RUNNING
            and self.desired_state < TaskState.SHUTDOWN
            and self.message != UNHEALTHY
        )

    @property
    def keeps_log(self) -> bool:
        """Whether what it writes can be read."""
        driver = self.log_driver or self.spec.log_driver
        return driver is None or driver.name != "none"

    @property
    def status(self) -> TaskStatus:
        """The observed fields as one value."""
        return TaskStatus(
            self.state,
            self.message,
            self.err,
            self.status_at,
            self.container_id,
            self.pid,
            self.exit_code,
            self.port_status,
        )


@value
@attrs.frozen(weakref_slot=False)
class Plugin:
    """Something an engine offers: ``type`` is Volume, Network or Log."""

    type: str
    name: str


@value
@attrs.frozen(weakref_slot=False)
class TLSInfo:
    """Whom a node trusts and who signed its certificate (PEM; subject and public key as DER)."""

    trust_root: bytes = b""
    issuer_subject: bytes = b""
    issuer_public_key: bytes = b""


@value
@attrs.frozen(weakref_slot=False)
class CSINode:
    """A storage plugin on a node: the node's id there, ``max_volumes`` (0: no limit), and where the
    plugin sees the node (``topology``, segments by key)."""

    plugin: str
    node_id: str = ""
    max_volumes: int = 0
    topology: Labels = no_labels


@value
@attrs.frozen(weakref_slot=False)
class NodeDescription:
    """What a node says of itself."""

    hostname: str = ""
    platform: Platform = Platform()
    resources: Resources = Resources()
    engine_version: str = ""
    engine_labels: Labels = no_labels
    plugins: tuple[Plugin, ...] = ()
    tls: TLSInfo | None = None
    fips: bool = False
    csi: tuple[CSINode, ...] = ()
    data_path_addr: str = ""
    """Where traffic of networks reaches the node; "" for the address that it advertises."""


@value
@attrs.frozen(weakref_slot=False)
class ManagerStatus:
    """A manager's place in Raft. Leadership and reachability are merged into answers."""

    member_id: int
    addr: str = ""
    epoch: int = 0


@value
@attrs.frozen(weakref_slot=False)
class Node:
    """``role`` is the observed one; ``spec.desired_role`` what people asked for."""

    id: str
    spec: NodeSpec = NodeSpec()
    version: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    role: Role = Role.WORKER
    description: NodeDescription | None = None
    state: NodeState = NodeState.UNKNOWN
    message: str = ""
    addr: str = ""
    manager: ManagerStatus | None = None
    certificate: Certificate | None = None
    attachments: tuple[NetworkAttachment, ...] = ()
    down_at: float = 0.0
    left_seat: bool = False
    """A manager that left the swarm: its seat is given up, yet it is listed as a manager that
    nobody can reach until it is demoted, as Docker does."""

    @property
    def hostname(self) -> str:
        return self.description.hostname if self.description else ""

    @property
    def wants_seat(self) -> bool:
        """People want it as a manager, and it has not left."""
        return self.spec.desired_role is Role.MANAGER and not self.left_seat


@value
@attrs.frozen(weakref_slot=False)
class Certificate:
    """What the leader has to say of a node's certificate: with ``status`` ``rotate`` the node is to
    renew it, ``issued`` when it has. None of a node that was never asked. What the certificate is,
    the node says itself: ``description.tls``."""

    role: Role
    cn: str = ""
    status: str = attrs.field(default="issued", metadata=numbered(3))


@value
@attrs.frozen(weakref_slot=False)
class Network:
    """``ipam`` holds what was allocated, ``driver_state`` what the driver chose (VXLAN id)."""

    id: str
    spec: NetworkSpec
    version: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    ipam: tuple[IPAMConfig, ...] = ()
    driver_state: Labels = no_labels
    pending_delete: bool = False


@value
@attrs.frozen(weakref_slot=False)
class Secret:
    """A secret of the swarm; its payload is sealed."""

    id: str
    spec: SecretSpec
    payload: Sealed | None = None
    version: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    internal: bool = False


@value
@attrs.frozen(weakref_slot=False)
class Config:
    """A config of the swarm; its payload is sealed, and shown to whoever may read configs."""

    id: str
    spec: ConfigSpec
    payload: Sealed | None = None
    version: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


@value
@attrs.frozen(weakref_slot=False)
class SealingKey:
    """A key that payloads are sealed under; protected by the sealed log."""

    id: int
    key: bytes = attrs.field(repr=False)


@value
@attrs.frozen(weakref_slot=False)
class RootRotation:
    """The root that takes the place of the swarm's, while every node gets a certificate from it.

    ``cross_signed`` is its certificate signed by the present root; ``key`` is empty where an
    external authority has it. Its tokens are those of the swarm as soon as it ends: turns draw no
    secrets, so it brings them from the beginning.
    """

    cert: bytes
    key: bytes = attrs.field(default=b"", repr=False)
    cross_signed: bytes = b""
    digest: str = ""
    issuer_subject: bytes = b""
    issuer_public_key: bytes = b""
    worker_token: str = attrs.field(default="", repr=False)
    manager_token: str = attrs.field(default="", repr=False)


@value
@attrs.frozen(weakref_slot=False)
class RootCAState:
    """The swarm's root certificate, its key (empty: an external authority has it), the join tokens
    that pin it, and its ``rotation``, while there is one. Issuer: subject and public key, DER."""

    cert: bytes = b""
    key: bytes = attrs.field(default=b"", repr=False)
    digest: str = ""
    worker_token: str = attrs.field(default="", repr=False)
    manager_token: str = attrs.field(default="", repr=False)
    issuer_subject: bytes = b""
    issuer_public_key: bytes = b""
    rotation: RootRotation | None = None

    @property
    def tls(self) -> TLSInfo:
        """What a node reports whose certificate is as it should be: the root that is trusted, and
        who signs now (during a rotation the next root)."""
        signer = self.rotation or self
        return TLSInfo(self.cert, signer.issuer_subject, signer.issuer_public_key)

    @property
    def trusted(self) -> tuple[bytes, bytes]:
        """The certificates to trust now: the root's, and the coming one's or nothing."""
        return self.cert, self.rotation.cert if self.rotation is not None else b""

    def has_signed(self, tls: TLSInfo | None) -> bool:
        """Whether a node that reports ``tls`` has a certificate of who signs now."""
        wanted = self.tls
        return tls is not None and (
            tls.issuer_subject == wanted.issuer_subject
            and tls.issuer_public_key == wanted.issuer_public_key
        )

    def tls_status(self, tls: TLSInfo | None) -> str:
        """``Ready``, ``Needs Rotation``, or ``Unknown`` of a node that says nothing: Docker's."""
        if tls is None or not tls.trust_root:
            return "Unknown"
        return "Ready" if tls == self.tls else "Needs Rotation"


@value
@attrs.frozen(weakref_slot=False)
class RevokedCertificate:
    """A node that was removed; its certificate is refused until it expires (Unix time)."""

    node_id: str
    expires_at: float


@value
@attrs.frozen(weakref_slot=False)
class Swarm:
    """The one object that describes the whole swarm."""

    id: str
    spec: SwarmSpec = SwarmSpec()
    version: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    root_ca: RootCAState = RootCAState()
    sealing_keys: tuple[SealingKey, ...] = attrs.field(default=(), repr=False)
    unlock_key: bytes = attrs.field(default=b"", repr=False)
    network_keys: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    network_key_clock: int = 0
    revoked: tuple[RevokedCertificate, ...] = ()
    default_addr_pools: tuple[str, ...] = ("10.0.0.0/8",)
    subnet_size: int = 24
    data_path_port: int = 4789
    fips: bool = False
    format: int = 1
    certificates_until: float = 0.0
    """When the last certificate has expired that was issued before certificates became shorter."""


@value
@attrs.frozen(weakref_slot=False)
class VolumePublishStatus:
    """How far a cluster volume is on its way to a node."""

    node_id: str
    state: str = "pending-publish"
    publish_context: Labels = no_labels
    message: str = ""


@value
@attrs.frozen(weakref_slot=False)
class Volume:
    """A CSI cluster volume, and on which nodes it is."""

    id: str
    spec: VolumeSpec
    version: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    volume_id: str = ""
    capacity_bytes: int = 0
    context: Labels = no_labels
    accessible_topology: tuple[Labels, ...] = ()
    publish: tuple[VolumePublishStatus, ...] = ()
    pending_delete: bool = False


@value
@attrs.frozen(weakref_slot=False)
class Extension:
    """A kind of custom objects."""

    id: str
    spec: ExtensionSpec
    version: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


@value
@attrs.frozen(weakref_slot=False)
class Resource:
    """A custom object."""

    id: str
    spec: ResourceSpec
    version: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


@trusted_value
@attrs.frozen(weakref_slot=False)
class RequestRecord:
    """What a request did, so that a retry never applies twice; kept for 10 minutes.

    ``written`` holds (kind, id, version) of what it wrote; ``error`` the wire form of its refusal.
    """

    id: str
    version: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    written: tuple[tuple[str, str, int], ...] = ()
    error: Mapping[str, Any] | None = None


StoreObject = (
    Swarm
    | Node
    | Service
    | Task
    | Network
    | Secret
    | Config
    | Volume
    | Extension
    | Resource
    | RequestRecord
)

KINDS: dict[str, type[StoreObject]] = {
    "swarm": Swarm,
    "node": Node,
    "service": Service,
    "task": Task,
    "network": Network,
    "secret": Secret,
    "config": Config,
    "volume": Volume,
    "extension": Extension,
    "resource": Resource,
    "request": RequestRecord,
}
"""Kind → class: the store has one table each, in this order."""
