"""What only processes can do: leave grandchildren behind, miss programs, be killed from outside."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from pyswarm.agent import Executor, TaskFailed, TaskFile, TaskRejected
from pyswarm.model.resources import GenericResource
from pyswarm.model.specs import ContainerSpec, LogDriver, Privileges, Ulimit
from pyswarm.runtime.executors import Image
from pyswarm.runtime.executors.credentials import User, stop_signal
from pyswarm.runtime.executors.directories import Directories, sweep
from pyswarm.runtime.executors.process import ProcessExecutor
from pyswarm.runtime.executors.usage import children_of
from pyswarm.testing.executors import Bench, ShellBehaviours

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
SHELL = ShellBehaviours()


@asynccontextmanager
async def open_bench(**options: object) -> AsyncIterator[Bench]:
    async with ProcessExecutor(**options) as executor:  # type: ignore[arg-type]
        assert isinstance(executor, Executor)
        yield Bench(executor, SHELL)


async def first_line(bench: Bench, id: str) -> str:
    async with aclosing(bench.executor.logs(id, follow=True)) as lines:
        async for line in lines:
            return line.data.decode()
    raise AssertionError("it printed nothing")


def is_alive(pid: int) -> bool:
    """Whether this process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def until(what: Callable[[], bool]) -> None:
    """Wait for something outside of this process, which cannot tell us."""
    while not what():  # noqa: ASYNC110
        await trio.sleep(0.002)


# A shell with a child that ignores signals, in a session of its own, with a child of its own.
FAMILY = (
    "setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000 & echo $$ $!; wait' & "
    "trap 'exit 0' TERM; wait; sleep 1000"
)


async def family(bench: Bench) -> tuple[str, list[int]]:
    id = await bench.start(SHELL.shell(FAMILY))
    pids = [int(pid) for pid in (await first_line(bench, id)).split()]
    assert all(map(is_alive, pids))
    return id, pids


async def test_no_grandchild_survives_its_task() -> None:
    async with open_bench() as bench:
        id, pids = await family(bench)
        await bench.executor.shutdown(id)
        assert (await bench.executor.wait(id)).code == 0
        assert not any(map(is_alive, pids))


async def test_no_grandchild_survives_when_the_task_ends_by_itself() -> None:
    async with open_bench() as bench:
        id = await bench.start(SHELL.shell("setsid sleep 1000 & echo $!; exit 7"))
        pid = int(await first_line(bench, id))
        assert (await bench.executor.wait(id)).code == 7
        assert not is_alive(pid)


async def test_closing_kills_everything_and_leaves_nothing(tmp_path: Path) -> None:
    async with open_bench() as bench:
        _, pids = await family(bench)
    assert not any(map(is_alive, pids))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no zombie either


async def test_a_killed_task_is_seen(tmp_path: Path) -> None:
    async with open_bench() as bench:
        task = bench.task(SHELL.runs("ready"))
        await bench.executor.prepare(task)
        started = await bench.executor.start(task.id)
        assert started.container_id == task.id
        os.kill(started.pid, signal.SIGKILL)
        assert (await bench.executor.wait(task.id)).code == 137


async def test_a_killed_supervisor_takes_its_task_along() -> None:
    async with open_bench() as bench:
        script = "sleep 1000 & a=$!; setsid sleep 1000 & echo $$ $a $! $PPID; wait"
        id = await bench.start(SHELL.shell(script))
        *below, supervisor = map(int, (await first_line(bench, id)).split())
        assert all(map(is_alive, below))
        os.kill(supervisor, signal.SIGKILL)
        assert (await bench.executor.wait(id)).code == 137
        await until(lambda: not any(map(is_alive, below)))


async def test_when_what_supervisors_are_forked_from_is_killed() -> None:
    """Its tasks end with it, and the next one starts as if nothing had been."""
    async with open_bench() as bench:
        id, pids = await family(bench)
        (zygote,) = children_of(os.getpid())
        os.kill(zygote, signal.SIGKILL)
        assert (await bench.executor.wait(id)).code == 137
        await until(lambda: not any(map(is_alive, pids)))
        assert await bench.run(SHELL.says("again")) == ["again"]


async def test_a_python_that_cannot_be_run(tmp_path: Path) -> None:
    for python, error in ((str(tmp_path / "none"), OSError), ("/bin/false", TaskFailed)):
        async with open_bench(python=python) as bench:
            task = bench.task(SHELL.says("x"))
            await bench.executor.prepare(task)
            with pytest.raises(error):
                await bench.executor.start(task.id)


NODE = """
import sys, trio
from pyswarm.agent import TaskFile
from pyswarm.runtime.executors.process import ProcessExecutor
from pyswarm.testing.executors import Bench, ShellBehaviours
async def main():
    shell = ShellBehaviours()
    bench = Bench(ProcessExecutor(), shell)
    secret = TaskFile("secret", "s", "/run/secrets/s", b"x")
    id = await bench.start(shell.shell(sys.argv[1]), files=(secret,))
    async for line in bench.executor.logs(id, follow=True):
        print(line.data.decode(), flush=True)
if sys.argv[2:]:  # a fork that keeps the node's descriptors, as `multiprocessing` makes them
    import os, time
    real = trio.lowlevel.spawn_system_task
    def fork_then(*args):
        trio.lowlevel.spawn_system_task = real
        if os.fork() == 0:
            time.sleep(1000)
        return real(*args)
    trio.lowlevel.spawn_system_task = fork_then
trio.run(main)
"""


@pytest.mark.parametrize("forked", [(), ("fork",)], ids=["alone", "forked"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_no_task_survives_its_node(number: int, forked: tuple[str, ...]) -> None:
    script = f"echo $PYSWARM_SECRETS_DIR; {FAMILY}"
    command = [sys.executable, "-c", NODE, script, *forked]
    node = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    with node:
        assert node.stdout is not None
        try:
            secrets = Path(node.stdout.readline().decode().strip())
            pids = [int(pid) for pid in node.stdout.readline().split()]
            assert (secrets / "s").read_bytes() == b"x"
            assert all(map(is_alive, pids))
            node.send_signal(number)
            node.wait()
        finally:
            node.kill()
    await until(lambda: not any(map(is_alive, pids)))
    await until(lambda: not secrets.exists())
    if forked:
        os.killpg(node.pid, signal.SIGKILL)  # the fork itself is not ours to end
        await until(lambda: sweep(secrets.parent.parent.parent) or not secrets.parents[1].exists())
    sweep(secrets.parent.parent.parent)
    assert not secrets.parent.parent.exists()


async def test_abandoning_ends_every_task() -> None:
    async with open_bench() as bench:
        _, pids = await family(bench)
        assert isinstance(bench.executor, ProcessExecutor)
        bench.executor.kill()
        await until(lambda: not any(map(is_alive, pids)))


# -- what cannot be started ------------------------------------------------------------------------


async def failure(container: ContainerSpec) -> TaskFailed:
    async with open_bench() as bench:
        task = bench.task(container)
        await bench.executor.prepare(task)
        with pytest.raises(TaskFailed) as caught:
            await bench.executor.start(task.id)
        with pytest.raises(TaskFailed):  # and it stays so
            await bench.executor.start(task.id)
        await bench.executor.shutdown(task.id)
    return caught.value


async def start_error(container: ContainerSpec) -> str:
    return str(await failure(container))


async def refusal(container: ContainerSpec, **options: object) -> str:
    async with open_bench(**options) as bench:
        with pytest.raises(TaskRejected) as caught:
            await bench.executor.prepare(bench.task(container))
    return str(caught.value)


def host(*command: str, **fields: object) -> ContainerSpec:
    return ContainerSpec(image="host", command=command, **fields)  # type: ignore[arg-type]


async def test_programs_that_cannot_be_started(tmp_path: Path) -> None:
    plain, broken = tmp_path / "plain", tmp_path / "broken"
    plain.write_text("not a program")
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    begin = "starting container failed: "
    nowhere = await failure(host("no-such-program"))
    assert str(nowhere) == f'{begin}exec: "no-such-program": executable file not found in $PATH'
    assert nowhere.exit_code == 127
    assert await start_error(host("/no/such")) == (
        f'{begin}exec: "/no/such": stat /no/such: no such file or directory'
    )
    no_program = await failure(host(str(plain)))
    assert str(no_program) == f'{begin}exec: "{plain}": permission denied'
    assert no_program.exit_code == 126
    plain.chmod(0o755)
    assert await start_error(host(str(plain))) == f'{begin}exec: "{plain}": exec format error'
    assert "no such file" in await start_error(host(str(broken)))
    no_directory = await failure(host("true", dir="/no/such"))
    assert str(no_directory) == f'{begin}chdir to "/no/such": no such file or directory'
    assert no_directory.exit_code == 128


REFUSED = [
    (ContainerSpec(image="host"), "No command specified"),
    (ContainerSpec(image="ghost:1"), "No such image: ghost:1"),
    (host("true", user="nope"), "unable to find user nope: no matching entries in passwd file"),
    (
        host("true", user="root:nope"),
        "unable to find group nope: no matching entries in group file",
    ),
    (
        host("true", dir="x"),
        "the working directory 'x' is invalid, it needs to be an absolute path",
    ),
    (
        host("true", ulimits=(Ulimit("nofile", 20, 10),)),
        "ulimit nofile: soft limit must not be above hard: 20 > 10",
    ),
    (host("true", stop_signal="SIGNOPE"), "invalid signal: SIGNOPE"),
    (host("true", stop_signal="SIG_IGN"), "invalid signal: SIG_IGN"),
    (host("true", stop_signal="99"), "invalid signal: 99"),
    (host("a\0b"), "a command, variable or directory of the task contains a NUL byte"),
    (host("true", ulimits=(Ulimit("nope", 1, 1),)), "invalid ulimit type: nope"),
    (
        host("true", privileges=Privileges(seccomp_mode="custom")),
        "privileges.seccomp_mode is asked for, and tasks of this node cannot have it",
    ),
]


@pytest.mark.parametrize(("container", "why"), REFUSED, ids=lambda value: str(value)[:20])
async def test_what_is_refused(container: ContainerSpec, why: str) -> None:
    assert await refusal(container) == why


async def test_a_task_that_has_no_room_is_refused(tmp_path: Path) -> None:
    """With what the disk says. Any error of it will do; this one can be had for nothing."""
    async with open_bench(state_dir=tmp_path) as bench:
        (tmp_path / "tasks").write_bytes(b"")
        with pytest.raises(TaskRejected, match="cannot make the task's files: File exists"):
            await bench.start(SHELL.runs("x"))
        (tmp_path / "tasks").unlink()
        await bench.start(SHELL.runs("x"))


# -- how it runs -----------------------------------------------------------------------------------


async def test_images() -> None:
    images = {"app": Image(("echo", "from"), ("image",), {"A": "1", "B": "1"}, dir="/")}
    async with open_bench(images=images) as bench:
        assert await bench.run(ContainerSpec(image="app:2.0")) == ["from image"]
        assert await bench.run(ContainerSpec(image="app", args=("args",))) == ["from args"]
        assert await bench.run(ContainerSpec(image="app", command=("pwd",))) == ["/"]
        show = ContainerSpec(image="app", command=("sh", "-c", "echo $A$B$HOME"))
        assert await bench.run(show, env=("B=2", "HOME=/h")) == ["12/h"]
        for name in ("busybox:1.36", "docker.io/library/alpine@sha256:00", "library/busybox"):
            assert await bench.run(ContainerSpec(image=name, args=("true",))) == []
        assert await bench.run(ContainerSpec(image="busybox")) == []  # a shell at the end of input


async def test_the_environment_of_the_host_stays_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_PASSWORD", "hunter2")
    async with open_bench() as bench:
        names = [line.partition("=")[0] for line in await bench.run(host("env"))]
    assert "HOST_PASSWORD" not in names
    assert {"PATH", "HOME", "HOSTNAME", "PYSWARM_TASK_ID"} <= set(names)


async def test_a_directory_of_its_own() -> None:
    async with open_bench() as bench:
        one, two = [await bench.start(SHELL.shell("pwd; touch mine; ls")) for _ in range(2)]
        for id in (one, two):
            await bench.executor.wait(id)
        directories = [await first_line(bench, id) for id in (one, two)]
        assert directories[0] != directories[1]
        assert all((Path(d) / "mine").exists() for d in directories)
        await bench.executor.remove(one)
        assert not Path(directories[0]).exists()
    assert not Path(directories[1]).exists()


async def test_a_state_directory_keeps_logs_for_the_next_life(tmp_path: Path) -> None:
    async with open_bench(state_dir=tmp_path) as bench:
        id = await bench.start(SHELL.says("kept"))
        await bench.executor.wait(id)
    async with open_bench(state_dir=tmp_path) as bench:
        assert await first_line(bench, id) == "kept"
        await bench.executor.remove(id)
    assert list((tmp_path / "tasks").iterdir()) == []


async def test_the_stop_signal_can_be_chosen() -> None:
    for name in ("SIGUSR1", "usr1", "10"):
        async with open_bench() as bench:
            script = "trap 'exit 9' USR1; echo ready; while :; do sleep 60 & wait; done"
            container = attrs.evolve(SHELL.shell(script), stop_signal=name)
            id = await bench.start(container, grace=1000.0)
            await bench.line(id, "ready")
            await bench.executor.shutdown(id)
            assert (await bench.executor.wait(id)).code == 9


async def test_a_task_hears_signals_that_its_node_does_not() -> None:
    """A node that was started with ``nohup``, or in the background of a script, ignores some."""
    mine = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1)
    before = [signal.signal(number, signal.SIG_IGN) for number in mine]
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR2,))
    try:
        async with open_bench() as bench:
            assert isinstance(bench.executor, ProcessExecutor)
            for name in ("HUP", "INT", "QUIT", "USR1", "USR2"):
                script = f"trap 'exit 9' {name}; echo ready; while :; do sleep 0.01; done"
                id = await bench.start(SHELL.shell(script))
                await bench.line(id, "ready")
                bench.executor.signal(id, name)
                with trio.fail_after(60):
                    await bench.ended(id, 9)
            id = await bench.start(SHELL.shell("grep -E '^Sig(Blk|Ign)' /proc/self/status"))
            assert (await bench.executor.wait(id)).code == 0
            masks = [line.data.split()[1] async for line in bench.executor.logs(id)]
            assert [int(mask, 16) for mask in masks] == [0, 0]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGUSR2,))
        for number, handler in zip(mine, before, strict=True):
            signal.signal(number, handler)


async def test_limits() -> None:
    container = attrs.evolve(
        SHELL.shell("ulimit -Sn; ulimit -Hn; ulimit -Sc"),
        ulimits=(Ulimit("nofile", 99, 199), Ulimit("core", 0, 0)),
    )
    async with open_bench() as bench:
        assert await bench.run(container) == ["99", "199", "0"]


async def test_a_limit_that_cannot_be_set_fails_the_start() -> None:
    why = await start_error(host("true", ulimits=(Ulimit("nofile", 20, 1 << 50),)))
    assert why == "starting container failed: limits: not allowed to raise maximum limit"


@AS_ROOT
async def test_users_and_groups() -> None:
    async with open_bench() as bench:
        show = SHELL.shell("id -u; id -g; pwd; touch mine; echo $HOME")
        uid, gid, directory, home = await bench.run(attrs.evolve(show, user="nobody"))
        assert (uid, Path(directory).name) == ("65534", "work")
        assert home == os.path.expanduser("~nobody")
        assert (await bench.run(attrs.evolve(show, user="12345")))[:2] == ["12345", "12345"]
        assert (await bench.run(attrs.evolve(show, user="12345:7")))[:2] == ["12345", "7"]
        groups = attrs.evolve(SHELL.shell("id -G"), user="12345:7", groups=("daemon", "99"))
        assert await bench.run(groups) == ["7 1 99"]
        assert gid


@AS_ROOT
async def test_secrets_are_for_the_user_of_the_task() -> None:
    secret = TaskFile("secret", "s", "/run/secrets/s", b"x", mode=0o440, uid="65534", gid="0")
    config = TaskFile("config", "c", "/etc/c", b"y", mode=0o755, uid="nobody", gid="daemon")
    async with open_bench() as bench:
        show = SHELL.shell(
            'stat -c "%a %u %g" $PYSWARM_SECRETS_DIR/s $PYSWARM_CONFIGS_DIR/etc/c; '
            "cat $PYSWARM_SECRETS_DIR/s; echo; echo $PYSWARM_SECRETS_DIR; echo ready; sleep 1000"
        )
        task = bench.task(attrs.evolve(show, user="nobody"), files=(secret, config))
        await bench.executor.prepare(task)
        await bench.executor.start(task.id)
        await bench.line(task.id, "ready")
        lines = [line.data.decode() async for line in bench.executor.logs(task.id)]
        assert lines[:3] == ["440 65534 0", "755 65534 1", "x"]
        top = Path(lines[3]).parent
        assert stat.S_IMODE(top.stat().st_mode) == 0o700
        assert top.stat().st_uid == 65534
        assert str(top).startswith("/dev/shm/")
        assert "x" not in repr(task).split()
        await bench.executor.remove(task.id)
        assert not top.exists()
        nobodys = bench.task(show, files=(attrs.evolve(config, uid="who"),))
        with pytest.raises(TaskRejected, match="unable to find user who: no matching entries"):
            await bench.executor.prepare(nobodys)
    assert not top.parent.exists()


async def test_a_task_that_ended_keeps_no_secret() -> None:
    secret = TaskFile("secret", "s", "/run/secrets/a/s", b"x")
    async with open_bench() as bench:
        script = "touch $PYSWARM_SECRETS_DIR/own; echo $PYSWARM_SECRETS_DIR"
        (directory,) = await bench.run(SHELL.shell(script), files=(secret,))
        assert not Path(directory).parent.exists()
        task = bench.task(SHELL.says("x"), files=(secret,))
        await bench.executor.prepare(task)
        place = Path(directory).parents[1] / task.id
        assert place.exists()
        await bench.executor.shutdown(task.id)
        assert not place.exists()


async def test_both_streams_and_long_lines() -> None:
    async with open_bench() as bench:
        script = "echo out; echo err >&2; printf '%040000d\\n' 7; printf unfinished"
        id = await bench.start(SHELL.shell(script))
        await bench.executor.wait(id)
        lines = [line async for line in bench.executor.logs(id)]
    assert [line.data for line in lines if line.stream == "stderr"] == [b"err"]
    out = [line.data for line in lines if line.stream == "stdout"]
    assert (out[0], out[-1]) == (b"out", b"unfinished")
    assert [len(data) for data in out[1:-1]] == [16384, 16384, 7232]
    assert b"".join(out[1:-1]) == b"%040000d" % 7


@pytest.mark.parametrize("name", ["", "json-file", "local"])
async def test_logs_turn_over(name: str) -> None:
    options = {"max-size": "4k", "max-file": "3"}
    async with open_bench() as bench:
        task = bench.task(SHELL.shell("for i in $(seq 2000); do echo line $i; done"))
        driver = LogDriver(name, options)
        task = attrs.evolve(task, task=attrs.evolve(task.task, log_driver=driver))
        await bench.executor.prepare(task)
        await bench.executor.start(task.id)
        followed = [line.data async for line in bench.executor.logs(task.id, follow=True)]
        assert followed[-1] == b"line 2000"
        kept = [line.data for line in [x async for x in bench.executor.logs(task.id)]]
        assert kept == [b"line %d" % i for i in range(2001 - len(kept), 2001)]
        assert 0 < len(kept) < 1000


async def test_the_driver_none_keeps_nothing() -> None:
    async with open_bench() as bench:
        task = bench.task(SHELL.says("unheard"))
        driver = LogDriver("none")
        task = attrs.evolve(task, task=attrs.evolve(task.task, log_driver=driver))
        await bench.executor.prepare(task)
        await bench.executor.start(task.id)
        assert (await bench.executor.wait(task.id)).code == 0
        assert [line async for line in bench.executor.logs(task.id)] == []


@pytest.mark.parametrize(
    ("driver", "why"),
    [
        (LogDriver("gelf"), "logger: no log driver named 'gelf' is registered"),
        (LogDriver("local", {"max-size": "big"}), "invalid size: 'big'"),
        (LogDriver("", {"max-file": "0"}), "max-file must be a positive number: '0'"),
    ],
)
async def test_log_drivers_that_are_refused(driver: LogDriver, why: str) -> None:
    async with open_bench() as bench:
        task = bench.task(SHELL.says("x"))
        task = attrs.evolve(task, task=attrs.evolve(task.task, log_driver=driver))
        with pytest.raises(TaskRejected, match=why):
            await bench.executor.prepare(task)


async def test_stats_count_the_whole_family() -> None:
    async with open_bench() as bench:
        id, _ = await family(bench)
        usage = await bench.executor.stats(id)
        assert usage.processes >= 3
        assert usage.memory_bytes > 0


async def test_many_at_once() -> None:
    async with open_bench() as bench, trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(bench.run, SHELL.says("done"))
    assert bench.made == 30


async def test_the_description_can_be_given() -> None:
    gpu = (GenericResource("gpu", 2),)
    executor = ProcessExecutor(
        hostname="h", labels={"a": "b"}, cpus=1.5, memory_bytes=7, generic=gpu
    )
    described = executor.describe()
    assert (described.hostname, described.engine_labels) == ("h", {"a": "b"})
    resources = described.resources
    assert (resources.nano_cpus, resources.memory_bytes) == (1_500_000_000, 7)
    assert resources.generic == gpu
    assert described.platform.os == "linux"
    await executor.aclose()


@pytest.mark.parametrize(
    ("name", "number"),
    [("", 15), ("SIGTERM", 15), ("int", 2), ("9", 9), ("SIGRTMIN+3", 37), ("rtmax-1", 63)],
)
def test_signals(name: str, number: int) -> None:
    assert stop_signal(name) == number


def test_the_sweep_spares_the_living(tmp_path: Path) -> None:
    left = tmp_path / "pyswarm-tasks-left"
    left.mkdir()
    (left / "lock").touch()
    (left / "secret").touch()
    other = tmp_path / "something-else"
    other.mkdir()
    directories = Directories(None)
    secret = TaskFile("secret", "s", "/run/secrets/s", b"x")
    env = directories.write_files("t1", [secret], User())
    live = Path(env["PYSWARM_SECRETS_DIR"])
    sweep(tmp_path)
    sweep(live.parents[2])
    assert not left.exists()
    assert other.exists()
    assert (live / "s").exists()
    directories.close()
    assert not live.exists()
