"""Docker's order of checks and Docker's sentences (spec: objects, sections 2, 3 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pyswarm.errors import InvalidArgument, Unimplemented
from pyswarm.model import (
    AttachmentSpec,
    CAConfig,
    ConfigReference,
    ContainerSpec,
    CredentialSpec,
    EndpointMode,
    EndpointSpec,
    ExternalCA,
    GenericSpec,
    GlobalJob,
    Healthcheck,
    Limits,
    Mount,
    Placement,
    PortConfig,
    Privileges,
    Protocol,
    PublishMode,
    RaftSettings,
    ReplicatedJob,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    SecretReference,
    ServiceSpec,
    SwarmSpec,
    TaskSpec,
    UpdateConfig,
    replace,
    validate_name,
    validate_service_spec,
)
from pyswarm.model.validate import is_image_reference, validate_swarm_spec

NAME_TEXT = (
    "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character "
    "must be [a-zA-Z0-9]"
)


def _container(**fields: Any) -> TaskSpec:
    return TaskSpec(ContainerSpec("nginx", **fields))


def _resources(limits: Limits | None = None, reserved: Resources | None = None) -> TaskSpec:
    wanted = ResourceRequirements(limits or Limits(), reserved or Resources())
    return replace(_container(), resources=wanted)


SECRET = SecretReference("x1", "one", "file")
CONFIG = ConfigReference("c1", "one", "file")


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (
            _resources(Limits(nano_cpus=500_000)),
            "invalid cpu value 0.0005: Must be at least 0.001",
        ),
        (_resources(Limits(nano_cpus=-(10**9))), "invalid cpu value -1: Must be at least 0.001"),
        (
            _resources(None, Resources(nano_cpus=1)),
            "invalid cpu value 1e-09: Must be at least 0.001",
        ),
        (_resources(Limits(0, 100)), "invalid memory value 100: Must be at least 4MiB"),
        (_resources(None, Resources(0, 4095)), "invalid memory value 4095: Must be at least 4MiB"),
        (
            replace(_container(), restart=RestartPolicy(delay=-1)),
            "TaskSpec: restart-delay cannot be negative",
        ),
        (
            replace(_container(), restart=RestartPolicy(window=-1)),
            "TaskSpec: restart-window cannot be negative",
        ),
        (_container(secrets=[SecretReference("", "one")]), "malformed secret reference"),
        (_container(configs=[ConfigReference("c1", "")]), "malformed config reference"),
        (
            _container(secrets=[SECRET, SecretReference("x2", "two", "file")]),
            "secret references 'one' and 'two' have a conflicting target: 'file'",
        ),
        (
            _container(configs=[CONFIG, ConfigReference("c2", "file")]),
            "config references 'one' and 'file' have a conflicting target: 'file'",
        ),
        (
            _container(privileges=Privileges(CredentialSpec(config="c1")), configs=[CONFIG]),
            "CredentialSpec references config 'c1', but that config isn't in config references "
            "with RuntimeTarget",
        ),
        (TaskSpec(), "TaskSpec: missing runtime"),
        (TaskSpec(ContainerSpec("")), "ContainerSpec: image reference must be provided"),
        (TaskSpec(ContainerSpec("A B")), 'ContainerSpec: "A B" is not a valid repository/tag'),
        (
            _container(mounts=[Mount("/a"), Mount("/b"), Mount("/a")]),
            "ContainerSpec: duplicate mount point: /a",
        ),
        (
            _container(healthcheck=Healthcheck(interval=0.0001)),
            "ContainerSpec: Interval in HealthConfig cannot be less than 1ms",
        ),
        (
            _container(healthcheck=Healthcheck(start_period=-1)),
            "ContainerSpec: StartPeriod in HealthConfig cannot be less than 1ms",
        ),
        (
            _container(healthcheck=Healthcheck(retries=-1)),
            "ContainerSpec: Retries in HealthConfig cannot be negative",
        ),
        (TaskSpec(generic=GenericSpec("ab")), 'Generic runtime: Invalid name "ab"'),
        (
            TaskSpec(generic=GenericSpec("container")),
            "Generic runtime: container is a reserved name",
        ),
        (TaskSpec(generic=GenericSpec("mine")), "Generic runtime: missing payload type"),
        (TaskSpec(generic=GenericSpec("mine", "x")), "Generic runtime: has an empty payload"),
    ],
)
def test_tasks(task: TaskSpec, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate_service_spec(ServiceSpec("web", task))
    assert caught.value.message == text


INGRESS = PortConfig(80, 8080)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"mode": GlobalJob(), "update": UpdateConfig()}, "Jobs may not have an update config"),
        ({"mode": ReplicatedJob(), "update": UpdateConfig()}, "Jobs may not have an update config"),
        ({"update": UpdateConfig(delay=-1)}, "TaskSpec: update-delay cannot be negative"),
        ({"update": UpdateConfig(monitor=-1)}, "TaskSpec: update-monitor cannot be negative"),
        (
            {"update": UpdateConfig(max_failure_ratio=1.5)},
            "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
        ),
        (
            {"endpoint": EndpointSpec(EndpointMode.DNSRR, (INGRESS,))},
            "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
        ),
        (
            {"endpoint": EndpointSpec(ports=(INGRESS, replace(INGRESS, target_port=81)))},
            "EndpointSpec: duplicate published ports provided",
        ),
    ],
)
def test_services(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate_service_spec(ServiceSpec("web", _container(), **fields))
    assert caught.value.message == text


@pytest.mark.parametrize(
    "spec",
    [
        ServiceSpec("web", _container()),
        ServiceSpec("w", _container(secrets=[SECRET], configs=[CONFIG])),
        ServiceSpec("web", _container(), mode=GlobalJob(), rollback=UpdateConfig()),
        ServiceSpec("web", _container(healthcheck=Healthcheck(interval=0, timeout=0.001))),
        ServiceSpec("web", TaskSpec(generic=GenericSpec("mine", "x", b"y"))),
        ServiceSpec(
            "web",
            _container(),
            endpoint=EndpointSpec(
                ports=(
                    INGRESS,
                    replace(INGRESS, protocol=Protocol.UDP),
                    PortConfig(1),
                    PortConfig(2),
                )
            ),
        ),
        ServiceSpec(
            "web",
            _container(),
            endpoint=EndpointSpec(
                EndpointMode.DNSRR, (replace(INGRESS, publish_mode=PublishMode.HOST),)
            ),
        ),
    ],
)
def test_what_docker_takes_is_taken(spec: ServiceSpec) -> None:
    validate_service_spec(spec)


def test_an_attachment_is_not_a_users() -> None:
    with pytest.raises(Unimplemented, match="RuntimeSpec: unimplemented runtime in service spec"):
        validate_service_spec(ServiceSpec("web", TaskSpec(attachment=AttachmentSpec("c"))))


def test_the_order_of_the_checks() -> None:
    """Each mistake is reported once those before it are mended."""
    seen: list[str] = []

    def refuse(constraints: Sequence[str]) -> None:
        seen.append("constraints")
        if constraints:
            raise InvalidArgument("bad constraint")

    def expand(container: ContainerSpec) -> ContainerSpec:
        seen.append("expand")
        return replace(container, image="nginx")

    spec = ServiceSpec(
        "-",
        replace(
            _resources(Limits(1)),
            container=ContainerSpec("{{.Node.ID}}", secrets=(SecretReference("", ""),)),
            restart=RestartPolicy(delay=-1),
            placement=Placement(("x",)),
        ),
        update=UpdateConfig(delay=-1),
        endpoint=EndpointSpec(ports=(INGRESS, INGRESS)),
    )
    good = _container()
    mends: list[tuple[str, dict[str, Any]]] = [
        ("name must be valid as a DNS name component", {"name": "web"}),
        ("invalid cpu value", {"resources": good.resources}),
        ("restart-delay", {"restart": None}),
        ("bad constraint", {"placement": good.placement}),
        ("malformed secret reference", {"container": ContainerSpec("{{.Node.ID}}")}),
        ("update-delay", {"update": None}),
        ("duplicate published ports", {"endpoint": None}),
    ]
    for text, mend in mends:
        with pytest.raises(InvalidArgument, match=text):
            validate_service_spec(spec, check_constraints=refuse, expand=expand)
        for field, content in mend.items():
            if field in ("name", "update", "endpoint"):
                spec = replace(spec, **{field: content})
            else:
                spec = replace(spec, task=replace(spec.task, **{field: content}))
    seen.clear()
    validate_service_spec(spec, check_constraints=refuse, expand=expand)
    assert seen == ["constraints", "expand"]


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("service", "", "meta: name must be provided"),
        ("network", "", "meta: name must be provided"),
        ("service", "a b", "name must be valid as a DNS name component"),
        ("service", "-a", "name must be valid as a DNS name component"),
        ("service", "a-", "name must be valid as a DNS name component"),
        ("service", "a.b", "name must be valid as a DNS name component"),
        ("service", "a\n", "name must be valid as a DNS name component"),
        ("service", "a" * 5000 + "!", "name must be valid as a DNS name component"),
        ("service", "a" * 64, "name must be 63 characters or fewer"),
        ("service", "a" * 63, ""),
        ("service", "a-_b--C9", ""),
        ("secret", "", "name must be provided"),
        ("config", "a" * 65, NAME_TEXT),
        ("secret", ".a", NAME_TEXT),
        ("secret", "a_", NAME_TEXT),
        ("secret", "a.b-c_d", ""),
        ("secret", "a" * 64, ""),
        ("swarm", "other", 'swarm spec must be named "default"'),
        ("swarm", "default", ""),
        ("volume", "", "meta: name must be provided"),
        ("extension", "", "extension name must be provided"),
        ("resource", "", "Resource must have a name"),
        ("resource", "any thing", ""),
    ],
)
def test_names(kind: str, name: str, text: str) -> None:
    if not text:
        validate_name(kind, name)
        return
    with pytest.raises(InvalidArgument) as caught:
        validate_name(kind, name)
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("image", "is_valid"),
    [
        ("nginx", True),
        ("library/nginx:1.25", True),
        ("localhost:5000/a/b:t", True),
        ("Registry.example/a", True),
        ("[::1]:5000/a", True),
        ("a@sha256:" + "0" * 64, True),
        ("my_func", True),
        ("a--b", True),
        ("", False),
        ("Nginx", False),
        ("a/B", False),
        ("a:", False),
        ("a:b:c", False),
        ("-a", False),
        ("a..b", False),
        ("a@sha256:12", False),
        ("0" * 64, False),
        ("a" * 5000 + "!", False),
    ],
)
def test_images(image: str, is_valid: bool) -> None:
    assert is_image_reference(image) is is_valid


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (SwarmSpec(ca=CAConfig(3599)), "minimum certificate expiry time is: 1h0m0s"),
        (
            SwarmSpec(ca=CAConfig(external_cas=(ExternalCA("u", protocol="x"),))),
            'invalid protocol: "x"',
        ),
        (
            SwarmSpec(heartbeat_period=-1),
            "heartbeat time period cannot be a negative duration",
        ),
        (
            SwarmSpec(raft=RaftSettings(heartbeat_tick=10)),
            "election tick must be greater than heartbeat tick",
        ),
        (SwarmSpec("mine"), 'swarm spec must be named "default"'),
    ],
)
def test_settings(spec: SwarmSpec, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate_swarm_spec(spec)
    assert caught.value.message == text


def test_the_default_settings_are_fine() -> None:
    validate_swarm_spec(SwarmSpec())
    validate_swarm_spec(SwarmSpec(name=""))
