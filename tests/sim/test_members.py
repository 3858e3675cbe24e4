"""Members that come and go under faults: joins, leaves, promotions, removals, nodes that flap.

In the end everyone who should be a member is one, with the seat that was wanted. The campaign is
``pyswarm simulate --workload members --seeds 1000``.
"""

from __future__ import annotations

import pytest

from pyswarm.model import Role, SwarmSpec, TaskState, service_spec
from pyswarm.model.requests import CreateService
from pyswarm.node import Halted, Published
from pyswarm.sim import Simulation
from pyswarm.sim.campaign import run
from pyswarm.sim.world import World

SEEDS = 4
CHUNK = 2


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_members(first: int) -> None:
    summary = run(seeds=CHUNK, first=first, workload="members", seconds=40.0)
    assert not summary["violations"], "\n".join(
        f"{one['message']}: pyswarm simulate --first {one['seed']} --seeds 1 --seconds 40 "
        "--workload members"
        for one in summary["violations"]
    )


@pytest.mark.parametrize("seed", [4, 17, 110])
def test_histories_that_once_went_wrong(seed: int) -> None:
    """A sole voter that left before anybody else could vote; a manager whose fellows had all gone
    before it heard that it had no seat; an agent that did not hear of its new managers."""
    assert not Simulation(seed, workload="members").run(60.0).violations


def test_much_happens_in_them() -> None:
    because: dict[str, int] = {}

    def observe(now: float, host: object, effect: object) -> None:
        if isinstance(effect, Halted):
            because[effect.reason] = because.get(effect.reason, 0) + 1
        if isinstance(effect, Published) and effect.commit is not None:
            for change in effect.commit.changes:
                because[change.because.code] = because.get(change.because.code, 0) + 1

    wanted = {"join", "left", "removed", "seat", "no-seat", "remove-node", "revoke", "update-node"}
    for seed in range(4):
        simulation = Simulation(seed, workload="members")
        simulation.world.observers.append(observe)
        assert simulation.form()
        simulation.suffer(40.0)
        if wanted <= set(because):
            break
    assert wanted <= set(because)


@pytest.mark.parametrize("hours", [20, 30])
def test_tasks_of_a_node_that_is_gone_for_a_day_are_orphans(hours: int) -> None:
    """Its successors run elsewhere all the while; back within the day, it shuts its own down."""
    world = World(1, tick_s=10.0)
    manager, worker = world.add_host("manager"), world.add_host("worker")
    world.found(manager, spec=SwarmSpec(heartbeat_period=120.0))
    assert world.run_until(lambda: world.leader() is not None, 1000.0)
    world.join(worker, Role.WORKER, manager)
    assert manager.machine is not None
    store = manager.machine.store

    def states(node_id: str) -> list[TaskState]:
        return [task.state for task in store.tasks_of_node(node_id)]

    def is_spread() -> bool:
        return states(worker.node_id) == states(manager.node_id) == [TaskState.RUNNING]

    assert world.run_until(lambda: store.count("node") == 2 and worker.is_up, 1000.0)
    world.run(600.0)
    spec = service_spec("web", image="simulated", replicas=2)
    world.request(manager, CreateService(spec), lambda value, error: None)
    assert world.run_until(is_spread, 1000.0)
    world.crash(worker)
    world.run(hours * 3600.0)
    assert states(manager.node_id) == [TaskState.RUNNING] * 2
    if hours < 24:
        assert states(worker.node_id) == [TaskState.RUNNING], "nobody knows better yet"
        world.start(worker)
        assert world.run_until(lambda: TaskState.RUNNING not in states(worker.node_id), 3600.0), (
            "no duplicate remains"
        )
    else:
        assert states(worker.node_id) in ([TaskState.ORPHANED], [])
    assert states(manager.node_id) == [TaskState.RUNNING] * 2
