"""Control groups of version 2, on a real hierarchy where there is one, with what it has.

A kernel whose controllers of CPU time, memory and processes are in use by version 1 still has a
hierarchy of version 2, often with a controller that nobody took: the rules are the same for it.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pyswarm.agent import task_context
from pyswarm.model import ContainerSpec, Task, TaskSpec
from pyswarm.model.resources import Limits, ResourceRequirements
from pyswarm.runtime.executors import ProcessExecutor, cgroups
from pyswarm.runtime.executors.capabilities import can_make_namespaces
from pyswarm.runtime.executors.cgroups import CONTROLLERS, Cgroups
from pyswarm.runtime.executors.supervisor import Supervisor

SPARE = (*CONTROLLERS, "hugetlb", "misc", "rdma")


def hierarchy() -> Path | None:
    """Where version 2 is mounted, for us to write to."""
    if can_make_namespaces():
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
            _, place, kind, options, *_ = line.split()
            if kind == "cgroup2" and "ro" not in options.split(","):
                return Path(place)
    return None


V2 = pytest.mark.skipif(hierarchy() is None, reason="no hierarchy of version 2 to write to")


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cgroups]:
    """Groups in the real hierarchy, with one controller if it has any."""
    root = hierarchy()
    assert root is not None
    there = (root / "cgroup.controllers").read_text(encoding="ascii").split()
    used = tuple(name for name in SPARE if name in there)[:1]
    monkeypatch.setattr(cgroups, "CONTROLLERS", used)
    monkeypatch.setattr(cgroups, "PARENT", f"pyswarm-{os.getpid()}")  # tests beside have theirs
    groups = Cgroups.find(root)
    if groups.version != 2:
        pytest.skip("this process is not at the top of the hierarchy")
    yield groups
    groups.close()
    assert not (root / cgroups.PARENT).exists()


@V2
def test_processes_belong_to_the_leaves(real: Cgroups) -> None:
    parent = real.root / cgroups.PARENT
    given = (parent / "cgroup.subtree_control").read_text(encoding="ascii").split()
    assert given == list(cgroups.CONTROLLERS)
    if given:
        process = subprocess.Popen(["sleep", "1000"])
        try:
            with pytest.raises(OSError) as caught:
                (parent / "cgroup.procs").write_text(str(process.pid), encoding="ascii")
            assert caught.value.errno == errno.EBUSY
        finally:
            process.kill()
            process.wait()


@V2
async def test_a_task_lives_in_its_group(real: Cgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = next(iter(cgroups.CONTROLLERS), "none")
    monkeypatch.setattr(Cgroups, "_values", lambda *_: {controller: {}})
    script = "setsid sleep 1000 & cat /proc/$!/cgroup /proc/self/cgroup; echo $(ls $0 | wc -l)"
    name = f"{os.getpid()}.t1"
    directory = real.root / cgroups.PARENT / name
    container = ContainerSpec("host", command=("sh", "-c", script, str(directory)))
    limits = ResourceRequirements(Limits(pids=9))
    task = task_context(Task("t1", "s1", TaskSpec(container, resources=limits)), hostname="")
    async with ProcessExecutor() as executor:
        executor._limits = real
        await executor.prepare(task)
        own = [path.name for path in directory.iterdir() if path.name.startswith(f"{controller}.")]
        assert bool(own) == bool(cgroups.CONTROLLERS)  # its limits are there to be set
        events = (directory / "cgroup.events").read_text(encoding="ascii")
        assert "populated 0" in events
        await executor.start("t1")
        assert (await executor.wait("t1")).code == 0
        assert not directory.exists()
        lines = [line.data.decode() async for line in executor.logs("t1")]
    places = [line.partition("::")[2] for line in lines if line.startswith("0::")]
    assert [place.rpartition(f"/{cgroups.PARENT}/")[2] for place in places] == [name, name]


@V2
def test_what_a_killed_supervisor_left_is_removed_when_it_is_empty(real: Cgroups) -> None:
    left = real.root / cgroups.PARENT / "4194305.t1"  # beyond the largest process id
    left.mkdir()
    process = subprocess.Popen(["sleep", "1000"])
    try:
        (left / "cgroup.procs").write_text(str(process.pid), encoding="ascii")
        real.sweep()
        assert left.exists()
    finally:
        process.kill()
        process.wait()
    real.sweep()
    assert not left.exists()


@V2
def test_a_parent_that_another_node_takes_away_is_made_again(real: Cgroups) -> None:
    real.close()
    assert not (real.root / cgroups.PARENT).exists()
    directory = real._make("none", "4194305.t2")
    try:
        given = (real.root / cgroups.PARENT / "cgroup.subtree_control").read_text(encoding="ascii")
        assert given.split() == list(cgroups.CONTROLLERS)
    finally:
        directory.rmdir()


@pytest.mark.parametrize(("kills", "told"), [(0, False), (1, True)])
def test_the_kernel_tells_of_kills_for_memory(tmp_path: Path, kills: int, told: bool) -> None:
    text = f"low 0\nhigh 0\nmax 12\noom 1\noom_kill {kills}\noom_group_kill 0\n"
    (tmp_path / "memory.events").write_text(text, encoding="ascii")
    supervisor = cast(Any, SimpleNamespace(cgroups=[str(tmp_path)]))
    assert Supervisor.was_out_of_memory(supervisor) is told
