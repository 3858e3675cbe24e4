"""A swarm in virtual time under faults: nothing forbidden ever happens, and then it converges.

The normal run has a hundred histories of 60 virtual seconds; campaigns are a command
(``pyswarm simulate --seeds N``). A failure prints the command that replays it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pyswarm.sim import Faults, Simulation, replay
from pyswarm.sim.campaign import run

SEEDS = 100
CHUNK = 5


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_histories(first: int) -> None:
    summary = run(seeds=CHUNK, first=first, managers=3, workers=5, seconds=60.0)
    assert not summary["violations"], "\n".join(
        f"{one['message']}: pyswarm simulate --first {one['seed']} --seeds 1"
        for one in summary["violations"]
    )
    assert summary["seeds"] == CHUNK
    assert summary["virtual_s"] > CHUNK * 60.0


def test_a_campaign_has_every_kind_of_fault() -> None:
    counted: dict[str, int] = {}
    for seed in range(6):
        simulation = Simulation(seed)
        assert simulation.form()
        simulation.suffer(20.0)
        for kind, number in simulation.history().faults.items():
            counted[kind] = counted.get(kind, 0) + number
    for kind in ("crashes", "partitions", "tasks killed", "disks filled", "messages lost"):
        assert counted[kind] > 0, kind


PROGRAM = """
import json, sys
from pyswarm.sim.campaign import run
print(json.dumps(run(seeds=2, first=40, seconds=20.0)))
"""


def test_the_same_seed_tells_the_same_story_under_any_hash_seed() -> None:
    stories = []
    for hash_seed in ("1", "4242"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True
        )
        stories.append(json.loads(done.stdout))
    assert stories[0] == stories[1]
    assert stories[0]["digest"] == run(seeds=2, first=40, seconds=20.0)["digest"]
    assert stories[0]["digest"] != run(seeds=2, first=42, seconds=20.0)["digest"]


def test_a_recorded_node_does_the_same_again() -> None:
    simulation = Simulation(7, managers=3, workers=2, records=True)
    assert not simulation.run(20.0).violations
    lives = [life for host in simulation.world.hosts.values() for life in host.recordings]
    assert len(lives) >= 5
    assert sum(len(life.inputs) for life in lives) == simulation.world.steps
    for life in lives:
        assert next(replay(life), None) is None


def test_a_replay_that_goes_another_way_is_reported() -> None:
    simulation = Simulation(1, managers=1, workers=0, faults=Faults.none(), records=True)
    assert simulation.form()
    [life] = simulation.world.hosts["node-1"].recordings
    busy = next(step for step, effects in enumerate(life.effects) if effects)
    life.effects[busy] = ()
    [difference] = replay(life)
    assert difference.step == busy
    assert difference.recorded == ()
    assert difference.replayed


@pytest.mark.parametrize(("managers", "workers"), [(1, 0), (1, 3), (2, 0), (5, 2)])
def test_other_sizes(managers: int, workers: int) -> None:
    history = Simulation(3, managers=managers, workers=workers).run(20.0)
    assert not history.violations


def test_without_faults_nothing_is_counted() -> None:
    history = Simulation(5, faults=Faults.none()).run(20.0)
    assert not history.violations
    assert not any(history.faults.values())


def test_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyswarm", "simulate", "--seeds", "3", "--seconds", "5", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    summary = json.loads(done.stdout)
    assert set(summary) >= {"seeds", "violations", "virtual_s", "wall_s", "faults", "digest"}
    assert (summary["seeds"], summary["violations"]) == (3, [])
    assert summary["digest"] == run(seeds=3, seconds=5.0)["digest"]
