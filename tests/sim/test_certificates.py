"""Certificates in virtual time: rotations through crashes, and more than a year of renewals.

A few seeds of ``pyswarm simulate --workload certificates --seeds 300``, and bugs planted in what
they put to the test.
"""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.ca import Renewal
from pyswarm.model import Role, replace
from pyswarm.model.requests import UpdateNode
from pyswarm.node import Published
from pyswarm.orchestrator import certificates as orchestrated
from pyswarm.sim import Faults, Simulation, simulation
from pyswarm.sim import certificates as simulated
from pyswarm.sim.certificates import newest_store, next_root
from pyswarm.sim.renewals import DAY_S, YEAR_S, CertificateWorkload
from pyswarm.store import Store

ROTATIONS = ((11, 2, 25.0), (87, 5, 60.0), (150, 2, 25.0))
"""Seed, workers, seconds. In 11 a node joined during a rotation and heard no more until the next
one: it knew nobody; in 87 one that was demoted and promoted again got its certificate as a worker
when it voted already; in 150 one that had renewed never said so, and the rotation waited for ever.
"""
A_ROTATION, A_YEAR = 1, 154


def simulated_swarm(seed: int, **options: Any) -> tuple[Simulation, CertificateWorkload]:
    one = Simulation(seed, workload="certificates", **options)
    assert isinstance(one.workload, CertificateWorkload)
    return one, one.workload


def replay(seed: int, *options: str) -> str:
    words = ("pyswarm simulate --workload certificates --seeds 1 --first", str(seed), *options)
    return " ".join(words)


def test_rotations() -> None:
    """Roots are replaced one after the other, begun anew, called off, and half of the swarm crashes
    meanwhile."""
    because: dict[str, int] = {}

    def observe(now: float, host: object, effect: object) -> None:
        if isinstance(effect, Published) and effect.commit is not None:
            for change in effect.commit.changes:
                because[change.because.code] = because.get(change.because.code, 0) + 1

    for seed, workers, seconds in ROTATIONS:
        one, _ = simulated_swarm(seed, workers=workers)
        one.world.observers.append(observe)
        history = one.run(seconds)
        options = (f"--workers {workers}", f"--seconds {seconds:g}")
        assert not history.violations, replay(seed, *options)
    wanted = {"certificate-due", "certificate-issued", "root-rotated", "seat", "no-seat", "join"}
    assert wanted <= set(because)


def test_a_year() -> None:
    """Everyone renews several times, whoever was off for too long joins anew."""
    one, workload = simulated_swarm(A_YEAR, workers=1)
    history = one.run()
    assert not history.violations, replay(A_YEAR, "--workers 1")
    assert history.virtual_s > YEAR_S
    assert workload.expired > 0
    holders = [workload.certificates.holder(host) for host in one.world.hosts.values()]
    assert sum(holder is not None and holder.renewals >= 4 for holder in holders) >= 3


def invariants(one: Simulation) -> dict[str, str]:
    return {violation.invariant: violation.message for violation in one.violations}


def test_a_renewal_that_never_happens_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is asked for is renewed; on the day that a certificate runs out it is too late."""
    monkeypatch.setattr(Renewal, "is_due", lambda self, now, *, forced: forced)
    one, workload = simulated_swarm(A_YEAR, workers=1)
    workload.stop()  # nobody is restarted, no root replaced
    assert one.form()
    one.suffer(80 * DAY_S)
    assert "has not renewed its certificate" in invariants(one)["renewal"]


def ask(one: Simulation, body: Any) -> None:
    leader = one.world.leader()
    assert leader is not None
    one.world.request(leader, body, lambda value, error: None)


def store_of(one: Simulation) -> Store:
    store = newest_store(one.world)
    assert store is not None
    return store


def test_a_root_that_is_dropped_too_early_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation that waits for nobody: those that renewed are strangers to those that did not."""
    monkeypatch.setattr(orchestrated, "_needs_none", lambda node, root: True)
    one, workload = simulated_swarm(A_ROTATION, faults=Faults.none())
    assert one.form()
    one._look()
    ask(one, workload._rotate_to(store_of(one), next_root("new")))
    one.world.run(5.0)
    one._look()
    assert "does not know the root" in invariants(one)["roots"]


def test_a_role_that_no_certificate_says_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is promoted is not heard as a manager."""
    monkeypatch.setattr(simulation, "CONVERGE_MAX_S", 10.0)
    monkeypatch.setattr(simulated, "needs_another", lambda node, role, *, is_outdated: False)
    one, _ = simulated_swarm(A_ROTATION, faults=Faults.none())
    assert one.form()
    node = store_of(one).node(one.world.hosts["node-5"].node_id)
    assert node is not None
    spec = replace(node.spec, desired_role=Role.MANAGER)
    ask(one, UpdateNode(node.id, node.version, spec))
    one.world.run(2.0)
    one.converge()
    assert "node-5 has a certificate as worker" in invariants(one)["convergence"]


def test_an_expired_certificate_that_is_believed_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, workload = simulated_swarm(A_YEAR, workers=2)
    assert one.form()
    host = one.world.hosts["node-5"]
    one.world.crash(host)
    one.world.run(100 * DAY_S)
    assert workload.certificates.is_expired(host)
    monkeypatch.setattr(one.world, "believes", lambda host, sender: True)
    one.world.start(host)
    one.world.run(600.0)
    workload._was_heard(host)
    one._look()
    assert "node-5 was heard" in invariants(one)["expiry"]
