"""What requests about services do: create, update, roll back, remove.

Each function is a piece of a turn: it checks, writes its own object and returns it. Tasks,
addresses and places are the reconcilers' business, later in the same turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from pyswarm.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from pyswarm.machine import Because
from pyswarm.model import (
    GlobalJob,
    JobStatus,
    ReplicatedJob,
    Service,
    ServiceSpec,
    UpdateState,
    UpdateStatus,
    replace,
)
from pyswarm.model.requests import CreateService, RemoveService, RemoveTask, UpdateService
from pyswarm.model.specs import NetworkAttachmentConfig, TaskSpec
from pyswarm.model.states import EndpointMode, PublishMode
from pyswarm.model.validate import validate_service_spec
from pyswarm.node.context import Context
from pyswarm.node.lookup import free_id
from pyswarm.node.trap import check_rollback_order, check_update_order
from pyswarm.scheduler import Constraint
from pyswarm.secretstore import check_references
from pyswarm.store import Reader, Transaction
from pyswarm.templating import check_container


def create_service(tx: Transaction, request: CreateService, context: Context) -> Service:
    """A new service; its tasks follow in this very turn."""
    spec = _checked(tx, request.spec, context)
    context.leases.check_ports(tx, spec, "")
    if tx.by_name("service", spec.name) is not None:
        raise AlreadyExists(
            f"name conflicts with an existing object: service {spec.name} already exists",
            hint="choose another name, or update the service (services.apply does either)",
        )
    status = JobStatus(0, tx.now) if _is_job(spec) else None
    service = Service(
        id=free_id(tx, "service", context.rng),
        spec=spec,
        spec_version=tx.version,
        spec_written=tx.version,
        job_status=status,
    )
    written: Service = tx.create(service, Because("create-service", (spec.name,)))
    return written


def update_service(tx: Transaction, request: UpdateService, context: Context) -> Service:
    """A new spec, or (``rollback``) the previous one again."""
    service = tx.service(request.service_id)
    if service is None:
        raise NotFound(f"service {request.service_id} not found")
    if request.rollback or request.spec is None:
        return _rolled_back(tx, service, request.version, context)
    spec = _checked(tx, request.spec, context)
    if spec.endpoint != service.spec.endpoint:
        context.leases.check_ports(tx, spec, service.id)
    if type(spec.mode) is not type(service.spec.mode):
        raise Unimplemented("service mode change is not allowed")
    if spec.name != service.spec.name:
        raise Unimplemented("renaming services is not supported")
    check_update_order(tx, service, spec)
    changed: Service = tx.update(
        replace(
            service,
            spec=spec,
            spec_version=tx.version,
            spec_written=tx.version,
            previous_spec=service.spec,
            previous_spec_version=service.spec_version,
            update_status=None,
            job_status=_next_run(tx, service),
        ),
        Because("update-service", (spec.name,)),
        expect=_expected(service, request.version),
    )
    return changed


def _next_run(tx: Transaction, service: Service) -> JobStatus | None:
    """A job is run anew by every change of it."""
    status = service.job_status
    return None if status is None else JobStatus(status.iteration + 1, tx.now)


def _expected(service: Service, seen: int) -> int:
    """The version to expect of a caller who saw ``seen``: the present one where only the
    orchestrator wrote since, an update's progress or an address. What it wrote is kept, and no one
    else's spec is lost."""
    knows_spec = 0 < service.spec_written <= seen <= service.version
    return service.version if knows_spec else seen


def _rolled_back(tx: Transaction, service: Service, version: int, context: Context) -> Service:
    previous = service.previous_spec
    if previous is None:
        raise FailedPrecondition(f"service {service.id} does not have a previous spec")
    check_references(previous.task, tx.get)  # what it used may be gone by now
    if previous.endpoint != service.spec.endpoint:
        context.leases.check_ports(tx, previous, service.id)  # or may be another's
    check_rollback_order(tx, service, previous)
    status = None
    if service.job_status is None:  # a job has no rolling update, nor the end of one
        status = UpdateStatus(UpdateState.ROLLBACK_STARTED, "manually requested rollback", tx.now)
    swapped: Service = tx.update(
        replace(
            service,
            spec=previous,
            spec_version=service.previous_spec_version,
            spec_written=tx.version,
            previous_spec=service.spec,
            previous_spec_version=service.spec_version,
            update_status=status,
            job_status=_next_run(tx, service),
        ),
        Because("roll-back-service", (service.spec.name,)),
        expect=_expected(service, version),
    )
    return swapped


def remove_service(tx: Transaction, request: RemoveService, context: Context) -> None:
    """The service goes at once; its tasks are shut down and then go."""
    if tx.service(request.service_id) is None:
        raise NotFound(f"service {request.service_id} not found")
    tx.delete("service", request.service_id, Because("remove-service"))


def remove_task(tx: Transaction, request: RemoveTask, context: Context) -> None:
    """Forget one task, whatever its state."""
    if tx.task(request.task_id) is None:
        raise NotFound(f"task {request.task_id} not found")
    tx.delete("task", request.task_id, Because("remove-task"))


def _checked(tx: Transaction, spec: ServiceSpec, context: Context) -> ServiceSpec:
    """``spec`` as it will be stored, or the error of the first rule it breaks."""
    validate_service_spec(spec, check_constraints=_check_constraints, expand=check_container)
    spec = _with_network_ids(tx, spec)
    _check_ingress(tx, spec, context)
    check_references(spec.task, tx.get)
    return spec


def _check_constraints(constraints: Iterable[str]) -> None:
    for text in constraints:
        Constraint.parse(text)


def _with_network_ids(reader: Reader, spec: ServiceSpec) -> ServiceSpec:
    """Networks may be given by name; the spec remembers ids."""
    if not spec.task.networks:
        return spec
    wanted = tuple(_resolved(reader, config) for config in spec.task.networks)
    if wanted == spec.task.networks:
        return spec
    task: TaskSpec = attrs.evolve(spec.task, networks=wanted)
    return attrs.evolve(spec, task=task)


def _resolved(reader: Reader, config: NetworkAttachmentConfig) -> NetworkAttachmentConfig:
    network: Any = reader.network(config.target) or reader.by_name("network", config.target)
    if network is None:
        raise NotFound(f"network {config.target} not found")
    if network.spec.ingress:
        raise InvalidArgument(
            f'Service cannot be explicitly attached to the ingress network "{network.spec.name}"'
        )
    if network.id == config.target:
        return config
    return attrs.evolve(config, target=network.id)


def _check_ingress(tx: Transaction, spec: ServiceSpec, context: Context) -> None:
    endpoint = spec.endpoint
    if endpoint is None or endpoint.mode is EndpointMode.DNSRR:
        return
    if not any(port.publish_mode is PublishMode.INGRESS for port in endpoint.ports):
        return
    if not context.leases.ingress(tx):
        raise FailedPrecondition("service needs ingress network, but no ingress network is present")


def _is_job(spec: ServiceSpec) -> bool:
    return isinstance(spec.mode, (ReplicatedJob, GlobalJob))
