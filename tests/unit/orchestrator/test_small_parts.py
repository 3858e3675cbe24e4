"""Deadlines, who came last, the victims' order, the table of reasons."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pyswarm.orchestrator
from pyswarm.machine import Because
from pyswarm.model.objects import Task
from pyswarm.model.specs import ContainerSpec, TaskSpec
from pyswarm.model.states import TaskState
from pyswarm.orchestrator.deadlines import Deadlines
from pyswarm.orchestrator.reasons import CODES, because, sentence
from pyswarm.orchestrator.recent import Age, Recent
from pyswarm.orchestrator.replicated import victim_slots


def test_deadlines_move_and_go() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for number in range(200):
        deadlines.set(f"k{number:03}", 5.0)
        deadlines.set(f"k{number:03}", 3.0)
    deadlines.set("late", 9.0)
    deadlines.discard("k000")
    assert deadlines.next() == 3.0 and deadlines.pop_due(2.9) == []
    assert deadlines.pop_due(3.0) == [f"k{number:03}" for number in range(1, 200)]
    assert "late" in deadlines and len(deadlines) == 1 and deadlines.next() == 9.0


def _age(created_at: float, name: str = "") -> Age:
    return (created_at, 2, name, 0, name)


def test_recent_falls_back_to_who_is_left() -> None:
    recent: Recent[int] = Recent()
    assert recent.last() is None
    for number in (3, 1, 2):
        recent.set(f"h{number}", _age(number), number)
    assert recent.last() == 3
    recent.drop("h3")
    assert recent.last() == 2
    recent.set("h1", _age(1), 7)
    recent.drop("h2")
    assert recent.last() == 7
    for number in range(500):
        recent.set("x", _age(10 + number), number)
    assert recent.last() == 499


def _task(slot: int, node_id: str, state: TaskState = TaskState.RUNNING) -> Task:
    spec = TaskSpec(container=ContainerSpec(image="i"))
    return Task(id=f"t{slot}", service_id="s", spec=spec, slot=slot, node_id=node_id, state=state)


@pytest.mark.parametrize(
    ("placed", "keep", "victims"),
    [
        ({1: "A", 2: "B", 3: "C", 4: "A", 5: "A"}, 3, [4, 5]),
        ({1: "A", 2: "A", 3: "A"}, 1, [2, 3]),
        ({1: "", 2: "A", 3: "A"}, 2, [1]),
        ({1: "A!", 2: "A", 3: "B"}, 2, [1]),
        ({1: "A", 2: "B"}, 0, [1, 2]),
    ],
)
def test_victims(placed: dict[int, str], keep: int, victims: list[int]) -> None:
    """``!`` marks a task that does not run."""
    alive = {
        slot: [
            _task(slot, node.strip("!"), TaskState.STARTING)
            if node.endswith("!") or not node
            else _task(slot, node)
        ]
        for slot, node in placed.items()
    }
    assert victim_slots(alive, keep) == victims


def test_every_reason_is_in_the_table_and_every_entry_is_used() -> None:
    folder = Path(pyswarm.orchestrator.__file__).parent
    text = "".join(
        path.read_text() for path in sorted(folder.glob("*.py")) if path.name != "reasons.py"
    )
    quoted = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', text))
    assert [code for code in CODES if code not in quoted] == []
    assert sentence(because("scale-down", 3)) == "the service has more than its 3 replicas"
    assert sentence(Because("from-elsewhere", (1,))) == "from-elsewhere(1)"
    with pytest.raises(AssertionError):
        because("no-such-reason")
