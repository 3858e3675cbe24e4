"""A command that runs beside a task: what is asked for, and the node's end of its three streams.

The task's supervisor forks it (:mod:`pyswarm.runtime.executors.supervisor`), so it ends with the
task at the latest. Its streams are pipes, or one terminal. They are read when somebody asks for
what it wrote, and written as fast as it reads: a command that nobody listens to waits, and one
whose streams were closed is told so by the kernel, as when a terminal is hung up.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import struct
import termios
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs
import trio

from pyswarm.agent.executor import TaskFailed, TaskRejected

CHUNK_BYTES = 65536
"""A pipe holds as much."""

LAST_BYTES_MAX = 1 << 20
"""Of what is read after its end: what it left behind may write for ever."""

SAID_BYTES_MAX = 4096
KILLED = 128 + signal.SIGKILL
CANNOT_RUN, NOT_FOUND = 126, 127
"""Exit codes of what could not begin, as shells and Docker have them."""


@attrs.frozen(kw_only=True)
class Command:
    """What to run beside a task."""

    argv: tuple[str, ...] = attrs.field(repr=False)
    env: tuple[str, ...] = attrs.field(default=(), repr=False)
    """Over the task's: ``NAME=value``; ``NAME`` alone takes the variable away."""
    user: str = ""
    """``user:group``; "" for the task's own."""
    directory: str = ""
    """"" for the task's own."""
    tty: bool = False
    """One terminal for all three streams."""
    size: tuple[int, int] = (0, 0)
    """Of the terminal: rows and columns."""
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    """Which streams somebody is at the other end of."""


class CommandFailed(TaskFailed):
    """The command could not begin. ``exit_code`` is 127 where it was not found, else 126."""

    def __init__(self, message: str, exit_code: int = CANNOT_RUN) -> None:
        super().__init__(message, exit_code=exit_code)


@attrs.frozen
class Start:
    """Everything that the process has to know, names looked up."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = attrs.field(repr=False)
    directory: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    def frame(self) -> bytes:
        """As the supervisor's child reads it."""
        fields = [
            self.directory,
            str(self.uid),
            str(self.gid),
            ",".join(map(str, self.groups)),
            str(len(self.argv)),
            *self.argv,
            *(f"{name}={value}" for name, value in self.env.items()),
        ]
        return framed(fields)


def framed(fields: Sequence[str]) -> bytes:
    """What a supervisor is told in one piece. Raises :class:`TaskRejected` for a NUL byte."""
    if any("\0" in field for field in fields):
        raise TaskRejected("a command, variable or directory of the task contains a NUL byte")
    data = "\0".join(fields).encode("utf-8", "surrogateescape")
    return len(data).to_bytes(4, "big") + data


class Execution:
    """One command, from before it begins until nobody asks any more."""

    def __init__(self, command: Command) -> None:
        self.pid = 0
        self.exit_code: int | None = None
        self._forked = trio.Event()
        self._ended = trio.Event()
        self._tty = command.tty
        self._stdin = -1
        self._outputs: dict[str, int] = {}
        self._last_bytes = LAST_BYTES_MAX
        self._theirs: list[int] = []
        self._line, theirs = socket.socketpair()
        self._theirs.append(theirs.detach())
        try:
            if command.tty:
                self._open_terminal(command)
            else:
                self._open_pipes(command)
        except BaseException:
            self.close_theirs()
            self.close()
            raise

    def _open_terminal(self, command: Command) -> None:
        ours, theirs = os.openpty()
        self._outputs["stdout"] = ours
        self._theirs += [theirs, os.dup(theirs), os.dup(theirs)]
        os.set_blocking(ours, False)
        if command.stdin:
            self._stdin = os.dup(ours)
        if all(command.size):
            self.resize(*command.size)

    def _open_pipes(self, command: Command) -> None:
        if command.stdin:
            theirs, self._stdin = os.pipe()
            os.set_blocking(self._stdin, False)
        else:
            theirs = os.open(os.devnull, os.O_RDONLY)
        self._theirs.append(theirs)
        for name, wanted in (("stdout", command.stdout), ("stderr", command.stderr)):
            if wanted:
                ours, theirs = os.pipe()
                self._outputs[name] = ours
                os.set_blocking(ours, False)
            else:
                theirs = os.open(os.devnull, os.O_WRONLY)
            self._theirs.append(theirs)

    # -- its beginning and its end, as the supervisor tells

    @property
    def theirs(self) -> tuple[int, ...]:
        """The descriptors for the supervisor."""
        return tuple(self._theirs)

    def close_theirs(self) -> None:
        """They were sent, or will not be."""
        while self._theirs:
            os.close(self._theirs.pop())

    async def begin(self, frame: bytes) -> str:
        """Tell what to run. Why it could not begin, as ``STEP ERRNO TEXT``; "" if it did."""
        said = b""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self._line))
        async with stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(frame)
                while len(said) < SAID_BYTES_MAX:
                    chunk = await stream.receive_some(SAID_BYTES_MAX)
                    if not chunk:
                        break
                    said += chunk
        await self._forked.wait()
        return said.decode("utf-8", "replace")

    def forked(self, pid: int) -> None:
        """It is a process now."""
        self.pid = pid
        self._forked.set()

    def ended(self, exit_code: int) -> None:
        """It is no more."""
        if self.exit_code is None:
            self.exit_code = exit_code
        self._forked.set()
        self._ended.set()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        await self._ended.wait()
        assert self.exit_code is not None
        return self.exit_code

    # -- its streams

    async def read(self) -> tuple[str, bytes] | None:
        """What it wrote next, and where; None when it has ended and all was read."""
        while True:
            is_over = self._ended.is_set()
            for name, fd in list(self._outputs.items()):
                data = self._read_some(name, fd)
                if data:
                    self._last_bytes -= len(data) if is_over else 0
                    return name, data
            if is_over:
                return None
            await self._readable()

    def _read_some(self, name: str, fd: int) -> bytes:
        if self._last_bytes <= 0:
            return b""
        try:
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except OSError:  # a terminal that nobody holds any more
            data = b""
        del self._outputs[name]
        if data:
            self._outputs[name] = fd  # last now: the other one is asked first
        else:
            os.close(fd)
        return data

    async def _readable(self) -> None:
        """Until there may be something to read, or it has ended."""

        async def until(wait: Callable[..., Awaitable[Any]], *given: Any) -> None:
            await wait(*given)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(until, self._ended.wait)
            for fd in self._outputs.values():
                nursery.start_soon(until, trio.lowlevel.wait_readable, fd)

    async def feed(self, data: bytes) -> None:
        """Give it input, as it takes it; b"" is the end. Without standard input it is nobody's."""
        if not data and not self._tty:
            self._close_stdin()
        left = memoryview(data)
        while left and self._stdin >= 0:
            try:
                left = left[os.write(self._stdin, left) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._stdin)
            except OSError:
                self._close_stdin()  # it reads no more

    def resize(self, rows: int, columns: int) -> None:
        """Of its terminal; without one nothing happens."""
        if self._tty and "stdout" in self._outputs:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(self._outputs["stdout"], termios.TIOCSWINSZ, size)

    def close(self) -> None:
        """Let go of its streams."""
        self._line.close()
        self._close_stdin()
        while self._outputs:
            _close(self._outputs.popitem()[1])

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            _close(self._stdin)
            self._stdin = -1


def _close(fd: int) -> None:
    """Also for whoever waits for it."""
    trio.lowlevel.notify_closing(fd)
    os.close(fd)


def failed(why: str, number: int = 0) -> CommandFailed:
    """The error for a reason and its ``errno``, in the words of Docker's runtime."""
    return CommandFailed(
        f"OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown",
        NOT_FOUND if number == errno.ENOENT else CANNOT_RUN,
    )
