"""Services both ways: what was asked for, what was allocated, and how an update stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from pyswarm.api.convert.parts import (
    Said,
    duration,
    head,
    labelled,
    member,
    nonnull,
    number,
    omitempty,
    quoted,
    seconds,
    version,
)
from pyswarm.api.convert.tasks import (
    PLACEMENT,
    PLUGIN,
    RESOURCES,
    show_port,
    show_task_spec,
    task_spec_of,
)
from pyswarm.api.rendering import time_text
from pyswarm.errors import InvalidArgument
from pyswarm.model import (
    DNSConfig,
    EndpointMode,
    EndpointSpec,
    FailureAction,
    Global,
    GlobalJob,
    JobStatus,
    PortConfig,
    Protocol,
    PublishMode,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    Service,
    ServiceMode,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    UpdateConfig,
    UpdateOrder,
    UpdateState,
    UpdateStatus,
)
from pyswarm.model.defaults import RESTART, ROLLBACK, STOP_GRACE_PERIOD, UPDATE

MODES: dict[type, str] = {
    Replicated: "replicated",
    Global: "global",
    ReplicatedJob: "replicated-job",
    GlobalJob: "global-job",
}
"""The words of the ``mode`` filter."""


def service_spec_of(data: Said) -> ServiceSpec:
    """The service spec of a decoded body (:data:`.shapes.SERVICE_SPEC`).

    Raises ``InvalidArgument`` for what Docker refuses to convert, in its order.
    """
    template = data.struct("TaskTemplate")
    is_plugin = template.text("Runtime") == PLUGIN and template.pointer("PluginSpec") is not None
    if is_plugin and data.struct("Mode").pointer("Replicated") is not None:
        raise InvalidArgument("plugins must not use replicated mode")
    return ServiceSpec(
        name=data.text("Name"),
        task=task_spec_of(template, data.each("Networks")),
        update=_update_of(data.pointer("UpdateConfig")),
        rollback=_update_of(data.pointer("RollbackConfig")),
        endpoint=_endpoint_of(data.pointer("EndpointSpec")),
        mode=Global() if is_plugin else _mode_of(data.struct("Mode")),
        labels=data.map("Labels"),
    )


def show_service_spec(spec: ServiceSpec) -> dict[str, Any]:
    """The service spec in Engine JSON."""
    return {
        **labelled(spec.name, spec.labels),
        "TaskTemplate": show_task_spec(spec.task),
        "Mode": _show_mode(spec.mode),
        **nonnull(
            UpdateConfig=_show_update(spec.update),
            RollbackConfig=_show_update(spec.rollback),
            EndpointSpec=None if spec.endpoint is None else _show_endpoint_spec(spec.endpoint),
        ),
    }


def show_service(service: Service) -> dict[str, Any]:
    """A service in Engine JSON, without counts of its tasks."""
    previous = service.previous_spec
    return {
        **head(service),
        "Spec": show_service_spec(service.spec),
        **nonnull(PreviousSpec=None if previous is None else show_service_spec(previous)),
        "Endpoint": _show_endpoint(service),
        **nonnull(
            UpdateStatus=_show_update_status(service.update_status),
            JobStatus=_show_job_status(service.job_status),
        ),
    }


def show_service_with_defaults(service: Service) -> dict[str, Any]:
    """The same with what holds where the spec does not say (``insertDefaults``)."""
    return show_service(attrs.evolve(service, spec=_with_defaults(service.spec)))


def show_service_status(service: Service, tasks: Sequence[Task]) -> dict[str, Any]:
    """How many tasks run, should run, and are complete (``status=true``)."""
    iteration = service.job_status.iteration if service.job_status is not None else None
    counted = [one for one in tasks if iteration is None or one.job_iteration == iteration]
    running = sum(one.state is TaskState.RUNNING for one in counted)
    completed = sum(one.state is TaskState.COMPLETE for one in counted)
    wanted = sum(one.desired_state is TaskState.RUNNING for one in counted)
    match service.spec.mode:
        case Replicated(replicas=replicas):
            desired, completed = replicas, 0
        case ReplicatedJob(max_concurrent=at_once):
            desired = at_once  # as Docker counts, when all is done too
        case GlobalJob():
            desired = sum(
                one.desired_state is TaskState.COMPLETE and one.state is not TaskState.COMPLETE
                for one in counted
            )
        case _:
            desired, completed = wanted, 0
    return {"RunningTasks": running, "DesiredTasks": desired, "CompletedTasks": completed}


def total_completions(job: ReplicatedJob) -> int:
    """How often the job is to be done."""
    return job.max_concurrent if job.total_completions is None else job.total_completions


# -- modes


def _mode_of(data: Said) -> ServiceMode:
    given = [key for key in _MODES if data.pointer(key) is not None]
    if len(given) > 1:
        raise InvalidArgument("must specify only one service mode")
    said = data.struct(given[0]) if given else Said({})
    match given[0] if given else "Replicated":
        case "Global":
            return Global()
        case "GlobalJob":
            return GlobalJob()
        case "ReplicatedJob":
            concurrent = said.given("MaxConcurrent")
            concurrent = 1 if concurrent is None else concurrent
            total = said.given("TotalCompletions")
            return ReplicatedJob(concurrent, concurrent if total is None else total)
    replicas = said.given("Replicas")
    return Replicated(1 if replicas is None else replicas)


_MODES = ("Replicated", "Global", "ReplicatedJob", "GlobalJob")


def _show_mode(mode: ServiceMode) -> dict[str, Any]:
    match mode:
        case Replicated(replicas=replicas):
            return {"Replicated": {"Replicas": replicas}}
        case ReplicatedJob() as job:
            total = total_completions(job)
            return {
                "ReplicatedJob": {"MaxConcurrent": job.max_concurrent, "TotalCompletions": total}
            }
    return {type(mode).__name__: {}}


# -- updates


def _update_of(data: Said | None) -> UpdateConfig | None:
    if data is None:
        return None
    action, order = data.text("FailureAction"), data.text("Order")
    if action and action not in map(str, FailureAction):
        raise InvalidArgument(f"unrecognized update failure action {action}")
    if order and order not in map(str, UpdateOrder):
        raise InvalidArgument(f"unrecognized update order {order}")
    monitor = data.number("Monitor")
    return UpdateConfig(
        parallelism=data.number("Parallelism"),
        delay=seconds(data.number("Delay")),
        failure_action=member(FailureAction, action, FailureAction.PAUSE),
        monitor=seconds(monitor) if monitor else None,
        max_failure_ratio=float(data.number("MaxFailureRatio")),
        order=member(UpdateOrder, order, UpdateOrder.STOP_FIRST),
    )


def _show_update(config: UpdateConfig | None) -> dict[str, Any] | None:
    if config is None:
        return None
    return {
        "Parallelism": config.parallelism,
        **omitempty(
            Delay=duration(config.delay),
            FailureAction=str(config.failure_action),
            Monitor=duration(config.monitor or 0.0),
        ),
        "MaxFailureRatio": number(config.max_failure_ratio),
        "Order": str(config.order),
    }


def _show_update_status(status: UpdateStatus | None) -> dict[str, Any] | None:
    if status is None:
        return None
    ended = status.completed_at and status.state in _ENDED
    return {
        "State": str(status.state),
        **omitempty(
            StartedAt=time_text(status.started_at) if status.started_at else "",
            CompletedAt=time_text(status.completed_at) if ended else "",
            Message=status.message,
        ),
    }


_ENDED = (UpdateState.COMPLETED, UpdateState.ROLLBACK_COMPLETED)
"""A paused update has not come to its end."""


def _show_job_status(status: JobStatus | None) -> dict[str, Any] | None:
    if status is None:
        return None
    return {
        "JobIteration": version(status.iteration),
        "LastExecution": time_text(status.last_execution),
    }


# -- endpoints


def _endpoint_of(data: Said | None) -> EndpointSpec | None:
    if data is None:
        return None
    mode = data.text("Mode")
    if mode not in ("", "vip", "dnsrr"):
        raise InvalidArgument(f"invalid resolution mode: {quoted(mode)}")
    return EndpointSpec(
        member(EndpointMode, mode, EndpointMode.VIP),
        tuple(_port_of(one) for one in data.each("Ports")),
    )


def _port_of(data: Said) -> PortConfig:
    """An unknown protocol is tcp and an unknown mode ingress, as with Docker."""
    return PortConfig(
        target_port=data.number("TargetPort"),
        published_port=data.number("PublishedPort"),
        protocol=member(Protocol, data.text("Protocol"), Protocol.TCP),
        publish_mode=member(PublishMode, data.text("PublishMode"), PublishMode.INGRESS),
        name=data.text("Name"),
    )


def _show_endpoint_spec(spec: EndpointSpec) -> dict[str, Any]:
    return {"Mode": str(spec.mode), **omitempty(Ports=[show_port(port) for port in spec.ports])}


def _show_endpoint(service: Service) -> dict[str, Any]:
    """What was allocated. Where nothing ever was to be, there is no endpoint: an empty spec."""
    endpoint = service.endpoint
    if endpoint is None:
        return {"Spec": {}}
    is_said = service.spec.endpoint is not None
    return {
        "Spec": _show_endpoint_spec(endpoint.spec) if is_said else {},
        **omitempty(
            Ports=[show_port(port) for port in endpoint.ports],
            VirtualIPs=[
                omitempty(NetworkID=vip.network_id, Addr=vip.address)
                for vip in endpoint.virtual_ips
            ],
        ),
    }


# -- defaults


def _with_defaults(spec: ServiceSpec) -> ServiceSpec:
    return attrs.evolve(
        spec,
        task=_task_with_defaults(spec.task),
        update=_update_with_defaults(spec.update, UPDATE),
        rollback=_update_with_defaults(spec.rollback, ROLLBACK),
    )


def _task_with_defaults(task: TaskSpec) -> TaskSpec:
    container = task.container
    if container is not None:
        grace = container.stop_grace_period
        container = attrs.evolve(
            container,
            stop_grace_period=STOP_GRACE_PERIOD if grace is None else grace,
            dns=container.dns or DNSConfig(),
        )
    restart: RestartPolicy = task.restart or RESTART
    if restart.delay is None:
        restart = attrs.evolve(restart, delay=RESTART.delay)
    return attrs.evolve(
        task,
        container=container,
        restart=restart,
        given=tuple(dict.fromkeys((*task.given, RESOURCES, PLACEMENT))),
    )


def _update_with_defaults(config: UpdateConfig | None, default: UpdateConfig) -> UpdateConfig:
    if config is None:
        return default
    return config if config.monitor else attrs.evolve(config, monitor=default.monitor)
