"""Both executors through the conformance kit: real processes, real threads."""

from __future__ import annotations

import threading

import pytest

from pyswarm.runtime.executors import CallableExecutor
from pyswarm.runtime.executors.process import ProcessExecutor
from pyswarm.testing.executors import (
    EXECUTOR_CHECKS,
    CallableBehaviours,
    Check,
    ShellBehaviours,
    check_name,
    run_check,
)
from pyswarm.testing.fields import treats_fields_as_declared
from pyswarm.testing.programs import PROGRAM_CHECKS


def own_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("pyswarm")]


@pytest.mark.parametrize("check", (*EXECUTOR_CHECKS, *PROGRAM_CHECKS), ids=check_name)
async def test_processes(check: Check) -> None:
    await run_check(check, ProcessExecutor, ShellBehaviours())
    assert own_threads() == []


@pytest.mark.parametrize("own_thread", [True, False], ids=["own-thread", "host-loop"])
@pytest.mark.parametrize("check", (*EXECUTOR_CHECKS, treats_fields_as_declared), ids=check_name)
async def test_functions(check: Check, own_thread: bool) -> None:
    behaviours = CallableBehaviours()
    images, checks = behaviours.images(), behaviours.checks()

    def make() -> CallableExecutor:
        return CallableExecutor(images, checks=checks, own_thread=own_thread)

    await run_check(check, make, behaviours)
    assert own_threads() == []
