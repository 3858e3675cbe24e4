"""Refusals of requests about networks, secrets, configs, volumes, extensions and resources."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from pyswarm.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfSequence,
    PermissionDenied,
    ResourceExhausted,
    SwarmError,
    Unimplemented,
)
from pyswarm.model import (
    Availability,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    Driver,
    EndpointSpec,
    ExtensionSpec,
    IPAMConfig,
    IPAMOptions,
    NetworkAttachment,
    NetworkAttachmentConfig,
    NetworkSpec,
    PortConfig,
    ResourceSpec,
    SecretReference,
    SecretSpec,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    VolumeAccessMode,
    VolumePublishStatus,
    VolumeSpec,
    replace,
)
from pyswarm.model.requests import (
    CreateConfig,
    CreateExtension,
    CreateNetwork,
    CreateResource,
    CreateSecret,
    CreateService,
    CreateVolume,
    RemoveConfig,
    RemoveExtension,
    RemoveNetwork,
    RemoveResource,
    RemoveSecret,
    RemoveService,
    RemoveVolume,
    UpdateConfig_,
    UpdateResource,
    UpdateSecret,
    UpdateVolume,
)
from unit.node.desk import Desk, sealed

Refusal = tuple[Any, type[SwarmError], str]


def assert_refused(desk: Desk, body: Any, error: type[SwarmError], text: str) -> SwarmError:
    before = desk.store.digest()
    with pytest.raises(SwarmError) as caught:
        desk.ask(body)
    assert str(caught.value) == text
    assert type(caught.value) is error or issubclass(type(caught.value), error)
    assert desk.store.digest() == before
    return caught.value


def service(name: str = "web", **task: Any) -> CreateService:
    spec = attrs.evolve(TaskSpec(container=ContainerSpec(image="nginx")), **task)
    return CreateService(ServiceSpec(name=name, task=spec))


# -- networks


def network(name: str = "net", **changes: Any) -> CreateNetwork:
    return CreateNetwork(NetworkSpec(name=name, **changes))


def ipam(subnet: str, gateway: str = "", range: str = "") -> IPAMOptions:
    return IPAMOptions(configs=(IPAMConfig(subnet=subnet, gateway=gateway, range=range),))


NETWORKS: dict[str, Refusal] = {
    "no name": (network(""), InvalidArgument, "meta: name must be provided"),
    "bad name": (network("n!"), InvalidArgument, "name must be valid as a DNS name component"),
    "long name": (network("n" * 64), InvalidArgument, "name must be 63 characters or fewer"),
    "predefined label": (
        network(labels={"com.docker.swarm.predefined": "true"}),
        PermissionDenied,
        "label com.docker.swarm.predefined is for internally created predefined networks "
        "and cannot be applied by users",
    ),
    "taken": (network("INGRESS"), AlreadyExists, "network with name INGRESS already exists"),
    "predefined name": (network("host"), AlreadyExists, "network with name host already exists"),
    "subnet": (
        network(ipam=ipam("10.1.0.0/33")),
        InvalidArgument,
        "ipam configuration: invalid subnet 10.1.0.0/33",
    ),
    "range": (
        network(ipam=ipam("10.1.0.0/24", range="x")),
        InvalidArgument,
        "ipam configuration: invalid range x",
    ),
    "range outside": (
        network(ipam=ipam("10.1.0.0/24", range="10.2.0.0/25")),
        InvalidArgument,
        "ipam configuration: subnet 10.1.0.0/24 does not contain range 10.2.0.0/25",
    ),
    "gateway": (
        network(ipam=ipam("10.1.0.0/24", "x")),
        InvalidArgument,
        "ipam configuration: invalid gateway x",
    ),
    "gateway outside": (
        network(ipam=ipam("10.1.0.0/24", "10.2.0.1")),
        InvalidArgument,
        "ipam configuration: subnet 10.1.0.0/24 does not contain gateway 10.2.0.1",
    ),
    "gateway without subnet": (
        network(ipam=ipam("", "10.2.0.1")),
        InvalidArgument,
        "ipam configuration: a gateway or range needs its subnet",
    ),
    "not there": (RemoveNetwork("x"), NotFound, "network x not found"),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_networks(case: str) -> None:
    assert_refused(Desk(), *NETWORKS[case])


def test_an_overlap_is_refused() -> None:
    desk = Desk()
    desk.ask(network("one", ipam=ipam("10.9.0.0/24")))
    assert_refused(
        desk,
        network("two", ipam=ipam("10.9.0.128/25")),
        FailedPrecondition,
        "invalid pool request: Pool overlaps with other one on this address space",
    )


def test_an_exhausted_pool_is_refused_by_name() -> None:
    """Docker accepts the network in silence, and its services wait for ever."""
    desk = Desk(default_addr_pools=("10.20.0.0/24", "10.30.0.0/25"), subnet_size=25)
    for name in ("one", "two"):
        desk.ask(network(name))
    error = assert_refused(
        desk,
        network("three"),
        ResourceExhausted,
        "all predefined address pools have been fully subnetted "
        "(10.20.0.0/24, 10.30.0.0/25 in subnets of /25)",
    )
    assert error.details["pools"] == ["10.20.0.0/24", "10.30.0.0/25"]
    desk.ask(RemoveNetwork(desk.store.by_name("network", "one").id))
    assert desk.ask(network("three")).ipam[0].subnet == "10.20.0.0/25"


def test_networks_count_from_the_first_pool_and_ingress_has_the_last() -> None:
    desk = Desk(default_addr_pools=("10.20.0.0/16", "10.30.0.0/16"), subnet_size=26)
    subnets = [desk.ask(network(f"net{n}")).ipam[0].subnet for n in (1, 2)]
    assert subnets == ["10.20.0.0/26", "10.20.0.64/26"]
    assert desk.store.by_name("network", "ingress").ipam[0].subnet == "10.30.255.192/26"


def test_predefined_networks_stay() -> None:
    desk = Desk()
    host = desk.store.by_name("network", "host")
    assert_refused(
        desk,
        RemoveNetwork(host.id),
        FailedPrecondition,
        f"network host ({host.id}) is a swarm predefined network and cannot be removed",
    )


def test_networks_in_use() -> None:
    desk = Desk()
    made = desk.ask(network())
    user = desk.ask(service(networks=(NetworkAttachmentConfig("net"),)))
    text = f"network {made.id} is in use by service {user.id}"
    assert_refused(desk, RemoveNetwork(made.id), FailedPrecondition, text)
    desk.ask(RemoveService(user.id))
    task = Task(
        id="t",
        spec=TaskSpec(),
        service_id=user.id,
        slot=1,
        state=TaskState.RUNNING,
        desired_state=TaskState.RUNNING,
        networks=(NetworkAttachment(made.id, ("10.0.1.3/24",)),),
    )
    desk.put(task)
    text = f"network {made.id} is in use by task t"
    assert_refused(desk, RemoveNetwork(made.id), FailedPrecondition, text)
    desk.put(replace(task, state=TaskState.SHUTDOWN))
    desk.ask(RemoveNetwork(made.id))
    assert desk.store.by_name("network", "net") is None


def test_there_is_one_ingress() -> None:
    desk = Desk()
    old = desk.store.by_name("network", "ingress")
    another = network("other", ingress=True)
    text = f"ingress network ({old.id}) is already present"
    assert_refused(desk, another, AlreadyExists, text)
    ports = EndpointSpec(ports=(PortConfig(80, 8080),))
    plain = service().spec
    user = desk.ask(CreateService(replace(plain, endpoint=ports)))
    text = f"ingress network cannot be removed because service {user.id} depends on it"
    assert_refused(desk, RemoveNetwork(old.id), FailedPrecondition, text)
    desk.ask(RemoveService(user.id))
    desk.ask(RemoveNetwork(old.id))
    text = "ingress network cannot be attachable"
    assert_refused(desk, network("mine", ingress=True, attachable=True), InvalidArgument, text)
    text = "only overlay driver is currently supported for ingress network"
    assert_refused(desk, network("mine", ingress=True, driver="macvlan"), Unimplemented, text)
    assert desk.ask(network("mine", ingress=True)).spec.ingress


# -- secrets and configs

CREATE: dict[str, Any] = {
    "secret": lambda name, payload: CreateSecret(SecretSpec(name=name), payload),
    "config": lambda name, payload: CreateConfig(ConfigSpec(name=name), payload),
}
UPDATE: dict[str, Any] = {"secret": UpdateSecret, "config": UpdateConfig_}
REMOVE: dict[str, Any] = {"secret": RemoveSecret, "config": RemoveConfig}
LIMIT = {"secret": 512_000, "config": 512_000}  # configs are limited like secrets here
BAD_NAME = (
    "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end "
    "character must be [a-zA-Z0-9]"
)
kinds = pytest.mark.parametrize("kind", CREATE)


@kinds
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "name must be provided"),
        ("a" * 65, BAD_NAME),
        ("-a", BAD_NAME),
        ("a.", BAD_NAME),
        ("a b", BAD_NAME),
    ],
)
def test_names_of_payloads(kind: str, name: str, text: str) -> None:
    assert_refused(Desk(), CREATE[kind](name, sealed()), InvalidArgument, text)


@kinds
def test_sizes_of_payloads(kind: str) -> None:
    desk = Desk()
    limit = LIMIT[kind]
    text = f"{kind} data must be larger than 0 and less than {limit} bytes"
    for payload in (None, sealed(0), replace(sealed(1), length=limit)):
        assert_refused(desk, CREATE[kind]("one", payload), InvalidArgument, text)
    desk.ask(CREATE[kind]("one", replace(sealed(1), length=limit - 1)))


def test_a_secret_of_a_driver_has_no_payload_here() -> None:
    desk = Desk()
    made = desk.ask(CreateSecret(SecretSpec(name="vault", driver=Driver("vault"))))
    assert made.payload is None


@kinds
def test_a_payload_is_unique_by_name_and_changes_labels_only(kind: str) -> None:
    desk = Desk()
    made = desk.ask(CREATE[kind]("key", sealed()))
    text = f"{kind} KEY already exists"
    assert_refused(desk, CREATE[kind]("KEY", sealed()), AlreadyExists, text)
    changed = desk.ask(UPDATE[kind](made.id, made.version, labels={"a": "b"}))
    assert dict(changed.spec.labels) == {"a": "b"}
    assert changed.payload == made.payload
    stale = UPDATE[kind](made.id, made.version, labels={})
    assert_refused(desk, stale, OutOfSequence, "update out of sequence")
    assert_refused(desk, UPDATE[kind]("x", 1), NotFound, f"{kind} x not found")


@kinds
def test_a_payload_in_use_stays(kind: str) -> None:
    desk = Desk()
    made = desk.ask(CREATE[kind]("key", sealed()))
    for name in ("a", "b"):
        container = ContainerSpec(image="nginx")
        if kind == "secret":
            container = replace(container, secrets=(SecretReference(made.id, "key", "key"),))
        else:
            container = replace(container, configs=(ConfigReference(made.id, "key", "/key"),))
        desk.ask(service(name, container=container))
        users = "service: a" if name == "a" else "services: a, b"
        text = f"{kind} 'key' is in use by the following {users}"
        assert_refused(desk, REMOVE[kind](made.id), InvalidArgument, text)
    for name in ("a", "b"):
        desk.ask(RemoveService(desk.store.by_name("service", name).id))
    desk.ask(REMOVE[kind](made.id))
    assert_refused(desk, REMOVE[kind](made.id), NotFound, f"could not find {kind} {made.id}")
    assert_refused(desk, REMOVE[kind](""), InvalidArgument, f"{kind} ID must be provided")


# -- volumes


def volume(name: str = "vol", **changes: Any) -> VolumeSpec:
    return attrs.evolve(VolumeSpec(name=name, driver=Driver("csi")), **changes)


VOLUMES: dict[str, Refusal] = {
    "driver": (
        CreateVolume(volume(driver=Driver(""))),
        InvalidArgument,
        "driver must be specified",
    ),
    "name": (CreateVolume(volume("")), InvalidArgument, "meta: name must be provided"),
    "access": (
        CreateVolume(volume(access_mode=VolumeAccessMode(block=True, mount_fs_type="ext4"))),
        InvalidArgument,
        "Volume AccessMode must specify either Mount or Block access type",
    ),
    "secrets": (
        CreateVolume(volume(secrets={"k": "a", "l": "b"})),
        InvalidArgument,
        "secret(s) not found: a, b",
    ),
    "update": (UpdateVolume("x", 1, volume()), NotFound, "volume x not found"),
    "remove": (RemoveVolume("x"), NotFound, "volume x not found"),
}


@pytest.mark.parametrize("case", VOLUMES)
def test_volumes(case: str) -> None:
    assert_refused(Desk(), *VOLUMES[case])


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("Name", {"name": "other"}),
        ("Group", {"group": "g"}),
        ("AccessibilityRequirements", {"requisite": ({"zone": "a"},)}),
        ("AccessibilityRequirements", {"preferred": ({"zone": "a"},)}),
        ("Driver", {"driver": Driver("other")}),
        ("AccessMode", {"access_mode": VolumeAccessMode(scope="multi-node")}),
        ("Secrets", {"secrets": {"k": "v"}}),
        ("CapacityRange", {"required_bytes": 1}),
        ("CapacityRange", {"limit_bytes": 1}),
    ],
)
def test_of_a_volume_little_may_change(field: str, changes: dict[str, Any]) -> None:
    desk = Desk()
    made = desk.ask(CreateVolume(volume()))
    body = UpdateVolume(made.id, made.version, volume(**changes))
    assert_refused(desk, body, InvalidArgument, f"{field} cannot be updated")
    wanted = volume(labels={"a": "b"}, availability=Availability.DRAIN)
    changed = desk.ask(UpdateVolume(made.id, made.version, wanted))
    assert changed.spec == wanted
    stale = UpdateVolume(made.id, made.version, volume())
    assert_refused(desk, stale, OutOfSequence, "update out of sequence")


def test_removing_volumes() -> None:
    desk = Desk()
    text = "volume VOL already exists"
    unmade = desk.ask(CreateVolume(volume()))
    assert_refused(desk, CreateVolume(volume("VOL")), AlreadyExists, text)
    desk.ask(RemoveVolume(unmade.id))
    assert desk.store.get("volume", unmade.id) is None
    made = desk.ask(CreateVolume(volume()))
    made = desk.put(
        replace(made, volume_id="plug-in's", publish=(VolumePublishStatus("node", "published"),))
    )
    text = "volume is still in use"
    assert_refused(desk, RemoveVolume(made.id), FailedPrecondition, text)
    made = desk.put(replace(made, publish=()))
    desk.ask(RemoveVolume(made.id))
    marked: Any = desk.store.get("volume", made.id)
    assert marked.pending_delete
    desk.put(
        Task(id="t", spec=TaskSpec(), service_id="s", slot=1, volumes=(made.id,)),
    )
    assert_refused(desk, RemoveVolume(made.id), FailedPrecondition, text)
    desk.ask(RemoveVolume(made.id, force=True))
    assert desk.store.get("volume", made.id) is None


# -- extensions and resources


CUSTOM: dict[str, Refusal] = {
    "no name": (
        CreateExtension(ExtensionSpec(name="")),
        InvalidArgument,
        "extension name must be provided",
    ),
    "no id": (RemoveExtension(""), InvalidArgument, "extension ID must be provided"),
    "unknown": (RemoveExtension("x"), NotFound, "could not find extension x"),
    "resource name": (
        CreateResource(ResourceSpec(name="", kind="k")),
        InvalidArgument,
        "Resource must have a name",
    ),
    "resource kind": (
        CreateResource(ResourceSpec(name="r", kind="")),
        InvalidArgument,
        "Resource must belong to an Extension",
    ),
    "unknown kind": (
        CreateResource(ResourceSpec(name="r", kind="k")),
        InvalidArgument,
        "Kind k is not registered",
    ),
    "update without id": (
        UpdateResource("", 1, ResourceSpec(name="r", kind="k")),
        InvalidArgument,
        "must include ID and version",
    ),
    "update without version": (
        UpdateResource("x", 0, ResourceSpec(name="r", kind="k")),
        InvalidArgument,
        "must include ID and version",
    ),
    "update of nothing": (
        UpdateResource("x", 1, ResourceSpec(name="r", kind="k")),
        NotFound,
        "resource x not found",
    ),
    "remove nothing": (RemoveResource("x"), NotFound, "resource x not found"),
    "remove without id": (RemoveResource(""), InvalidArgument, "resource ID must be provided"),
}


@pytest.mark.parametrize("case", CUSTOM)
def test_custom_objects(case: str) -> None:
    assert_refused(Desk(), *CUSTOM[case])


def test_the_life_of_a_custom_object() -> None:
    desk = Desk()
    extension = desk.ask(CreateExtension(ExtensionSpec(name="kind")))
    again = CreateExtension(ExtensionSpec(name="Kind"))
    assert_refused(desk, again, AlreadyExists, "extension Kind already exists")
    made = desk.ask(CreateResource(ResourceSpec(name="r", kind="kind", payload=b"1")))
    taken = CreateResource(ResourceSpec(name="R", kind="kind"))
    assert_refused(desk, taken, AlreadyExists, "A resource with name R already exists")
    for spec, text in (
        (ResourceSpec(name="s", kind="kind"), "cannot change resource name"),
        (ResourceSpec(name="r", kind="other"), "cannot change resource kind"),
    ):
        body = UpdateResource(made.id, made.version, spec)
        assert_refused(desk, body, InvalidArgument, text)
    new = ResourceSpec(name="r", kind="kind", payload=b"2", labels={"a": "b"})
    changed = desk.ask(UpdateResource(made.id, made.version, new))
    assert changed.spec == new
    stale = UpdateResource(made.id, made.version, new)
    assert_refused(desk, stale, InvalidArgument, "update out of sequence")
    for number in range(11):
        desk.ask(CreateResource(ResourceSpec(name=f"x{number}", kind="kind")))
    users = ", ".join(["r", *(f"x{number}" for number in range(9))])
    text = f"extension 'kind' is in use by the following resource(s): {users}"
    assert_refused(desk, RemoveExtension(extension.id), InvalidArgument, text)
    for resource in list(desk.store.all("resource")):
        desk.ask(RemoveResource(resource.id))
    desk.ask(RemoveExtension(extension.id))
    assert desk.store.count("extension") == 0
