"""A leader of a large swarm rebuilds its reconcilers a step at a time, and goes on beating."""

from __future__ import annotations

import pytest

from pyswarm.model import NodeState, SwarmSpec, service_spec
from pyswarm.model.requests import CreateService
from pyswarm.node import office
from pyswarm.orchestrator.order import RECONCILERS
from unit.node.bench import Bench


def test_a_new_leader_beats_while_it_rebuilds(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench.formed(3, 1)
    bench.ask("m1", CreateService(service_spec("before", image="web", replicas=3)))
    monkeypatch.setattr(office, "OBJECTS_PER_STEP", 1)
    bench.crash("m1")
    leader = bench.new_leader(besides="m1")
    first = leader.office
    begun = len(first.reconcilers)
    assert 1 <= begun < len(RECONCILERS)
    assert not first.is_idle
    token = bench.send(leader.name, CreateService(service_spec("meanwhile", image="web")))
    while len(first.reconcilers) < len(RECONCILERS):
        begun = len(first.reconcilers)
        assert token not in leader.replies
        assert leader.node.wake_at() <= bench.now, "the next one is due at once"
        bench.tick()
        assert len(first.reconcilers) > begun
    assert bench.answer(leader.name, token)[1] is None
    assert leader.office is first, "nobody stood against it meanwhile"
    assert [type(one) for one in first.reconcilers] == list(RECONCILERS)
    bench.settle()


def test_many_nodes_become_unknown_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry for each part; what waits behind them comes with the last."""
    monkeypatch.setattr(office, "UNSETTLED_PER_TURN", 2)
    bench = Bench.formed(3, 2)
    bench.crash("m1")
    seen = {one.name: len(one.commits) for one in bench.managers()}
    leader = bench.new_leader(besides="m1")
    token = bench.send(leader.name, CreateService(service_spec("waiting", image="web")))
    assert bench.answer(leader.name, token)[1] is None
    commits = leader.commits[seen[leader.name] :]
    parts = [
        {one.id for one in commit.changes if one.because.code == "new-leader"} for commit in commits
    ]
    sizes = [len(part) for part in parts if part]
    assert sizes[:2] == [1, 2]
    assert len(sizes) == 3 and sizes[2] <= 2, "who reports in the last turn is ready in it"
    kinds = [{one.kind for one in commit.changes} for commit in commits]
    assert "service" not in kinds[0] and "service" not in kinds[1]


def test_no_heartbeat_period_is_the_default_one() -> None:
    bench = Bench.formed(1, spec=SwarmSpec(heartbeat_period=0.0))
    bench.wait(30.0)
    assert [node.state for node in bench["m1"].store.nodes()] == [NodeState.READY]
