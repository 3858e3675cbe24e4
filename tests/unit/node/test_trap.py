"""Start-first with a fixed host port: refused where it would wait for ever, and only there."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.errors import FailedPrecondition
from pyswarm.model import Availability, Service, Task, UpdateOrder, replace, service_spec
from pyswarm.model.requests import CreateService, UpdateService
from pyswarm.runtime.front.changes import changed

from .desk import Desk

PORTS = ["8080:80@host"]


def desk_with(service: dict[str, Any], nodes: int = 2, on: int = 2) -> tuple[Desk, Service]:
    """A service with a task on each of the first ``on`` nodes."""
    desk = Desk()
    for number in range(1, nodes + 1):
        desk.node(f"n{number}")
    options = {"image": "one", "ports": PORTS, "update_order": "start-first", **service}
    created: Service = desk.ask(CreateService(service_spec("web", **options)))
    for number in range(1, on + 1):
        desk.put(
            Task(f"t{number}", created.id, created.spec.task, slot=number, node_id=f"n{number}")
        )
    return desk, created


def update(desk: Desk, service: Service, **changes: Any) -> Service:
    current = desk.store.service(service.id)
    assert current is not None
    spec = changed(current.spec, changes)
    written: Service = desk.ask(UpdateService(current.id, current.version, spec))
    return written


@pytest.mark.parametrize(
    "service",
    [
        {"replicas": 2},
        {"mode": "global"},
        {"replicas": 2, "constraints": ["node.role==worker"]},
    ],
)
def test_refused_with_the_hint(service: dict[str, Any]) -> None:
    desk, created = desk_with(service)
    before = desk.store.service(created.id)
    with pytest.raises(FailedPrecondition) as caught:
        update(desk, created, image="two")
    assert str(caught.value) == (
        "update order start-first cannot work: port 8080/tcp is published on the host, "
        "and every node that can take a new task runs an old one"
    )
    assert caught.value.hint is not None
    assert "stop-first" in caught.value.hint
    assert desk.store.service(created.id) == before


@pytest.mark.parametrize(
    ("service", "nodes", "on", "changes"),
    [
        pytest.param({"replicas": 2}, 3, 2, {"image": "two"}, id="a node is free"),
        pytest.param({"replicas": 2}, 2, 0, {"image": "two"}, id="nothing runs"),
        pytest.param({"replicas": 2}, 2, 2, {"parallelism": 2}, id="no task is replaced"),
        pytest.param({}, 2, 2, {"image": "two", "order": "stop-first"}, id="stop-first"),
        pytest.param({}, 2, 2, {"image": "two", "order": "auto"}, id="auto"),
        pytest.param({}, 2, 2, {"ports": ["8081:80@host"]}, id="another port"),
        pytest.param({"ports": ["8080:80"]}, 2, 2, {"image": "two"}, id="an ingress port"),
        pytest.param({"ports": ["80@host"]}, 2, 2, {"image": "two"}, id="a chosen port"),
    ],
)
def test_allowed(service: dict[str, Any], nodes: int, on: int, changes: dict[str, Any]) -> None:
    desk, created = desk_with(service, nodes, on)
    update(desk, created, **changes)


@pytest.mark.parametrize("availability", [Availability.DRAIN, Availability.PAUSE])
def test_a_node_that_takes_nothing_is_not_free(availability: Availability) -> None:
    desk, created = desk_with({"replicas": 2})
    free = desk.node("n3")
    desk.put(replace(free, spec=replace(free.spec, availability=availability)))
    with pytest.raises(FailedPrecondition):
        update(desk, created, image="two")


def test_the_rollback_of_a_failure_counts_too() -> None:
    desk, created = desk_with(
        {"replicas": 2, "update_order": "stop-first", "rollback_order": "start-first"}
    )
    with pytest.raises(FailedPrecondition, match="rollback order start-first cannot work"):
        update(desk, created, image="two", failure_action="rollback")
    update(desk, created, image="two")
    current = desk.store.service(created.id)
    assert current is not None
    with pytest.raises(FailedPrecondition, match="rollback order start-first cannot work"):
        desk.ask(UpdateService(current.id, current.version, None, True))


@pytest.mark.parametrize(
    ("ports", "order"),
    [
        (PORTS, UpdateOrder.STOP_FIRST),
        (["8080:80"], UpdateOrder.START_FIRST),
        (["80@host"], UpdateOrder.START_FIRST),
        ([], UpdateOrder.START_FIRST),
    ],
)
def test_auto(ports: list[str], order: UpdateOrder) -> None:
    spec = service_spec("web", ports=ports, update_order="auto")
    assert spec.update is not None
    assert spec.update.order is order
    spec = changed(service_spec("web", ports=[]), {"ports": ports, "order": "auto"})
    assert spec.update is not None
    assert spec.update.order is order
    spec = changed(service_spec("web"), {"publish_add": ports, "order": "auto", "force": True})
    assert spec.update is not None
    assert (spec.update.order, spec.task.force_update) == (order, 1)
    assert service_spec("web").update is None, "where nothing is said, Swarm's stop-first"
