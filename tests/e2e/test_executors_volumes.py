"""Options of the volume driver ``local``: what is mounted while tasks use a volume, and for whom.

Refusals and failures are worded as recorded from Docker.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import aclosing
from pathlib import Path

import pytest
import trio

from pyswarm.agent import TaskContext, TaskFailed, TaskRejected, task_context
from pyswarm.model import ContainerSpec, Mount, Task, TaskSpec
from pyswarm.model.specs import VolumeOptions
from pyswarm.runtime.executors import ProcessExecutor, volumemounts
from pyswarm.runtime.executors.capabilities import can_make_namespaces

AS_ROOT = pytest.mark.skipif(not can_make_namespaces(), reason="this is not root on its own host")
TMPFS = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=7,mode=750"}


def using(
    id: str, script: str, options: dict[str, str], *, name: str = "vol", subpath: str = ""
) -> TaskContext:
    """A task with a volume at ``/mnt/v``."""
    volume = VolumeOptions(driver_options=options, subpath=subpath)
    container = ContainerSpec(
        "host", command=("sh", "-c", script), mounts=(Mount("/mnt/v", name, volume=volume),)
    )
    return task_context(Task(id, "s1", TaskSpec(container)), hostname="")


async def told(executor: ProcessExecutor, task: TaskContext) -> list[str]:
    """What a task prints, from its start to its end."""
    await executor.prepare(task)
    await executor.start(task.id)
    exited = await executor.wait(task.id)
    found = [line.data.decode() async for line in executor.logs(task.id)]
    assert exited.code == 0, (exited, found)
    return found


async def failure(executor: ProcessExecutor, task: TaskContext) -> str:
    """Why a task cannot start."""
    await executor.prepare(task)
    with pytest.raises(TaskFailed) as caught:
        await executor.start(task.id)
    return str(caught.value)


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "pyswarm volume"]


@AS_ROOT
async def test_tasks_of_the_same_time_share_what_is_mounted(tmp_path: Path) -> None:
    host = Path("/proc/self/mounts").read_text(encoding="utf-8")
    show = "grep ' /mnt/v ' /proc/mounts | cut -d' ' -f3; stat -c '%u %a' /mnt/v; ls /mnt/v"
    async with ProcessExecutor(tmp_path) as executor:
        script = "mkdir /mnt/v/d; touch /mnt/v/d/f; ln -s / /mnt/v/out; echo there; sleep 1000"
        await executor.prepare(using("t1", script, TMPFS))
        await executor.start("t1")
        async with aclosing(executor.logs("t1", follow=True)) as lines:
            assert (await anext(lines)).data == b"there"
        # The second one says nothing of a file system: the volume knows what it was made with.
        assert await told(executor, using("t2", show, {})) == ["tmpfs", "7 750", "d", "out"]
        for subpath, inside in (("d", ["f"]), ("/d/.", ["f"]), ("/", ["d", "out"])):
            task = using(f"t3-{len(subpath)}{len(inside)}", "ls /mnt/v", {}, subpath=subpath)
            assert await told(executor, task) == inside
        why = "starting container failed: cannot access path {} in volume vol: it leads out of it"
        for subpath in ("out", "../.."):
            task = using(f"t-{subpath.strip('./')}x", "true", {}, subpath=subpath)
            assert await failure(executor, task) == why.format(subpath)
        assert threads() == ["pyswarm volume"]
        assert os.listdir(tmp_path / "volumes" / "vol" / "data") == []
        assert Path("/proc/self/mounts").read_text(encoding="utf-8") == host
        await executor.terminate("t1")
        assert threads() == []
        assert await told(executor, using("t4", show, {})) == ["tmpfs", "7 750"]
    assert threads() == []


@AS_ROOT
async def test_a_directory_may_be_mounted(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.mkdir()
    bind = {"type": "none", "device": str(device), "o": "bind"}
    read_only = {**bind, "o": "rw,rbind,ro,rslave"}
    async with ProcessExecutor(tmp_path / "state") as executor:
        assert await told(executor, using("t1", "touch /mnt/v/f", bind)) == []
        script = "touch /mnt/v/g 2>/dev/null || ls /mnt/v"
        assert await told(executor, using("t2", script, read_only, name="ro")) == ["f"]
        for task_id in ("t1", "t2"):
            await executor.remove(task_id)
        shown = {one.name: one.options for one in await executor.volumes()}
        assert shown == {"vol": bind, "ro": read_only}
        assert await executor.prune_volumes() == ["ro", "vol"]
    assert os.listdir(device) == ["f"]  # of the host's, nothing went with the volumes


FAILURES = [
    (
        {"type": "nosuchfs", "device": ":/x", "o": "addr=127.0.0.1,rw,nolock"},
        "failed to mount local volume: mount :/x:{}, data: addr=127.0.0.1,nolock: no such device",
    ),
    (
        {"type": "none", "device": "/none/such", "o": "bind"},
        "failed to mount local volume: mount /none/such:{}, flags: 0x1000: "
        "no such file or directory",
    ),
    (
        {"type": "tmpfs", "device": "tmpfs", "o": "nosuid,noexec,defaults"},
        "failed to mount local volume: mount tmpfs:{}, flags: 0xa, data: defaults: "
        "invalid argument",
    ),
    (
        {"type": "tmpfs", "device": "tmpfs", "o": "password=hunter2"},
        "failed to mount local volume: mount tmpfs:{}, data: password=********: invalid argument",
    ),
    ({"type": "tmpfs", "device": ""}, "missing device in volume options"),
]


@AS_ROOT
@pytest.mark.parametrize(("options", "why"), FAILURES, ids=range(len(FAILURES)))
async def test_what_cannot_be_mounted(tmp_path: Path, options: dict[str, str], why: str) -> None:
    path = tmp_path / "volumes" / "vol" / "data"
    async with ProcessExecutor(tmp_path) as executor:
        found = await failure(executor, using("t1", "true", options))
        assert threads() == []
    text = f"starting container failed: error while mounting volume '{path}': {why}"
    assert found == text.format(path)


REFUSALS = [
    ({"foo": "bar"}, 'create vol: invalid option: "foo"'),
    ({"o": "size=10m"}, 'create vol: missing required option: "device"'),
    ({"size": "10m"}, "create vol: quota size requested but no quota support"),
]


@AS_ROOT
@pytest.mark.parametrize(("options", "why"), REFUSALS, ids=range(len(REFUSALS)))
async def test_options_that_are_refused(tmp_path: Path, options: dict[str, str], why: str) -> None:
    async with ProcessExecutor(tmp_path) as executor:
        with pytest.raises(TaskRejected) as caught:
            await executor.prepare(using("t1", "true", options))
        assert str(caught.value) == why
        with pytest.raises(TaskRejected) as caught:
            await executor.create_volume("vol", {}, options)
        assert str(caught.value) == why
        assert await executor.volumes() == []
        await executor.create_volume("vol", {})
        await executor.prepare(using("t1", "true", options))  # it is there, and stays as it is


async def test_without_root_nothing_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyswarm.runtime.executors.process.can_make_namespaces", lambda: False)
    why = ": tasks of this node have no namespaces of their own, since it does not run as root"
    async with ProcessExecutor(tmp_path) as executor:
        with pytest.raises(TaskRejected) as caught:
            await executor.create_volume("vol", {}, TMPFS)
        assert str(caught.value) == f"create vol: its driver is to mount something{why}"
        with pytest.raises(TaskRejected, match='create vol: invalid option: "foo"'):
            await executor.create_volume("vol", {}, {"foo": "1"})
        made = VolumeOptions(driver_options=TMPFS)  # by a node that did
        executor._directories.volumes.ensure("vol", made)
        with pytest.raises(TaskRejected) as caught:
            await executor.prepare(using("t1", "true", {}))
        assert str(caught.value) == f"volume vol is to be mounted by its driver{why}"


@AS_ROOT
async def test_a_file_server_that_does_not_answer_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def slow(_: object) -> None:
        asked.set()
        answer.wait()

    monkeypatch.setattr(volumemounts, "mount", slow)
    try:
        async with ProcessExecutor(tmp_path) as executor, trio.open_nursery() as nursery:
            await executor.prepare(using("t1", "true", TMPFS))
            await executor.prepare(using("t2", "echo well", {}, name="other"))
            nursery.start_soon(executor.start, "t1")
            await trio.to_thread.run_sync(asked.wait)
            assert await told(executor, using("t2", "echo well", {}, name="other")) == ["well"]
            nursery.cancel_scope.cancel()
    finally:
        answer.set()
    while threads():  # noqa: ASYNC110 - it is nobody's any more
        await trio.sleep(0.01)


@AS_ROOT
async def test_a_task_that_was_stopped_while_it_waited_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = threading.Event(), threading.Event()
    real = volumemounts.mount

    def slow(use: volumemounts.VolumeUse) -> None:
        asked.set()
        answer.wait()
        real(use)

    monkeypatch.setattr(volumemounts, "mount", slow)
    async with ProcessExecutor(tmp_path) as executor:
        await executor.prepare(using("t1", "sleep 1000", TMPFS))
        async with trio.open_nursery() as nursery:

            async def starts() -> None:
                with pytest.raises(TaskFailed, match="stopped before it was started"):
                    await executor.start("t1")

            nursery.start_soon(starts)
            await trio.to_thread.run_sync(asked.wait)
            await executor.terminate("t1")
            answer.set()
        assert threads() == []


NODE = """
import sys, trio
from test_executors_volumes import TMPFS, using
from pyswarm.runtime.executors import ProcessExecutor

async def main():
    executor = ProcessExecutor(sys.argv[1])
    await executor.prepare(using("t1", "sleep 1000", TMPFS | {"device": sys.argv[2]}))
    print((await executor.start("t1")).pid, flush=True)
    await trio.sleep_forever()

trio.run(main)
"""


@AS_ROOT
async def test_what_a_killed_node_had_mounted_goes_with_it(tmp_path: Path) -> None:
    """With the node and its task, before any other node is there to see to it."""
    name = f"of-{os.getpid()}"
    node = subprocess.Popen(
        [sys.executable, "-c", NODE, str(tmp_path), name],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert node.stdout is not None
    pid = int(node.stdout.readline())
    held = namespaces_with(name)
    assert f"/proc/{pid}/mounts" in held
    node.kill()
    node.wait()
    node.stdout.close()
    while namespaces_with(name):  # noqa: ASYNC110
        await trio.sleep(0.01)


def namespaces_with(device: str) -> list[str]:
    """Processes and threads that see something of that device mounted."""
    found = []
    for path in (*Path("/proc").glob("[0-9]*/mounts"), *Path("/proc").glob("[0-9]*/task/*/mounts")):
        try:
            if f"\n{device} " in "\n" + path.read_text(encoding="utf-8"):
                found.append(str(path))
        except OSError:
            continue
    return found


@AS_ROOT
async def test_a_subpath_cannot_be_moved_out_of_its_volume(tmp_path: Path) -> None:
    """Not even by a task that has the volume, after the other one was checked."""
    async with ProcessExecutor(tmp_path) as executor:
        await executor.create_volume("vol", {})
        data = tmp_path / "volumes" / "vol" / "data"
        (data / "sub").mkdir()
        await executor.prepare(using("t1", "ls /mnt/v", {}, subpath="sub"))
        (data / "sub").rename(data / "old")
        (data / "sub").symlink_to("/etc")
        with pytest.raises(TaskFailed, match="mount sub: invalid cross-device link"):
            await executor.start("t1")
