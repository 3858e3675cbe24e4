"""The node's end of the line to the process that its tasks' supervisors are forked from.

That process (:mod:`pyswarm.runtime.executors.zygote`) is started with the first task, from a thread
that lives as long as the executor: it asks to die when the *thread* that started it ends. Should
somebody kill it, its supervisors and their tasks end with it, and the next start makes another.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files

from pyswarm.agent.executor import TaskFailed
from pyswarm.runtime.executors.thread import OwnThread

ZYGOTE = "pyswarm.runtime.executors.zygote"
PROGRAMS = ("pyswarm.runtime.executors.supervisor", "pyswarm.runtime.executors.sandbox")
"""What a zygote is told, in this order."""

ATTEMPTS = 2
"""One zygote may turn out to be gone; a second one that is gone at once has a reason to be."""


@cache
def source(module: str) -> str:
    """A program, given to Python as text: so the package may live in an archive."""
    package, _, name = module.rpartition(".")
    return (files(package) / f"{name}.py").read_text(encoding="utf-8")


class ZygoteGone(OSError):
    """It does not answer: it was killed."""


class Zygote:
    """One such process. Methods block for some milliseconds."""

    def __init__(self, python: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [python, "-I", "-S", "-c", source(ZYGOTE), str(os.getpid())],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={},
                )
        except BaseException:
            ours.close()
            raise
        self._line = ours
        with suppress(OSError):  # it ended at once: the first request will see
            ours.send(b"\0".join(source(module).encode() for module in PROGRAMS))

    def start(self, frame: bytes, given: Sequence[int] = ()) -> tuple[int, socket.socket]:
        """A new supervisor that was told what to do: its process id, and our end of its line.

        ``given`` are descriptors of mounts for its task.
        Raises ``OSError`` where no process can be had, ``ZygoteGone`` where nobody answers.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                word, number = self._ask("start", theirs.fileno(), *given).split()
            if word != "pid":
                raise OSError(int(number), os.strerror(int(number)))
            with suppress(OSError):  # it ended at once: the reader will see
                ours.sendall(frame)
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return int(number), ours

    def kill(self, pid: int) -> None:
        """Kill a supervisor, if it still is one."""
        with suppress(ZygoteGone):
            self._ask(f"kill {pid}")

    def bury(self, pid: int) -> None:
        """Wait for the end of a supervisor; its process id is free afterwards."""
        with suppress(ZygoteGone):
            self._ask(f"bury {pid}")

    def close(self) -> None:
        """End it, and whatever it still has below it."""
        self._line.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, request: str, *descriptors: int) -> str:
        try:
            socket.send_fds(self._line, [request.encode()], descriptors)
            answer = self._line.recv(100)
        except OSError as error:
            raise ZygoteGone(error.errno or 0, "the zygote is gone") from error
        if not answer:
            raise ZygoteGone(0, "the zygote is gone")
        return answer.decode()


class Launcher:
    """Starts supervisors. ``python`` is what runs them."""

    def __init__(self, python: str) -> None:
        self._python = python
        self._zygote: Zygote | None = None
        self.thread = OwnThread("pyswarm launcher")

    async def start(
        self, frame: bytes, given: Sequence[int] = ()
    ) -> tuple[Zygote, int, socket.socket]:
        """A new supervisor: the process it was forked from, its process id, our end of its line.

        ``given`` are descriptors of mounts for its task.
        """
        return await self.thread.run(self._start, frame, given)

    async def aclose(self) -> None:
        """Leave no process and no thread behind. All tasks have ended."""
        if self._zygote is not None:
            await self.thread.run(self._zygote.close)
            self._zygote = None
        self.thread.stop()

    def _start(self, frame: bytes, given: Sequence[int]) -> tuple[Zygote, int, socket.socket]:
        for _ in range(ATTEMPTS):
            if self._zygote is None:
                self._zygote = Zygote(self._python)
            try:
                return self._zygote, *self._zygote.start(frame, given)
            except ZygoteGone:
                self._zygote.close()
                self._zygote = None
        raise TaskFailed("starting container failed: its supervisor was killed")
