"""``/tasks``: list, filters, inspect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyswarm.model import (
    ContainerSpec,
    IPAMOptions,
    Network,
    NetworkAttachment,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    replace,
)
from unit.api.door import SELF, Door


def task_of(service: Service, id: str, **fields: Any) -> Task:
    return Task(
        id=id,
        service_id=service.id,
        spec=service.spec.task,
        spec_version=service.spec_version,
        service_name=service.spec.name,
        service_labels=service.spec.labels,
        **fields,
    )


@pytest.fixture
def door() -> Door:
    door = Door()
    door.desk.node(SELF, manager=1)
    door.desk.node("n2")
    spec = ServiceSpec("web", TaskSpec(ContainerSpec("nginx")), labels={"stack": "shop"})
    web = door.desk.put(Service(id="s1", spec=spec, spec_version=7))
    job = door.desk.put(Service(id="s2", spec=replace(spec, name="job", labels={})))
    running = {"state": TaskState.RUNNING}
    door.desk.put(task_of(web, "t1", slot=1, node_id=SELF, **running))
    ended = {"state": TaskState.FAILED, "desired_state": TaskState.SHUTDOWN}
    door.desk.put(replace(task_of(web, "t2", slot=1, node_id="n2", **ended), spec_version=6))
    door.desk.put(task_of(job, "t3", node_id="n2", **running))
    return door


def ids(door: Door, filters: Any) -> list[str]:
    return [one["ID"] for one in door.get(f"/tasks?filters={json.dumps(filters)}")]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["t1", "t2", "t3"]),
        ({"service": ["web"]}, ["t1", "t2"]),
        ({"service": ["web", "s2"]}, ["t1", "t2", "t3"]),
        ({"node": [f"host-{SELF}"]}, ["t1"]),
        ({"node": ["n2"], "service": ["web"]}, ["t2"]),
        ({"desired-state": ["running"]}, ["t1", "t3"]),
        ({"desired-state": ["shutdown"]}, ["t2"]),
        ({"label": ["stack=shop"]}, ["t1", "t2"]),
        ({"name": ["web.1"]}, ["t1", "t2"]),
        ({"name": ["job."]}, ["t3"]),
        ({"id": ["t3"]}, ["t3"]),
        ({"service": ["web"], "_up-to-date": ["true"]}, ["t1"]),
        ({"runtime": ["plugin"]}, []),
    ],
)
def test_filters(door: Door, filters: Any, expected: list[str]) -> None:
    assert ids(door, filters) == expected


def test_a_task_is_found_by_its_name_too(door: Door) -> None:
    assert door.get("/tasks/web.1.t1")["ID"] == "t1"
    assert door.told("GET", "/tasks/web.2.t1")[0] == 404


def test_networks_are_shown_as_they_are_now(door: Door) -> None:
    network = door.post("/networks/create", {"Name": "back", "Driver": "overlay"})["Id"]
    task = door.desk.store.task("t1")
    assert task is not None
    attachment = NetworkAttachment(network, ("10.0.0.5/24",))
    door.desk.put(replace(task, networks=(attachment,)))
    (shown,) = door.get("/tasks/t1")["NetworksAttachments"]
    assert shown["Addresses"] == ["10.0.0.5/24"]
    assert shown["Network"]["Spec"]["Name"] == "back"
    door.desk.put(replace(task, networks=(NetworkAttachment("gone"),)))
    assert "NetworksAttachments" not in door.get("/tasks/t1")


def test_an_ingress_network_that_somebody_made_shows_what_was_said(door: Door) -> None:
    task = door.desk.store.task("t1")
    assert task is not None

    def shown(network: Network) -> Any:
        door.desk.put(replace(task, networks=(NetworkAttachment(network.id),)))
        (attached,) = door.get("/tasks/t1")["NetworksAttachments"]
        spec = attached["Network"]["Spec"]
        return spec["DriverConfiguration"], spec.get("IPAMOptions")

    own = next(one for one in door.desk.store.networks() if one.spec.ingress)
    assert shown(own) == ({}, {"Driver": {}})
    plain = door.desk.put(replace(own, spec=replace(own.spec, name="mine")))
    assert shown(plain) == ({"Name": "overlay"}, None)
    made = replace(own, spec=replace(own.spec, ipam=IPAMOptions("default")))
    expected = ({"Name": "overlay"}, {"Driver": {"Name": "default"}})
    assert shown(door.desk.put(made)) == expected


def test_a_program_that_is_not_there_had_a_container(door: Door) -> None:
    task = door.desk.store.task("t2")
    assert task is not None
    door.desk.put(replace(task, exit_code=127, applied_at=1.0))
    shown = door.get("/tasks/t2")["Status"]["ContainerStatus"]
    assert (len(shown["ContainerID"]), shown["PID"], shown["ExitCode"]) == (64, 0, 127)
