"""The conformance kit finds what is wrong with an executor."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import pytest
import trio

from pyswarm.agent import Exited, TaskContext, TaskFailed
from pyswarm.runtime.executors import CallableExecutor, ProcessExecutor
from pyswarm.runtime.executors.honours import Honour, names
from pyswarm.testing.executors import (
    EXECUTOR_CHECKS,
    CallableBehaviours,
    ShellBehaviours,
    check_executor,
    check_name,
    run_check,
)
from pyswarm.testing.programs import PROGRAM_CHECKS


class ForgetsCodes(CallableExecutor):
    async def wait(self, task_id: str, /) -> Exited:
        await super().wait(task_id)
        return Exited(0)


class TakesAnyImage(CallableExecutor):
    async def prepare(self, task: TaskContext, /) -> None:
        if task.container.image.startswith("no/"):
            await trio.lowlevel.checkpoint()
            return
        await super().prepare(task)


class LeavesMountsOut(CallableExecutor):
    async def prepare(self, task: TaskContext, /) -> None:
        container = attrs.evolve(task.container, mounts=())
        await super().prepare(attrs.evolve(task, container=container))


class NeverForgets(CallableExecutor):
    async def remove(self, task_id: str, /) -> None:
        await trio.lowlevel.checkpoint()


class FailsTwice(CallableExecutor):
    async def shutdown(self, task_id: str, /) -> None:
        if self._get(task_id).ended.is_set():
            raise TaskFailed("it has ended")
        await super().shutdown(task_id)


class LosesFiles(CallableExecutor):
    async def prepare(self, task: TaskContext, /) -> None:
        task.files.clear()  # type: ignore[attr-defined]
        await super().prepare(task)


class AlwaysWell(CallableExecutor):
    async def probe(self, task_id: str, /) -> int:
        await trio.lowlevel.checkpoint()
        return 0


BROKEN = {
    AlwaysWell: "probes_health",
    ForgetsCodes: "tells_exit_codes",
    TakesAnyImage: "refuses_unknown_images",
    LeavesMountsOut: "refuses_what_it_cannot_give",
    NeverForgets: "stops_what_never_ran",
    FailsTwice: "takes_repeated_calls_as_done",
    LosesFiles: "hands_over_files",
}


@pytest.mark.parametrize(("broken", "check"), BROKEN.items(), ids=list(BROKEN.values()))
async def test_it_finds(broken: type[CallableExecutor], check: str) -> None:
    spells = CallableBehaviours()
    images = spells.images()
    (one,) = [c for c in EXECUTOR_CHECKS if check_name(c) == check]
    with pytest.raises((AssertionError, TaskFailed)):
        await run_check(one, lambda: broken(images, checks=spells.checks()), spells)


class ForgetsLimits(ProcessExecutor):
    async def prepare(self, task: TaskContext, /) -> None:
        container = attrs.evolve(task.container, ulimits=(), mounts=())
        await super().prepare(attrs.evolve(task, container=container))


class PromisesTooMuch(ProcessExecutor):
    @property
    def honours(self) -> Mapping[str, Honour]:
        return dict.fromkeys(names(), Honour.HONOURED)


BROKEN_PROGRAMS = [
    (ForgetsLimits, "sets_limits"),
    (ForgetsLimits, "keeps_volumes"),
    (ForgetsLimits, "binds_what_is_there"),
    (PromisesTooMuch, "treats_fields_as_declared"),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN_PROGRAMS)
async def test_it_finds_with_programs(broken: type[ProcessExecutor], check: str) -> None:
    (one,) = [c for c in PROGRAM_CHECKS if check_name(c) == check]
    with pytest.raises(AssertionError):
        await run_check(one, broken, ShellBehaviours())


async def test_all_at_once_names_the_check_that_failed() -> None:
    spells = CallableBehaviours()
    images = spells.images()
    checks = spells.checks()
    await check_executor(lambda: CallableExecutor(images, checks=checks), spells)
    with pytest.raises(AssertionError, match="tells_exit_codes: "):
        await check_executor(lambda: ForgetsCodes(images), spells)
