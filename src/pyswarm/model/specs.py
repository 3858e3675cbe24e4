"""What people ask for: service, task, network, secret, config and node specs.

All are immutable values. Durations are seconds (float), sizes bytes, CPUs nano-CPUs. ``None`` where
Swarm distinguishes "not said" from a value; the defaults of what was not said are in
:mod:`pyswarm.model.defaults`.
"""

from __future__ import annotations

import attrs

from pyswarm.model.labels import Labels as Labels
from pyswarm.model.labels import no_labels
from pyswarm.model.resources import Platform, ResourceRequirements
from pyswarm.model.states import (
    Availability,
    EndpointMode,
    FailureAction,
    Membership,
    MountType,
    Protocol,
    PublishMode,
    RestartCondition,
    Role,
    UpdateOrder,
)
from pyswarm.model.value import at_least, value


@value
@attrs.frozen(weakref_slot=False)
class Healthcheck:
    """Whether a task is well: ``("CMD", …)`` or ``("CMD-SHELL", text)``. 0 = Docker's default."""

    test: tuple[str, ...] = ()
    interval: float = 0.0
    timeout: float = 0.0
    retries: int = 0
    start_period: float = 0.0
    start_interval: float = 0.0


@value
@attrs.frozen(weakref_slot=False)
class BindOptions:
    """How a directory of the node is mounted. Propagation is one of mount(8)'s words."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


@value
@attrs.frozen(weakref_slot=False)
class VolumeOptions:
    """How a volume is made where it does not exist yet; ``subpath`` is the part of it to mount."""

    no_copy: bool = False
    labels: Labels = no_labels
    driver: str = ""
    driver_options: Labels = no_labels
    subpath: str = ""


@value
@attrs.frozen(weakref_slot=False)
class TmpfsOptions:
    """A directory in memory: its size (0: unlimited), and its mode (0: 1777)."""

    size_bytes: int = 0
    mode: int = 0
    options: str = ""


@value
@attrs.frozen(weakref_slot=False)
class Mount:
    """What stands at ``target`` in a task: a volume, a directory of the node (bind), or memory."""

    target: str
    source: str = ""
    type: MountType = MountType.VOLUME
    read_only: bool = False
    consistency: str = ""
    bind: BindOptions | None = None
    volume: VolumeOptions | None = None
    tmpfs: TmpfsOptions | None = None


@value
@attrs.frozen(weakref_slot=False)
class SecretReference:
    """A secret as a file of a task. ``target`` relative to ``/run/secrets``; default its name."""

    secret_id: str
    secret_name: str
    target: str = ""
    uid: str = "0"
    gid: str = "0"
    mode: int = 0o444


@value
@attrs.frozen(weakref_slot=False)
class ConfigReference:
    """A config as a file of a task. ``target`` relative to ``/``; default its name."""

    config_id: str
    config_name: str
    target: str = ""
    uid: str = "0"
    gid: str = "0"
    mode: int = 0o444
    runtime: bool = False


@value
@attrs.frozen(weakref_slot=False)
class DNSConfig:
    """What a task's ``/etc/resolv.conf`` says."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class Ulimit:
    """A limit of getrlimit(2) for a task, by its short name (``nofile``); -1 = unlimited."""

    name: str
    soft: int
    hard: int


@value
@attrs.frozen(weakref_slot=False)
class CredentialSpec:
    """A managed account of Windows, from one of three places."""

    file: str = ""
    registry: str = ""
    config: str = ""


@value
@attrs.frozen(weakref_slot=False)
class SELinuxContext:
    """The SELinux label of a task."""

    disable: bool = False
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


@value
@attrs.frozen(weakref_slot=False)
class Privileges:
    """What the kernel lets a task do beyond, or short of, the usual."""

    credential_spec: CredentialSpec | None = None
    selinux_context: SELinuxContext | None = None
    seccomp_mode: str = ""
    seccomp_profile: bytes = b""
    apparmor_mode: str = ""
    no_new_privileges: bool = False


@value
@attrs.frozen(weakref_slot=False)
class ContainerSpec:
    """What runs: ``command`` replaces the image's entrypoint, ``args`` its default command."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    dir: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    hostname: str = ""
    labels: Labels = no_labels
    mounts: tuple[Mount, ...] = ()
    secrets: tuple[SecretReference, ...] = ()
    configs: tuple[ConfigReference, ...] = ()
    stop_signal: str = ""
    stop_grace_period: float | None = None
    healthcheck: Healthcheck | None = None
    tty: bool = False
    open_stdin: bool = False
    read_only: bool = False
    init: bool | None = None
    hosts: tuple[str, ...] = ()
    dns: DNSConfig | None = None
    privileges: Privileges | None = None
    registry_auth: str = attrs.field(default="", repr=False)
    isolation: str = ""
    pids_limit: int = 0
    sysctls: Labels = no_labels
    capability_add: tuple[str, ...] = ()
    capability_drop: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int = 0


@value
@attrs.frozen(weakref_slot=False)
class AttachmentSpec:
    """The runtime of a task that only holds a network attachment for a stand-alone container."""

    container_id: str


@value
@attrs.frozen(weakref_slot=False)
class GenericSpec:
    """A runtime of an embedder's own."""

    kind: str
    payload_type: str = ""
    payload: bytes = attrs.field(default=b"", repr=False)


@value
@attrs.frozen(weakref_slot=False)
class RestartPolicy:
    """When a task that ended gets a successor. ``None`` = Swarm's default (any, 5 s, no limit)."""

    condition: RestartCondition = RestartCondition.ANY
    delay: float | None = None
    max_attempts: int = attrs.field(default=0, metadata=at_least(0))
    window: float = 0.0


@value
@attrs.frozen(weakref_slot=False)
class Preference:
    """Spread over the values of ``node.labels.KEY`` or ``engine.labels.KEY``."""

    spread: str


@value
@attrs.frozen(weakref_slot=False)
class Placement:
    """Where tasks may go, where they rather go, and how many to a node (0 = no limit)."""

    constraints: tuple[str, ...] = ()
    preferences: tuple[Preference, ...] = ()
    max_replicas: int = attrs.field(default=0, metadata=at_least(0))
    platforms: tuple[Platform, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class LogDriver:
    """Where tasks' output goes; an empty name is the default of swarm and node."""

    name: str = ""
    options: Labels = no_labels


@value
@attrs.frozen(weakref_slot=False)
class NetworkAttachmentConfig:
    """A network a task wants: ``target`` is its id (or name, resolved when the request is made)."""

    target: str
    aliases: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    driver_options: Labels = no_labels


@value
@attrs.frozen(weakref_slot=False)
class ResourceReference:
    """An object of the swarm that a task uses, by its id and kind."""

    resource_id: str
    resource_type: str


@value
@attrs.frozen(weakref_slot=False)
class TaskSpec:
    """What each task of a service is. Exactly one runtime is set.

    ``given`` names parts without content that were said all the same, as ``Placement``: front
    doors show them as empty instead of absent, as Docker does. They mean nothing else.
    """

    container: ContainerSpec | None = None
    attachment: AttachmentSpec | None = None
    generic: GenericSpec | None = None
    resources: ResourceRequirements = ResourceRequirements()
    restart: RestartPolicy | None = None
    placement: Placement = Placement()
    log_driver: LogDriver | None = None
    networks: tuple[NetworkAttachmentConfig, ...] = ()
    force_update: int = 0
    resource_references: tuple[ResourceReference, ...] = ()
    given: tuple[str, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class Replicated:
    """So many tasks, in slots from 1."""

    replicas: int = attrs.field(
        default=1, metadata=at_least(0, "Number of replicas must be non-negative")
    )


@value
@attrs.frozen(weakref_slot=False)
class Global:
    """One task on each node that may have one."""


@value
@attrs.frozen(weakref_slot=False)
class ReplicatedJob:
    """``total_completions`` None = as many as may run at once."""

    max_concurrent: int = attrs.field(
        default=1, metadata=at_least(0, "Maximum concurrent jobs must not be negative")
    )
    total_completions: int | None = attrs.field(
        default=None, metadata=at_least(0, "Total completed jobs must not be negative")
    )


@value
@attrs.frozen(weakref_slot=False)
class GlobalJob:
    """One task on each node that may have one, run to its end once."""


ServiceMode = Replicated | Global | ReplicatedJob | GlobalJob


@value
@attrs.frozen(weakref_slot=False)
class UpdateConfig:
    """How a rolling update (or rollback) goes. ``parallelism`` 0 = all at once.

    ``monitor`` None = 30 s for an update, 5 s for a rollback.
    """

    parallelism: int = attrs.field(default=1, metadata=at_least(0))
    delay: float = 0.0
    failure_action: FailureAction = FailureAction.PAUSE
    monitor: float | None = None
    max_failure_ratio: float = 0.0
    order: UpdateOrder = UpdateOrder.STOP_FIRST


@value
@attrs.frozen(weakref_slot=False)
class PortConfig:
    """A published port. ``published_port`` 0 = one is chosen (30000-32767 in ingress mode)."""

    target_port: int = attrs.field(metadata=at_least(0))
    published_port: int = attrs.field(default=0, metadata=at_least(0))
    protocol: Protocol = Protocol.TCP
    publish_mode: PublishMode = PublishMode.INGRESS
    name: str = ""


@value
@attrs.frozen(weakref_slot=False)
class EndpointSpec:
    """How a service is reached: by one address or by those of its tasks, and at which ports."""

    mode: EndpointMode = EndpointMode.VIP
    ports: tuple[PortConfig, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class ServiceSpec:
    """What a service should be: a name, what its tasks are, and how many of them."""

    name: str
    task: TaskSpec
    mode: ServiceMode = Replicated()
    labels: Labels = no_labels
    update: UpdateConfig | None = None
    rollback: UpdateConfig | None = None
    endpoint: EndpointSpec | None = None


@value
@attrs.frozen(weakref_slot=False)
class IPAMConfig:
    """A subnet of a network, as asked for or as given. Addresses in text form."""

    subnet: str = ""
    range: str = ""
    gateway: str = ""
    reserved: Labels = no_labels


@value
@attrs.frozen(weakref_slot=False)
class IPAMOptions:
    """Which subnets a network wants; without any it gets one of the swarm's pools. ``options`` are
    for the driver: kept and shown, the built-in one has none."""

    driver: str = ""
    configs: tuple[IPAMConfig, ...] = ()
    options: Labels = no_labels


@value
@attrs.frozen(weakref_slot=False)
class NetworkSpec:
    """A network as asked for. ``ingress``: the one of published ports; ``internal``: no way out."""

    name: str
    labels: Labels = no_labels
    driver: str = "overlay"
    driver_options: Labels = no_labels
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    ipam: IPAMOptions = IPAMOptions()
    config_from: str = ""


@value
@attrs.frozen(weakref_slot=False)
class Driver:
    """A plugin by name, with its options."""

    name: str
    options: Labels = no_labels


@value
@attrs.frozen(weakref_slot=False)
class SecretSpec:
    """A secret without its payload, which travels sealed beside it. ``templating_options`` are for
    the driver ``templating``: kept and shown, the built-in one has none."""

    name: str
    labels: Labels = no_labels
    templating: str = ""
    driver: Driver | None = None
    templating_options: Labels = no_labels


@value
@attrs.frozen(weakref_slot=False)
class ConfigSpec:
    """A config without its payload. Drivers of configs are ours: Docker ignores them."""

    name: str
    labels: Labels = no_labels
    templating: str = ""
    driver: Driver | None = None
    templating_options: Labels = no_labels


@value
@attrs.frozen(weakref_slot=False)
class NodeSpec:
    """What people say of a node. ``name`` is free; the name shown is the hostname."""

    name: str = ""
    labels: Labels = no_labels
    desired_role: Role = Role.WORKER
    membership: Membership = Membership.ACCEPTED
    availability: Availability = Availability.ACTIVE


@value
@attrs.frozen(weakref_slot=False)
class ExternalCA:
    """An authority that signs in place of the swarm's own, under the root ``ca_cert`` (PEM)."""

    url: str
    protocol: str = "cfssl"
    options: Labels = no_labels
    ca_cert: bytes = b""


@value
@attrs.frozen(weakref_slot=False)
class CAConfig:
    """How nodes are certified. Another root, or another ``force_rotate``, begins a rotation."""

    node_cert_expiry: float = 2160 * 3600.0
    external_cas: tuple[ExternalCA, ...] = ()
    signing_ca_cert: bytes = b""
    signing_ca_key: bytes = attrs.field(default=b"", repr=False)
    force_rotate: int = 0


@value
@attrs.frozen(weakref_slot=False)
class RaftSettings:
    """Settings of the managers' log. Ticks are stored for Docker's sake."""

    snapshot_interval: int = attrs.field(default=10_000, metadata=at_least(0))
    keep_old_snapshots: int = attrs.field(default=0, metadata=at_least(0))
    log_entries_for_slow_followers: int = attrs.field(default=500, metadata=at_least(0))
    heartbeat_tick: int = 1
    election_tick: int = 10


@value
@attrs.frozen(weakref_slot=False)
class SwarmSpec:
    """The settings of the whole swarm; its name is always ``default``."""

    name: str = "default"
    labels: Labels = no_labels
    task_history_retention_limit: int = 5
    raft: RaftSettings = RaftSettings()
    heartbeat_period: float = 5.0
    ca: CAConfig = CAConfig()
    autolock: bool = False
    default_log_driver: LogDriver | None = None


@value
@attrs.frozen(weakref_slot=False)
class VolumeAccessMode:
    """``scope`` single-node or multi-node; ``sharing`` none, read-only, one-writer or all."""

    scope: str = "single-node"
    sharing: str = "none"
    block: bool = False
    mount_fs_type: str = ""
    mount_flags: tuple[str, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class VolumeSpec:
    """A CSI cluster volume."""

    name: str
    driver: Driver
    access_mode: VolumeAccessMode = VolumeAccessMode()
    group: str = ""
    labels: Labels = no_labels
    secrets: Labels = no_labels
    requisite: tuple[Labels, ...] = ()
    preferred: tuple[Labels, ...] = ()
    required_bytes: int = 0
    limit_bytes: int = 0
    availability: Availability = Availability.ACTIVE


@value
@attrs.frozen(weakref_slot=False)
class ExtensionSpec:
    """A kind of custom objects, named for them."""

    name: str
    description: str = ""
    labels: Labels = no_labels


@value
@attrs.frozen(weakref_slot=False)
class ResourceSpec:
    """A custom object; ``kind`` is the name of an extension."""

    name: str
    kind: str
    payload: bytes = attrs.field(default=b"", repr=False)
    labels: Labels = no_labels
