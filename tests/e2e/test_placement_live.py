"""Placement in a swarm that runs: refusals, explanations, and what would happen."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pyswarm import (
    AddService,
    Blocked,
    Drain,
    InvalidArgument,
    LocalSwarm,
    Lose,
    NotFound,
    Role,
    Scale,
    ServiceSpec,
)
from pyswarm.model import Replicated, service_spec
from pyswarm.scheduler import NodeInfo, TaskGroup
from pyswarm.testing.placement import assert_pending, assert_placed
from swarms import WAIT_S, executor, one_node


@asynccontextmanager
async def racks() -> AsyncIterator[Any]:
    """A manager without a rack, and three racks of one worker each."""
    async with LocalSwarm(managers=1, workers=3, executor=lambda name: executor()) as swarm:
        cluster = swarm.managers[0]
        for number in (1, 2, 3):
            node = await cluster.nodes.get(swarm.workers[number - 1].node.id)
            await node.label(rack=str(number))
        yield cluster


def spec(name: str, replicas: int = 1, **options: Any) -> ServiceSpec:
    made = service_spec(name, image="sleeper", **options)
    from attrs import evolve

    return evolve(made, mode=Replicated(replicas))


async def test_a_malformed_constraint_is_refused_and_shown() -> None:
    async with one_node() as cluster:
        with pytest.raises(InvalidArgument) as caught:
            await cluster.services.create("web", image="sleeper", constraints=["node.role=worker"])
        assert str(caught.value) == "constraint expected one operator from ==, !="
        assert caught.value.details == {"constraint": "node.role=worker", "at": 9}
        shown = "".join(traceback.format_exception(caught.value))
        assert "  node.role=worker\n           ^\n" in shown
        assert await cluster.services.list() == []
        web = await cluster.services.create("web", image="sleeper")
        with pytest.raises(InvalidArgument, match="key 'x y' is invalid"):
            await web.update(constraints=["x y==1"])


async def test_a_rack_is_lost_only_in_thought() -> None:
    async with racks() as cluster:
        spread = ["spread=node.labels.rack"]
        constraints = ["node.role==worker"]
        web = await cluster.services.create(
            "web", image="sleeper", replicas=3, constraints=constraints, preferences=spread
        )
        await web.wait_converged(timeout=WAIT_S)
        lost = await cluster.plan(Lose(where="node.labels.rack == 3"))
        assert len(lost.stopped) == 1 and not lost.unmet
        assert lost.placement.by_label("web", "rack")["3"] == 0
        assert_placed(lost, "web", 3, on={"rack": ["1", "2"]})
        drained = await cluster.plan(Drain(where=["node.role==worker", "node.labels.rack!=3"]))
        assert_placed(drained, "web", 3, on={"rack": "3"})
        assert str(drained.placement).splitlines()[0].split() == ["SERVICE", "NODE", "TASKS"]
        added = await cluster.plan(AddService(spec("db", 2, constraints=["node.labels.rack==9"])))
        assert_pending(added, "db", 2, because="scheduling constraints not satisfied on 4 nodes")
        with pytest.raises(NotFound, match="no node is meant"):
            await cluster.plan(Lose(where="node.labels.rack==9"))
        with pytest.raises(InvalidArgument, match="expected one operator"):
            await cluster.plan(Lose(where="node.labels.rack=9"))
        assert [node.state.name for node in await cluster.nodes.list()] == ["READY"] * 4


async def test_why_a_placed_task_is_where_it_is() -> None:
    async with racks() as cluster:
        web = await cluster.services.create(
            "web", image="sleeper", replicas=4, constraints=["node.role==worker"]
        )
        await web.wait_converged(timeout=WAIT_S)
        for explained in await cluster.explain("web"):
            ranking = explained.ranking
            assert len(ranking) == 3 and not explained.rejections
            keys = [(one.service_tasks, one.tasks) for one in ranking]
            assert keys == sorted(keys)
            assert [one.node for one in ranking if one.chosen] == [explained.node]


class WorkersOnly:
    """Managers run nothing."""

    name = "workers only"

    def check(self, node: NodeInfo, group: TaskGroup) -> bool:
        return node.node.role is Role.WORKER

    def explain(self, nodes: int) -> str:
        return f"manages on {nodes} nodes"

    def missing(self, node: NodeInfo, group: TaskGroup) -> str:
        return f"{node.name} is a manager"


async def test_managers_place_by_a_strategy_and_filters_of_ones_own() -> None:
    """Whoever asks (a what-if, an explanation, an outcome) is answered by the same ones."""
    async with LocalSwarm(
        managers=1,
        workers=2,
        executor=lambda name: executor(),
        strategy="binpack",
        filters=[WorkersOnly()],
    ) as swarm:
        cluster = swarm.managers[0]
        web = await cluster.services.create("web", image="sleeper", replicas=3)
        await web.wait_converged(timeout=WAIT_S)
        (packed,) = {task.node_id for task in await cluster.tasks.list(service=web.id)}
        assert packed in {worker.node_id for worker in swarm.workers}
        more = await cluster.plan(Scale("web", 5))
        assert {one.task.node_id for one in more.placement.assignments} == {packed}
        nowhere = await cluster.plan(Drain(*(worker.node_id for worker in swarm.workers)))
        (why,) = {task.reason for task in nowhere.unmet}
        assert "manages on 1 nodes" in why
        for worker in swarm.workers:
            await (await cluster.nodes.get(worker.node_id)).drain()
        outcome = await web.wait_converged(timeout=WAIT_S)
        assert isinstance(outcome, Blocked) and "manages on 1 nodes" in outcome.reason
        (rejected,) = outcome.explanations[0].rejections["workers only"]
        assert rejected.missing == "node-1 is a manager"
