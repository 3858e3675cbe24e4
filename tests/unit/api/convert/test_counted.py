"""How many tasks run, should run and are complete, where no recording shows it (tasks.md 9)."""

from __future__ import annotations

import pytest

from pyswarm.api.convert import show_service_status
from pyswarm.model import (
    ContainerSpec,
    Global,
    GlobalJob,
    JobStatus,
    Replicated,
    ReplicatedJob,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
)
from pyswarm.model.specs import ServiceMode

SPEC = TaskSpec(ContainerSpec("x"))
TASKS = [
    (TaskState.RUNNING, TaskState.RUNNING),
    (TaskState.RUNNING, TaskState.SHUTDOWN),  # on a node that is down, say
    (TaskState.READY, TaskState.READY),  # its restart is delayed
    (TaskState.FAILED, TaskState.SHUTDOWN),
    (TaskState.STARTING, TaskState.COMPLETE),
    (TaskState.COMPLETE, TaskState.COMPLETE),
]


@pytest.mark.parametrize(
    ("mode", "counts"),
    [
        (Replicated(7), (2, 7, 0)),
        (Global(), (2, 1, 0)),
        (ReplicatedJob(3, 9), (2, 3, 1)),
        (GlobalJob(), (2, 1, 1)),
    ],
    ids=str,
)
def test_tasks_are_counted(mode: ServiceMode, counts: tuple[int, int, int]) -> None:
    is_job = isinstance(mode, (ReplicatedJob, GlobalJob))
    service = Service(
        "s", ServiceSpec("web", SPEC, mode), job_status=JobStatus(1) if is_job else None
    )
    tasks = [
        Task(str(at), "s", SPEC, state=state, desired_state=desired, job_iteration=run)
        for run in ((0, 1) if is_job else (None,))  # an earlier run does not count
        for at, (state, desired) in enumerate(TASKS)
    ]
    status = show_service_status(service, tasks)
    assert (status["RunningTasks"], status["DesiredTasks"], status["CompletedTasks"]) == counts
