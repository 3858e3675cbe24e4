"""The daemon's end of the control socket: verbs are looked up on the front, and called.

Whoever may open the socket (mode 0660: the daemon's user and group) may do with the swarm what a
manager may, as with Docker's socket. What they may not do is harm the daemon: connections, calls
and streams of each, and the size and time of frames are limited, and a client that goes away takes
its calls with it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from pyswarm.errors import Internal, InvalidArgument, ResourceExhausted, SwarmError
from pyswarm.model import Node
from pyswarm.runtime import front
from pyswarm.runtime.daemon.frames import (
    GREETING_S,
    MAGIC,
    QUESTION_BYTES_MAX,
    VERSION,
    BadFrame,
    Frames,
    Op,
)
from pyswarm.runtime.daemon.host import Host
from pyswarm.runtime.daemon.verbs import (
    CLUSTER,
    COLLECTIONS,
    DAEMON,
    HANDLES,
    HostVerbs,
    verbs_of,
)
from pyswarm.runtime.daemon.wire import Wire, encode_error
from pyswarm.runtime.front.handles import Handle
from pyswarm.runtime.listen import Address, SocketStream, accept_all, listening
from pyswarm.runtime.observe import log_event

CONNECTIONS_MAX = 32
"""More wait until one ends: people and scripts, not traffic."""

CALLS_MAX = 64
"""Calls and streams under way on one connection."""

QUESTIONS_BYTES_MAX = 2 * QUESTION_BYTES_MAX
"""Of the questions under way on one connection."""

ITEMS_MAX = 500
"""Items of a list that are encoded, or of a stream that are sent, without a pause for others."""

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
"""How a connection ends that is not hung up."""

MakeCluster = Callable[[front.Member], Any]
"""Makes the front of a member: ``pyswarm.Cluster``, handed in since it lives above this ring."""


class Control:
    """All connections to one host."""

    def __init__(self, host: Host, make_cluster: MakeCluster) -> None:
        self._host = host
        self._make_cluster = make_cluster

    async def serve(self, stream: SocketStream) -> None:
        """One connection, to its end."""
        frames = Frames(stream, bytes_max=QUESTION_BYTES_MAX)
        try:
            await _Client(self._host, self._make_cluster, frames).run()
        except* (BadFrame, *GONE) as problems:
            reasons = [str(problem) or type(problem).__name__ for problem in leaves(problems)]
            log_event("daemon", "control.ended", "debug", {"reason": "; ".join(reasons)})
        finally:
            await frames.aclose()


class _Client:
    """One connection."""

    def __init__(self, host: Host, make_cluster: MakeCluster, frames: Frames) -> None:
        self._host = host
        self._verbs = HostVerbs(host)
        self._make_cluster = make_cluster
        self._frames = frames
        self._writing = trio.Lock()
        self._wire = Wire(self._handle, trusted=False)
        self._calls: dict[int, trio.CancelScope] = {}
        self._running = 0
        self._bytes = 0
        self._streams: dict[int, front.Stream[Any]] = {}
        self._told: Any = None

    async def run(self) -> None:
        with trio.fail_after(GREETING_S):
            greeting = await self._frames.read()
        if greeting is None:
            return
        await self._frames.write([MAGIC, VERSION, self._about()])
        if greeting[:2] != [MAGIC, VERSION]:
            raise BadFrame("a greeting of another version")
        async with trio.open_nursery() as nursery:
            try:
                while (frame := await self._frames.read()) is not None:
                    self._take(nursery, frame)
            finally:
                nursery.cancel_scope.cancel()
                for stream in self._streams.values():
                    await stream.aclose()

    def _take(self, nursery: trio.Nursery, frame: list[Any]) -> None:
        if len(frame) < 2 or not isinstance(frame[1], int):
            raise BadFrame("a question without a number")
        op, number, *rest = frame
        if op in (Op.CANCEL, Op.CLOSE):
            if (given_up := self._calls.pop(number, None)) is not None:
                given_up.cancel()
            if op == Op.CLOSE and (stream := self._streams.pop(number, None)) is not None:
                nursery.start_soon(stream.aclose)
        elif op in (Op.CALL, Op.OPEN, Op.TAKE):
            if number in self._calls:
                raise BadFrame(f"question {number} is under way")
            if self._running >= 2 * CALLS_MAX:
                raise BadFrame("more questions than anybody answers")
            scope = self._calls[number] = trio.CancelScope()
            self._running += 1
            size = self._frames.size
            self._bytes += size
            job: Any = self._next if op == Op.TAKE else self._call
            if op != Op.TAKE and not self._has_room():
                job, rest = self._refuse, []
            elif op == Op.OPEN:
                job, rest = self._said, [self._open(number, rest)]
            nursery.start_soon(self._answer, scope, number, job, rest, size)
        else:
            raise BadFrame(f"an unknown question: {op!r}")

    def _has_room(self) -> bool:
        """Whether another question is taken; the one that was just read is counted."""
        calls = self._running + len(self._streams.keys() - self._calls.keys())
        return calls <= CALLS_MAX and self._bytes <= QUESTIONS_BYTES_MAX

    async def _answer(
        self, scope: trio.CancelScope, number: int, job: Any, rest: list[Any], size: int
    ) -> None:
        """Do it, and say how it went; nothing, where the caller does not want to know any more."""
        answer: list[Any] = []
        with scope:
            await trio.lowlevel.checkpoint()  # what was taken back meanwhile is not begun
            try:
                answer = [Op.DONE, number, *await job(number, *rest)]
            except SwarmError as error:
                answer = [Op.FAIL, number, encode_error(error)]
            except Exception as problem:  # a mistake of ours costs its caller the answer, no more
                log_event("daemon", "control.failed", "error", {"exc": problem})
                internal = Internal(f"{type(problem).__name__}: {problem}")
                answer = [Op.FAIL, number, encode_error(internal)]
        self._running, self._bytes = self._running - 1, self._bytes - size
        if self._calls.get(number) is scope:
            del self._calls[number]
        if answer:
            async with self._writing:
                await self._frames.write(answer)

    # -- verbs

    async def _refuse(self, number: int, *rest: Any) -> list[Any]:
        raise ResourceExhausted(
            f"more than {CALLS_MAX} calls and streams, or {QUESTIONS_BYTES_MAX} bytes of questions "
            "are under way on one connection",
            hint="wait for an answer, or connect once more",
        )

    async def _call(
        self, number: int, target: Any, verb: Any, own: Any, args: Any, kwargs: Any
    ) -> list[Any]:
        thing, method = self._meant(target, verb, own)
        value = await method(*self._wire.decode(args), **self._wire.decode(kwargs))
        state = self._wire.encode(thing) if isinstance(thing, Handle) else None
        return [await self._encoded(value), state, self._news()]

    def _open(self, number: int, question: list[Any]) -> Exception | None:
        """Open a stream; gives why it cannot be. It begins where it was called: before any later
        question of this client is begun, since calls that are under way overtake each other."""
        try:
            target, verb, own, args, kwargs = question
            _, method = self._meant(target, verb, own)
            stream = method(*self._wire.decode(args), **self._wire.decode(kwargs))
            if not isinstance(stream, front.Stream):
                raise InvalidArgument(f"{target}.{verb} gives no stream")
        except Exception as problem:
            return problem
        self._streams[number] = stream
        return None

    async def _said(self, number: int, problem: Exception | None) -> list[Any]:
        if problem is not None:
            raise problem
        return [None, None, None]

    async def _next(self, number: int) -> list[Any]:
        stream = self._streams.get(number)
        if stream is None:
            return [None]
        items = await stream.take(ITEMS_MAX)
        if items is None:
            self._streams.pop(number, None)
            return [None]
        return [[self._wire.encode(item) for item in items]]

    def _meant(self, target: Any, verb: Any, own: Any) -> tuple[Any, Callable[..., Any]]:
        """The object that a verb is of, and the verb. Raises ``InvalidArgument`` for what is none,
        and why the swarm cannot be asked here."""
        thing: Any
        if target == DAEMON:
            thing = self._verbs
        elif target == CLUSTER and verb == "leave":
            thing = self._verbs  # leaving is the host's: its disk is emptied too
        elif target in HANDLES:
            thing = self._wire.decode(own)
            if not isinstance(thing, HANDLES[target]):
                raise InvalidArgument(f"a verb of a {target} is asked of a handle")
        else:
            member = self._member(target, verb)
            cluster = self._make_cluster(member)
            thing = getattr(cluster, target) if target in COLLECTIONS else cluster
            if thing is cluster and target != CLUSTER:
                raise InvalidArgument(f"there is no {target!r} here")
        if verb not in verbs_of(type(thing)):
            raise InvalidArgument(
                f"{target} has no verb {verb!r} here",
                hint="the daemon may be of another version than this client",
            )
        return thing, getattr(thing, verb)

    def _member(self, target: Any, verb: Any) -> front.Member:
        """A worker can be asked about itself; the rest takes a manager."""
        if target == CLUSTER and verb in WORKERS_VERBS and (node := self._host.node()) is not None:
            return node
        return self._host.member()

    def _handle(self, kind: str, value: Any) -> Any:
        return HANDLES[kind](self._host.member(), value)

    async def _encoded(self, value: Any) -> Any:
        """The value; of a long list, slice by slice, so that the node goes on meanwhile."""
        if not isinstance(value, list) or len(value) <= ITEMS_MAX:
            return self._wire.encode(value)
        pieces = []
        for begin in range(0, len(value), ITEMS_MAX):
            pieces.append(self._wire.packed(value[begin : begin + ITEMS_MAX]))
            await trio.lowlevel.checkpoint()
        return ["packed", pieces]

    # -- what the client knows without asking

    def _news(self) -> Any:
        about = self._about()
        if about == self._told:
            return None
        self._told = about
        return about

    def _about(self) -> Any:
        """The node, for the attributes of a handle on its swarm; None outside a swarm."""
        member = self._host.node()
        if member is None:
            return None
        own: Node = front.own_node(member).value
        return [
            *(member.node_id, member.addr, member.is_manager, member.is_leader),
            self._wire.encode(own),
        ]


def leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    """The exceptions of a group and of the groups in it."""
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from leaves(one)
        else:
            yield one


WORKERS_VERBS = {"status", "wait_ready", "wait_stopped"}
"""What a worker's own front answers."""


@asynccontextmanager
async def serving(host: Host, path: Path, make_cluster: MakeCluster) -> AsyncIterator[None]:
    """Serve the control socket at ``path`` as long as the block lasts; then it is gone. One that a
    dead process left is replaced. Raises ``AlreadyExists`` and ``Unavailable``."""
    control = Control(host, make_cluster)
    places = trio.CapacityLimiter(CONNECTIONS_MAX)
    async with (
        listening([Address(path=os.fspath(path))]) as sockets,
        trio.open_nursery() as nursery,
    ):
        for sock in sockets:
            nursery.start_soon(accept_all, sock, control.serve, places)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()
