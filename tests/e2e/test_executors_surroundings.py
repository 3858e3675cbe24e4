"""What a process finds around it: mounts, files, names, limits; as root, and as an ordinary user.

As root everything is looked at from inside the task, and then the host is looked at: nothing of it
may be there. What an ordinary user's node does is tried in a process of such a user.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from pyswarm.agent import Exited, Started, TaskFailed, TaskRejected, task_context
from pyswarm.agent.executor import TaskFile
from pyswarm.errors import FailedPrecondition, NotFound
from pyswarm.model import ContainerSpec, Mount, Task, TaskSpec
from pyswarm.model.resources import GenericResource, Limits, ResourceRequirements
from pyswarm.model.specs import (
    BindOptions,
    DNSConfig,
    Healthcheck,
    TmpfsOptions,
    VolumeOptions,
)
from pyswarm.model.states import MountType
from pyswarm.runtime.executors import Image, ProcessExecutor, sandbox
from pyswarm.runtime.executors.capabilities import can_make_namespaces
from pyswarm.runtime.executors.cgroups import PARENT, Cgroups
from pyswarm.runtime.executors.execution import Command, CommandFailed
from pyswarm.runtime.executors.health import HealthWatch
from pyswarm.testing.executors import EXECUTOR_CHECKS, ShellBehaviours, check_executor
from pyswarm.testing.programs import PROGRAM_CHECKS
from swarms import until

AS_ROOT = pytest.mark.skipif(not can_make_namespaces(), reason="this is not root on its own host")
LIMITED = pytest.mark.skipif(
    not can_make_namespaces() or not Cgroups.find().version, reason="no control groups here"
)
NOBODY = 65534
OF_ENGINES = re.compile(r"/(netns|docker|containerd|containers|moby|overlay2|buildkit)(/|$)")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No mount and no control group of a task outlives a test."""
    before = mounts()
    yield
    assert [line for line in mounts() if line not in before] == []
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{PARENT}/{os.getpid()}.*"))


def mounts() -> list[str]:
    """Those of this host, but for what engines beside us mount while we look (of their containers,
    and network namespaces)."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not OF_ENGINES.search(line.split()[1])]


def sh(script: str, **fields: object) -> ContainerSpec:
    return ContainerSpec("host", command=("sh", "-c", script), **fields)  # type: ignore[arg-type]


def file(path: str, data: bytes, kind: str = "secret", **fields: object) -> TaskFile:
    return TaskFile(kind, path.rpartition("/")[2], path, data, **fields)  # type: ignore[arg-type]


async def run(
    container: ContainerSpec,
    *files: TaskFile,
    limits: ResourceRequirements | None = None,
    executor: ProcessExecutor | None = None,
    generic: tuple[GenericResource, ...] = (),
) -> tuple[Exited, list[str]]:
    """One task from preparing to removing; how it ended, and its lines."""
    spec = TaskSpec(container, resources=limits or ResourceRequirements())
    task = task_context(
        Task("t1", "s1", spec, assigned_generic=generic),
        hostname="here",
        files={one.path: one for one in files},
    )
    own = executor or ProcessExecutor()
    try:
        await own.prepare(task)
        await own.start("t1")
        exited = await own.wait("t1")
        lines = [line.data.decode() async for line in own.logs("t1")]
        await own.remove("t1")
        return exited, lines
    finally:
        if executor is None:
            await own.aclose()


async def lines(container: ContainerSpec, *files: TaskFile) -> list[str]:
    exited, found = await run(container, *files)
    assert exited == Exited(0), (exited, found)
    return found


# -- as root: files and mounts


@AS_ROOT
async def test_secrets_and_configs_are_at_their_targets() -> None:
    found = await lines(
        sh("cat /run/secrets/pw /app.conf /etc/deep/er/x; stat -c '%a %u' /run/secrets/pw"),
        file("/run/secrets/pw", b"hunter2\n", mode=0o400, uid="7"),
        file("/app.conf", b"conf\n", "config"),
        file("/etc/deep/er/x", b"deep\n", "config"),
    )
    assert found == ["hunter2", "conf", "deep", "400 7"]
    for path in ("/run/secrets", "/app.conf", "/etc/deep"):
        assert not os.path.exists(path)


@AS_ROOT
async def test_secrets_cannot_be_written_and_the_rest_of_the_tree_is_there() -> None:
    script = "ls -A / /run; echo no 2>/dev/null > /run/secrets/pw || echo kept; cat /run/secrets/pw"
    found = await lines(sh(script), file("/run/secrets/pw", b"a"))
    assert found[-2:] == ["kept", "a"]
    assert set(os.listdir("/")) <= set(found) and set(os.listdir("/run")) <= set(found)


@AS_ROOT
async def test_volumes_outlive_their_tasks(tmp_path: Path) -> None:
    volume = Mount("/data", "v1", volume=VolumeOptions(labels={"a": "b"}))
    async with ProcessExecutor(tmp_path) as executor:
        _, found = await run(sh("echo kept > /data/f", mounts=(volume,)), executor=executor)
        _, found = await run(sh("cat /data/f", mounts=(volume,)), executor=executor)
        assert found == ["kept"]
        (one,) = await executor.volumes()
        assert (one.name, one.labels) == ("v1", {"a": "b"})
    async with ProcessExecutor(tmp_path) as executor:  # the node was started again
        _, found = await run(sh("cat /data/f", mounts=(volume,)), executor=executor)
        assert found == ["kept"]
        task = task_context(
            Task("t2", "s1", TaskSpec(sh("sleep 100", mounts=(volume,)))), hostname=""
        )
        await executor.prepare(task)
        with pytest.raises(FailedPrecondition, match="volume is in use"):
            await executor.remove_volume("v1")
        assert await executor.prune_volumes() == []
        await executor.remove("t2")
        assert await executor.prune_volumes() == ["v1"]
        with pytest.raises(NotFound):
            await executor.remove_volume("v1")
    assert not os.path.exists("/data")


@AS_ROOT
async def test_a_volume_without_a_name_goes_with_its_task(tmp_path: Path) -> None:
    async with ProcessExecutor(tmp_path) as executor:
        _, found = await run(
            sh("echo x > /data/f; cat /data/f", mounts=(Mount("/data"),)), executor=executor
        )
        assert found == ["x"]
        assert await executor.volumes() == []


@AS_ROOT
async def test_binds(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "one").write_text("1\n", encoding="utf-8")
    bound = Mount("/b/c", str(tmp_path), type=MountType.BIND)
    readable = Mount("/r", str(tmp_path), type=MountType.BIND, read_only=True)
    single = Mount("/etc/single", str(tmp_path / "one"), type=MountType.BIND)
    script = "cat /b/c/one /etc/single; echo 2 > /b/c/two; touch /r/x 2>/dev/null || echo refused"
    assert await lines(sh(script, mounts=(bound, readable, single))) == ["1", "1", "refused"]
    assert (tmp_path / "two").read_text(encoding="utf-8") == "2\n"


@AS_ROOT
async def test_a_bound_directory_that_another_mount_hides() -> None:
    """Sources are those of the host, whatever else is mounted over them."""
    place = Path("/tmp/pyswarm-test-hidden")
    place.mkdir()
    try:
        (place / "f").write_text("there\n", encoding="utf-8")
        hides = Mount("/tmp", type=MountType.TMPFS)
        bound = Mount("/tmp/x/y", str(place), type=MountType.BIND)
        found = await lines(sh("cat /tmp/x/y/f; ls /tmp", mounts=(bound, hides)))
        assert found[0] == "there" and "x" in found and len(found) == 3
    finally:
        (place / "f").unlink()
        place.rmdir()


@AS_ROOT
async def test_tmpfs() -> None:
    sized = Mount("/tm", type=MountType.TMPFS, tmpfs=TmpfsOptions(1 << 20, 0o700))
    script = (
        "stat -c %a /tm /any; df -k --output=size /tm | tail -1 | tr -d ' '; "
        "cp /bin/true /any/p; /any/p 2>/dev/null || echo no programs"
    )
    found = await lines(sh(script, mounts=(sized, Mount("/any", type=MountType.TMPFS))))
    assert found == ["700", "1777", "1024", "no programs"]


@AS_ROOT
async def test_a_read_only_root() -> None:
    script = (
        "touch /x /etc/x /tmp/x /run/secrets/x 2>/dev/null; ls /x /etc/x /tmp/x 2>/dev/null;"
        "touch here && echo here; touch /data/f && echo volume; echo x > /dev/null && echo device"
    )
    container = sh(script, read_only=True, mounts=(Mount("/data", "vv"),))
    found = await lines(container, file("/run/secrets/pw", b"x"))
    assert found == ["here", "volume", "device"]


BAD_MOUNTS = [
    (
        Mount("/d", "/nonexistent-path", type=MountType.BIND),  # recorded
        'invalid mount config for type "bind": bind source path does not exist: /nonexistent-path',
    ),
    (
        Mount("d", "/tmp", type=MountType.BIND),
        "invalid mount target, must be an absolute path: d",
    ),
    (
        Mount("/d", "d", type=MountType.BIND),
        "invalid bind mount source, must be an absolute path: d",
    ),
    (
        Mount("/d", "/tmp"),
        "invalid volume mount source, must not be an absolute path: /tmp",
    ),
    (
        Mount("/d", "d", type=MountType.TMPFS),
        "invalid tmpfs source, source must be empty",
    ),
    (
        Mount("/d/..", "vv"),
        "invalid mount config for type \"volume\": invalid specification: destination can't be '/'",
    ),
    (
        Mount("/d", "/tmp", type=MountType.BIND, volume=VolumeOptions(no_copy=True)),
        'invalid mount config for type "bind": field VolumeOptions must not be specified',
    ),
    (
        Mount("/d", "vv", tmpfs=TmpfsOptions(mode=0o700)),
        'invalid mount config for type "volume": field TmpfsOptions must not be specified',
    ),
    (
        Mount("/d", "group:x", type=MountType.CLUSTER),
        'invalid mount config for type "cluster": mount type unknown',
    ),
    (
        Mount("/d", r"\\.\pipe\x", type=MountType.NPIPE),
        'invalid mount config for type "npipe": mount type unknown',
    ),
    (
        Mount("/d", "vv", volume=VolumeOptions(driver="nfs")),
        'error looking up volume plugin nfs: plugin "nfs" not found',
    ),
    (
        Mount("/d", "vv", volume=VolumeOptions(subpath="../..")),
        "cannot access path ../.. in volume vv: no such directory",
    ),
    (
        Mount("/d", "/tmp", type=MountType.BIND, bind=BindOptions(propagation="rshared")),
        'invalid mount config for type "bind": propagation rshared is not possible here: what a '
        "task mounts would stay on its host",
    ),
    (
        Mount("/d", type=MountType.TMPFS, tmpfs=TmpfsOptions(options="huge")),
        'invalid mount config for type "tmpfs": invalid option: huge',
    ),
]


@pytest.mark.parametrize(("mount", "why"), BAD_MOUNTS, ids=lambda value: str(value)[:30])
async def test_mounts_that_cannot_be(mount: Mount, why: str) -> None:
    with pytest.raises(TaskRejected) as caught:
        await run(sh("true", mounts=(mount,)))
    assert str(caught.value) == why


async def test_a_variable_without_a_name() -> None:
    with pytest.raises(TaskRejected, match=r"^invalid environment variable: =x$"):
        await run(sh("true", env=("A=1", "=x")))


def following(target: str, source: Path, propagation: str = "rslave") -> Mount:
    options = BindOptions(propagation=propagation)
    return Mount(target, str(source), type=MountType.BIND, bind=options)


@contextlib.contextmanager
def in_memory(path: Path, propagation: int) -> Iterator[None]:
    """A directory of this host that something is mounted on."""
    path.mkdir(exist_ok=True)
    sandbox.mount("tmpfs", str(path), "tmpfs", 0, "size=64k")
    try:
        sandbox.mount("", str(path), "", propagation)
        yield
    finally:
        sandbox.libc.umount2(os.fsencode(path), sandbox.MNT_DETACH)


MS_SHARED = 1 << 20


@AS_ROOT
async def test_a_bind_may_follow_what_its_host_mounts(tmp_path: Path) -> None:
    """And only this one, and nothing that the task mounts comes back."""
    top, later, below = tmp_path / "top", tmp_path / "top/later", tmp_path / "top/below"
    with in_memory(top, MS_SHARED), in_memory(below, MS_SHARED):
        later.mkdir()
        (below / "deep").mkdir()
        mounts = (
            following("/all", top),
            following("/one", top, "slave"),
            following("/none", top, "rprivate"),
        )
        script = (
            "touch /all/up;"
            "until test -e /all/below/deep/f -a -e /all/later/f; do sleep 0.02; done;"
            "for i in all one none; do for j in later below/deep; do echo $i $j $(ls /$i/$j); done;"
            " done; mkdir /all/own && mount -t tmpfs tmpfs /all/own && touch /all/own/f"
        )
        found: list[str] = []
        async with trio.open_nursery() as nursery:

            async def task() -> None:
                found.extend(await lines(sh(script, mounts=mounts)))
                nursery.cancel_scope.cancel()

            nursery.start_soon(task)
            await until((top / "up").exists)
            with in_memory(later, MS_SHARED), in_memory(below / "deep", MS_SHARED):
                (later / "f").touch()
                (below / "deep" / "f").touch()
                await trio.sleep_forever()
        assert found == [
            "all later f",
            "all below/deep f",
            "one later f",
            "one below/deep",
            "none later",
            "none below/deep",
        ]
        assert not (top / "own/f").exists()


@AS_ROOT
async def test_a_bind_cannot_follow_what_nobody_is_told(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    with in_memory(alone, sandbox.MS_PRIVATE), pytest.raises(TaskFailed) as caught:
        await run(sh("true", mounts=(following("/d", alone),)))
    why = f"path {alone} is mounted on {alone} but it is not a shared or slave mount"
    assert str(caught.value).endswith(why)


# -- as root: names, terminal, capabilities, kernel


@AS_ROOT
async def test_names() -> None:
    container = sh(
        "hostname; cat /etc/hosts; grep -v '^#' /etc/resolv.conf",
        hostname="web-1",
        hosts=("1.2.3.4 db database",),
        dns=DNSConfig(("9.9.9.9",), ("example.com",), ("ndots:2",)),
    )
    found = await lines(container)
    assert found[0] == "web-1"
    assert {"1.2.3.4\tdb database", "127.0.1.1\tweb-1", "nameserver 9.9.9.9"} <= set(found)
    assert found[-2:] == ["search example.com", "options ndots:2"]
    assert os.uname().nodename != "web-1"


async def test_a_terminal() -> None:
    found = await lines(
        sh("tty -s && echo terminal; test -t 1 && echo out; echo err >&2", tty=True)
    )
    assert [line.rstrip("\r") for line in found] == ["terminal", "out", "err"]


@AS_ROOT
async def test_capabilities_and_sysctls() -> None:
    before = Path("/proc/sys/kernel/msgmax").read_text(encoding="ascii")
    script = "grep CapEff /proc/self/status; cat /proc/sys/kernel/msgmax"
    fields = {"capability_drop": ("ALL",), "capability_add": ("CAP_CHOWN",)}
    found = await lines(sh(script, sysctls={"kernel.msgmax": "4321"}, **fields))
    assert found == ["CapEff:\t0000000000000001", "4321"]
    assert Path("/proc/sys/kernel/msgmax").read_text(encoding="ascii") == before
    for field, value in {"sysctls": {"vm.swappiness": "1"}, "capability_drop": ("NOPE",)}.items():
        with pytest.raises(TaskRejected, match=r"vm\.swappiness|NOPE"):
            await run(sh("true", **{field: value}))


@AS_ROOT
async def test_a_health_check_sees_what_the_task_sees() -> None:
    check = Healthcheck(test=("CMD", "grep", "-q", "hunter2", "/run/secrets/pw"))
    task = task_context(
        Task("t1", "s1", TaskSpec(sh("sleep 100", healthcheck=check))),
        hostname="",
        files={"/run/secrets/pw": file("/run/secrets/pw", b"hunter2")},
    )
    async with ProcessExecutor() as executor:
        await executor.prepare(task)
        await executor.start("t1")
        assert await executor.probe("t1") == 0


async def test_an_image_may_bring_a_health_check() -> None:
    check = Healthcheck(test=("CMD", "test", "-e", "here"), interval=0.02, retries=500)
    images = {"app": Image(("sh", "-c", "sleep 0.1; touch here; sleep 100"), healthcheck=check)}
    task = task_context(Task("t1", "s1", TaskSpec(ContainerSpec("app"))), hostname="")
    async with ProcessExecutor(images=images) as executor:
        await executor.prepare(task)
        started = await HealthWatch(executor).start(task.task)  # returns when it is healthy
        assert isinstance(started, Started)
        assert await executor.probe("t1") == 0


@AS_ROOT
async def test_another_user_in_a_sandbox() -> None:
    found = await lines(
        sh(
            "id -u; cat /run/secrets/pw; touch /data/f && echo wrote",
            user="nobody",
            mounts=(Mount("/data", type=MountType.TMPFS),),
        ),
        file("/run/secrets/pw", b"x\n", uid=str(NOBODY), mode=0o400),
    )
    assert found == [str(NOBODY), "x", "wrote"]


@AS_ROOT
async def test_another_user_works_behind_closed_doors(tmp_path: Path) -> None:
    """The state directory is the node's alone; a task's directory is its own all the same."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    script = "pwd; touch mine; ls $PWD; touch /run/pyswarm/x 2>/dev/null || ls -d /etc"
    for fields in ({}, {"read_only": True}):
        async with ProcessExecutor(closed / "tasks") as executor:
            container = sh(script, user="nobody", **fields)
            exited, found = await run(container, executor=executor)
            assert (exited.code, found) == (0, ["/run/pyswarm/work", "mine", "/etc"])
    assert not os.path.exists("/run/pyswarm")


async def test_generic_resources_are_named() -> None:
    generic = (GenericResource("gpu", names=("u1", "u2")), GenericResource("fpga", 3))
    _, found = await run(sh("echo $DOCKER_RESOURCE_GPU $DOCKER_RESOURCE_FPGA"), generic=generic)
    assert found == ["u1,u2 3"]


# -- limits


def limited(**limits: int) -> ResourceRequirements:
    return ResourceRequirements(Limits(**limits))


@LIMITED
async def test_too_much_memory_is_told() -> None:
    script = "exec python3 -c 'x = bytearray(200 << 20)'"
    exited, _ = await run(sh(script), limits=limited(memory_bytes=32 << 20))
    assert exited == Exited(137, "out of memory")


@LIMITED
async def test_too_many_processes() -> None:
    script = "for i in 1 2 3 4 5 6; do sleep 1 & done"
    exited, found = await run(sh(script), limits=limited(pids=4))
    assert exited.code != 0 and "fork" in " ".join(found).lower()


@LIMITED
async def test_cpu_time() -> None:
    groups = Cgroups.find()
    path = "/sys/fs/cgroup/cpu$(grep :cpu: /proc/self/cgroup | cut -d: -f3)/cpu.cfs_quota_us"
    if groups.version == 2:
        path = "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cpu.max"
    exited, found = await run(sh(f"cat {path}"), limits=limited(nano_cpus=500_000_000))
    assert exited.code == 0 and found[0].split()[0] == "50000"


def test_groups_of_nodes_that_are_gone_are_swept(tmp_path: Path) -> None:
    """On a tree like that of version 2."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids", encoding="ascii")
    (tmp_path / "cgroup.subtree_control").write_text("", encoding="ascii")
    groups = Cgroups.find(tmp_path)
    assert groups.version == 2
    (own,) = groups.make("t1", limited(memory_bytes=64 << 20, nano_cpus=10**9, pids=5))
    wanted = {"memory.max": "67108864", "cpu.max": "100000 100000", "pids.max": "5"}
    for name, value in wanted.items():
        assert Path(own, name).read_text(encoding="ascii") == value
    gone = tmp_path / PARENT / "4194305.t2"  # beyond the largest process id
    gone.mkdir()
    groups.sweep()
    assert not gone.exists() and Path(own).exists()


def test_another_node_may_have_taken_the_parent_away(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids", encoding="ascii")
    groups = Cgroups.find(tmp_path)
    shutil.rmtree(tmp_path / PARENT)
    groups.make("t1", limited(pids=5))
    control = (tmp_path / PARENT / "cgroup.subtree_control").read_text(encoding="ascii")
    assert control == "+cpu +memory +pids"


# -- an end by force

NODE = """
import sys, trio
from pyswarm.agent import task_context
from pyswarm.agent.executor import TaskFile
from pyswarm.model import ContainerSpec, Mount, Task, TaskSpec
from pyswarm.model.resources import Limits, ResourceRequirements
from pyswarm.model.states import MountType
from pyswarm.runtime.executors import ProcessExecutor
from pyswarm.runtime.executors.execution import Command

async def main():
    container = ContainerSpec(
        "host", command=("sleep", "1000"), hostname="x",
        mounts=(Mount("/data", "vv"), Mount("/tm", type=MountType.TMPFS)),
    )
    spec = TaskSpec(container, resources=ResourceRequirements(Limits(pids=9)))
    secret = TaskFile("secret", "pw", "/run/secrets/pw", b"hunter2")
    task = task_context(Task("t1", "s1", spec), hostname="", files={secret.path: secret})
    executor = ProcessExecutor(sys.argv[1])
    await executor.prepare(task)
    if sys.argv[2] == "started":
        await executor.start("t1")
        print((await executor.execute("t1", Command(argv=("sleep", "1000")))).pid, flush=True)
    else:
        print(0, flush=True)
    await trio.sleep_forever()

trio.run(main)
"""


@LIMITED
@pytest.mark.parametrize("step", ["prepared", "started"])
async def test_nothing_is_left_of_a_node_that_was_killed(tmp_path: Path, step: str) -> None:
    node = subprocess.Popen(
        [sys.executable, "-c", NODE, str(tmp_path), step], stdout=subprocess.PIPE, text=True
    )
    assert node.stdout is not None
    pid = int(node.stdout.readline())
    node.send_signal(signal.SIGKILL)
    node.wait()
    node.stdout.close()
    while pid and os.path.exists(f"/proc/{pid}"):  # noqa: ASYNC110
        await trio.sleep(0.01)
    async with ProcessExecutor(tmp_path / "other") as executor:
        await run(sh("true"), file("/run/secrets/x", b"y"), executor=executor)
        groups = list(Path("/sys/fs/cgroup").glob(f"**/{PARENT}/{node.pid}.*"))
    assert not groups
    assert not os.path.exists("/data") and not os.path.exists("/run/secrets")
    for place in Path("/dev/shm").glob("pyswarm-tasks-*/t1"):
        assert "hunter2" not in "".join(p.read_text() for p in place.rglob("*") if p.is_file())


# -- as an ordinary user


async def as_ordinary_user(python: str) -> None:
    """Everything that is tried by an ordinary user's node; asserts."""

    async def tried(
        script: str = "true", limits: ResourceRequirements | None = None, **fields: object
    ) -> str:
        try:
            async with ProcessExecutor(python=python) as executor:
                _, found = await run(sh(script, **fields), limits=limits, executor=executor)
                return " ".join(found)
        except TaskRejected as error:
            return f"rejected: {error}"

    three = (
        Mount("/d", "vv"),
        Mount("/b", "/tmp", type=MountType.BIND),
        Mount("/m", type=MountType.TMPFS),
    )
    script = "touch $PYSWARM_MOUNT_1/f $PYSWARM_MOUNT_3/f && echo $PYSWARM_MOUNT_2"
    assert await tried(script, mounts=three) == "/tmp"
    refused: dict[str, dict[str, object]] = {
        "read_only": {"read_only": True},
        "hosts": {"hosts": ("1.2.3.4 x",)},
        "sysctls": {"sysctls": {"kernel.sem": "1"}},
        "dns": {"dns": DNSConfig(("9.9.9.9",))},
        "capability_add": {"capability_add": ("CHOWN",)},
        "mounts.read_only": {"mounts": (Mount("/r", "vv", read_only=True),)},
        "mounts.bind.propagation": {"mounts": (following("/b", Path("/tmp")),)},
        "mounts.tmpfs.size_bytes": {
            "mounts": (Mount("/m", type=MountType.TMPFS, tmpfs=TmpfsOptions(1 << 20)),)
        },
        "mounts.volume.driver_options": {
            "mounts": (Mount("/m", "vv", volume=VolumeOptions(driver_options={"k": "v"})),)
        },
    }
    refusal = await tried("true", groups=("daemon",))
    assert refusal == "rejected: unable to be in groups daemon: this node does not run as root"
    with pytest.raises(TaskFailed) as caught:
        await tried("true", oom_score_adj=-500)
    assert str(caught.value) == "starting container failed: oom_score_adj: permission denied"
    for what, fields in refused.items():
        answer = await tried("true", None, **fields)
        assert answer.startswith(f"rejected: {what} is asked for: tasks of this"), answer
    assert await tried("echo well", dns=DNSConfig()) == "well"
    assert await tried("ulimit -v", limited(memory_bytes=256 << 20)) == str(256 << 10)
    assert await tried("echo $HOSTNAME", hostname="h", capability_drop=("ALL",)) == "h"
    assert await tried("tty -s && echo terminal", tty=True) == "terminal\r"
    await commands_of_an_ordinary_user(python)
    checks = (*EXECUTOR_CHECKS, *PROGRAM_CHECKS)
    await check_executor(lambda: ProcessExecutor(python=python), ShellBehaviours(), checks=checks)


async def commands_of_an_ordinary_user(python: str) -> None:
    """``docker exec`` where the node's daemon is not root."""
    spec = TaskSpec(sh("while :; do sleep 1000; done", env=("A=1",)))
    async with ProcessExecutor(python=python) as executor:
        await executor.prepare(task_context(Task("t1", "s1", spec), hostname="here"))
        await executor.start("t1")

        async def told(script: str, said: bytes = b"", **more: object) -> tuple[int, str]:
            command = Command(
                argv=("sh", "-c", script), stdin=True, stdout=True, stderr=True, **more
            )  # type: ignore[arg-type]
            execution = await executor.execute("t1", command)
            await execution.feed(said)
            if said:
                await execution.feed(b"")
            found = b""
            while (output := await execution.read()) is not None:
                found += output[1]
            execution.close()
            return await execution.wait(), found.decode()

        own = os.geteuid()
        script = "id -u; echo $A $B; cat; exit 3"
        assert await told(script, b"more\n", env=("B=2",)) == (3, f"{own}\n1 2\nmore\n")
        assert await told("tty -s && echo terminal", tty=True) == (0, "terminal\r\n")
        assert (await told("id -u", user=str(own)))[1] == f"{own}\n"
        with pytest.raises(CommandFailed) as caught:
            await told("id -u", user="0" if own else "1")
        assert "this node does not run as root" in str(caught.value)


PYTHONS = (
    sys.executable,
    *(shutil.which("python3", path=place) or "" for place in ("/usr/local/bin", "/usr/bin")),
)


def may_run(python: str) -> bool:
    """Whether an ordinary user may."""
    try:
        return not subprocess.run([python, "-I", "-S", "-c", ""], user=NOBODY, cwd="/").returncode
    except PermissionError:
        return False


def test_an_ordinary_user(tmp_path: Path) -> None:
    """In a process of its own, which gives root up."""
    if os.geteuid() != 0:
        trio.run(as_ordinary_user, sys.executable)
        return
    python = next((path for path in PYTHONS if path and may_run(path)), "")
    if not python:
        pytest.skip("no Python that an ordinary user may run")
    ProcessExecutor().describe()  # loads what that user might not be able to read
    output = os.open(tmp_path / "told", os.O_RDWR | os.O_CREAT)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.chdir("/")
            trio.run(as_ordinary_user, python)
            os.write(output, b"all well")
        except BaseException as error:
            os.write(output, repr(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(output)
    assert (tmp_path / "told").read_text(encoding="utf-8") == "all well"
