"""``/nodes``: list, filters, inspect, update, remove."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyswarm.model import NodeDescription, NodeState, Role, replace
from pyswarm.model.requests import LeaveNode
from unit.api.door import SELF, Door


@pytest.fixture
def door() -> Door:
    door = Door()
    door.desk.node(SELF, manager=1)
    node = door.desk.node("n2", NodeState.DOWN)
    labelled = NodeDescription(hostname="worker-2", engine_labels={"disk": "ssd"})
    door.desk.put(replace(node, description=labelled))
    door.reachability = {SELF: "reachable"}
    return door


def ids(door: Door, filters: Any) -> list[str]:
    return [one["ID"] for one in door.get(f"/nodes?filters={json.dumps(filters)}")]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [SELF, "n2"]),
        ({"role": ["manager"]}, [SELF]),
        ({"role": ["worker"]}, ["n2"]),
        ({"role": {"worker": True, "manager": True}}, [SELF, "n2"]),
        ({"membership": ["pending"]}, []),
        ({"name": ["worker"]}, ["n2"]),
        ({"label": ["disk=ssd"]}, ["n2"]),
        ({"node.label": ["zone"]}, []),
        ({"id": ["n"]}, ["n2"]),
    ],
)
def test_filters(door: Door, filters: Any, expected: list[str]) -> None:
    assert ids(door, filters) == expected


def test_who_leads_and_can_be_reached_is_shown(door: Door) -> None:
    shown = door.get(f"/nodes/{SELF}")
    assert shown["ManagerStatus"] == {
        "Leader": True,
        "Reachability": "reachable",
        "Addr": f"{SELF}:2377",
    }
    door.reachability = {SELF: "unreachable"}
    assert door.get(f"/nodes/{SELF}")["ManagerStatus"]["Reachability"] == "unreachable"
    assert "ManagerStatus" not in door.get("/nodes/worker-2")


def test_a_manager_that_left_is_one_that_nobody_can_reach_until_it_is_demoted(door: Door) -> None:
    """Though its seat is given up: as Docker shows it."""
    door.desk.node("n3", manager=2)
    door.desk.ask(LeaveNode("n3", True))
    node = door.desk.put(
        replace(door.desk.store.node("n3"), role=Role.WORKER, manager=None, addr="10.0.0.3:2377")
    )
    shown = door.get("/nodes/n3")
    assert shown["ManagerStatus"] == {"Reachability": "unreachable", "Addr": "10.0.0.3:2377"}
    assert (shown["Spec"]["Role"], shown["Status"]["State"]) == ("manager", "down")
    assert ids(door, {"role": ["manager"]}) == [SELF, "n3"]
    status, text = door.told("DELETE", "/nodes/n3?force=1")
    assert status == 400
    assert text.endswith("It must be demoted to worker before removal")
    path, spec = f"/v1.41/nodes/n3/update?version={node.version}", shown["Spec"]
    assert door.request("POST", path, {**spec, "Role": "worker"}).status == 200
    shown = door.get("/nodes/n3")
    assert "ManagerStatus" not in shown
    assert shown["Spec"]["Role"] == "worker"
    assert door.request("DELETE", "/v1.41/nodes/n3").status == 200


def test_an_update_sets_labels_availability_and_name(door: Door) -> None:
    version = door.get("/nodes/n2")["Version"]["Index"]
    spec = {"Name": "two", "Labels": {"zone": "a"}, "Role": "worker", "Availability": "Drain"}
    answer = door.request("POST", f"/v1.41/nodes/n2/update?version={version}", spec)
    assert (answer.status, answer.body) == (200, b"")
    assert door.get("/nodes/n2")["Spec"] == {**spec, "Availability": "drain"}
    assert ids(door, {"node.label": ["zone=a"]}) == ["n2"]


def test_remove_takes_force_in_any_form(door: Door) -> None:
    door.desk.node("n3")
    assert door.told("DELETE", "/nodes/n3")[0] == 400
    assert door.request("DELETE", "/v1.41/nodes/n3?force=1").status == 200
    assert door.request("DELETE", "/v1.41/nodes/n2").status == 200
    assert ids(door, {}) == [SELF]


@pytest.mark.parametrize(
    ("addr", "shown"),
    [
        ("10.0.0.1:2377", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("[fe80::1]:2377", "fe80::1"),
        ("fe80::1", "fe80::1"),
        ("manager.example:2377", "manager.example"),
    ],
)
def test_a_nodes_address_has_no_port(door: Door, addr: str, shown: str) -> None:
    node = door.desk.store.node("n2")
    assert node is not None
    door.desk.put(replace(node, addr=addr))
    assert door.get("/nodes/n2")["Status"]["Addr"] == shown
