"""Reading logs: of one task, or of a service with the tasks it gets while one reads.

Lines that cannot be had (their node is down, their log driver keeps none) hold up no others. Who
does not follow is told at the end, by an error, that there should be more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypedDict

import attrs
import trio

from pyswarm.agent import LogLine
from pyswarm.errors import NotFound, SwarmError, Unavailable, Unimplemented
from pyswarm.model import NodeState, Task, TaskState
from pyswarm.model.objects import NO_READING
from pyswarm.runtime.front.logdesk import Lines, Wish
from pyswarm.runtime.front.member import Member
from pyswarm.runtime.front.options import Since, log_wish, rfc3339
from pyswarm.runtime.front.streams import Stream
from pyswarm.store import Store

Which = Callable[[Store], Iterable[Task]]
"""The tasks whose lines are wanted, as of now; ``NotFound`` once there can be no more."""

INCOMPLETE = (
    "warning: incomplete log stream. some logs could not be retrieved for the following reasons: "
)

BATCHES_AHEAD = 4
"""Batches fetched before the reader asks for them."""


@attrs.frozen
class TaskLine:
    """One line that a task wrote. ``time`` is seconds since the epoch, by its node's clock.

    As text it is the line itself, after its time and where it is from if these were asked for.
    """

    task_id: str
    task_name: str
    node_id: str
    stream: str
    time: float
    data: bytes
    service_id: str = ""
    timestamps: bool = attrs.field(default=False, repr=False)
    details: bool = attrs.field(default=False, repr=False)

    @property
    def text(self) -> str:
        """The line as text; what is not UTF-8 is marked."""
        return self.data.decode(errors="replace")

    def __str__(self) -> str:
        words = [rfc3339(self.time)] if self.timestamps else []
        if self.details:
            words.append(
                f"com.docker.swarm.node.id={self.node_id},"
                f"com.docker.swarm.service.id={self.service_id},"
                f"com.docker.swarm.task.id={self.task_id}"
            )
        return " ".join((*words, self.text))


class _Reading:
    """One ``async for`` over logs: its sources run in the node's loop."""

    def __init__(
        self, member: Member, which: Which, wish: Wish, is_one: bool, shown: dict[str, bool]
    ) -> None:
        self._member = member
        self._which = which
        self._wish = wish
        self._is_one = is_one
        self._shown = shown
        self._scope = trio.CancelScope()
        self._send, self._receive = trio.open_memory_channel[list[TaskLine]](BATCHES_AHEAD)
        self._is_open = False
        self._seen: dict[str, None] = {}
        self._problem: SwarmError | None = None
        self._missing: dict[str, None] = {}
        """Why lines are missing: each reason once."""

    async def open(self) -> None:
        """Start the sources; raises ``FailedPrecondition`` on a worker."""
        await self._member.node.barrier()
        self._is_open = True
        self._member.nursery.start_soon(self._run)

    async def _run(self) -> None:
        with self._scope:
            async with self._send, trio.open_nursery() as nursery:
                try:
                    await self._find(nursery)
                except SwarmError as problem:
                    self._problem = problem

    async def _find(self, nursery: trio.Nursery) -> None:
        """Open a source for each task that has begun; while following, for those to come too."""
        node = self._member.node
        while True:
            pending = False
            try:
                tasks = self._which(node.store)
            except NotFound:
                return  # what was followed is gone: the tasks that are read end too
            for task in tasks:
                if task.id in self._seen:
                    continue
                unplaced = f"task {task.id} has not been scheduled"
                if not task.node_id or task.state < TaskState.STARTING:
                    pending = True
                    if self._is_one and not task.node_id:
                        self._missing[unplaced] = None
                    continue
                self._missing.pop(unplaced, None)
                self._seen[task.id] = None
                nursery.start_soon(self._read, task)
            if not self._wish.follow or (self._is_one and not pending):
                return
            self._member.check_alive()
            await node.wait_changed()

    async def _read(self, task: Task) -> None:
        async def put(lines: Lines) -> None:
            await self._send.send([self._line(task, line) for line in lines])

        node = self._member.node.store.node(task.node_id)
        wish = attrs.evolve(self._wish, task_id=task.id)
        try:
            if not task.keeps_log:
                raise Unimplemented(NO_READING)
            if node is None or node.state is NodeState.DOWN:
                raise Unavailable("nobody to ask")
            await self._member.desk.fetch(task.node_id, node.addr, wish, put)
        except Unavailable:
            self._missing[f"node {task.node_id} is not available"] = None
        except SwarmError as problem:
            self._missing[f"task {task.id}: {problem.message}"] = None
            if self._is_one:
                self._problem = problem

    def _line(self, task: Task, line: LogLine) -> TaskLine:
        return TaskLine(
            task.id,
            task.name,
            task.node_id,
            line.stream,
            line.time,
            line.data,
            task.service_id,
            **self._shown,
        )

    async def take(self) -> list[TaskLine] | None:
        """The next lines, or None at the end."""
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._problem is not None:
                raise self._problem from None
            if self._missing and (self._is_one or not self._wish.follow):
                reasons = list(self._missing)
                text = INCOMPLETE + ", ".join(reasons)
                raise Unavailable(text, details={"reasons": reasons}) from None
            return None

    def close(self) -> None:
        """Stop the sources."""
        self._scope.cancel()
        self._receive.close()
        if not self._is_open:
            self._send.close()


class LogOptions(TypedDict, total=False):
    """The keywords of ``logs``, Docker's."""

    follow: bool
    """Go on with what comes."""
    tail: int | str | None
    """The last so many lines of each task; ``"all"`` or None for all that are kept."""
    since: Since
    """Not what is older: seconds since the epoch, a date and time, or how long ago (``"10m"``)."""
    timestamps: bool
    """``str(line)`` begins with the time."""
    details: bool
    """``str(line)`` says which node, service and task it is from."""
    stdout: bool
    stderr: bool
    """Which streams; both unless said otherwise."""


def read_logs(
    member: Member,
    which: Which,
    options: LogOptions,
    *,
    task_id: str = "",
) -> Stream[TaskLine]:
    """The lines of the tasks that ``which`` finds, as they come in; of one alone if ``task_id``.

    The lines of a task come in order. What the reader does not take stays on the nodes. If some
    could not be had (a node is down, a log driver keeps none), the end is ``Unavailable``, whose
    ``details["reasons"]`` says why; while following a service they are left out. Of one task whose
    log driver keeps none it is ``Unimplemented``.
    """
    given: dict[str, Any] = dict(options)
    shown = {name: bool(given.pop(name, False)) for name in ("timestamps", "details")}
    wish = log_wish(task_id, now=member.node.clock.realtime(), **given)
    return Stream(member.loop, _Reading(member, which, wish, bool(task_id), shown))
