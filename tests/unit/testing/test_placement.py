"""Fleets and assertions about placement: what they let pass, and what their failures tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyswarm.errors import InvalidArgument, NotFound
from pyswarm.scheduler import BinPack
from pyswarm.testing.placement import (
    Fleet,
    assert_pending,
    assert_placed,
    assert_spread,
    document,
    node,
    nodes,
    plan_of,
    service,
)


def racks(**more: Any) -> Fleet:
    """Three racks of two nodes with four CPUs, and six tasks of one CPU spread over them."""
    made = [n for rack in (1, 2, 3) for n in nodes(2, f"r{rack}", cpus=4, labels={"rack": rack})]
    return Fleet(made, [service("web", replicas=6, reserve_cpu=1, **more)])


SPREAD = ["spread=node.labels.rack"]


def refused(call: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        call(*args, **options)
    return str(caught.value)


def test_builders_take_the_keys_of_a_plan_file() -> None:
    one = node("a", cpus=2.5, memory="1g", labels={"rack": 3}, availability="drain")
    assert one.hostname == "a" and dict(one.spec.labels) == {"rack": "3"}
    assert [n.hostname for n in nodes(2, "edge")] == ["edge-1", "edge-2"]
    assert service("web", mode="global").name == "web"
    with pytest.raises(InvalidArgument, match=r"node 'a': nodes\[0\]: unknown field 'cpu'"):
        node("a", cpu=1)
    with pytest.raises(InvalidArgument, match=r"service 'web'.*constraint expected one operator"):
        service("web", constraints=["node.role=worker"])


def test_what_passes() -> None:
    fleet = racks(preferences=SPREAD)
    assert_placed(fleet, "web")
    assert_placed(fleet.plan, "web", 6)
    assert_placed(fleet, "web", 2, on={"rack": 3})
    assert_placed(fleet, "web", 4, on={"rack": [1, 2]})
    assert_placed(fleet, "web", 1, on="r1-1")
    assert_placed(fleet, "web", on=[n.hostname for n in fleet.nodes])
    assert_spread(fleet, "web", over="rack")
    assert_spread(fleet, "web")
    assert_placed(racks(constraints=["node.labels.rack==3"]), "web", on={"rack": 3})


def test_a_failure_tells_what_waits_and_shows_the_plan() -> None:
    fleet = racks(constraints=["node.labels.rack==3"]).scale("web", 9)
    told = refused(assert_placed, fleet, "web")
    assert told.startswith("web: expected all placed, 8 are and 1 wait\n")
    assert "scheduling constraints not satisfied on 4 nodes; insufficient resources on 2" in told
    assert "needs 1.0 CPUs, r3-1 has 0.0 free of 4.0" in told
    assert "SERVICE  NODE       TASKS\nweb      r3-1       4\n" in told
    assert "expected 5 to wait, 1 do" in refused(assert_pending, fleet, "web", 5)
    told = refused(assert_pending, fleet, "web", because="missing plugin")
    assert told.startswith("web: expected them to wait because of 'missing plugin'")
    assert_pending(fleet, "web", 1, because="insufficient resources")
    assert_pending(fleet, "web")


def test_a_failure_tells_why_not_there() -> None:
    fleet = racks(constraints=["node.labels.rack!=2"]).drain("r3-1")
    told = refused(assert_placed, fleet, "web", on={"rack": [2, 3]})
    assert told.startswith("web: expected all on rack=[2, 3], found 2 of 6, and 0 wait")
    assert "needs node.labels.rack!=2, r2-1 has '2'" in told
    assert "ready: r3-1 has availability drain" in told
    assert "r3-2 could take one; it has 2 tasks" in told
    assert "expected 6 on r1-1, found 2 of 6" in refused(assert_placed, fleet, "web", 6, on="r1-1")


def test_a_failure_of_spread_tells_the_numbers() -> None:
    fleet = Fleet([*nodes(3, "a", labels={"zone": "a"}), node("b", labels={"zone": "b"})])
    fleet = fleet.deploy(service("web", replicas=8))
    told = refused(assert_spread, fleet, "web", over="zone")
    assert "expected to be even over zone (within 1), found a: 6, b: 2" in told
    assert_spread(fleet, "web", over="zone", within=4)
    assert "expected tasks, found none" in refused(assert_spread, fleet.scale("web", 0), "web")
    assert "expected all placed, 0 are" in refused(assert_placed, fleet.scale("web", 0), "web")
    uneven = Fleet(nodes(2), [service("web", replicas=4)], strategy=BinPack())
    assert "even over nodes" in refused(assert_spread, uneven, "web")


def test_nodes_that_cannot_have_tasks_do_not_count_for_spread() -> None:
    fleet = racks(preferences=SPREAD).settled().lose(rack=1)
    assert fleet.plan.by_label("web", "rack") == {"1": 0, "2": 3, "3": 3}
    assert_spread(fleet, "web", over="rack")


def test_what_is_lost_moves_and_what_comes_back_gets_nothing() -> None:
    before = racks(preferences=SPREAD).settled()
    assert before.plan.pending == () and before.plan.assignments == ()
    after = before.lose(rack=1)
    assert {a.node[:2] for a in after.plan.assignments} == {"r2", "r3"}
    assert_placed(after, "web", 6, on={"rack": [2, 3]})
    back = after.settled().restore(rack=1)
    assert back.plan.by_label("web", "rack") == {"1": 0, "2": 3, "3": 3}  # nothing rebalances
    assert back.scale("web", 9).plan.by_label("web", "rack") == {"1": 3, "2": 3, "3": 3}


def test_pause_keeps_and_drain_moves() -> None:
    fleet = Fleet(nodes(2), [service("web", replicas=4)]).settled()
    assert fleet.pause("node-1").plan.counts("web") == {"node-1": 2, "node-2": 2}
    assert fleet.pause("node-1").scale("web", 6).plan.counts("web") == {"node-1": 2, "node-2": 4}
    assert fleet.drain("node-1").plan.counts("web") == {"node-1": 0, "node-2": 4}
    joined = fleet.add(node("node-3"))
    assert joined.plan.counts("web")["node-3"] == 0
    assert joined.scale("web", 6).plan.counts("web")["node-3"] == 2


def test_capacity() -> None:
    fleet = racks()
    assert fleet.capacity("web") == 24
    assert fleet.settled().capacity("web") == 24
    assert fleet.capacity("web", limit=10) == 10
    few = fleet.scale("web", 1).deploy(service("db", replicas=2, reserve_cpu=4))
    assert few.capacity("web") == 16


def test_what_waits_is_not_there_and_is_asked_for_again() -> None:
    fleet = racks().scale("web", 30).settled()
    assert len(fleet.existing) == 24
    assert_pending(fleet, "web", 6)
    assert_placed(fleet.add(node("new", cpus=8)), "web", 30)


def test_network_drivers_and_documents() -> None:
    made = [node("a", plugins=["Network/weave"]), node("b", plugins=["Network/other"])]
    fleet = Fleet(made, [service("web", replicas=2, network_drivers=["weave"])])
    assert_placed(fleet, "web", on="a")
    data = {"nodes": [{"name": "a", "cpus": 1}, {"name": "b", "cpus": 1}], "strategy": "binpack",
            "existing": [{"service": "db", "node": "a", "reserve_cpu": 0.5}],
            "services": [{"name": "web", "reserve_cpu": 0.5}]}  # fmt: skip
    assert_placed(document(data), "web", on="a")


def test_what_is_refused() -> None:
    fleet = racks()
    for call in (
        lambda: assert_placed(fleet, "nope"),
        lambda: assert_pending(fleet, "nope"),
        lambda: assert_placed(fleet, "web", on={"rack": 9}),
        lambda: assert_placed(fleet, "web", on="nope"),
        lambda: fleet.lose("nope"),
        lambda: fleet.lose(shelf=1),
        lambda: fleet.scale("nope", 1),
    ):
        with pytest.raises(NotFound):
            call()
    with pytest.raises(InvalidArgument, match="which nodes"):
        fleet.drain()
    with pytest.raises(InvalidArgument, match="neither a plan nor a fleet: str"):
        plan_of("web")


def test_under_pytest_nothing_is_imported(tmp_path: Path) -> None:
    """The plugin is found by its entry point; a failing test prints the explanation."""
    (tmp_path / "test_it.py").write_text(
        "def test_fits(placement, assert_placed, assert_pending, assert_spread):\n"
        "    fleet = placement.fleet(placement.nodes(2, cpus=1, labels={'rack': 3}),\n"
        "                            [placement.service('web', replicas=3, reserve_cpu=1)])\n"
        "    assert_pending(fleet, 'web', 1)\n"
        "    assert_spread(fleet.plan, 'web')\n"
        "    assert_placed(fleet, 'web', on={'rack': 3})\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--no-header", "-q", "."]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "AssertionError: web: expected all on rack=3, found 2 of 2, and 1 wait" in done.stdout
    assert "needs 1.0 CPUs, node-1 has 0.0 free of 1.0" in done.stdout
    assert "def _fail" not in done.stdout  # it points at the test, not into the kit
