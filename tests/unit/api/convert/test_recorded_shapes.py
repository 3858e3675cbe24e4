"""Every recorded object, read into the model and rendered again, is the JSON that was recorded.

Keys, their order, values and what is absent are compared; times to the microsecond, since cluster
time has no nanoseconds.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from pyswarm.api.asks import Live
from pyswarm.api.convert import (
    show_config,
    show_network,
    show_node,
    show_secret,
    show_service,
    show_service_status,
    show_service_with_defaults,
)
from pyswarm.api.tasks import rendered as rendered_task
from pyswarm.store import Store
from unit.api import golden_objects as made

_time = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z")


def in_microseconds(value: Any) -> Any:
    """Recorded times without what is finer than a microsecond."""

    def cut(match: re.Match[str]) -> str:
        digits = (match[2] or "")[:6].rstrip("0")
        return f"{match[1]}.{digits}Z" if digits else f"{match[1]}Z"

    return json.loads(_time.sub(cut, json.dumps(value)))


def text(value: Any) -> str:
    """With the order of keys."""
    return json.dumps(value, indent=1)


def files(*patterns: str) -> list[str]:
    return sorted(path.stem for one in patterns for path in made.API.glob(f"{one}.json"))


def each(name: str) -> list[Any]:
    data = made.recorded(name)
    found = data if isinstance(data, list) else [data]
    assert all("message" not in one for one in found), "a recorded refusal"
    return found


@pytest.mark.parametrize("name", files("service*", "update_*", "autoport_services"))
def test_services(name: str) -> None:
    for data in each(name):
        service = made.service(data)
        show = show_service
        if name in ("service_full_insertDefaults", "service_rjob_done"):
            show = show_service_with_defaults
        expected = in_microseconds(data)
        expected.pop("ServiceStatus", None)
        shown = show(service)
        if name == "service_rjob_done":  # our updates are watched for 30 s where nothing is said
            shown["Spec"]["UpdateConfig"]["Monitor"] = 5_000_000_000
        assert text(shown) == text(expected)


@pytest.mark.parametrize("name", files("task*"))
def test_tasks(name: str) -> None:
    for data in each(name):
        networks = [made.attached(one["Network"]) for one in data.get("NetworksAttachments", ())]
        store = Store()
        store.add_restored("network", networks)
        shown = json.loads(rendered_task(made.task(data), store, Live("")))
        assert text(shown) == text(in_microseconds(data))


@pytest.mark.parametrize("name", files("node*"))
def test_nodes(name: str) -> None:
    for data in each(name):
        manager = data.get("ManagerStatus", {})
        shown = show_node(
            made.node(data), manager.get("Leader", False), manager.get("Reachability", "")
        )
        assert text(shown) == text(in_microseconds(data))


@pytest.mark.parametrize("name", files("secret*"))
def test_secrets(name: str) -> None:
    for data in each(name):
        assert text(show_secret(made.secret(data))) == text(in_microseconds(data))


@pytest.mark.parametrize("name", files("config*"))
def test_configs(name: str) -> None:
    for data in each(name):
        payload = made.b64decode(data["Spec"].get("Data", ""))
        assert text(show_config(made.config(data), payload)) == text(in_microseconds(data))


@pytest.mark.parametrize("name", files("networks_leader", "pool_*_networks"))
def test_networks(name: str) -> None:
    for data in each(name):
        if data["Scope"] != "swarm":
            continue
        if not data["IPAM"]["Config"] and data["Driver"] != "bridge":
            continue  # never addressed there; here such a network is refused
        assert text(show_network(made.network(data), (1, 41))) == text(in_microseconds(data))


def test_tasks_are_counted_as_recorded() -> None:
    tasks: dict[str, list[Any]] = {}
    for data in each("tasks_all"):
        tasks.setdefault(data["ServiceID"], []).append(made.task(data))
    counted = each("services_status")
    assert sum(data["ID"] in tasks for data in counted) > 20
    for data in counted:
        shown = show_service_status(made.service(data), tasks.get(data["ID"], ()))
        assert text(shown) == text(data["ServiceStatus"]), data["Spec"]["Name"]
