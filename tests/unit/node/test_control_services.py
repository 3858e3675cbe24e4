"""What requests about services are refused for, in Docker's words (spec objects 5)."""

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
    SwarmError,
    Unimplemented,
)
from pyswarm.model import (
    AttachmentSpec,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    CredentialSpec,
    Endpoint,
    EndpointMode,
    EndpointSpec,
    GenericSpec,
    Global,
    GlobalJob,
    Healthcheck,
    Mount,
    NetworkAttachmentConfig,
    NetworkSpec,
    PortConfig,
    Protocol,
    PublishMode,
    Replicated,
    ReplicatedJob,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    SecretReference,
    SecretSpec,
    ServiceSpec,
    Task,
    TaskSpec,
    UpdateConfig,
    UpdateState,
    UpdateStatus,
    service_spec,
)
from pyswarm.model.requests import (
    CreateConfig,
    CreateNetwork,
    CreateSecret,
    CreateService,
    RemoveNetwork,
    RemoveService,
    RemoveTask,
    UpdateService,
)
from pyswarm.model.resources import Limits
from unit.node.desk import Desk, sealed

IMAGE = ContainerSpec(image="nginx")


def web(**changes: Any) -> ServiceSpec:
    return attrs.evolve(ServiceSpec(name="web", task=TaskSpec(container=IMAGE)), **changes)


def task(**changes: Any) -> ServiceSpec:
    return web(task=attrs.evolve(TaskSpec(container=IMAGE), **changes))


def container(**changes: Any) -> ServiceSpec:
    return task(container=attrs.evolve(IMAGE, **changes))


def reserved(**changes: Any) -> ServiceSpec:
    return task(resources=ResourceRequirements(reservations=Resources(**changes)))


def ports(*ports: PortConfig, mode: EndpointMode = EndpointMode.VIP) -> ServiceSpec:
    return web(endpoint=EndpointSpec(mode=mode, ports=ports))


REFUSED: dict[str, tuple[ServiceSpec, type[SwarmError], str]] = {
    "no name": (web(name=""), InvalidArgument, "meta: name must be provided"),
    "bad name": (web(name="we b"), InvalidArgument, "name must be valid as a DNS name component"),
    "name ends badly": (
        web(name="web-"),
        InvalidArgument,
        "name must be valid as a DNS name component",
    ),
    "long name": (web(name="w" * 64), InvalidArgument, "name must be 63 characters or fewer"),
    "little cpu": (
        reserved(nano_cpus=999_999),
        InvalidArgument,
        "invalid cpu value 0.000999999: Must be at least 0.001",
    ),
    "little memory": (
        reserved(memory_bytes=4 * 1024 * 1024 - 1),
        InvalidArgument,
        "invalid memory value 4194303: Must be at least 4MiB",
    ),
    "little limit": (
        task(resources=ResourceRequirements(limits=Limits(memory_bytes=1))),
        InvalidArgument,
        "invalid memory value 1: Must be at least 4MiB",
    ),
    "restart delay": (
        task(restart=RestartPolicy(delay=-1.0)),
        InvalidArgument,
        "TaskSpec: restart-delay cannot be negative",
    ),
    "restart window": (
        task(restart=RestartPolicy(window=-1.0)),
        InvalidArgument,
        "TaskSpec: restart-window cannot be negative",
    ),
    "no runtime": (task(container=None), InvalidArgument, "TaskSpec: missing runtime"),
    "attachment": (
        task(container=None, attachment=AttachmentSpec(container_id="c")),
        Unimplemented,
        "RuntimeSpec: unimplemented runtime in service spec",
    ),
    "no image": (
        container(image=""),
        InvalidArgument,
        "ContainerSpec: image reference must be provided",
    ),
    "bad image": (
        container(image="no!image"),
        InvalidArgument,
        'ContainerSpec: "no!image" is not a valid repository/tag',
    ),
    "mounts": (
        container(mounts=(Mount("/data", "a"), Mount("/data", "b"))),
        InvalidArgument,
        "ContainerSpec: duplicate mount point: /data",
    ),
    "health interval": (
        container(healthcheck=Healthcheck(interval=0.0005)),
        InvalidArgument,
        "ContainerSpec: Interval in HealthConfig cannot be less than 1ms",
    ),
    "health retries": (
        container(healthcheck=Healthcheck(retries=-1)),
        InvalidArgument,
        "ContainerSpec: Retries in HealthConfig cannot be negative",
    ),
    "generic name": (
        task(container=None, generic=GenericSpec("ab")),
        InvalidArgument,
        'Generic runtime: Invalid name "ab"',
    ),
    "generic reserved": (
        task(container=None, generic=GenericSpec("container")),
        InvalidArgument,
        "Generic runtime: container is a reserved name",
    ),
    "job with update": (
        web(mode=ReplicatedJob(1, 1), update=UpdateConfig()),
        InvalidArgument,
        "Jobs may not have an update config",
    ),
    "update delay": (
        web(update=UpdateConfig(delay=-1.0)),
        InvalidArgument,
        "TaskSpec: update-delay cannot be negative",
    ),
    "update monitor": (
        web(update=UpdateConfig(monitor=-1.0)),
        InvalidArgument,
        "TaskSpec: update-monitor cannot be negative",
    ),
    "update ratio": (
        web(update=UpdateConfig(max_failure_ratio=1.5)),
        InvalidArgument,
        "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
    ),
    "dnsrr with ingress": (
        ports(PortConfig(80, 8080), mode=EndpointMode.DNSRR),
        InvalidArgument,
        "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
    ),
    "port twice": (
        ports(PortConfig(80, 8080), PortConfig(81, 8080, publish_mode=PublishMode.HOST)),
        InvalidArgument,
        "EndpointSpec: duplicate published ports provided",
    ),
    "unknown network": (
        task(networks=(NetworkAttachmentConfig("nowhere"),)),
        NotFound,
        "network nowhere not found",
    ),
    "ingress by name": (
        task(networks=(NetworkAttachmentConfig("ingress"),)),
        InvalidArgument,
        'Service cannot be explicitly attached to the ingress network "ingress"',
    ),
    "secret without id": (
        container(secrets=(SecretReference("", "s", "s"),)),
        InvalidArgument,
        "malformed secret reference",
    ),
    "unknown secret": (
        container(secrets=(SecretReference("x", "one", "one"),)),
        InvalidArgument,
        "secret not found: one",
    ),
    "unknown secrets": (
        container(secrets=(SecretReference("x", "one", "a"), SecretReference("y", "two", "b"))),
        InvalidArgument,
        "secrets not found: one, two",
    ),
    "unknown config": (
        container(configs=(ConfigReference("x", "one", "/one"),)),
        InvalidArgument,
        "config not found: one",
    ),
    "one target": (
        container(secrets=(SecretReference("x", "one", "a"), SecretReference("y", "two", "a"))),
        InvalidArgument,
        "secret references 'one' and 'two' have a conflicting target: 'a'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_create_is_refused(case: str) -> None:
    spec, error, text = REFUSED[case]
    desk = Desk()
    before = desk.store.digest()
    with pytest.raises(SwarmError) as caught:
        desk.ask(CreateService(spec))
    assert str(caught.value) == text
    assert type(caught.value) is error
    assert desk.store.digest() == before


@pytest.mark.parametrize("case", REFUSED)
def test_update_is_refused_for_the_same_reasons(case: str) -> None:
    spec, _, text = REFUSED[case]
    desk = Desk()
    service = desk.ask(CreateService(web()))
    with pytest.raises(SwarmError) as caught:
        desk.ask(UpdateService(service.id, service.version, spec))
    assert str(caught.value) == text
    assert desk.store.service(service.id) == service


def test_a_constraint_that_cannot_be_read() -> None:
    with pytest.raises(SwarmError) as caught:
        Desk().ask(CreateService(service_spec("web", image="web", constraints=["node.role"])))
    assert "node.role" in str(caught.value) or "constraint" in str(caught.value)


def test_credentials_need_their_config() -> None:
    from pyswarm.model import Privileges

    privileges = Privileges(credential_spec=CredentialSpec(config="cfg"))
    with pytest.raises(InvalidArgument) as caught:
        Desk().ask(CreateService(container(privileges=privileges)))
    assert str(caught.value) == (
        "CredentialSpec references config 'cfg', but that config isn't in "
        "config references with RuntimeTarget"
    )


@pytest.mark.parametrize("name", ["web", "WEB"])
def test_names_are_unique_whatever_their_case(name: str) -> None:
    desk = Desk()
    desk.ask(CreateService(web()))
    with pytest.raises(AlreadyExists) as caught:
        desk.ask(CreateService(web(name=name)))
    assert str(caught.value) == (
        f"name conflicts with an existing object: service {name} already exists"
    )


def test_update_renames_and_modes() -> None:
    desk = Desk()
    service = desk.ask(CreateService(web()))

    def refused(spec: ServiceSpec) -> SwarmError:
        with pytest.raises(SwarmError) as caught:
            desk.ask(UpdateService(service.id, service.version, spec))
        return caught.value

    for mode in (Global(), GlobalJob(), ReplicatedJob(1, 1)):
        error = refused(web(mode=mode))
        assert isinstance(error, Unimplemented)
        assert str(error) == "service mode change is not allowed"
    error = refused(web(name="other"))
    assert isinstance(error, Unimplemented)
    assert str(error) == "renaming services is not supported"


def test_versions_are_compared() -> None:
    desk = Desk()
    service = desk.ask(CreateService(web()))
    changed = desk.ask(UpdateService(service.id, service.version, web(mode=Replicated(2))))
    assert changed.version == changed.spec_version > service.version
    assert (changed.previous_spec, changed.previous_spec_version) == (service.spec, service.version)
    for body in (
        UpdateService(service.id, service.version, web(mode=Replicated(3))),
        UpdateService(service.id, service.version, None, rollback=True),
    ):
        with pytest.raises(OutOfSequence, match=r"^update out of sequence$"):
            desk.ask(body)


def test_what_the_orchestrator_writes_puts_nobody_out_of_sequence() -> None:
    desk = Desk()
    seen = desk.ask(CreateService(web()))
    status = UpdateStatus(UpdateState.UPDATING, "update in progress", 1.0)
    moved = desk.put(attrs.evolve(seen, endpoint=Endpoint(), update_status=status))
    assert moved.version > seen.version
    changed = desk.ask(UpdateService(seen.id, seen.version, web(mode=Replicated(2))))
    assert (changed.endpoint, changed.previous_spec) == (Endpoint(), seen.spec)
    desk.put(attrs.evolve(changed, update_status=status))
    for version in (seen.version, moved.version, moved.version + 100):
        with pytest.raises(OutOfSequence):  # somebody's spec would be lost
            desk.ask(UpdateService(seen.id, version, web(mode=Replicated(3))))
    back = desk.ask(UpdateService(seen.id, changed.version, None, rollback=True))
    assert back.spec == seen.spec
    for version in (seen.version, changed.version):
        with pytest.raises(OutOfSequence):  # it is the spec once seen, yet another one between
            desk.ask(UpdateService(seen.id, version, web(mode=Replicated(3))))
    desk.put(attrs.evolve(back, update_status=status))
    desk.ask(UpdateService(seen.id, back.version, web(mode=Replicated(3))))


def test_roll_back() -> None:
    desk = Desk()
    service = desk.ask(CreateService(web()))
    with pytest.raises(FailedPrecondition) as caught:
        desk.ask(UpdateService(service.id, service.version, None, rollback=True))
    assert str(caught.value) == f"service {service.id} does not have a previous spec"
    changed = desk.ask(UpdateService(service.id, service.version, web(mode=Replicated(2))))
    back = desk.ask(UpdateService(service.id, changed.version, None, rollback=True))
    assert back.spec == service.spec
    assert back.previous_spec == changed.spec
    assert back.update_status.state is UpdateState.ROLLBACK_STARTED
    assert back.update_status.message == "manually requested rollback"


def test_rolling_back_a_job_runs_it_anew() -> None:
    """Any change does; there is no rolling update that could end."""
    desk = Desk()
    first = desk.ask(CreateService(web(mode=ReplicatedJob(2))))
    changed = desk.ask(UpdateService(first.id, first.version, web(mode=ReplicatedJob(3))))
    back = desk.ask(UpdateService(first.id, changed.version, None, rollback=True))
    assert (back.spec, back.previous_spec) == (first.spec, changed.spec)
    assert (back.job_status.iteration, back.job_status.last_execution) == (2, back.updated_at)
    assert back.update_status is None


def test_no_way_back_to_a_port_that_another_service_has_now() -> None:
    desk = Desk()
    first = desk.ask(CreateService(ports(PortConfig(80, 8080))))
    moved = desk.ask(UpdateService(first.id, first.version, web()))
    taker = attrs.evolve(ports(PortConfig(80, 8080)), name="taker")
    other = desk.ask(CreateService(taker))
    with pytest.raises(InvalidArgument) as caught:
        desk.ask(UpdateService(first.id, moved.version, None, rollback=True))
    assert str(caught.value) == (
        f"port '8080' is already in use by service 'taker' ({other.id}) as an ingress port"
    )
    assert desk.store.service(first.id) == moved


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (UpdateService("nope", 1, web()), "service nope not found"),
        (RemoveService("nope"), "service nope not found"),
        (RemoveTask("nope"), "task nope not found"),
    ],
)
def test_what_does_not_exist(body: Any, text: str) -> None:
    with pytest.raises(NotFound) as caught:
        Desk().ask(body)
    assert str(caught.value) == text


def test_a_task_may_be_forgotten() -> None:
    desk = Desk()
    desk.put(Task(id="t", spec=TaskSpec(container=IMAGE), service_id="s", slot=1))
    desk.ask(RemoveTask("t"))
    assert desk.store.task("t") is None


def test_a_published_port_needs_the_ingress_network() -> None:
    desk = Desk()
    desk.ask(RemoveNetwork(desk.store.by_name("network", "ingress").id))
    with pytest.raises(FailedPrecondition) as caught:
        desk.ask(CreateService(ports(PortConfig(80, 8080))))
    assert str(caught.value) == ("service needs ingress network, but no ingress network is present")
    desk.ask(CreateService(ports(PortConfig(80, 8080, publish_mode=PublishMode.HOST))))


INGRESS, HOST = PublishMode.INGRESS, PublishMode.HOST


@pytest.mark.parametrize(
    ("first", "second", "how"),
    [
        (INGRESS, INGRESS, "as an ingress port"),
        (INGRESS, HOST, "as an ingress port"),
        (HOST, INGRESS, "as a host-published port"),
        (HOST, HOST, None),
    ],
)
def test_port_conflicts_name_the_holder(first: PublishMode, second: PublishMode, how: str) -> None:
    desk = Desk()
    holder = desk.ask(CreateService(ports(PortConfig(80, 8080, publish_mode=first))))
    other = attrs.evolve(ports(PortConfig(80, 8080, publish_mode=second)), name="other")
    if how is None:
        desk.ask(CreateService(other))
        return
    with pytest.raises(InvalidArgument) as caught:
        desk.ask(CreateService(other))
    assert (
        str(caught.value) == f"port '8080' is already in use by service 'web' ({holder.id}) {how}"
    )
    udp = PortConfig(80, 8080, protocol=Protocol.UDP, publish_mode=second)
    desk.ask(CreateService(attrs.evolve(ports(udp), name="udp")))


def test_a_port_conflict_is_found_in_an_update_too() -> None:
    desk = Desk()
    desk.ask(CreateService(ports(PortConfig(80, 8080))))
    other = desk.ask(CreateService(web(name="other")))
    taken = attrs.evolve(ports(PortConfig(80, 8080)), name="other")
    with pytest.raises(InvalidArgument, match="port '8080' is already in use"):
        desk.ask(UpdateService(other.id, other.version, taken))


def test_networks_may_be_named_and_are_remembered_by_id() -> None:
    desk = Desk()
    network = desk.ask(CreateNetwork(NetworkSpec(name="net1")))
    made = desk.ask(CreateService(task(networks=(NetworkAttachmentConfig("net1"),))))
    assert [one.target for one in made.spec.task.networks] == [network.id]
    assert [one.id for one in desk.store.services_using("network", network.id)] == [made.id]


def test_files_that_exist_are_accepted() -> None:
    desk = Desk()
    secret = desk.ask(CreateSecret(SecretSpec(name="key"), sealed()))
    config = desk.ask(CreateConfig(ConfigSpec(name="conf"), sealed()))
    spec = container(
        secrets=(SecretReference(secret.id, "key", "key"),),
        configs=(ConfigReference(config.id, "conf", "/conf"),),
    )
    made = desk.ask(CreateService(spec))
    assert [one.id for one in desk.store.services_using("secret", secret.id)] == [made.id]
    wrong = attrs.evolve(
        container(secrets=(SecretReference(secret.id, "other", "key"),)), name="wrong"
    )
    with pytest.raises(InvalidArgument, match=r"^secret not found: other$"):
        desk.ask(CreateService(wrong))


def test_a_job_runs_anew_when_it_is_updated() -> None:
    desk = Desk()
    job = desk.ask(CreateService(web(mode=ReplicatedJob(1, 1))))
    assert job.job_status.iteration == 0
    again = desk.ask(
        UpdateService(job.id, job.version, attrs.evolve(job.spec, labels={"again": "1"}))
    )
    assert again.job_status.iteration == 1
