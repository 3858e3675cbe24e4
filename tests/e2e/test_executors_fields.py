"""Every field of a container, its mounts and its resources is honoured, carried or refused."""

from __future__ import annotations

import pytest

from pyswarm.agent import Executor, TaskRejected, task_context
from pyswarm.model import ContainerSpec, Task, TaskSpec
from pyswarm.model.objects import NodeDescription
from pyswarm.model.resources import Limits, ResourceRequirements
from pyswarm.model.specs import GenericSpec
from pyswarm.runtime.executors import CallableExecutor, Image, ProcessExecutor
from pyswarm.runtime.executors.honours import (
    EXECUTORS,
    PROCESSES,
    Honour,
    as_ordinary_user,
    names,
)
from pyswarm.testing.fields import SAMPLES


async def work(task: object) -> None:
    """What the tests' image runs."""


def executor(name: str) -> Executor:
    if name == "ProcessExecutor":
        return ProcessExecutor(images={"app": Image(("true",))})
    return CallableExecutor({"app": work}, checks={"check": work}, own_thread=False)


def test_every_field_is_in_every_table_and_has_a_sample() -> None:
    known = list(names())
    assert len(known) == len(set(known))
    for name, table in EXECUTORS.items():
        assert set(table) == set(known), name
    assert set(SAMPLES) == {name for name in known if not name.startswith("resources.")}


def test_an_ordinary_user_gets_nothing_as_root() -> None:
    table = as_ordinary_user(PROCESSES)
    assert Honour.AS_ROOT not in table.values()
    assert table["read_only"] is Honour.REFUSED
    assert table["resources.limits.nano_cpus"] is Honour.CARRIED
    assert table["image"] is Honour.HONOURED


@pytest.mark.parametrize("name", EXECUTORS)
async def test_limits_are_taken(name: str) -> None:
    limits = ResourceRequirements(Limits(10**8, 64 << 20, 20), swap_bytes=0, memory_swappiness=10)
    task = task_context(
        Task("t1", "s1", TaskSpec(ContainerSpec("app"), resources=limits)), hostname=""
    )
    own = executor(name)
    try:
        await own.prepare(task)
        await own.start("t1")
        assert (await own.wait("t1")).code == 0
    finally:
        await own.aclose()


def test_another_runtime_is_refused() -> None:
    plugin = TaskSpec(generic=GenericSpec("plugin", "x", b"{}"))
    with pytest.raises(TaskRejected, match="only runs tasks with a container spec"):
        task_context(Task("t1", "s1", plugin), hostname=NodeDescription().hostname)
