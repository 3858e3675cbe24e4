"""Services in one call, with the keywords that people know from docker-py and the command line.

``service_spec("web", image="nginx", replicas=3, ports=["8080:80"], env={"A": "b"}, memory="512M")``
is the nested :class:`~pyswarm.model.specs.ServiceSpec` that it reads like. Durations may be numbers
of seconds or texts (``"10s"``), sizes bytes or texts (``"512M"``), environments dicts or lists, and
every spec object may be given as itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.model.hostports import AUTO, auto_order
from pyswarm.model.objects import Config, Network, Secret
from pyswarm.model.parse import (
    parse_bytes,
    parse_cpus,
    parse_duration,
    parse_healthcheck,
    parse_mount,
    parse_ports,
    parse_preference,
    parse_reference,
)
from pyswarm.model.resources import GenericResource, Limits, ResourceRequirements, Resources
from pyswarm.model.specs import (
    ConfigReference,
    ContainerSpec,
    EndpointSpec,
    Global,
    GlobalJob,
    Healthcheck,
    LogDriver,
    Mount,
    NetworkAttachmentConfig,
    Placement,
    PortConfig,
    Preference,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    SecretReference,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from pyswarm.model.states import EndpointMode, FailureAction, RestartCondition, UpdateOrder

Duration = float | str
"""Seconds, or a text such as ``"1m30s"``."""

Size = int | str
"""Bytes, or a text such as ``"512M"``."""


class ServiceOptions(TypedDict, total=False):
    """The keywords of :func:`service_spec`."""

    image: str
    command: Sequence[str]
    args: Sequence[str]
    env: Mapping[str, str | None] | Sequence[str]
    dir: str
    workdir: str
    user: str
    groups: Sequence[str]
    hostname: str
    labels: Mapping[str, str]
    container_labels: Mapping[str, str]
    mounts: Sequence[str | Mount]
    secrets: Sequence[str | Secret | SecretReference | Mapping[str, Any]]
    configs: Sequence[str | Config | ConfigReference | Mapping[str, Any]]
    networks: Sequence[str | Network | NetworkAttachmentConfig]
    ports: Sequence[int | str | PortConfig]
    endpoint_mode: EndpointMode | str
    stop_signal: str
    stop_grace_period: Duration
    healthcheck: Healthcheck | Mapping[str, Any] | str
    tty: bool
    open_stdin: bool
    read_only: bool
    init: bool
    hosts: Sequence[str]
    cap_add: Sequence[str]
    cap_drop: Sequence[str]
    sysctls: Mapping[str, str]
    mode: str | ServiceMode
    replicas: int
    max_concurrent: int
    constraints: Sequence[str]
    preferences: Sequence[str | Preference]
    max_replicas_per_node: int
    reserve_cpu: float | str
    reserve_memory: Size
    generic: Mapping[str, int] | Sequence[GenericResource]
    limit_cpu: float | str
    limit_memory: Size
    limit_pids: int
    cpu: float | str
    memory: Size
    log_driver: str | LogDriver
    log_options: Mapping[str, str]
    restart: RestartPolicy | Mapping[str, Any]
    restart_condition: RestartCondition | str
    restart_delay: Duration
    restart_max_attempts: int
    restart_window: Duration
    update: UpdateConfig | Mapping[str, Any]
    update_parallelism: int
    update_delay: Duration
    update_failure_action: FailureAction | str
    update_monitor: Duration
    update_max_failure_ratio: float
    update_order: UpdateOrder | str
    rollback: UpdateConfig | Mapping[str, Any]
    rollback_parallelism: int
    rollback_delay: Duration
    rollback_failure_action: FailureAction | str
    rollback_monitor: Duration
    rollback_max_failure_ratio: float
    rollback_order: UpdateOrder | str
    force_update: int


def service_spec(name: str, **options: Unpack[ServiceOptions]) -> ServiceSpec:
    """The spec of a service; see the keywords of :class:`ServiceOptions`.

    ``mode`` is ``"replicated"`` (the default), ``"global"``, ``"replicated-job"`` or
    ``"global-job"``; of a job, ``replicas`` says how many completions. ``cpu`` and ``memory`` are
    short for limit and reservation alike. Secrets, configs and networks may be given by name: the
    swarm looks up their ids when the service is created. Raises
    :class:`~pyswarm.errors.InvalidArgument` on a value that cannot be right, and ``TypeError`` on
    a keyword that does not exist.
    """
    unknown = [key for key in options if key not in ServiceOptions.__annotations__]
    if unknown:
        raise TypeError(f"service_spec() got an unexpected keyword argument {unknown[0]!r}")
    given: dict[str, Any] = dict(options)
    return ServiceSpec(
        name=name,
        task=_task(given),
        mode=_mode(given),
        labels=given.get("labels", {}),
        update=_update(given, "update"),
        rollback=_update(given, "rollback"),
        endpoint=_endpoint(given),
    )


def _task(given: dict[str, Any]) -> TaskSpec:
    log_driver = given.get("log_driver")
    if isinstance(log_driver, str) or "log_options" in given:
        log_driver = LogDriver(log_driver or "", given.get("log_options", {}))
    return TaskSpec(
        container=_container(given),
        resources=_resources(given),
        restart=_restart(given),
        placement=_placement(given),
        log_driver=log_driver,
        networks=tuple(network(each) for each in _each(given, "networks")),
        force_update=given.get("force_update", 0),
    )


def _container(given: dict[str, Any]) -> ContainerSpec:
    same = ("user", "groups", "hostname", "stop_signal", "tty", "open_stdin", "read_only", "init")
    chosen = {key: given[key] for key in (*same, "hosts", "sysctls") if key in given}
    if given.get("healthcheck") is not None:
        chosen["healthcheck"] = parse_healthcheck(given["healthcheck"])
    grace = given.get("stop_grace_period")
    return ContainerSpec(
        image=given.get("image", "host"),
        command=_words(given, "command"),
        args=_words(given, "args"),
        env=environment(given.get("env", ())),
        dir=given.get("dir", given.get("workdir", "")),
        labels=given.get("container_labels", {}),
        mounts=tuple(parse_mount(each) for each in _each(given, "mounts")),
        secrets=tuple(secret(each) for each in _each(given, "secrets")),
        configs=tuple(config(each) for each in _each(given, "configs")),
        stop_grace_period=None if grace is None else parse_duration(grace),
        capability_add=_words(given, "cap_add"),
        capability_drop=_words(given, "cap_drop"),
        **chosen,
    )


def environment(env: Mapping[str, str | None] | Iterable[str]) -> tuple[str, ...]:
    """``("K=V", ...)`` of a dict or a list; in a dict, None leaves the value to the node."""
    if isinstance(env, Mapping):
        return tuple(key if text is None else f"{key}={text}" for key, text in env.items())
    if isinstance(env, str):
        raise InvalidArgument(f"env must be a dict or a list of K=V, not {env!r}")
    return tuple(env)


def _resources(given: dict[str, Any]) -> ResourceRequirements:
    cpu, memory = given.get("cpu", 0), given.get("memory", 0)
    generic = given.get("generic", ())
    if isinstance(generic, Mapping):
        generic = tuple(GenericResource(kind, generic[kind]) for kind in sorted(generic))
    return ResourceRequirements(
        limits=Limits(
            parse_cpus(given.get("limit_cpu", cpu)),
            parse_bytes(given.get("limit_memory", memory)),
            given.get("limit_pids", 0),
        ),
        reservations=Resources(
            parse_cpus(given.get("reserve_cpu", cpu)),
            parse_bytes(given.get("reserve_memory", memory)),
            generic,
        ),
    )


def _placement(given: dict[str, Any]) -> Placement:
    return Placement(
        constraints=_words(given, "constraints"),
        preferences=tuple(parse_preference(each) for each in _each(given, "preferences")),
        max_replicas=given.get("max_replicas_per_node", 0),
    )


def _mode(given: dict[str, Any]) -> ServiceMode:
    mode = given.get("mode", "replicated")
    replicas = given.get("replicas", 1)
    if mode == "replicated":
        return Replicated(replicas)
    if mode == "replicated-job":
        return ReplicatedJob(given.get("max_concurrent", replicas), replicas)
    if isinstance(mode, str) and "replicas" in given:
        raise InvalidArgument(f"replicas can only be used with replicated modes, not {mode!r}")
    if mode == "global":
        return Global()
    if mode == "global-job":
        return GlobalJob()
    if isinstance(mode, (Replicated, Global, ReplicatedJob, GlobalJob)):
        return mode
    raise InvalidArgument(
        f"invalid mode {mode!r}: replicated, global, replicated-job or global-job"
    )


def _restart(given: dict[str, Any]) -> RestartPolicy | None:
    policy = _gathered(given, "restart", ("condition", "delay", "max_attempts", "window"))
    return policy if policy is None or not isinstance(policy, dict) else RestartPolicy(**policy)


def _update(given: dict[str, Any], prefix: str) -> UpdateConfig | None:
    names = tuple(field.name for field in attrs.fields(UpdateConfig))
    config = _gathered(given, prefix, names)
    if isinstance(config, dict) and config.get("order") == AUTO:
        config["order"] = auto_order(_endpoint(given))
    return config if config is None or not isinstance(config, dict) else UpdateConfig(**config)


def _gathered(given: dict[str, Any], prefix: str, names: tuple[str, ...]) -> Any:
    """What is said under ``prefix``, as a whole and field by field: None, an object or a dict."""
    whole = given.get(prefix)
    parts = {name: given[f"{prefix}_{name}"] for name in names if f"{prefix}_{name}" in given}
    if isinstance(whole, Mapping):
        parts = {**whole, **parts}
    elif whole is not None:
        if parts.get("order") == AUTO:
            parts["order"] = auto_order(_endpoint(given))
        return attrs.evolve(whole, **_durations(parts))
    for name in parts:
        if name not in names:
            raise InvalidArgument(f"{prefix} has no {name!r}; it has {', '.join(names)}")
    return _durations(parts) if parts or whole is not None else None


def _durations(parts: dict[str, Any]) -> dict[str, Any]:
    times = ("delay", "window", "monitor")
    return {
        name: parse_duration(content) if name in times and content is not None else content
        for name, content in parts.items()
    }


def _endpoint(given: dict[str, Any]) -> EndpointSpec | None:
    ports = tuple(port for each in _each(given, "ports") for port in parse_ports(each))
    mode = given.get("endpoint_mode")
    if mode is None and not ports:
        return None
    return EndpointSpec(EndpointMode.VIP if mode is None else mode, ports)


def network(target: Any) -> NetworkAttachmentConfig:
    """A network to attach to, by name, id, object or handle."""
    if isinstance(target, NetworkAttachmentConfig):
        return target
    return NetworkAttachmentConfig(target if isinstance(target, str) else _object(target).id)


def secret(ref: Any) -> SecretReference:
    """A secret to be granted: its name, ``source=NAME,target=FILE,…``, an object, a mapping."""
    if isinstance(ref, SecretReference):
        return ref
    id, name, more = reference(ref)
    return SecretReference(id, name, **more)


def config(ref: Any) -> ConfigReference:
    """A config to be granted: its name, ``source=NAME,target=FILE,…``, an object, a mapping."""
    if isinstance(ref, ConfigReference):
        return ref
    id, name, more = reference(ref)
    return ConfigReference(id, name, **more)


def reference(ref: Any) -> tuple[str, str, dict[str, Any]]:
    """Id (empty: to be looked up), name and the rest of a reference."""
    if isinstance(ref, str):
        if "=" not in ref:
            return "", ref, {}
        ref = parse_reference(ref)
    if isinstance(ref, Mapping):
        more = dict(ref)
        return more.pop("id", ""), more.pop("source", more.pop("name", "")), more
    obj = _object(ref)
    return obj.id, obj.spec.name, {}


def _object(handle: Any) -> Any:
    """The object itself, of an object or of a handle on one."""
    obj = getattr(handle, "value", handle)
    if not isinstance(obj, (Secret, Config, Network)):
        raise InvalidArgument(f"not a name, an object or a reference: {handle!r}")
    return obj


def _words(given: dict[str, Any], key: str) -> Any:
    """A list of texts, to be checked by the class it goes into."""
    return given.get(key, ())


def _each(given: dict[str, Any], key: str) -> Iterable[Any]:
    content = given.get(key, ())
    if isinstance(content, (str, bytes, Mapping)) or not isinstance(content, Iterable):
        raise InvalidArgument(f"{key} must be a list, not {content!r}")
    return content
