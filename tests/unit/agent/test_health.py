"""Docker's health check, probe by probe, in numbers instead of time."""

from __future__ import annotations

import pytest

from pyswarm.agent.executor import Exited
from pyswarm.agent.health import Health, HealthState, healthcheck_of, probe_command
from pyswarm.agent.progress import STEPS, advanced, unhealthy
from pyswarm.model.objects import Task, TaskStatus
from pyswarm.model.specs import ContainerSpec, Healthcheck, TaskSpec
from pyswarm.model.states import TaskState

TEST = ("CMD", "true")


def played(check: Healthcheck, codes: str, took: float = 0.0) -> list[tuple[float, str]]:
    """(when each probe began, what was known after it); ``.`` is a success, ``x`` a failure."""
    health = Health(check, 0.0)
    seen = []
    for code in codes:
        began = health.due
        state = health.probed(began + took, 0 if code == "." else 1)
        seen.append((began, state.value))
    return seen


@pytest.mark.parametrize(
    ("check", "codes", "expected"),
    [
        pytest.param(
            Healthcheck(TEST),
            "...",
            [(30, "healthy"), (60, "healthy"), (90, "healthy")],
            id="thirty seconds where nothing is said",
        ),
        pytest.param(
            Healthcheck(TEST, interval=2),
            "xxx",
            [(2, "starting"), (4, "starting"), (6, "unhealthy")],
            id="three failures where nothing is said",
        ),
        pytest.param(
            Healthcheck(TEST, interval=1, retries=1), "x", [(1, "unhealthy")], id="one is enough"
        ),
        pytest.param(
            Healthcheck(TEST, interval=1, retries=2),
            ".x.xx",
            [(1, "healthy"), (2, "healthy"), (3, "healthy"), (4, "healthy"), (5, "unhealthy")],
            id="failures in a row",
        ),
        pytest.param(
            Healthcheck(TEST, interval=10, retries=1, start_period=12),
            "xxxx",
            [(5, "starting"), (10, "starting"), (15, "unhealthy"), (25, "unhealthy")],
            id="five seconds between probes of the start period, which do not count",
        ),
        pytest.param(
            Healthcheck(TEST, interval=10, retries=1, start_period=30, start_interval=2),
            "x.x",
            [(2, "starting"), (4, "healthy"), (14, "unhealthy")],
            id="the first success ends the start period",
        ),
    ],
)
def test_probes(check: Healthcheck, codes: str, expected: list[tuple[float, str]]) -> None:
    assert played(check, codes) == expected


def test_the_interval_begins_when_a_probe_has_answered() -> None:
    assert played(Healthcheck(TEST, interval=5), "..", took=3)[1][0] == 5 + 3 + 5


def test_a_task_that_was_healthy_before_has_no_start_period() -> None:
    health = Health(Healthcheck(TEST, interval=1, retries=1, start_period=99), 0.0, healthy=True)
    assert (health.state, health.due) == (HealthState.HEALTHY, 1.0)
    assert health.probed(1.0, 1) is HealthState.UNHEALTHY


@pytest.mark.parametrize("test", [(), ("NONE",)])
def test_no_check(test: tuple[str, ...]) -> None:
    assert healthcheck_of(ContainerSpec("host", healthcheck=Healthcheck(test))) is None
    assert healthcheck_of(ContainerSpec("host")) is None


def test_commands() -> None:
    assert probe_command(Healthcheck(("CMD", "curl", "-f", "x y"))) == ("curl", "-f", "x y")
    assert probe_command(Healthcheck(("CMD-SHELL", "a | b"))) == ("/bin/sh", "-c", "a | b")


def test_an_unhealthy_task_takes_no_traffic_and_fails_with_dockers_words() -> None:
    running = TaskStatus(TaskState.RUNNING, "started")
    told = unhealthy(running)
    task = Task("t", "s", TaskSpec(), state=told.state, message=told.message)
    assert not task.takes_traffic
    assert Task("t", "s", TaskSpec(), state=TaskState.RUNNING, message="started").takes_traffic
    ended = advanced(told, STEPS[TaskState.RUNNING], Exited(137, "dockerexec: unhealthy container"))
    assert (ended.state, ended.message) == (TaskState.FAILED, "started")
    assert ended.err == "task: non-zero exit (137): dockerexec: unhealthy container"
