"""Raft under faults: a few short histories. ``pyswarm.testing.raft_sim`` runs campaigns."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pyswarm.raft import reads
from pyswarm.raft.log import RaftLog
from pyswarm.raft.state import State
from pyswarm.testing.linearizable import Operation, is_linearizable
from pyswarm.testing.raft_checkers import Violation
from pyswarm.testing.raft_host import Faults
from pyswarm.testing.raft_sim import Simulation, main, run_seed

SEEDS = int(os.environ.get("RAFT_SIM_SEEDS", "200"))
BATCH = 20


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_histories_under_faults(first: int) -> None:
    for seed in range(first, min(first + BATCH, SEEDS)):
        run_seed(seed, duration_ms=5_000)


def test_a_calm_history_is_lively() -> None:
    simulation = Simulation(1, faults=Faults(), duration_ms=10_000)
    simulation.run()
    assert simulation.stats["leader"] <= 2
    assert simulation.stats["done"] > 200


def test_the_same_seed_tells_the_same_story() -> None:
    code = "from pyswarm.testing.raft_sim import Simulation; print(Simulation(3).run())"
    stories = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(stories) == 1


def test_the_campaign_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--members", "3", "--duration-ms", "2000"]) == 0
    assert "2 seeds, 0 violations" in capsys.readouterr().out


# -- the checkers find what they are for


def first_violation(seeds: range) -> str:
    for seed in seeds:
        try:
            run_seed(seed)
        except (Violation, AssertionError) as error:
            return str(error) or "assertion"
    return ""


def test_a_log_check_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RaftLog, "is_up_to_date", lambda *_: True)
    assert first_violation(range(40))


def test_unproved_reads_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def register(s: State, read: object) -> None:
        read.index = s.log.commit_index  # type: ignore[attr-defined]
        reads.resolve(s, read)  # type: ignore[arg-type]

    monkeypatch.setattr(reads, "register", register)
    assert "linearizable" in first_violation(range(20, 40))


# -- the checker of histories, with good and bad ones


def write(value: object, begin: int, end: int | None) -> Operation:
    return Operation("write", value, begin, end)


def read(value: object, begin: int, end: int) -> Operation:
    return Operation("read", value, begin, end)


@pytest.mark.parametrize(
    ("history", "fine"),
    [
        ([], True),
        ([read(None, 0, 1)], True),
        ([read(1, 0, 1)], False),
        ([write(1, 0, 1), read(1, 2, 3)], True),
        ([write(1, 0, 1), read(None, 2, 3)], False),  # a stale read
        ([write(1, 0, 9), read(None, 1, 2), read(1, 3, 4)], True),
        ([write(1, 0, 9), read(1, 1, 2), read(None, 3, 4)], False),  # goes back in time
        ([write(1, 0, 1), write(2, 0, 1), read(1, 2, 3), read(2, 4, 5)], False),
        ([write(1, 0, 9), write(2, 0, 9), read(2, 1, 2), read(1, 3, 4)], True),
        ([write(1, 0, None), read(None, 5, 6), read(1, 7, 8)], True),  # unknown, happened late
        ([write(1, 0, None), read(None, 5, 6)], True),  # unknown, never happened
        ([write(1, 5, None), read(1, 0, 4)], False),  # read before it was written
        ([write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)], False),  # a lost write
    ],
)
def test_the_checker_knows_good_from_bad(history: list[Operation], fine: bool) -> None:
    assert is_linearizable(history) is fine
