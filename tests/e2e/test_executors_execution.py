"""Commands beside a task, run by the executor: where they are, what they may, how they end."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from pyswarm.agent import TaskFailed, task_context
from pyswarm.agent.executor import TaskFile
from pyswarm.model import ContainerSpec, Task, TaskSpec
from pyswarm.model.resources import Limits, ResourceRequirements
from pyswarm.model.specs import Healthcheck
from pyswarm.runtime.executors import ProcessExecutor
from pyswarm.runtime.executors.capabilities import can_make_namespaces
from pyswarm.runtime.executors.cgroups import Cgroups
from pyswarm.runtime.executors.execution import Command, CommandFailed, Execution

AS_ROOT = pytest.mark.skipif(not can_make_namespaces(), reason="this is not root on its own host")
FOR_EVER = ("sh", "-c", "while :; do sleep 1000; done")


@asynccontextmanager
async def running(*, pids: int = 0, **fields: object) -> AsyncIterator[ProcessExecutor]:
    """An executor with a task ``t1`` that runs for ever, with a secret."""
    container = ContainerSpec("host", command=FOR_EVER, env=("A=1",), **fields)  # type: ignore[arg-type]
    limits = ResourceRequirements(Limits(pids=pids))
    secret = TaskFile("secret", "pw", "/run/secrets/pw", b"hunter2\n")
    task = task_context(
        Task("t1", "s1", TaskSpec(container, resources=limits)),
        hostname="here",
        files={secret.path: secret},
    )
    async with ProcessExecutor() as executor:
        await executor.prepare(task)
        await executor.start("t1")
        yield executor


async def heard(execution: Execution) -> tuple[int, str, str]:
    """Exit code and what it wrote."""
    found = {"stdout": b"", "stderr": b""}
    while (output := await execution.read()) is not None:
        found[output[0]] += output[1]
    execution.close()
    return await execution.wait(), found["stdout"].decode(), found["stderr"].decode()


def sh(script: str, **more: object) -> Command:
    return Command(argv=("sh", "-c", script), stdout=True, stderr=True, **more)  # type: ignore[arg-type]


async def is_gone(pid: int) -> None:
    """Or a zombie, for whoever is to reap it."""
    with suppress(FileNotFoundError, ProcessLookupError):
        while "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():  # noqa: ASYNC110
            await trio.sleep(0.01)


@AS_ROOT
async def test_it_is_where_the_task_is() -> None:
    no_raw = "test $(( 0x$(sed -n 's/CapBnd:.//p' /proc/self/status) >> 13 & 1 )) = 0"
    check = Healthcheck(("CMD-SHELL", no_raw), interval=1000.0)
    async with running(
        pids=50, hostname="inside", capability_drop=("NET_RAW",), healthcheck=check
    ) as executor:
        script = (
            "cat /run/secrets/pw; hostname; echo $A $B $HOSTNAME; grep CapBnd /proc/self/status"
        )
        execution = await executor.execute(
            "t1", sh(f"{script}; cat /proc/self/cgroup", env=("B=2",))
        )
        code, out, err = await heard(execution)
        assert (code, err, out.splitlines()[:3]) == (0, "", ["hunter2", "inside", "1 2 inside"])
        caps = int(out.splitlines()[3].split()[1], 16)
        assert not caps >> 13 & 1 and caps >> 12 & 1  # NET_RAW was taken, NET_ADMIN was not
        if Cgroups.find().version:
            assert f"{os.getpid()}.t1" in out
        assert await executor.probe("t1") == 0  # a health check runs that way, too
        as_nobody = sh("id -u; pwd; cd /tmp; pwd", user="65534", env=("A",))
        assert (await heard(await executor.execute("t1", as_nobody)))[1] == "65534\n/\n/tmp\n"


async def test_its_streams() -> None:
    """Input larger than any pipe, and output that nobody took yet; both ends are told."""
    async with running() as executor:
        script = "cat; echo done >&2; exit 3"
        execution = await executor.execute("t1", sh(script, stdin=True))

        async def feed() -> None:
            for _ in range(8):
                await execution.feed(b"x" * 65536)
            await execution.feed(b"")
            await execution.feed(b"nobody's")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            code, out, err = await heard(execution)
        assert (code, len(out), err) == (3, 8 * 65536, "done\n")
        # What it leaves behind is the task's, and does not keep its streams open.
        execution = await executor.execute("t1", sh("sleep 1000 & echo $!"))
        code, out, _ = await heard(execution)
        assert code == 0 and Path(f"/proc/{out.strip()}").exists()
        await executor.terminate("t1")
        await is_gone(int(out))


async def test_its_terminal() -> None:
    async with running() as executor:
        command = sh(
            "test -t 0 && stty size; read x; stty size", tty=True, size=(24, 80), stdin=True
        )
        execution = await executor.execute("t1", command)
        found = await execution.read()
        assert found == ("stdout", b"24 80\r\n")
        execution.resize(30, 90)
        await execution.feed(b"\n")
        code, out, _ = await heard(execution)
        assert (code, out) == (0, "\r\n30 90\r\n")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (Command(argv=("nosuch",)), 127, 'exec: "nosuch": executable file not found in $PATH'),
        (Command(argv=("/etc/passwd",)), 126, 'exec: "/etc/passwd": permission denied'),
        (sh("x", directory="/nope"), 127, 'chdir to cwd ("/nope") set in config.json failed: no'),
        (sh("x", directory="nope"), 126, "Cwd must be an absolute path"),
        (sh("x", user="nosuch"), 126, "unable to find user nosuch: no matching entries in passwd"),
    ],
)
async def test_what_cannot_begin(command: Command, code: int, words: str) -> None:
    async with running() as executor:
        with pytest.raises(CommandFailed) as problem:
            await executor.execute("t1", command)
        assert problem.value.exit_code == code and words in problem.value.message


@pytest.mark.parametrize("who", ["task", "supervisor"])
async def test_it_ends_with_its_task(who: str) -> None:
    async with running() as executor:
        execution = await executor.execute("t1", sh("setsid sleep 1000 & echo $!; sleep 1000"))
        output = await execution.read()
        assert output is not None
        if who == "task":
            await executor.terminate("t1")
        else:
            os.kill(int(Path(f"/proc/{execution.pid}/stat").read_text().split()[3]), signal.SIGKILL)
        assert (await heard(execution))[0] == 137
        await is_gone(execution.pid)
        await is_gone(int(output[1]))
        with pytest.raises(TaskFailed, match="has ended"):
            await executor.execute("t1", sh("true"))
