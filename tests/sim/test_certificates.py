"""Certificates in virtual time: rotations through crashes, and more than a year of renewals.

Short seeds; longer campaigns are run by raising ``SEEDS``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyswarm.model import Node, NodeState, Role, RootCAState, SwarmSpec
from pyswarm.model.replace import replace
from pyswarm.model.requests import UpdateSwarm
from pyswarm.sim.certificates import Certificates, first_root, next_root
from pyswarm.sim.network import NetworkFaults
from pyswarm.sim.world import EPOCH_S, Host, World
from pyswarm.store import Store

SEEDS = range(4)
DAY = 86_400.0


class Swarm:
    """Three managers and some workers, with certificates."""

    def __init__(
        self,
        seed: int,
        workers: int = 4,
        *,
        look_s: float = 0.2,
        tick_s: float = 0.05,
        **spec: float,
    ) -> None:
        self.world = World(seed, tick_s=tick_s)
        self.certificates = Certificates(self.world, look_s=look_s)
        self.hosts = [self.world.add_host(f"node-{number}") for number in range(1, 4 + workers)]
        first, *others = self.hosts
        self.world.found(first, first_root("old"), SwarmSpec(**spec))  # type: ignore[arg-type]
        self.certificates.install(first)
        patience = 2000 * tick_s
        self.until(lambda: self.world.leader() is not None, patience)
        for number, host in enumerate(others, 2):
            role = Role.MANAGER if number <= 3 else Role.WORKER
            self.world.join(host, role, first)
            self.until(lambda host=host: host.is_up, patience)
            self.certificates.install(host, first)
        self.until(self.is_whole, patience)

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        assert self.world.run_until(condition, seconds), "not in time"

    @property
    def store(self) -> Store:
        leader = self.world.leader()
        assert leader is not None and leader.machine is not None
        return leader.machine.store

    @property
    def root(self) -> RootCAState:
        return self.store.swarm.root_ca

    def is_whole(self) -> bool:
        leader = self.world.leader()
        if leader is None or leader.machine is None or leader.machine.manager is None:
            return False
        store = leader.machine.store
        seats = leader.machine.manager.replica.configuration.voters
        ready = [node for node in store.nodes() if node.state is NodeState.READY]
        return len(seats) == 3 and len(ready) == len(self.hosts)

    def rotate(self, name: str | None) -> None:
        """Begin one; again until a leader has it. None calls it off."""
        rotation = next_root(name) if name is not None else None

        def is_begun() -> bool:
            leader = self.world.leader()
            return leader is not None and self.root.rotation == rotation

        for _ in range(50):
            leader = self.world.leader()
            if leader is not None and not is_begun():
                swarm = self.store.swarm
                body = UpdateSwarm(
                    swarm.version, swarm.spec, root_ca=replace(swarm.root_ca, rotation=rotation)
                )
                self.world.request(leader, body, lambda value, error: None)
            if self.world.run_until(lambda: is_begun() or self.is_rooted(name or ""), 1.0):
                return
        raise AssertionError("nobody takes the rotation")

    def is_rooted(self, name: str) -> bool:
        leader = self.world.leader()
        return leader is not None and self.root.cert == name.encode()

    def all_trust(self, name: str) -> bool:
        """Everyone has a certificate of this root, and trusts it alone."""
        root = name.encode()
        holders = [self.certificates.holder(host) for host in self.hosts]
        return all(
            (one.trust.root, one.trust.coming) == (root, b"")
            and one.certificate.issuer.issuer_subject == root
            for one in holders
        )

    def nodes(self) -> list[Node]:
        return list(self.store.nodes())

    def crash_for(self, host: Host, seconds: float) -> None:
        self.world.crash(host)
        self.world.at(seconds, lambda: self.world.start(host))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rotation_goes_on_under_the_next_leader(seed: int) -> None:
    swarm = Swarm(seed)
    rng = swarm.world.rng.child("test")
    swarm.world.network.faults = NetworkFaults(loss=0.02, duplication=0.02)
    worker = swarm.hosts[-1]
    swarm.crash_for(worker, 40.0)
    swarm.rotate("new")
    for _ in range(3):
        swarm.world.run(rng.uniform(0.2, 3.0))
        leader = swarm.world.leader()
        if leader is not None:
            swarm.crash_for(leader, rng.uniform(0.5, 5.0))
    assert not swarm.is_rooted("new"), "a member is away"
    swarm.until(lambda: swarm.is_rooted("new"), 240.0)
    swarm.until(lambda: swarm.all_trust("new") and swarm.is_whole(), 120.0)
    assert swarm.root.worker_token == "worker new"
    assert all(node.certificate and node.certificate.status == "issued" for node in swarm.nodes())


@pytest.mark.parametrize("seed", SEEDS)
def test_one_begun_anew_midway_and_one_called_off(seed: int) -> None:
    swarm = Swarm(seed)
    swarm.rotate("first")
    swarm.world.run(0.5)
    swarm.rotate("second")
    swarm.until(lambda: swarm.all_trust("second") and swarm.is_whole(), 120.0)
    away = swarm.hosts[-1]
    swarm.world.crash(away)
    swarm.rotate("third")
    swarm.world.run(5.0)
    swarm.rotate(None)
    swarm.world.start(away)
    swarm.until(swarm.is_whole, 120.0)
    assert swarm.is_rooted("second")
    swarm.rotate("fourth")
    swarm.until(lambda: swarm.all_trust("fourth") and swarm.is_whole(), 120.0)


def test_everything_restarts_in_the_middle() -> None:
    swarm = Swarm(7)
    away = swarm.hosts[-1]
    swarm.world.crash(away)
    swarm.rotate("new")
    swarm.world.run(10.0)
    for host in swarm.hosts[:-1]:
        swarm.crash_for(host, 2.0)
    swarm.world.run(20.0)
    assert not swarm.is_rooted("new")
    swarm.world.start(away)
    swarm.until(lambda: swarm.all_trust("new") and swarm.is_whole(), 240.0)


@pytest.mark.parametrize("seed", SEEDS[:1])
def test_four_hundred_days(seed: int) -> None:
    """Nobody's certificate ever runs out while it is up, though workers are away for weeks; one
    that is away for longer than its certificate lasts is heard by nobody.

    Managers stay up: their elections would take days with ticks this long.
    """
    swarm = Swarm(seed, 3, look_s=DAY / 4, tick_s=DAY / 16, heartbeat_period=DAY)
    world, rng = swarm.world, swarm.world.rng.child("test")
    *others, lost = swarm.hosts
    for number in range(40):
        if number == 10:
            world.crash(lost)
        else:
            swarm.crash_for(rng.choice(others[3:]), rng.uniform(1.0, 9.0) * DAY)
        world.run(10 * DAY)
        for host in others:
            holder = swarm.certificates.holder(host)
            assert not host.is_up or holder.certificate.not_after > EPOCH_S + world.now, host.name
    assert all(swarm.certificates.holder(host).renewals >= 5 for host in others)
    assert swarm.certificates.refused == 0
    world.start(lost)
    world.run(600.0)
    assert swarm.certificates.refused > 0
    state = {node.id: node.state for node in swarm.nodes()}
    assert state.pop(lost.node_id) is NodeState.DOWN
    assert set(state.values()) == {NodeState.READY}
