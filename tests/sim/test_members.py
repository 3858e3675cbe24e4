"""Members that come and go under faults: joins, leaves, promotions, removals, nodes that flap.

In the end everyone who should be a member is one, with the seat that was wanted. The campaign is
``pyswarm simulate --workload members --seeds 1000``.
"""

from __future__ import annotations

import pytest

from pyswarm.node import Halted, Published
from pyswarm.sim import Simulation
from pyswarm.sim.campaign import run

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
