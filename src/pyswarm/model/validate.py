"""Rules that look at more than one field, in Docker's order and with Docker's sentences.

A value of the model is well-typed by construction; whether it makes sense as a whole is checked
when a request brings it. What needs other objects (do the secrets exist? is the port free?) is the
control API's business; the syntax of constraints is the scheduler's and the templates' the
templating's, so they are handed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pyswarm.errors import InvalidArgument, Unimplemented
from pyswarm.model.images import is_image_reference
from pyswarm.model.resources import NANO, ResourceRequirements
from pyswarm.model.specs import (
    ConfigReference,
    ContainerSpec,
    EndpointSpec,
    GenericSpec,
    GlobalJob,
    Healthcheck,
    ReplicatedJob,
    RestartPolicy,
    SecretReference,
    ServiceSpec,
    SwarmSpec,
    TaskSpec,
    UpdateConfig,
)
from pyswarm.model.states import EndpointMode, PublishMode

CPU_MIN = 1_000_000  # nano-CPUs
MEMORY_MIN = 4 * 1024 * 1024
DNS_NAME_MAX = 63  # a label of a DNS name
NAME_MAX = 64
CERT_EXPIRY_MIN = 3600.0

_dns_name = re.compile(r"[a-zA-Z0-9](?:[-_]*[A-Za-z0-9])*")
_free_name = re.compile(r"[a-zA-Z0-9]+(?:[a-zA-Z0-9\-_.]*[a-zA-Z0-9])?")
CheckConstraints = Callable[[Sequence[str]], object]
Expand = Callable[[ContainerSpec], ContainerSpec]


def validate_name(kind: str, name: str) -> None:
    """Refuse a name that objects of ``kind`` cannot have."""
    if kind in ("service", "network"):
        if not name:
            raise InvalidArgument("meta: name must be provided")
        if not _dns_name.fullmatch(name):
            raise InvalidArgument("name must be valid as a DNS name component")
        if len(name) > DNS_NAME_MAX:
            raise InvalidArgument("name must be 63 characters or fewer")
    elif kind in ("secret", "config"):
        if not name:
            raise InvalidArgument("name must be provided")
        if len(name) > NAME_MAX or not _free_name.fullmatch(name):
            raise InvalidArgument(
                "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end "
                "character must be [a-zA-Z0-9]"
            )
    elif kind == "swarm":
        if name != "default":
            raise InvalidArgument('swarm spec must be named "default"')
    elif not name:
        raise InvalidArgument(_nameless.get(kind, "meta: name must be provided"))


_nameless = {
    "extension": "extension name must be provided",
    "resource": "Resource must have a name",
}


def validate_service_spec(
    spec: ServiceSpec,
    *,
    check_constraints: CheckConstraints | None = None,
    expand: Expand | None = None,
) -> None:
    """Refuse a service that makes no sense by itself.

    ``check_constraints`` and ``expand`` raise on bad placement constraints and templates, at the
    moment at which Docker would.
    """
    validate_name("service", spec.name)
    validate_task_spec(spec.task, check_constraints=check_constraints, expand=expand)
    if isinstance(spec.mode, (ReplicatedJob, GlobalJob)):
        if spec.update is not None:
            raise InvalidArgument("Jobs may not have an update config")
    else:
        _check_update(spec.update)
        _check_update(spec.rollback, "rollback")
    _check_endpoint(spec.endpoint)


def validate_task_spec(
    spec: TaskSpec,
    *,
    check_constraints: CheckConstraints | None = None,
    expand: Expand | None = None,
) -> None:
    """Refuse a task that makes no sense by itself."""
    _check_resources(spec.resources)
    _check_restart(spec.restart)
    if check_constraints is not None:
        check_constraints(spec.placement.constraints)
    if spec.container is not None:
        _check_references("secret", spec.container.secrets)
        _check_references("config", spec.container.configs)
        _check_credentials(spec.container)
    _check_runtime(spec, expand)


def validate_swarm_spec(spec: SwarmSpec) -> None:
    """Refuse settings that make no sense."""
    if spec.ca.node_cert_expiry < CERT_EXPIRY_MIN:
        raise InvalidArgument("minimum certificate expiry time is: 1h0m0s")
    for external in spec.ca.external_cas:
        if external.protocol != "cfssl":
            raise InvalidArgument(f'invalid protocol: "{external.protocol}"')
    if spec.heartbeat_period < 0:
        raise InvalidArgument("heartbeat time period cannot be a negative duration")
    if spec.raft.election_tick <= spec.raft.heartbeat_tick:
        raise InvalidArgument("election tick must be greater than heartbeat tick")
    validate_name("swarm", spec.name or "default")


# -- parts of a task


def _check_resources(wanted: ResourceRequirements) -> None:
    for part in (wanted.limits, wanted.reservations):
        if part.nano_cpus != 0 and part.nano_cpus < CPU_MIN:
            raise InvalidArgument(
                f"invalid cpu value {_short(part.nano_cpus / NANO)}: Must be at least "
                f"{_short(CPU_MIN / NANO)}"
            )
        if part.memory_bytes != 0 and part.memory_bytes < MEMORY_MIN:
            raise InvalidArgument(
                f"invalid memory value {part.memory_bytes}: Must be at least 4MiB"
            )


def _short(number: float) -> str:
    return repr(number).removesuffix(".0")


def _check_restart(policy: RestartPolicy | None) -> None:
    if policy is None:
        return
    if policy.delay is not None and policy.delay < 0:
        raise InvalidArgument("TaskSpec: restart-delay cannot be negative")
    if policy.window < 0:
        raise InvalidArgument("TaskSpec: restart-window cannot be negative")


def _check_references(
    kind: str, references: Sequence[SecretReference] | Sequence[ConfigReference]
) -> None:
    holders: dict[str, str] = {}
    for ref in references:
        if isinstance(ref, SecretReference):
            id, name, is_file = ref.secret_id, ref.secret_name, True
        else:
            id, name, is_file = ref.config_id, ref.config_name, not ref.runtime
        if not id or not name:
            raise InvalidArgument(f"malformed {kind} reference")
        target = ref.target or name
        if not is_file:
            continue
        if target in holders:
            raise InvalidArgument(
                f"{kind} references '{holders[target]}' and '{name}' have a conflicting target: "
                f"'{target}'"
            )
        holders[target] = name


def _check_credentials(spec: ContainerSpec) -> None:
    credentials = spec.privileges.credential_spec if spec.privileges is not None else None
    if credentials is None or not credentials.config:
        return
    if not any(ref.runtime and ref.config_id == credentials.config for ref in spec.configs):
        raise InvalidArgument(
            f"CredentialSpec references config '{credentials.config}', but that config isn't in "
            "config references with RuntimeTarget"
        )


def _check_runtime(spec: TaskSpec, expand: Expand | None) -> None:
    if spec.container is not None:
        _check_container(spec.container, expand)
    elif spec.attachment is not None:
        raise Unimplemented("RuntimeSpec: unimplemented runtime in service spec")
    elif spec.generic is not None:
        _check_generic(spec.generic)
    else:
        raise InvalidArgument("TaskSpec: missing runtime")


def _check_container(spec: ContainerSpec, expand: Expand | None) -> None:
    if expand is not None:
        spec = expand(spec)
    if not spec.image:
        raise InvalidArgument("ContainerSpec: image reference must be provided")
    if not is_image_reference(spec.image):
        raise InvalidArgument(f'ContainerSpec: "{spec.image}" is not a valid repository/tag')
    targets: dict[str, None] = {}
    for mount in spec.mounts:
        if mount.target in targets:
            raise InvalidArgument(f"ContainerSpec: duplicate mount point: {mount.target}")
        targets[mount.target] = None
    if spec.healthcheck is not None:
        _check_health(spec.healthcheck)


def _check_health(check: Healthcheck) -> None:
    for label, seconds in (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ):
        if seconds != 0 and seconds < 0.001:
            raise InvalidArgument(f"ContainerSpec: {label} in HealthConfig cannot be less than 1ms")
    if check.retries < 0:
        raise InvalidArgument("ContainerSpec: Retries in HealthConfig cannot be negative")


def _check_generic(spec: GenericSpec) -> None:
    if len(spec.kind) < 3:
        raise InvalidArgument(f'Generic runtime: Invalid name "{spec.kind}"')
    if spec.kind in ("container", "attachment"):
        raise InvalidArgument(f"Generic runtime: {spec.kind} is a reserved name")
    if not spec.payload_type:
        raise InvalidArgument("Generic runtime: missing payload type")
    if not spec.payload:
        raise InvalidArgument("Generic runtime: has an empty payload")


# -- parts of a service


def _check_update(config: UpdateConfig | None, what: str = "update") -> None:
    if config is None:
        return
    if not config.delay >= 0:  # NaN neither
        raise InvalidArgument(f"TaskSpec: {what}-delay cannot be negative")
    if config.monitor is not None and not config.monitor >= 0:
        raise InvalidArgument(f"TaskSpec: {what}-monitor cannot be negative")
    if not 0 <= config.max_failure_ratio <= 1:
        raise InvalidArgument(
            f"TaskSpec: {what}-maxfailureratio cannot be less than 0 or bigger than 1"
        )


def _check_endpoint(spec: EndpointSpec | None) -> None:
    if spec is None:
        return
    published: dict[tuple[int, object], None] = {}
    for port in spec.ports:
        if spec.mode is EndpointMode.DNSRR and port.publish_mode is PublishMode.INGRESS:
            raise InvalidArgument(
                "EndpointSpec: port published with ingress mode can't be used with dnsrr mode"
            )
    for port in spec.ports:
        key = (port.published_port, port.protocol)
        if port.published_port and key in published:
            raise InvalidArgument("EndpointSpec: duplicate published ports provided")
        published[key] = None
