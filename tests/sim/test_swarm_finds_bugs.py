"""A simulation that cannot fail proves nothing: bugs put into the swarm on purpose are reported."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.agent import Operation
from pyswarm.model import NodeState, TaskState, replace
from pyswarm.node import nodes
from pyswarm.orchestrator.place import Placer
from pyswarm.orchestrator.restart import Restarts
from pyswarm.sim import Faults, Simulation, Violation, simulation
from pyswarm.sim.executor import ExecutorFaults, SimulatedExecutor
from pyswarm.sim.world import Host, World
from pyswarm.store import Store


def invariants(violations: Any) -> set[str]:
    return {one.invariant for one in violations}


def test_a_swarm_that_does_not_converge_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An executor that never gets anything running."""
    outcome = SimulatedExecutor._outcome

    def slow(self: SimulatedExecutor, now: float, effect: Any) -> Any:
        delay, result, error = outcome(self, now, effect)
        return (1e6 if effect.operation is Operation.START else delay), result, error

    monkeypatch.setattr(SimulatedExecutor, "_outcome", slow)
    monkeypatch.setattr(simulation, "CONVERGE_MAX_S", 20.0)
    history = Simulation(1, faults=Faults.none()).run(30.0)
    [violation] = [one for one in history.violations if one.invariant == "convergence"]
    assert "is starting" in violation.message


def test_a_node_that_stays_away_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "CONVERGE_MAX_S", 20.0)
    one = Simulation(2, faults=Faults.none())
    assert one.form()
    one.suffer(5.0)
    one.heal()
    one.world.crash(one.world.hosts["node-5"])
    one.world.run(20.0)
    one.converge()
    assert any("node-5 has no session" in str(v) for v in one.violations)


def test_a_swarm_that_does_not_form_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "FORM_MAX_S", 3.0)
    monkeypatch.setattr(World, "join", lambda self, host, role, via, done=None: None)
    history = Simulation(1).run(5.0)
    assert invariants(history.violations) == {"forming"}


def test_a_failing_turn_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def reconcile(self: Restarts, tx: Any, changed: Any, now: float, rng: Any) -> None:
        if any(c.kind == "task" and c.new and c.new.state is TaskState.RUNNING for c in changed):
            raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(Restarts, "reconcile", reconcile)
    monkeypatch.setattr(simulation, "CONVERGE_MAX_S", 5.0)
    history = Simulation(1, faults=Faults.none()).run(20.0)
    assert any("on purpose" in str(one) for one in history.violations)


def test_a_task_that_goes_back_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    record = nodes.record_status

    def careless(tx: Any, task: Any, status: Any, applied_by: str) -> None:
        if task.state is TaskState.RUNNING and status.state > TaskState.RUNNING:
            tx.update(replace(task, state=TaskState.STARTING), nodes.Because("status"))
        else:
            record(tx, task, status, applied_by)

    monkeypatch.setattr(nodes, "record_status", careless)
    monkeypatch.setattr(simulation, "CONVERGE_MAX_S", 5.0)
    found: set[str] = set()
    for seed in range(3):
        found |= invariants(Simulation(seed, faults=lively()).run(30.0).violations)
    assert "states only grow" in found


def lively() -> Faults:
    """Tasks that end by themselves all the time."""
    return Faults(executor=ExecutorFaults(mean_life_s=2.0, fails_to_start=0.3))


def test_followers_that_drift_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower applies something else than the leader installed."""
    apply = Store.apply

    def careless(self: Store, version: int, data: bytes) -> Any:
        commit = apply(self, version, data)
        node = next(self.nodes(), None)
        if node is not None and version > 30:
            rows = self._tables["node"].rows
            rows[node.id] = replace(node, state=NodeState.DISCONNECTED)
        return commit

    monkeypatch.setattr(Store, "apply", careless)
    monkeypatch.setattr(simulation, "CONVERGE_MAX_S", 5.0)
    history = Simulation(1, faults=Faults.none()).run(30.0)
    assert "equal digests" in invariants(history.violations)


def test_a_reconciler_that_keeps_something_to_itself_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Law 15: the long-lived placer forgets every third task; its rebuilt twin finds them."""
    reconcile = Placer.reconcile

    def careless(self: Placer, tx: Any, changed: Any, now: float, rng: Any) -> None:
        kept = [
            one
            for one in changed
            if not (one.kind == "task" and one.new is not None and one.new.slot % 3 == 1)
        ]
        reconcile(self, tx, kept, now, rng)

    monkeypatch.setattr(Placer, "reconcile", careless)
    monkeypatch.setattr(simulation, "CONVERGE_MAX_S", 5.0)
    found: list[Violation] = []
    for seed in range(3):
        found.extend(Simulation(seed, faults=Faults.none()).run(20.0).violations)
    assert "twins" in invariants(found)


def test_a_lost_commit_is_reported() -> None:
    one = Simulation(1, faults=Faults.none())
    one.run(5.0)
    leader = one.world.leader()
    assert isinstance(leader, Host)
    one.workload.confirmed.append(("service", "lost", 10**6))
    one._check_members(leader)
    assert invariants(one.violations) == {"durability"}
