"""Nodes that constraints cannot tell apart are asked once, and named ones looked up directly."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.model.objects import Node, Task
from pyswarm.model.replace import replace
from pyswarm.model.specs import NodeSpec, Placement, TaskSpec
from pyswarm.model.states import TaskState
from pyswarm.scheduler import NodeInfo, Scheduler, parse_plan
from pyswarm.scheduler.shape import Shape


def fleet(number: int, values: int) -> tuple[Node, ...]:
    listed = [
        {"name": f"n{n}", "labels": {"rack": str(n % values)}, "addr": f"10.0.{n >> 8}.{n & 255}"}
        for n in range(number)
    ]
    return parse_plan({"nodes": listed}).nodes


def task(id: str, *constraints: str) -> Task:
    spec = TaskSpec(placement=Placement(constraints=constraints))
    return Task(id, id, spec, spec_version=1, slot=1, state=TaskState.PENDING)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The nodes that filters were asked about, by name."""
    seen: list[str] = []
    judge, named = Shape._judge, Shape.named

    def spy_judge(shape: Shape, node: Node) -> int:
        seen.append(node.hostname)
        return judge(shape, node)

    def spy_named(shape: Shape, info: NodeInfo) -> bool:
        seen.append(info.name)
        return named(shape, info)

    monkeypatch.setattr(Shape, "_judge", spy_judge)
    monkeypatch.setattr(Shape, "named", spy_named)
    return seen


@pytest.mark.parametrize(
    ("constraint", "node", "looked_at"),
    [
        ("node.labels.rack==2", "n2", 3),  # a node of each class
        ("node.hostname==N7", "n7", 2),  # the node, and its class
        ("node.id==n7", "n7", 2),
        ("node.ip==10.0.1.1", "n257", 2),
    ],
)
def test_how_many_nodes_a_new_constraint_looks_at(
    constraint: str, node: str, looked_at: int, asked: list[str]
) -> None:
    scheduler = Scheduler()
    for made in fleet(900, 3):
        scheduler.upsert_node(made)
    scheduler.upsert_task(task("t1", constraint))
    (decision,) = scheduler.schedule(1.0)
    assert decision.new.node_id == node
    assert len(asked) <= looked_at
    asked.clear()
    for number in range(100):
        scheduler.upsert_task(task(f"more-{number}", constraint))
    assert all(decision.placed for decision in scheduler.schedule(1.0))
    assert asked == []


def test_classes_that_no_node_is_of_are_forgotten() -> None:
    """A label that changes every minute must not fill the memory."""
    scheduler = Scheduler()
    (node, *others) = fleet(8, 1)
    for made in others:
        scheduler.upsert_node(made)
    shape: Any = None
    for at in range(3000):
        spec = NodeSpec(labels={"rack": "0", "minute": str(at)})
        scheduler.upsert_node(replace(node, spec=spec))
        scheduler.upsert_task(task(f"t{at}", "node.labels.rack==0"))
        (decision,) = scheduler.schedule(1.0)
        assert decision.placed
        shape = shape or next(s for s in scheduler.pools if s.constraints)
    assert len(scheduler.classes) == len(scheduler.members) == 2
    assert len(shape.classes) < 1100
    scheduler.remove_node(node.id)
    assert len(scheduler.classes) == 1
