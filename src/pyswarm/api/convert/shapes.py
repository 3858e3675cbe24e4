"""The Engine API's structs that come in, as tables: field → shape, in Docker's order.

Names and types are those of ``api/types`` (swarm, mount, container, network): they stand in the
sentences that refuse a wrong value. Fields that newer versions brought are read at any version.
"""

from __future__ import annotations

from typing import Any

import attrs

from pyswarm.api.bodies import (
    BOOL,
    BYTES,
    DURATION,
    FLOAT,
    INT,
    INT64,
    STRING,
    UINT32,
    UINT64,
    List,
    Map,
    Shape,
    Struct,
    WrongType,
)


@attrs.frozen
class Named(Shape):
    """A shape under a type name of its own: ``swarm.NodeRole`` is a string."""

    go: str
    shape: Shape

    def take(self, value: Any, where: str) -> Any:
        """As the shape does; refused under this name."""
        try:
            return self.shape.take(value, where)
        except WrongType:
            self.refuse(value, where)

    def named(self, value: Any) -> str:
        """As the shape calls it."""
        return self.shape.named(value)


FLOAT32 = Named("float32", FLOAT)
FILE_MODE = Named("fs.FileMode", UINT32)
STRINGS = List(STRING)
STRING_MAP = Map(STRING)
ANNOTATIONS = {"Name": STRING, "Labels": STRING_MAP}
DRIVER = Struct("swarm.Driver", Name=STRING, Options=STRING_MAP)


def _word(go: str) -> Shape:
    """A string under a type of its own."""
    return Named(go, STRING)


# -- containers

MOUNT = Struct(
    "mount.Mount",
    Type=_word("mount.Type"),
    Source=STRING,
    Target=STRING,
    ReadOnly=BOOL,
    Consistency=_word("mount.Consistency"),
    BindOptions=Struct(
        "mount.BindOptions",
        Propagation=_word("mount.Propagation"),
        NonRecursive=BOOL,
        CreateMountpoint=BOOL,
        ReadOnlyNonRecursive=BOOL,
        ReadOnlyForceRecursive=BOOL,
    ),
    VolumeOptions=Struct(
        "mount.VolumeOptions",
        NoCopy=BOOL,
        Labels=STRING_MAP,
        Subpath=STRING,
        DriverConfig=Struct("mount.Driver", Name=STRING, Options=STRING_MAP),
    ),
    TmpfsOptions=Struct(
        "mount.TmpfsOptions", SizeBytes=INT64, Mode=FILE_MODE, Options=List(List(STRING))
    ),
    ImageOptions=Struct("mount.ImageOptions", Subpath=STRING),
    ClusterOptions=Struct("mount.ClusterOptions"),
)

HEALTHCHECK = Struct(
    "container.HealthConfig",
    Test=STRINGS,
    Interval=DURATION,
    Timeout=DURATION,
    StartPeriod=DURATION,
    StartInterval=DURATION,
    Retries=INT,
)

PRIVILEGES = Struct(
    "swarm.Privileges",
    CredentialSpec=Struct("swarm.CredentialSpec", Config=STRING, File=STRING, Registry=STRING),
    SELinuxContext=Struct(
        "swarm.SELinuxContext",
        Disable=BOOL,
        User=STRING,
        Role=STRING,
        Type=STRING,
        Level=STRING,
    ),
    Seccomp=Struct("swarm.SeccompOpts", Mode=_word("swarm.SeccompMode"), Profile=BYTES),
    AppArmor=Struct("swarm.AppArmorOpts", Mode=_word("swarm.AppArmorMode")),
    NoNewPrivileges=BOOL,
)

_FILE = {"Name": STRING, "UID": STRING, "GID": STRING, "Mode": FILE_MODE}

SECRET_REFERENCE = Struct(
    "swarm.SecretReference",
    File=Struct("swarm.SecretReferenceFileTarget", _FILE),
    SecretID=STRING,
    SecretName=STRING,
)

CONFIG_REFERENCE = Struct(
    "swarm.ConfigReference",
    File=Struct("swarm.ConfigReferenceFileTarget", _FILE),
    Runtime=Struct("swarm.ConfigReferenceRuntimeTarget"),
    ConfigID=STRING,
    ConfigName=STRING,
)

CONTAINER_SPEC = Struct(
    "swarm.ContainerSpec",
    Image=STRING,
    Labels=STRING_MAP,
    Command=STRINGS,
    Args=STRINGS,
    Hostname=STRING,
    Env=STRINGS,
    Dir=STRING,
    User=STRING,
    Groups=STRINGS,
    Privileges=PRIVILEGES,
    Init=BOOL,
    StopSignal=STRING,
    TTY=BOOL,
    OpenStdin=BOOL,
    ReadOnly=BOOL,
    Mounts=List(MOUNT),
    StopGracePeriod=DURATION,
    Healthcheck=HEALTHCHECK,
    Hosts=STRINGS,
    DNSConfig=Struct("swarm.DNSConfig", Nameservers=STRINGS, Search=STRINGS, Options=STRINGS),
    Secrets=List(SECRET_REFERENCE, pointers=True),
    Configs=List(CONFIG_REFERENCE, pointers=True),
    Isolation=_word("container.Isolation"),
    Sysctls=STRING_MAP,
    CapabilityAdd=STRINGS,
    CapabilityDrop=STRINGS,
    Ulimits=List(
        Struct("units.Ulimit", Name=STRING, Hard=INT64, Soft=INT64),
        pointers=True,
    ),
    OomScoreAdj=INT64,
)

# -- tasks and services

_NAMED_RESOURCE = Struct("swarm.NamedGenericResource", Kind=STRING, Value=STRING)
_DISCRETE_RESOURCE = Struct("swarm.DiscreteGenericResource", Kind=STRING, Value=INT64)

RESOURCES = Struct(
    "swarm.ResourceRequirements",
    Limits=Struct("swarm.Limit", NanoCPUs=INT64, MemoryBytes=INT64, Pids=INT64),
    Reservations=Struct(
        "swarm.Resources",
        NanoCPUs=INT64,
        MemoryBytes=INT64,
        GenericResources=List(
            Struct(
                "swarm.GenericResource",
                NamedResourceSpec=_NAMED_RESOURCE,
                DiscreteResourceSpec=_DISCRETE_RESOURCE,
            )
        ),
    ),
    SwapBytes=INT64,
    MemorySwappiness=INT64,
)

PLACEMENT = Struct(
    "swarm.Placement",
    Constraints=STRINGS,
    Preferences=List(
        Struct(
            "swarm.PlacementPreference",
            Spread=Struct("swarm.SpreadOver", SpreadDescriptor=STRING),
        )
    ),
    MaxReplicas=UINT64,
    Platforms=List(Struct("swarm.Platform", Architecture=STRING, OS=STRING)),
)

NETWORK_ATTACHMENT = Struct(
    "swarm.NetworkAttachmentConfig", Target=STRING, Aliases=STRINGS, DriverOpts=STRING_MAP
)

PLUGIN_SPEC = Struct(
    "runtime.PluginSpec",
    name=STRING,
    remote=STRING,
    privileges=List(
        Struct("runtime.PluginPrivilege", name=STRING, description=STRING, value=STRINGS)
    ),
    disabled=BOOL,
    env=STRINGS,
)

TASK_SPEC = Struct(
    "swarm.TaskSpec",
    ContainerSpec=CONTAINER_SPEC,
    PluginSpec=PLUGIN_SPEC,
    NetworkAttachmentSpec=Struct("swarm.NetworkAttachmentSpec", ContainerID=STRING),
    Resources=RESOURCES,
    RestartPolicy=Struct(
        "swarm.RestartPolicy",
        Condition=_word("swarm.RestartPolicyCondition"),
        Delay=DURATION,
        MaxAttempts=UINT64,
        Window=DURATION,
    ),
    Placement=PLACEMENT,
    Networks=List(NETWORK_ATTACHMENT),
    LogDriver=DRIVER,
    ForceUpdate=UINT64,
    Runtime=_word("swarm.RuntimeType"),
)

UPDATE_CONFIG = Struct(
    "swarm.UpdateConfig",
    Parallelism=UINT64,
    Delay=DURATION,
    FailureAction=STRING,
    Monitor=DURATION,
    MaxFailureRatio=FLOAT32,
    Order=STRING,
)

ENDPOINT_SPEC = Struct(
    "swarm.EndpointSpec",
    Mode=_word("swarm.ResolutionMode"),
    Ports=List(
        Struct(
            "swarm.PortConfig",
            Name=STRING,
            Protocol=_word("swarm.PortConfigProtocol"),
            TargetPort=UINT32,
            PublishedPort=UINT32,
            PublishMode=_word("swarm.PortConfigPublishMode"),
        )
    ),
)

SERVICE_MODE = Struct(
    "swarm.ServiceMode",
    Replicated=Struct("swarm.ReplicatedService", Replicas=UINT64),
    Global=Struct("swarm.GlobalService"),
    ReplicatedJob=Struct("swarm.ReplicatedJob", MaxConcurrent=UINT64, TotalCompletions=UINT64),
    GlobalJob=Struct("swarm.GlobalJob"),
)

SERVICE_SPEC = Struct(
    "swarm.ServiceSpec",
    ANNOTATIONS,
    TaskTemplate=TASK_SPEC,
    Mode=SERVICE_MODE,
    UpdateConfig=UPDATE_CONFIG,
    RollbackConfig=UPDATE_CONFIG,
    Networks=List(NETWORK_ATTACHMENT),
    EndpointSpec=ENDPOINT_SPEC,
)

# -- nodes, secrets, configs

NODE_SPEC = Struct(
    "swarm.NodeSpec",
    ANNOTATIONS,
    Role=_word("swarm.NodeRole"),
    Availability=_word("swarm.NodeAvailability"),
)

SECRET_SPEC = Struct(
    "swarm.SecretSpec",
    ANNOTATIONS,
    Data=BYTES,
    Driver=DRIVER,
    Templating=DRIVER,
)

CONFIG_SPEC = Struct("swarm.ConfigSpec", ANNOTATIONS, Data=BYTES, Templating=DRIVER)

# -- networks

NETWORK_CREATE = Struct(
    "types.NetworkCreateRequest",
    Name=STRING,
    CheckDuplicate=BOOL,
    Driver=STRING,
    Scope=STRING,
    EnableIPv4=BOOL,
    EnableIPv6=BOOL,
    IPAM=Struct(
        "network.IPAM",
        Driver=STRING,
        Options=STRING_MAP,
        Config=List(
            Struct(
                "network.IPAMConfig",
                Subnet=STRING,
                IPRange=STRING,
                Gateway=STRING,
                AuxiliaryAddresses=STRING_MAP,
            )
        ),
    ),
    Internal=BOOL,
    Attachable=BOOL,
    Ingress=BOOL,
    ConfigOnly=BOOL,
    ConfigFrom=Struct("network.ConfigReference", Network=STRING),
    Options=STRING_MAP,
    Labels=STRING_MAP,
)

NETWORK_CONNECT = Struct("types.NetworkConnect", Container=STRING, Force=BOOL)
