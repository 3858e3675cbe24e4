"""Whole lives of services under faults: updates that fail, drains, rotations, lost leaders.

In the end every service has what its spec says; on the way no update takes more slots at once than
it may, no secret reaches a node without a task that may see it, and histories keep their limit. The
campaign is ``pyswarm simulate --workload life --seeds 2000``.
"""

from __future__ import annotations

import pytest

from pyswarm.model import UpdateState
from pyswarm.node import Published
from pyswarm.sim import Simulation
from pyswarm.sim.campaign import run

SEEDS = 30
CHUNK = 3


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_lives(first: int) -> None:
    summary = run(seeds=CHUNK, first=first, workload="life", seconds=45.0)
    assert not summary["violations"], "\n".join(
        f"{one['message']}: pyswarm simulate --first {one['seed']} --seeds 1 --seconds 45 "
        "--workload life"
        for one in summary["violations"]
    )


def test_much_happens_in_them() -> None:
    """The histories are worth their time: every end of an update, secrets on the move."""
    states: dict[UpdateState, int] = {}
    because: dict[str, int] = {}

    def observe(now: float, host: object, effect: object) -> None:
        if not isinstance(effect, Published) or effect.commit is None:
            return
        for change in effect.commit.changes:
            because[change.because.code] = because.get(change.because.code, 0) + 1
            if change.kind == "service" and change.new is not None:
                status = change.new.update_status
                if status is not None:
                    states[status.state] = states.get(status.state, 0) + 1

    wanted = {"create-secret", "remove-config", "update-paused", "restart", "node-lost"}
    for seed in range(8):
        simulation = Simulation(seed, workload="life")
        simulation.world.observers.append(observe)
        simulation.run(45.0)
        if set(states) == set(UpdateState) and wanted <= set(because):
            break  # all that was to be shown, in fewer histories
    assert set(states) == set(UpdateState)
    assert wanted <= set(because)


@pytest.mark.parametrize(
    ("seed", "seconds"), [(80, 60.0), (149, 60.0), (159, 60.0), (175, 60.0), (241, 60.0)]
)
def test_histories_that_once_went_wrong(seed: int, seconds: float) -> None:
    """A task that failed beside its successor got another one."""
    assert Simulation(seed, workload="life").run(seconds).violations == ()
