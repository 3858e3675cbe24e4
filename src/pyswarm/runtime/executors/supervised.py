"""The node's end of the line to one supervisor: start it, talk to it, know when all is gone.

See :mod:`pyswarm.runtime.executors.supervisor` for the other end and for what is said.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import attrs
import trio

from pyswarm.agent.executor import Exited, TaskFailed, TemporaryFailure
from pyswarm.runtime.executors.execution import (
    CANNOT_RUN,
    NOT_FOUND,
    Command,
    CommandFailed,
    Execution,
    Start,
    failed,
    framed,
)
from pyswarm.runtime.executors.execution import KILLED as KILLED_CODE
from pyswarm.runtime.executors.launcher import Launcher, Zygote

KILLED = Exited(KILLED_CODE)
DID_NOT_START = 128
"""Docker's code where it was not the program that could not be run."""

OUT_OF_MEMORY = "out of memory"
EXHAUSTED = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""What goes away when others let go of something."""


@attrs.frozen
class Launch:
    """Everything a supervisor has to know of its task."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = attrs.field(repr=False)
    directory: str
    log_dir: str
    log_size_max: int
    log_files_max: int
    secrets_dir: str = ""
    uid: int = -1
    gid: int = -1
    groups: tuple[int, ...] = ()
    limits: tuple[tuple[int, int, int], ...] = ()
    no_new_privileges: bool = False
    oom_score: int = 0
    check: tuple[str, ...] = ()
    """The health check's program and arguments."""
    plan: str = attrs.field(default="", repr=False)
    """What the sandbox makes; "" for none."""
    cgroups: tuple[str, ...] = ()
    tty: bool = False

    def frame(self) -> bytes:
        """As the supervisor reads it."""
        fields: list[str] = [
            self.secrets_dir,
            self.log_dir,
            str(self.log_size_max),
            str(self.log_files_max),
            self.directory,
            str(self.uid),
            str(self.gid),
            ",".join(map(str, self.groups)),
            ",".join(":".join(map(str, limit)) for limit in self.limits),
            "1" if self.no_new_privileges else "0",
            str(self.oom_score),
            "1" if self.tty else "0",
            self.plan,
            ":".join(self.cgroups),
            str(len(self.argv)),
            *self.argv,
            str(len(self.check)),
            *self.check,
            *(f"{name}={value}" for name, value in self.env.items()),
        ]
        return framed(fields)


class _Probe:
    """A health check under way; one that gets no answer has failed."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.code = 1


class Supervised:
    """One task under its supervisor. :attr:`exited` is set once nothing of it is left."""

    def __init__(
        self, zygote: Zygote, pid: int, line: socket.socket, at_end: Callable[[], object]
    ) -> None:
        self._at_end = at_end
        self._zygote = zygote
        self._line = line
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(line))
        self._begun = trio.Event()
        self._ended = trio.Event()
        self._news = trio.Event()
        self.supervisor_pid = pid
        self.pid = 0
        self.exited: Exited | None = None
        self._error: TaskFailed | None = None
        self._probes: dict[int, _Probe] = {}
        self._probed = 0
        self._executions: dict[int, Execution] = {}
        self._executed = 0
        self._program = ""
        self._mark = b""

    @classmethod
    async def launch(
        cls,
        launch: Launch,
        launcher: Launcher,
        given: Sequence[int] = (),
        at_end: Callable[[], object] = lambda: None,
    ) -> Supervised:
        """Start a supervisor; it tells later how that went (:meth:`begun`).

        ``given`` are the descriptors of mounts that its plan speaks of. ``at_end`` is called when
        nothing of the task is left.
        """
        try:
            zygote, pid, line = await launcher.start(launch.frame(), given)
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise TemporaryFailure(f"no process could be started: {error.strerror}") from error
            raise
        one = cls(zygote, pid, line, at_end)
        one._program = launch.argv[0]
        one._mark = f"PYSWARM_TASK_ID={launch.env.get('PYSWARM_TASK_ID')}".encode()
        trio.lowlevel.spawn_system_task(one._read, launcher, launch.directory)
        return one

    @property
    def is_live(self) -> bool:
        return not self._ended.is_set()

    async def begun(self) -> int:
        """The pid of the task's main process; :class:`TaskFailed` where it could not begin."""
        await self._begun.wait()
        if self._error is not None:
            raise self._error
        return self.pid

    async def wait(self) -> Exited:
        """Until the task is gone, with everything below it."""
        await self._ended.wait()
        assert self.exited is not None
        return self.exited

    async def probe(self) -> int:
        """Run the health check beside the task; its exit code. Cancelling this ends it."""
        self._probed += 1
        number = self._probed
        probe = self._probes[number] = _Probe()
        if self.is_live:
            self._tell(f"probe {number}\n")
        else:
            probe.answered.set()
        try:
            await probe.answered.wait()
        except trio.Cancelled:
            self._tell(f"unprobe {number}\n")
            raise
        finally:
            del self._probes[number]
        return probe.code

    async def execute(self, command: Command, start: Start) -> Execution:
        """Run a command beside the task; returns once it has begun. Raises ``CommandFailed``."""
        frame = start.frame()
        execution = Execution(command)
        self._executed += 1
        number = self._executed
        try:
            if not self.is_live:
                raise TaskFailed("the task has ended")
            try:
                socket.send_fds(self._line, [f"execute {number}\n".encode()], execution.theirs)
            except OSError as problem:
                raise TemporaryFailure(f"exec: {problem.strerror}") from None
            self._executions[number] = execution
            execution.close_theirs()
            if said := await execution.begin(frame):
                raise _failed(said, start)
        except BaseException:
            execution.close_theirs()
            execution.close()
            raise
        return execution

    def signal(self, number: int) -> None:
        """Send a signal to the main process."""
        self._tell(f"signal {int(number)}\n")

    def kill(self) -> None:
        """End it at once, with everything below it. By closing our half of the line, so it works
        whatever the supervisor is doing, and also counts as the end of the node."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)

    async def kill_supervisor(self, launcher: Launcher) -> None:
        """The last resort, for one that does not answer."""
        await launcher.thread.run(self._zygote.kill, self.supervisor_pid)

    def tell_beyond(self, position: tuple[int, int]) -> trio.Event:
        """An event that is set when the log goes beyond ``position``, or will not any more."""
        if self._news.is_set():
            self._news = trio.Event()
        if self.is_live:
            self._tell(f"tell {position[0]} {position[1]}\n")
        else:
            self._news.set()
        return self._news

    def _tell(self, line: str) -> None:
        # It may be ending, or so full of our lines that it cannot be well.
        with suppress(OSError):
            self._line.send(line.encode())

    async def _read(self, launcher: Launcher, directory: str) -> None:
        """What the supervisor says, to the end; then see that nothing is left."""
        rest = b""
        try:
            while chunk := await self._stream.receive_some(4096):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._said(line.decode().split(), directory)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._line.close()
            with trio.CancelScope(shield=True):
                await launcher.thread.run(self._bury)
            self._finish()

    def _said(self, words: list[str], directory: str) -> None:
        match words:
            case ["pid", pid]:
                self.pid = int(pid)
                self._begun.set()
            case ["error", step, number, *rest]:
                why = " ".join(rest)
                self._error = start_error(step, int(number), self._program, directory, why)
                self._begun.set()
            case ["probed", number, code]:
                if (probe := self._probes.get(int(number))) is not None:
                    probe.code = int(code)
                    probe.answered.set()
            case ["executing", number, pid]:
                self._executions[int(number)].forked(int(pid))
            case ["executed", number, code]:
                self._executions.pop(int(number)).ended(int(code))
            case ["exit", code, *reason]:
                self.exited = Exited(int(code), OUT_OF_MEMORY if reason else "")
            case _:
                self._news.set()

    def _bury(self) -> None:
        """Reap the supervisor; one that did not say goodbye was killed, so end its session."""
        if self.exited is None and self._error is None:
            self._zygote.kill(self.supervisor_pid)
            kill_rest(self.supervisor_pid, self._mark)
        self._zygote.bury(self.supervisor_pid)

    def _finish(self) -> None:
        if self.exited is None:
            self.exited = KILLED
        if self.pid == 0 and self._error is None:
            self._error = TaskFailed("starting container failed: its supervisor was killed")
        self._at_end()
        self._begun.set()
        self._ended.set()
        self._news.set()
        for probe in self._probes.values():
            probe.answered.set()
        while self._executions:
            self._executions.popitem()[1].ended(KILLED_CODE)


def start_error(step: str, number: int, program: str, directory: str, said: str = "") -> TaskFailed:
    """Why a task could not begin, in Docker's words where it has them, and with its codes."""
    code = DID_NOT_START
    if step == "exec":
        code = NOT_FOUND if number == errno.ENOENT else CANNOT_RUN
    why = reason(step, number, program, directory, said)
    return TaskFailed(f"starting container failed: {why}", exit_code=code)


def _failed(said: str, start: Start) -> CommandFailed:
    """Why a command could not, the same way."""
    step, text, *rest = said.split()
    number = int(text)
    if step == "chdir":
        what = os.strerror(number).lower()
        return failed(
            f'chdir to cwd ("{start.directory}") set in config.json failed: {what}', number
        )
    why = reason(step, number, start.argv[0], start.directory, " ".join(rest))
    return failed(why, number if step == "exec" else 0)


def reason(step: str, number: int, program: str, directory: str, said: str) -> str:
    """What went wrong in a step of the supervisor's child."""
    match step, number:
        case "exec", errno.ENOENT if "/" in program:
            why = f'exec: "{program}": stat {program}: no such file or directory'
        case "exec", errno.ENOENT:
            why = f'exec: "{program}": executable file not found in $PATH'
        case "exec", errno.EACCES:
            why = f'exec: "{program}": permission denied'
        case "exec", errno.ENOEXEC:
            why = f'exec: "{program}": exec format error'
        case "exec", _:
            why = f'exec: "{program}": {os.strerror(number).lower()}'
        case "chdir", _:
            why = f'chdir to "{directory}": {os.strerror(number).lower()}'
        case "sandbox", _ if said:
            why = said
        case "limits", 0:
            why = f"limits: {said}"
        case _:
            why = f"{step}: {os.strerror(number).lower() if number else 'invalid value'}"
    return why


def kill_rest(session: int, mark: bytes) -> None:
    """Kill every process of a session, or with ``mark`` in its environment, until none is left."""
    while pids := [pid for pid in _running() if _belongs(pid, session, mark)]:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _running() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _belongs(pid: int, session: int, mark: bytes) -> bool:
    """Whether a process that can be killed is one of these; a zombie cannot."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            words = stat.read().rpartition(b")")[2].split()
        if words[0] in b"ZX" or pid == session:
            return False
        if int(words[3]) == session:
            return True
        with open(f"/proc/{pid}/environ", "rb") as environ:
            return mark in environ.read().split(b"\0")
    except (OSError, IndexError, ValueError):
        return False  # it ended, or belongs to somebody else
