"""``TaskSpec`` and tasks both ways: what each task of a service is, and how one stands.

Docker tells parts that were said without content (``"Placement": {}``) from parts that were not
said; our model keeps the names of the former in ``TaskSpec.given``.
"""

from __future__ import annotations

import json
from typing import Any

from pyswarm.api.convert.containers import container_of, show_container
from pyswarm.api.convert.mounts import empty_driver
from pyswarm.api.convert.parts import (
    Said,
    driver,
    duration,
    duration_or_none,
    head,
    nonnull,
    omitempty,
    quoted,
    seconds,
    seconds_or_none,
    version,
)
from pyswarm.api.local import container_id
from pyswarm.api.rendering import fragment, time_text
from pyswarm.errors import InvalidArgument
from pyswarm.model import (
    GenericResource,
    GenericSpec,
    Limits,
    LogDriver,
    NetworkAttachmentConfig,
    Placement,
    Platform,
    PortConfig,
    Preference,
    ResourceRequirements,
    Resources,
    RestartCondition,
    RestartPolicy,
    Task,
    TaskSpec,
    TaskState,
)

PLUGIN = "plugin"
PLUGIN_PAYLOAD = "types.docker.com/RuntimePlugin"
"""The type of a plugin's payload; ours is the spec's JSON."""

RESOURCES, LIMITS, RESERVATIONS = "Resources", "Resources.Limits", "Resources.Reservations"
PLACEMENT, WINDOW = "Placement", "RestartPolicy.Window"
"""What ``TaskSpec.given`` may hold, beside mounts whose volume has an empty driver."""

NO_RESOURCES = ResourceRequirements()
NO_PLACEMENT = Placement()

MISMATCHED = "mismatched Runtime and *Spec fields"


def task_spec_of(data: Said, networks: list[Said]) -> TaskSpec:
    """The task spec of a decoded body. ``networks`` are those that a service has beside it.

    Raises ``InvalidArgument`` for what Docker refuses to convert.
    """
    said, placing = data.pointer("Resources"), data.pointer("Placement")
    resources = _resources_of(said) if said is not None else NO_RESOURCES
    placement = _placement_of(placing) if placing is not None else NO_PLACEMENT
    restart = data.pointer("RestartPolicy")
    given = _empty_resources(said, resources) if said is not None else []
    given += [PLACEMENT] if placing is not None and placement == NO_PLACEMENT else []
    given += [WINDOW] if restart is not None and restart.given("Window") == 0 else []
    given += filter(None, map(empty_driver, data.struct("ContainerSpec").each("Mounts")))
    return TaskSpec(
        **_runtime_of(data, resources.limits.pids),
        resources=resources,
        restart=_restart_of(restart),
        placement=placement,
        log_driver=log_driver_of(data.pointer("LogDriver")),
        networks=tuple(_attachment_of(one) for one in data.each("Networks") or networks),
        force_update=data.number("ForceUpdate"),
        given=tuple(given),
    )


def show_task_spec(spec: TaskSpec, *, runtime: bool = True) -> dict[str, Any]:
    """The task spec in Engine JSON; a task's own shows no ``Runtime``."""
    kind = "container" if spec.generic is None else spec.generic.kind
    return {
        **nonnull(
            ContainerSpec=None
            if spec.container is None
            else show_container(spec.container, spec.given),
            PluginSpec=_show_plugin(spec.generic),
            NetworkAttachmentSpec=None
            if spec.attachment is None
            else {"ContainerID": spec.attachment.container_id},
            Resources=_show_resources(spec),
            RestartPolicy=_show_restart(spec),
            Placement=_show_placement(spec),
        ),
        **omitempty(Networks=[_show_attachment(one) for one in spec.networks]),
        **nonnull(LogDriver=show_log_driver(spec.log_driver)),
        "ForceUpdate": spec.force_update,
        **omitempty(Runtime=kind if runtime else ""),
    }


def _empty_resources(said: Said, resources: ResourceRequirements) -> list[str]:
    """The parts of the resources that were said without content."""
    found = []
    if said.pointer("Limits") is not None and resources.limits == NO_RESOURCES.limits:
        found.append(LIMITS)
    if said.pointer("Reservations") is not None and (
        resources.reservations == NO_RESOURCES.reservations
    ):
        found.append(RESERVATIONS)
    if not found and resources == NO_RESOURCES:
        found.append(RESOURCES)
    return found


# -- what runs


def _runtime_of(data: Said, pids: int) -> dict[str, Any]:
    runtime = data.text("Runtime")
    if runtime in ("", "container"):
        container = data.pointer("ContainerSpec")
        if container is None:
            raise InvalidArgument(MISMATCHED)
        return {"container": container_of(container, pids)}
    if runtime != PLUGIN:
        raise InvalidArgument("unsupported runtime")
    plugin = data.pointer("PluginSpec")
    if plugin is None:
        raise InvalidArgument(MISMATCHED)
    return {"generic": GenericSpec(PLUGIN, PLUGIN_PAYLOAD, fragment(_plugin_of(plugin)))}


def _plugin_of(data: Said) -> dict[str, Any]:
    return omitempty(
        name=data.text("name"),
        remote=data.text("remote"),
        privileges=[
            omitempty(
                name=one.text("name"),
                description=one.text("description"),
                value=one.texts("value"),
            )
            for one in data.each("privileges")
        ],
        disabled=data.flag("disabled"),
        env=data.texts("env"),
    )


def _show_plugin(spec: GenericSpec | None) -> dict[str, Any] | None:
    if spec is None or spec.payload_type != PLUGIN_PAYLOAD:
        return None
    shown: dict[str, Any] = json.loads(spec.payload)
    return shown


# -- resources


def _resources_of(data: Said) -> ResourceRequirements:
    limits, reservations = data.pointer("Limits"), data.pointer("Reservations")
    swap = data.given("SwapBytes")
    if swap and not (limits is not None and limits.number("MemoryBytes")):
        raise InvalidArgument("memory swap provided, but no memory-limit was set")
    return ResourceRequirements(
        limits=_limits_of(limits) if limits is not None else NO_RESOURCES.limits,
        reservations=_reservations_of(reservations)
        if reservations is not None
        else NO_RESOURCES.reservations,
        swap_bytes=swap,
        memory_swappiness=data.given("MemorySwappiness"),
    )


def _limits_of(data: Said) -> Limits:
    return Limits(data.number("NanoCPUs"), data.number("MemoryBytes"), data.number("Pids"))


def _reservations_of(data: Said) -> Resources:
    return Resources(
        data.number("NanoCPUs"),
        data.number("MemoryBytes"),
        _generic_of(data.each("GenericResources")),
    )


def _generic_of(given: list[Said]) -> tuple[GenericResource, ...]:
    """Counts as they are; named values of one kind make one entry, as in our model."""
    found: list[GenericResource] = []
    names: dict[str, list[str]] = {}
    for one in given:
        discrete, named = one.pointer("DiscreteResourceSpec"), one.pointer("NamedResourceSpec")
        if discrete is not None:
            found.append(GenericResource(discrete.text("Kind"), discrete.number("Value")))
        elif named is not None:
            names.setdefault(named.text("Kind"), []).append(named.text("Value"))
    found += [GenericResource(kind, 0, tuple(values)) for kind, values in names.items()]
    return tuple(found)


def _show_resources(spec: TaskSpec) -> dict[str, Any] | None:
    wanted, given = spec.resources, spec.given
    limits = omitempty(
        NanoCPUs=wanted.limits.nano_cpus,
        MemoryBytes=wanted.limits.memory_bytes,
        Pids=wanted.limits.pids or (spec.container.pids_limit if spec.container else 0),
    )
    reservations = show_resources(wanted.reservations)
    shown = nonnull(
        Limits=limits if limits or LIMITS in given else None,
        Reservations=reservations if reservations or RESERVATIONS in given else None,
        SwapBytes=wanted.swap_bytes,
        MemorySwappiness=wanted.memory_swappiness,
    )
    return shown if shown or RESOURCES in given else None


def show_resources(amount: Resources) -> dict[str, Any]:
    """What a node has or a task reserves."""
    return omitempty(
        NanoCPUs=amount.nano_cpus,
        MemoryBytes=amount.memory_bytes,
        GenericResources=show_generic(amount.generic),
    )


def show_generic(resources: tuple[GenericResource, ...]) -> list[dict[str, Any]]:
    """Generic resources: an entry for each name, or one with a count."""
    shown: list[dict[str, Any]] = []
    for one in resources:
        if one.names:
            shown += [
                {"NamedResourceSpec": omitempty(Kind=one.kind, Value=name)} for name in one.names
            ]
        else:
            shown.append({"DiscreteResourceSpec": omitempty(Kind=one.kind, Value=one.count)})
    return shown


# -- restarts, placement, networks, logs


def _restart_of(data: Said | None) -> RestartPolicy | None:
    if data is None:
        return None
    word = data.text("Condition") or "any"
    condition = next((one for one in RestartCondition if str(one) == word), None)
    if condition is None:
        raise InvalidArgument(f"invalid RestartCondition: {quoted(word)}")
    return RestartPolicy(
        condition=condition,
        delay=seconds_or_none(data.given("Delay")),
        max_attempts=data.number("MaxAttempts"),
        window=seconds(data.number("Window")),
    )


def _show_restart(spec: TaskSpec) -> dict[str, Any] | None:
    policy = spec.restart
    if policy is None:
        return None
    window = duration(policy.window)
    return nonnull(
        Condition=str(policy.condition),
        Delay=duration_or_none(policy.delay),
        MaxAttempts=policy.max_attempts,
        Window=window if window or WINDOW in spec.given else None,
    )


def _placement_of(data: Said) -> Placement:
    spreads = [one.pointer("Spread") for one in data.each("Preferences")]
    return Placement(
        constraints=data.texts("Constraints"),
        preferences=tuple(
            Preference(spread.text("SpreadDescriptor")) for spread in spreads if spread is not None
        ),
        max_replicas=data.number("MaxReplicas"),
        platforms=tuple(
            Platform(one.text("OS"), one.text("Architecture")) for one in data.each("Platforms")
        ),
    )


def _show_placement(spec: TaskSpec) -> dict[str, Any] | None:
    placement = spec.placement
    shown = omitempty(
        Constraints=placement.constraints,
        Preferences=[{"Spread": {"SpreadDescriptor": one.spread}} for one in placement.preferences],
        MaxReplicas=placement.max_replicas,
        Platforms=[show_platform(one) for one in placement.platforms],
    )
    return shown if shown or PLACEMENT in spec.given else None


def show_platform(platform: Platform) -> dict[str, Any]:
    """Architecture and operating system."""
    return omitempty(Architecture=platform.architecture, OS=platform.os)


def _attachment_of(data: Said) -> NetworkAttachmentConfig:
    return NetworkAttachmentConfig(
        data.text("Target"), data.texts("Aliases"), driver_options=data.map("DriverOpts")
    )


def _show_attachment(config: NetworkAttachmentConfig) -> dict[str, Any]:
    return omitempty(
        Target=config.target, Aliases=config.aliases, DriverOpts=dict(config.driver_options)
    )


def log_driver_of(data: Said | None) -> LogDriver | None:
    """A log driver, or None."""
    return None if data is None else LogDriver(data.text("Name"), data.map("Options"))


def show_log_driver(log: LogDriver | None) -> dict[str, Any] | None:
    """A log driver in Engine JSON."""
    return None if log is None else driver(log.name, log.options)


# -- tasks


def show_task(task: Task) -> dict[str, Any]:
    """A task in Engine JSON, up to its desired state: what follows is in the two parts below."""
    return {
        **head(task),
        "Labels": {},
        "Spec": show_task_spec(task.spec, runtime=False),
        **omitempty(ServiceID=task.service_id, Slot=task.slot, NodeID=task.node_id),
        "Status": _show_status(task),
        "DesiredState": str(task.desired_state),
    }


def show_task_end(task: Task) -> dict[str, Any]:
    """What follows a task's networks."""
    iteration = None if task.job_iteration is None else version(task.job_iteration)
    return {
        **omitempty(GenericResources=show_generic(task.assigned_generic)),
        **nonnull(JobIteration=iteration),
    }


def _show_status(task: Task) -> dict[str, Any]:
    # What has an exit code had a container, also where its program could not begin.
    had_id = bool(task.container_id or task.exit_code)
    container = {
        "ContainerID": container_id(task.id, task.container_id) if had_id else "",
        "PID": task.pid,
        "ExitCode": task.exit_code,
    }
    return {
        "Timestamp": time_text(task.status_at),
        "State": str(task.state),
        **omitempty(Message=task.message, Err=task.err),
        **nonnull(ContainerStatus=container if _had_container(task) else None),
        "PortStatus": omitempty(Ports=[show_port(port) for port in task.port_status]),
    }


def _had_container(task: Task) -> bool:
    """Whether the agent told of a container, be it of one that could not be made."""
    if task.container_id:
        return True
    told = TaskState.STARTING <= task.state < TaskState.REMOVE
    return told and task.applied_at > 0


def show_port(port: PortConfig) -> dict[str, Any]:
    """A published port; no published number where none was asked for."""
    return omitempty(
        Name=port.name,
        Protocol=str(port.protocol),
        TargetPort=port.target_port,
        PublishedPort=port.published_port,
        PublishMode=str(port.publish_mode),
    )
