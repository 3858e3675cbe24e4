"""Commands that clients run beside tasks of this node: known by id, few, and forgotten in time.

One is created, started once, and asked about until it is forgotten: some minutes after it has
ended, or without having begun; sooner where room is needed for another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import attrs
import trio

from pyswarm.api.asks import RunExec
from pyswarm.api.errors import Refused
from pyswarm.api.local import Exec, ExecOutput, ExecWish
from pyswarm.env import Clock, Entropy
from pyswarm.errors import ResourceExhausted, SwarmError, Unimplemented
from pyswarm.runtime.executors.execution import CANNOT_RUN, Command, CommandFailed, Execution

ID_BYTES = 32
EXECS_MAX = 256
"""Known at a time; a command that runs is never forgotten, so as many can run."""

FORGET_S = 600.0
"""Clients ask for the exit code at once; Docker forgets within some minutes, too."""


@attrs.define(eq=False)
class _Known:
    id: str
    task_id: str
    container_id: str
    wish: ExecWish
    idle_since: float
    """When it was created, or was seen to be over."""
    has_begun: bool = False
    failed: int | None = None
    """The exit code of what could not begin."""
    execution: Execution | None = None

    @property
    def exit_code(self) -> int | None:
        return self.execution.exit_code if self.execution is not None else self.failed

    @property
    def runs(self) -> bool:
        return self.has_begun and self.exit_code is None


class Execs:
    """All of them. ``executor`` runs them, if it can; ``entropy`` makes ids."""

    def __init__(self, executor: Callable[[], Any], clock: Clock, entropy: Entropy) -> None:
        self._executor = executor
        self._clock = clock
        self._entropy = entropy
        self._known: dict[str, _Known] = {}

    def create(self, task_id: str, container_id: str, wish: ExecWish) -> str:
        """Its id. Raises ``Unimplemented`` where tasks are no processes."""
        self._execute()
        self._forget()
        if len(self._known) >= EXECS_MAX:
            self._make_room()
        id = self._entropy(ID_BYTES).hex()
        self._known[id] = _Known(id, task_id, container_id, wish, self._clock.monotonic())
        return id

    def show(self, id: str) -> Exec | None:
        """None for one that is not known (any more)."""
        self._forget()
        one = self._known.get(id)
        if one is None:
            return None
        return Exec(
            id=id,
            task_id=one.task_id,
            container_id=one.container_id,
            wish=one.wish,
            has_begun=one.has_begun,
            exit_code=one.exit_code,
            pid=one.execution.pid if one.execution is not None else 0,
        )

    async def start(self, id: str) -> None:
        """Let it run with nobody at its streams. Raises ``Refused`` where it cannot begin."""
        one = self._known[id]
        one.has_begun = True
        quiet = attrs.evolve(one.wish, tty=False, stdin=False, stdout=False, stderr=False)
        try:
            await self._launch(one, quiet)
        except CommandFailed as problem:
            raise Refused(400, problem.message) from None

    def run(self, ask: RunExec) -> Running:
        """Let it run with a client at its streams. From here on it has begun."""
        one = self._known[ask.exec_id]
        one.has_begun = True
        size = ask.size if all(ask.size) else one.wish.size
        return Running(one, lambda: self._launch(one, attrs.evolve(one.wish, size=size)))

    def resize(self, id: str, rows: int, columns: int) -> None:
        """Of its terminal."""
        execution = self._known[id].execution
        if execution is not None:
            execution.resize(rows, columns)

    # -- inside

    def _execute(self) -> Any:
        execute = getattr(self._executor(), "execute", None)
        if execute is None:
            raise Unimplemented("exec: tasks of this node are no processes")
        return execute

    async def _launch(self, one: _Known, wish: ExecWish) -> Execution:
        command = Command(
            argv=wish.argv,
            env=wish.env,
            user=wish.user,
            directory=wish.directory,
            tty=wish.tty,
            size=wish.size,
            stdin=wish.stdin,
            stdout=wish.stdout,
            stderr=wish.stderr,
        )
        try:
            one.execution = await self._execute()(one.task_id, command)
        except BaseException as problem:
            one.failed = problem.exit_code if isinstance(problem, CommandFailed) else CANNOT_RUN
            raise
        return one.execution

    def _forget(self) -> None:
        now = self._clock.monotonic()
        for one in list(self._known.values()):
            if one.runs:
                one.idle_since = now
            elif one.idle_since + FORGET_S <= now:
                del self._known[one.id]

    def _make_room(self) -> None:
        oldest = next((one for one in self._known.values() if not one.runs), None)
        if oldest is None:
            raise ResourceExhausted(f"exec: {EXECS_MAX} commands are running on this node")
        del self._known[oldest.id]


class Running:
    """The streams of a command: an asynchronous iterator over what it writes, that can be fed."""

    def __init__(self, one: _Known, launch: Callable[[], Any]) -> None:
        self._one = one
        self._launch = launch
        self._execution: Execution | None = None
        self._launched = trio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ExecOutput:
        if not self._launched.is_set():
            try:
                self._execution = await self._launch()
            except SwarmError as problem:
                return ExecOutput("stdout", f"{problem.message}\r\n".encode())
            finally:
                self._launched.set()
        found = None if self._execution is None else await self._execution.read()
        if found is None:
            raise StopAsyncIteration
        return ExecOutput(*found)

    async def feed(self, data: bytes) -> None:
        """Input for it, as it takes it; b"" at the end."""
        await self._launched.wait()
        if self._execution is not None:
            await self._execution.feed(data)

    async def aclose(self) -> None:
        """Let go of its streams. It may go on without, unless it never began."""
        if self._execution is not None:
            self._execution.close()
        elif self._one.failed is None:
            self._one.failed = CANNOT_RUN
