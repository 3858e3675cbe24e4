"""Time lines of a real swarm (golden/updates.jsonl), told again in virtual time.

The recorded nodes needed some 0.3 s to prepare a task, 1.05 s to stop one and 0.3 s to start one.
Compared are the states and sentences of the update in their order and, with TOLERANCE, their times;
how many tasks there were in the end; and the states and desired states of the restarted slots.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyswarm.model.specs import RestartPolicy, UpdateConfig
from pyswarm.model.states import FailureAction, RestartCondition, UpdateOrder

from .harness import Program, ReplicatedJob, World, a_spec

TOLERANCE = 1.5
"""Seconds: the recording polled, and its nodes were not equally quick every time."""

GOLDEN = Path(__file__).parents[2] / "golden" / "updates.jsonl"
RECORDED: dict[str, Any] = {
    record["scenario"]: record["events"]
    for record in map(json.loads, GOLDEN.read_text().splitlines())
}
WEB = "service-web"
TIMES = {"prepare": 0.3, "stop": 1.05, "start": 0.3}
SLEEP, FAIL = Program(**TIMES), Program(**TIMES, ends_after=0.05, exit_code=7)


def told(events: list[dict[str, Any]]) -> list[tuple[float, str, str]]:
    """(time, state, sentence without ids) of the recorded update."""
    return [
        (event["t"], status["State"], _without_id(status["Message"]))
        for event in events
        if (status := event.get("UpdateStatus"))
    ]


def seen(world: World, seconds: float) -> list[tuple[float, str, str]]:
    """The same of ours, looking often."""
    start, found = world.now, []
    while world.now < start + seconds:
        status = world.status(WEB)
        line = (str(status.state), _without_id(status.message)) if status else None
        if line and (not found or found[-1][1:] != line):
            found.append((world.now - start, *line))
        world.run(0.05)
    return found


def _without_id(message: str) -> str:
    head, found, _ = message.partition("of task ")
    return head + found


def begin(replicas: int, update: UpdateConfig, **fields: Any) -> World:
    world = World(5)
    world.programs = {"sleep": SLEEP, "sleep:1": SLEEP, "fail": FAIL}
    world.create(a_spec(image="sleep", replicas=replicas, update=update, **fields))
    world.run(5)
    return world


QUICK = RestartPolicy(delay=1.0)
UPDATES: dict[str, tuple[int, UpdateConfig, dict[str, Any], str]] = {
    "order-par1": (4, UpdateConfig(monitor=1.0), {}, "sleep:1"),
    "order-par2-delay3": (5, UpdateConfig(parallelism=2, delay=3.0, monitor=1.0), {}, "sleep:1"),
    "start-first": (2, UpdateConfig(order=UpdateOrder.START_FIRST, monitor=1.0), {}, "sleep:1"),
    "fail-pause": (3, UpdateConfig(monitor=3.0), {"restart": QUICK}, "fail"),
    "fail-rollback": (
        3,
        UpdateConfig(monitor=2.0, failure_action=FailureAction.ROLLBACK),
        {"restart": QUICK, "rollback": UpdateConfig(monitor=1.0)},
        "fail",
    ),
    "fail-continue": (
        3,
        UpdateConfig(monitor=1.0, failure_action=FailureAction.CONTINUE),
        {"restart": QUICK},
        "fail",
    ),
    "fail-ratio": (
        4,
        UpdateConfig(monitor=1.0, max_failure_ratio=0.3),
        {"restart": RestartPolicy(condition=RestartCondition.NONE)},
        "fail",
    ),
}


@pytest.mark.parametrize("scenario", UPDATES)
def test_update_goes_as_recorded(scenario: str) -> None:
    replicas, update, fields, image = UPDATES[scenario]
    world = begin(replicas, update, **fields)
    world.change(WEB, image=image)
    _compare(seen(world, 30), told(RECORDED[scenario]))


def _compare(ours: list[tuple[float, str, str]], theirs: list[tuple[float, str, str]]) -> None:
    assert [line[1:] for line in ours] == [line[1:] for line in theirs]
    for (mine, *_), (recorded, *_) in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(recorded, abs=TOLERANCE)


def test_rollback_and_back_again_as_recorded() -> None:
    half = UpdateConfig(monitor=0.5)
    world = begin(2, half, rollback=half)
    world.change(WEB, image="sleep:1", replicas=3)
    _compare(seen(world, 10), told(RECORDED["rollback-ok"]))
    for scenario in ("rollback-ok-rb", "rollback-ok-rb2"):
        world.rollback(WEB)
        _compare(seen(world, 10), told(RECORDED[scenario]))


def test_changes_that_replace_nothing_as_recorded() -> None:
    world = begin(2, UpdateConfig())
    world.change(WEB, labels={"a": "b"}, replicas=3, update=UpdateConfig(delay=1.0))
    world.run(10)
    tasks = {event["task"] for event in RECORDED["no-restart-change"] if "task" in event}
    assert len(world.tasks(WEB)) == len(tasks) == 3 and world.status(WEB) is None


def _restarting(condition: RestartCondition, delay: float, **rest: Any) -> Callable[[], World]:
    def story() -> World:
        world = World(1)
        world.programs["sleep"] = Program(**TIMES, **rest)
        policy = RestartPolicy(
            condition=condition, delay=delay, max_attempts=2 if delay == 0.5 else 0
        )
        world.create(a_spec(image="sleep", replicas=1, restart=policy))
        world.run(20)
        return world

    return story


@pytest.mark.parametrize(
    ("scenario", "story"),
    [
        ("restart-max2", _restarting(RestartCondition.ANY, 0.5, ends_after=0.1, exit_code=1)),
        ("restart-onfail-0", _restarting(RestartCondition.ON_FAILURE, 5.0, ends_after=0.1)),
        ("restart-none", _restarting(RestartCondition.NONE, 5.0, ends_after=0.1, exit_code=1)),
    ],
)
def test_restarts_end_as_recorded(scenario: str, story: Callable[[], World]) -> None:
    last = {event["task"]: event for event in RECORDED[scenario] if "task" in event}
    theirs = sorted((event["state"], event["desired"]) for event in last.values())
    world = story()
    assert theirs == sorted((str(t.state), str(t.desired_state)) for t in world.tasks(WEB))


def test_job_and_its_second_run_as_recorded() -> None:
    """Two at a time, five in all, in slots from 0; the first run's tasks stay."""
    world = World(2)
    world.programs["app:1"] = Program(**TIMES, ends_after=1.0)
    job = world.create(a_spec("job", mode=ReplicatedJob(max_concurrent=2, total_completions=5)))
    for scenario in ("rjob", "rjob-force"):
        world.run(20)
        events = {event["task"]: event for event in RECORDED[scenario] if "task" in event}
        theirs = sorted((e["slot"] or 0, e["state"], e["desired"]) for e in events.values())
        ours = sorted((t.slot, str(t.state), str(t.desired_state)) for t in world.tasks(job))
        assert ours == theirs
        world.change(job, force=True)
