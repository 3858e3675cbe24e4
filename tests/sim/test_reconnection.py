"""Leaders that fall silent, at a period of a second: no living node is ever taken for dead."""

from __future__ import annotations

import heapq

import attrs
import pytest

from pyswarm.model import NodeState, Role
from pyswarm.model.requests import UpdateSwarm
from pyswarm.sim.world import Host, World

PERIOD_S = 1.0


def swarm_of(seed: int, managers: int, workers: int) -> World:
    """A swarm whose nodes answer once a second, all of them ready."""
    world = World(seed)
    first, *others = [world.add_host(f"manager-{n}") for n in range(managers)]
    world.found(first)
    assert world.run_until(lambda: world.leader() is not None, 30.0)
    for host in others:
        world.join(host, Role.MANAGER, first)
    for number in range(workers):
        world.join(world.add_host(f"worker-{number}"), Role.WORKER, first)
    assert world.run_until(lambda: len(list(world.managers())) == managers, 60.0)
    swarm = store_of(first).swarm
    spec = attrs.evolve(swarm.spec, heartbeat_period=PERIOD_S)
    world.request(first, UpdateSwarm(swarm.version, spec), lambda value, error: None)
    world.run(12.0)  # every agent has heard of the new period
    assert not fallen(first, world.hosts.values())
    return world


def store_of(host: Host):
    assert host.machine is not None and host.machine.manager is not None
    return host.machine.manager.store


def fallen(manager: Host, hosts) -> list[str]:
    """Which of these hosts' nodes are not ready, as this manager knows it."""
    view = store_of(manager)
    nodes = {host.name: view.node(host.node_id) for host in hosts}
    return [name for name, node in nodes.items() if node.state is not NodeState.READY]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("silent", [False, True], ids=["crashed", "cut off"])
def test_leaders_that_are_lost_cost_no_living_node(seed: int, silent: bool) -> None:
    """Two of five managers, one after the other, each while it leads."""
    world = swarm_of(seed, managers=5, workers=4)
    down: list[str] = []
    lost: list[Host] = []

    def watch() -> bool:
        leader = world.leader()
        for host in world.up():
            if leader is None or leader in lost or host in lost:
                continue
            node = store_of(leader).node(host.node_id)
            if node is not None and node.state is NodeState.DOWN:
                down.append(host.name)
        return bool(down)

    for _ in range(2):
        leader = world.leader()
        assert leader is not None
        lost.append(leader)
        others = [host.name for host in world.hosts.values() if host is not leader]
        if silent:
            world.network.partition([leader.name], others)
        else:
            world.crash(leader)
        world.run_until(watch, 20.0)
        assert not down
    survivor = next(host for host in world.managers() if host not in lost)
    living = [host for host in world.up() if host not in lost]
    assert not fallen(survivor, living)


def stand_still(world: World, seconds: float) -> None:
    """The computer that all of them run on does nothing else for so long: whatever was due
    meanwhile happens afterwards, in its order."""
    until = world.now + seconds
    world._queue[:] = [(max(at, until), tie, action) for at, tie, action in world._queue]
    heapq.heapify(world._queue)


@pytest.mark.parametrize("pause_s", [0.5, 1.5, 2.9])
def test_a_computer_that_stands_still_costs_no_node(pause_s: float) -> None:
    """Again and again, for longer than an election takes and almost as long as a node's grace;
    also while agents look for the next leader, which hardly has time to hear them."""
    world = swarm_of(1, managers=3, workers=2)
    leader = world.leader()
    assert leader is not None
    for _ in range(10):
        stand_still(world, pause_s)
        world.run(0.3)
        assert not fallen(leader, world.up())
        assert world.leader() is leader
    world.crash(leader)
    assert world.run_until(lambda: world.leader() not in (None, leader), 30.0)
    leader = world.leader()
    assert leader is not None
    for _ in range(20):
        stand_still(world, pause_s)
        world.run(0.1)
        nodes = [store_of(leader).node(host.node_id) for host in world.up()]
        assert not [node.id for node in nodes if node.state is NodeState.DOWN]
