"""An update that could never come to an end, seen before it starts.

Start-first, a slot's new task runs beside the old one until that stops. Where both hold the same
fixed port of their node, the new one needs a node without an old one; if there is none, it waits
for the old task, and the old task for it. What a person meant is stop-first.
"""

from __future__ import annotations

from pyswarm.errors import FailedPrecondition
from pyswarm.model import (
    Availability,
    FailureAction,
    Global,
    Service,
    ServiceSpec,
    UpdateOrder,
    replace,
)
from pyswarm.model.hostports import fixed_host_ports
from pyswarm.model.specs import UpdateConfig
from pyswarm.orchestrator.global_ import is_place
from pyswarm.orchestrator.task import is_wanted
from pyswarm.store import Reader


def check_update_order(view: Reader, service: Service, spec: ServiceSpec) -> None:
    """Refuse (``FailedPrecondition``) the update of ``service`` to ``spec`` if it would hang, or
    if the rollback would that a failure of it leads to."""
    _check(view, service, spec, spec.update, "update")
    if spec.update is not None and spec.update.failure_action is FailureAction.ROLLBACK:
        _check(view, service, spec, service.spec.rollback, "rollback")


def check_rollback_order(view: Reader, service: Service, spec: ServiceSpec) -> None:
    """The same for going back to ``spec`` by hand."""
    _check(view, service, spec, spec.rollback, "rollback")


def _check(
    view: Reader, service: Service, spec: ServiceSpec, config: UpdateConfig | None, what: str
) -> None:
    if config is None or config.order is not UpdateOrder.START_FIRST:
        return
    if spec.task == service.spec.task and spec.endpoint == service.spec.endpoint:
        return  # no task is replaced
    held = fixed_host_ports(service.spec.endpoint)
    shared = [port for port in fixed_host_ports(spec.endpoint) if port in held]
    if not shared or not _is_stuck(view, replace(service, spec=spec)):
        return
    number, protocol = shared[0]
    raise FailedPrecondition(
        f"{what} order start-first cannot work: port {number}/{protocol} is published on the host, "
        "and every node that can take a new task runs an old one",
        hint='use order="stop-first", or order="auto", which chooses it where it must',
    )


def _is_stuck(view: Reader, service: Service) -> bool:
    """Whether no node is left that could take a task of the service beside those it has."""
    taken = {t.node_id: None for t in view.tasks_of_service(service.id) if is_wanted(t)}
    if not taken:
        return False
    if isinstance(service.spec.mode, Global):
        return True
    return not any(
        is_place(service, node)
        and node.spec.availability is Availability.ACTIVE
        and node.id not in taken
        for node in view.nodes()
    )
