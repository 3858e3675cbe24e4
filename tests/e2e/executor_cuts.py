"""A node of processes, killed between every two steps of preparing and starting a task.

``python executor_cuts.py node|below [DIRECTORY]`` runs nodes until one of them comes through: the
N-th is killed at the N-th step of its own, or of the processes that it starts. A step is what
Python tells an audit hook: a file, a directory, a process, a system call. After each, all that it
had started must end by itself, and the next node must leave nothing behind.

It prints how many steps there were, or raises what was left.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable
from ctypes import CDLL
from pathlib import Path

import trio

from pyswarm.agent import TaskContext, task_context
from pyswarm.agent.executor import TaskFile
from pyswarm.model import ContainerSpec, Mount, Task, TaskSpec
from pyswarm.model.resources import Limits, ResourceRequirements
from pyswarm.model.specs import VolumeOptions
from pyswarm.model.states import MountType
from pyswarm.runtime.executors import ProcessExecutor, launcher

NODE_STEPS = (
    *("open", "os.mkdir", "os.chmod", "os.chown", "os.rename", "os.remove", "os.rmdir"),
    *("os.fork", "subprocess.Popen", "socket.__new__", "socket.sendmsg", "fcntl.flock"),
    "ctypes.dlsym",
)
TASK_STEPS = (
    *("open", "os.mkdir", "os.listdir", "os.chmod", "os.fork", "os.exec", "setrlimit"),
    *("ctypes.dlopen", "ctypes.dlsym", "socket.sendmsg"),
)
TMPFS = {"type": "tmpfs", "device": "tmpfs", "o": "size=64k"}
PATIENCE_S = 60
PR_SET_CHILD_SUBREAPER = 36

BELOW = """
import os as _os, sys as _sys
_steps = 0
def _hook(name, _):
    global _steps
    if name in {names!r}:
        _steps += 1
        if _steps == {number}:
            _os.kill({node}, 9)
_sys.addaudithook(_hook)
"""


def task() -> TaskContext:
    """One that needs a bit of everything."""
    container = ContainerSpec(
        "host",
        command=("sleep", "1000"),
        hostname="x",
        mounts=(
            *(Mount("/data", "vv"), Mount("/any"), Mount("/tm", type=MountType.TMPFS)),
            Mount("/mounted", "ww", volume=VolumeOptions(driver_options=TMPFS)),
        ),
    )
    limits = ResourceRequirements(Limits(10**9, 256 << 20, 2000))
    secret = TaskFile("secret", "pw", "/run/secrets/pw", b"hunter2")
    return task_context(
        Task("t1", "s1", TaskSpec(container, resources=limits)),
        hostname="",
        files={secret.path: secret},
    )


async def live(directory: Path | None, counting: Callable[[bool], None]) -> None:
    """A node that says when the steps begin and end; it comes to an end if it is not cut."""
    async with ProcessExecutor(directory) as executor:
        counting(True)
        await executor.prepare(task())
        await executor.start("t1")
        counting(False)


def node(directory: Path | None, number: int, *, below: bool) -> None:
    """In a process of its own: one life."""
    taken = 0
    begun = False

    def hook(name: str, _: object) -> None:
        nonlocal taken
        if begun and name in NODE_STEPS:
            taken += 1
            if taken == number:
                os.kill(os.getpid(), signal.SIGKILL)

    def counting(on: bool) -> None:
        nonlocal begun
        begun = on

    if below:
        own = launcher.source
        text = BELOW.format(names=TASK_STEPS, number=number, node=os.getpid())
        told = {name: own(name) for name in (launcher.ZYGOTE, *launcher.PROGRAMS)}
        told[launcher.PROGRAMS[0]] += text
        vars(launcher)["source"] = told.__getitem__
    else:
        sys.addaudithook(hook)
    trio.run(live, directory, counting)
    os._exit(0)


def reaped(pid: int) -> bool:
    """Wait for a node and for all that it started; whether it came through."""
    through = False
    while True:
        try:
            found, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return through
        if found == pid:
            through = os.waitstatus_to_exitcode(status) == 0
            assert through or os.WTERMSIG(status) == signal.SIGKILL, status


def unlocked(place: Path) -> list[Path]:
    """Directories of nodes that nobody holds."""
    found = []
    for path in (*place.glob("pyswarm-tasks-*"), *place.glob(".pyswarm-tasks-*")):
        try:
            with open(path / "lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass
        except OSError:
            continue
        found += [path] if path.exists() else []
    return found


def left(directory: Path | None, pid: int) -> list[str]:
    """What there is that should not be."""
    groups = Path("/sys/fs/cgroup").glob(f"**/pyswarm/{pid}.*")
    temporary = Path(os.environ["TMPDIR"])
    found = [str(path) for path in (*groups, *temporary.iterdir())]
    if directory is not None:
        kept = {"tasks.lock", "tasks", "volumes", "volumes/vv", "volumes/ww"}
        paths = {str(path.relative_to(directory)) for path in directory.rglob("*")}
        found += [one for one in paths - kept if not one.startswith(("volumes/vv/", "volumes/ww/"))]
    return found


def mounted() -> list[str]:
    """What is mounted here, without the namespaces of tests that run beside this one."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if "/run/netns" not in line]


def look(directory: Path | None, pid: int, mounts: list[str]) -> None:
    """After the next start, nothing is left."""

    async def start() -> None:
        async with ProcessExecutor(directory):
            pass

    trio.run(start)
    deadline = time.monotonic() + PATIENCE_S
    while stale := unlocked(Path("/dev/shm")):  # of somebody else's node, which ended just now
        assert time.monotonic() < deadline, stale
        time.sleep(0.01)
        trio.run(start)
    assert not left(directory, pid), left(directory, pid)
    assert mounted() == mounts


def main(whose: str, directory: Path | None) -> None:
    CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    mounts = mounted()
    through, number = False, 0
    while not through:
        number += 1
        signal.alarm(PATIENCE_S)
        pid = os.fork()
        if pid == 0:
            node(directory, number, below=whose == "below")
        through = reaped(pid)
        look(directory, pid, mounts)
    print(number - 1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if sys.argv[2:] else None)
