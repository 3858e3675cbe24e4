"""Plans as people use them: explained, shown, with strategies and filters of their own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from pyswarm.errors import InvalidArgument, NotFound
from pyswarm.model import service_spec
from pyswarm.scheduler import (
    Explainer,
    NodeInfo,
    Scheduler,
    TaskGroup,
    explain,
    parse_plan,
    plan,
)

NODES = [
    {"name": "node-1", "cpus": 4, "availability": "drain"},
    {"name": "node-2", "cpus": 4, "role": "manager"},
    {"name": "node-3", "cpus": 4},
]


def made(*services: dict[str, Any], **more: Any) -> Any:
    return parse_plan({"nodes": NODES, "services": list(services), **more}).run()


def test_says_what_each_node_is_missing() -> None:
    existing = [{"service": "old", "node": "node-3", "reserve_cpu": 3.5}]
    answer = made(
        {"name": "web", "reserve_cpu": 2.0, "constraints": ["node.role==worker"]}, existing=existing
    )
    (pending,) = answer.pending
    assert (pending.service, pending.slot) == ("web", 1)
    assert pending.reason == (
        "no suitable node (1 node not available for new tasks; insufficient resources on 1 node; "
        "scheduling constraints not satisfied on 1 node)"
    )
    shown = {name: [(r.node, r.missing) for r in nodes] for name, nodes in
             pending.rejections.items()}  # fmt: skip
    assert shown == {
        "ready": [("node-1", "node-1 has availability drain")],
        "resources": [("node-3", "needs 2.0 CPUs, node-3 has 0.5 free of 4.0")],
        "constraints": [("node-2", "needs node.role==worker, node-2 has 'MANAGER'")],
    }
    assert "needs 2.0 CPUs, node-3 has 0.5 free of 4.0" in answer.explain("web")


def test_rejections_tell_what_else_would_fail() -> None:
    answer = made({"name": "web", "reserve_cpu": 9, "constraints": ["node.labels.x==y"]})
    rejections = answer.pending[0].rejections
    assert list(rejections) == ["ready", "resources"]
    assert rejections["ready"][0].also == ("resources", "constraints")


def test_shows_itself_as_a_table() -> None:
    answer = made({"name": "web", "replicas": 3}, {"name": "db", "reserve_cpu": 8})
    assert str(answer) == (
        "SERVICE  NODE       TASKS\n"
        "web      node-2     2\n"
        "web      node-3     1\n"
        "db       (pending)  1  no suitable node "
        "(insufficient resources on 2 nodes; 1 node not available for new tasks)"
    )
    assert repr(answer) == "<Plan: 3 assigned, 1 pending>"


def test_a_long_table_is_cut() -> None:
    nodes = [{"name": f"n{number}"} for number in range(150)]
    text = str(parse_plan({"nodes": nodes, "services": [{"name": "a", "mode": "global"}]}).run())
    assert text.endswith("… and 50 more rows")
    assert len(text.splitlines()) == 102


def test_a_global_task_whose_node_is_full_says_so_without_the_wrapper() -> None:
    answer = made({"name": "agent", "mode": "global", "reserve_cpu": 5})
    assert [p.reason for p in answer.pending] == ["insufficient resources on 1 node"] * 2
    assert list(answer.pending[0].rejections) == ["resources"]
    assert [r.node for r in answer.pending[0].rejections["resources"]] == ["node-2"]


def test_why_a_placed_task_is_where_it_is() -> None:
    document = {"nodes": NODES, "services": [{"name": "web", "replicas": 3}]}
    data = parse_plan(document)
    scheduler = Scheduler()
    for node in data.nodes:
        scheduler.upsert_node(node)
    for assignment in data.run().assignments:
        scheduler.upsert_task(assignment.task)
    explained = explain(scheduler, data.run().assignments[2].task)
    assert explained.node == "node-2" and explained.reason == "" and not explained.rejections
    shown = [(c.node, c.service_tasks, c.tasks, c.chosen) for c in explained.ranking]
    assert shown == [("node-2", 1, 1, True), ("node-3", 1, 1, False)]
    assert "* 1. node-2: 1 tasks of the service, 1 in all" in str(explained)


def test_the_ranking_is_of_the_best_five_and_the_node_itself() -> None:
    nodes = [{"name": f"n{number}"} for number in range(9)]
    existing = [{"service": "web", "node": "n8", "count": 3}]
    made = parse_plan({"nodes": nodes, "existing": existing, "services": []}).run()
    task = next(iter(made.scheduler.tasks.values()))
    explained = explain(made.scheduler, task)
    shown = [(c.place, c.node, c.service_tasks, c.chosen) for c in explained.ranking]
    assert shown == [*((n + 1, f"n{n}", 0, False) for n in range(5)), (9, "n8", 2, True)]
    assert explained.node == "n8" and not explained.rejections
    assert str(explained).splitlines()[-1] == "* 9. n8: 2 tasks of the service, 2 in all"


def test_the_ranking_under_preferences_counts_branches_without_the_task() -> None:
    nodes = [{"name": f"n{n}", "labels": {"rack": str(n % 2)}} for n in range(4)]
    service = {"name": "web", "replicas": 6, "preferences": ["spread=node.labels.rack"]}
    made = parse_plan({"nodes": nodes, "services": [service]}).run()
    assert made.counts("web") == {"n0": 2, "n1": 2, "n2": 1, "n3": 1}
    explainer = Explainer(made.scheduler)
    by_node = {a.node: explainer.explain(a.task) for a in made.assignments}
    shown = [(c.node, c.branches, c.tasks, c.chosen) for c in by_node["n1"].ranking]
    assert shown == [
        ("n1", (("1", 2),), 1, True),
        ("n3", (("1", 2),), 1, False),
        ("n2", (("0", 3),), 1, False),
        ("n0", (("0", 3),), 2, False),
    ]
    assert [c.node for c in by_node["n2"].ranking] == ["n2", "n0", "n3", "n1"]
    assert [c.place for c in by_node["n2"].ranking] == [1, 2, 3, 4]


class Last:
    """The node known for the shortest time."""

    name = "last"
    by_shape = True

    def score(self, node: NodeInfo, group: TaskGroup) -> tuple[float, ...]:
        return (-node.index,)


class EvenNames:
    """Nodes with an even number."""

    name = "even"

    def check(self, node: NodeInfo, group: TaskGroup) -> bool:
        return int(node.name[-1]) % 2 == 0

    def explain(self, nodes: int) -> str:
        return f"odd name on {nodes} nodes"

    def missing(self, node: NodeInfo, group: TaskGroup) -> str:
        return f"{node.name} is odd"


def test_a_strategy_of_ones_own() -> None:
    data = parse_plan({"nodes": NODES, "services": [{"name": "web", "replicas": 2}]})
    answer = plan(data.nodes, data.services, strategy=Last())
    assert answer.counts("web") == {"node-1": 0, "node-2": 0, "node-3": 2}


def test_a_filter_of_ones_own() -> None:
    data = parse_plan({"nodes": NODES, "services": [{"name": "web", "replicas": 2}]})
    answer = plan(data.nodes, data.services, filters=[EvenNames()])
    assert answer.counts("web") == {"node-1": 0, "node-2": 2, "node-3": 0}
    odd = [node for node in data.nodes if node.id != "node-2"]
    answer = plan(odd, data.services, filters=[EvenNames()])
    assert answer.pending[0].reason == (
        "no suitable node (1 node not available for new tasks; odd name on 1 nodes)"
    )
    assert answer.pending[0].rejections["even"][0].missing == "node-3 is odd"


def test_preferences_come_before_a_strategy() -> None:
    nodes = [{"name": f"n{n}", "labels": {"rack": str(n // 2)}, "cpus": 8} for n in range(4)]
    service = {"name": "web", "replicas": 6, "reserve_cpu": 1, "preferences":
               ["spread=node.labels.rack"]}  # fmt: skip
    document = {"nodes": nodes, "services": [service], "strategy": "binpack"}
    assert parse_plan(document).run().counts("web") == {"n0": 3, "n1": 0, "n2": 3, "n3": 0}


def test_what_is_refused() -> None:
    data = parse_plan({"nodes": NODES, "services": [{"name": "web"}]})
    with pytest.raises(InvalidArgument, match="node node-1 is there twice"):
        plan([*data.nodes, data.nodes[0]], [])
    with pytest.raises(InvalidArgument, match="service web is there twice"):
        plan([], [*data.services, *data.services])
    with pytest.raises(NotFound, match="service nope is not in the plan"):
        data.run().counts("nope")


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, pyswarm.scheduler; "
        "print([m for m in ('trio', 'cryptography', 'jinja2', 'cattrs', 'yaml') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_who_asks_for_less_than_nothing_gives_nothing() -> None:
    """Docker takes such a service; its tasks must not add to what a node has."""
    services = [
        service_spec("giver", image="x", replicas=3, generic={"gpu": -5}),
        service_spec("taker", image="x", replicas=2, generic={"gpu": 1}),
    ]
    nodes = parse_plan({"nodes": [{"name": "one", "generic": {"gpu": 1}}], "services": []}).nodes
    answer = plan(nodes, services)
    assert (answer.counts("giver"), answer.counts("taker")) == ({"one": 3}, {"one": 1})
