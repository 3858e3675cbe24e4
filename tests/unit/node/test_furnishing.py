"""A leader of a large swarm rebuilds its reconcilers a step at a time, and goes on beating."""

from __future__ import annotations

import pytest

from pyswarm.model import service_spec
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
