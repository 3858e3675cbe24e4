"""The client's end of the control socket: the front's own classes, with verbs that go over there.

A :class:`Line` is one connection to a daemon. :func:`mirrored` makes of a class of the front one
with the same verbs, arguments and documentation, each of which is sent to the daemon and answered
by it; so nothing is written twice, and a handle is a handle wherever it is from.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from pyswarm.errors import InvalidArgument, Unavailable
from pyswarm.model import Node
from pyswarm.runtime import front
from pyswarm.runtime.daemon.frames import (
    ANSWER_BYTES_MAX,
    GREETING_S,
    MAGIC,
    VERSION,
    BadFrame,
    Frames,
    Op,
)
from pyswarm.runtime.daemon.verbs import CLUSTER, COLLECTIONS, DAEMON, HANDLES, STREAMS, verbs_of
from pyswarm.runtime.daemon.wire import Wire, decode_error
from pyswarm.runtime.errorgroups import plain_errors
from pyswarm.runtime.front.loops import Here
from pyswarm.runtime.front.sources import read_payload
from pyswarm.runtime.front.streams import Stream
from pyswarm.runtime.storage.files import checked_path

T = TypeVar("T")

SCHEME = "unix://"

BROKEN = "the line to the daemon is broken"


class _Question:
    """One that waits for its answer."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: list[Any] | None = None


class Line:
    """One connection to a daemon. Made by :func:`dialed`.

    To handles it is what a ``Member`` is in the node's own process: the attributes say what the
    daemon last said of its node.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._questions: dict[int, _Question] = {}
        self._next = 0
        self._out, self._waiting = trio.open_memory_channel[list[Any]](float("inf"))
        self._is_broken = False
        self._about: list[Any] | None = None
        self.loop = Here()
        self.wire = Wire(self._handle, trusted=True)

    # -- what the daemon last said of its node

    @property
    def is_in_swarm(self) -> bool:
        """Whether the daemon is a node."""
        return self._about is not None

    @property
    def node_id(self) -> str:
        """The node's id, "" outside a swarm."""
        return str(self._about[0]) if self._about is not None else ""

    @property
    def addr(self) -> str:
        """Where other nodes find it."""
        return str(self._about[1]) if self._about is not None else ""

    @property
    def is_manager(self) -> bool:
        """Whether it was a manager."""
        return self._about is not None and bool(self._about[2])

    @property
    def is_leader(self) -> bool:
        """Whether it led."""
        return self._about is not None and bool(self._about[3])

    @property
    def own_node(self) -> front.NodeHandle:
        """The node as the daemon last saw it."""
        value = Node("") if self._about is None else self.wire.decode(self._about[4])
        handle: front.NodeHandle = self._handle("node", value)
        return handle

    def _handle(self, kind: str, value: Any) -> Any:
        return mirrored(HANDLES[kind], kind)(self, value)

    # -- asking

    def ask(self, op: Op, *content: Any, number: int = 0) -> int:
        """Ask; the answer is fetched by :meth:`answer`. Questions arrive in the order asked."""
        if self._is_broken:
            raise Unavailable(BROKEN, hint="connect again")
        if not number:
            self._next += 1
            number = self._next
        self._questions[number] = _Question()
        self._out.send_nowait([op, number, *content])
        return number

    async def answer(self, number: int, *, takes_back: bool = True) -> list[Any]:
        """The answer to a question that was asked; a caller that gives up takes it back, or may
        wait for it again."""
        question = self._questions[number]
        try:
            await question.answered.wait()
        except trio.Cancelled:
            if takes_back:
                self.tell(Op.CANCEL, number)
            raise
        self._questions.pop(number, None)
        if question.answer is None:
            raise Unavailable(BROKEN, outcome="unknown", hint="connect again")
        op, _, *content = question.answer
        if op == Op.FAIL:
            raise decode_error(content[0])
        return content

    def tell(self, op: Op, number: int) -> None:
        """Say that nobody waits for the answer any more."""
        self._questions.pop(number, None)
        if not self._is_broken:
            self._out.send_nowait([op, number])

    # -- the connection

    async def run(self) -> None:
        """Read answers and send questions, until the connection ends."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                while (frame := await self._frames.read()) is not None:
                    self._take(frame)
                nursery.cancel_scope.cancel()
        except* (BadFrame, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # whoever waits is told so below
        finally:
            self._is_broken = True
            for question in self._questions.values():
                question.answered.set()

    def _take(self, frame: list[Any]) -> None:
        op, number, *content = frame
        if op == Op.DONE and len(content) == 3 and content[2] is not None:
            self._about = content[2]
        question = self._questions.get(number)
        if question is not None:
            question.answer = frame
            question.answered.set()

    async def _send(self) -> None:
        async for frame in self._waiting:
            await self._frames.write(frame)

    async def greet(self) -> None:
        """Exchange greetings. Raises ``Unavailable`` for anything but a daemon of this version."""
        try:
            with trio.fail_after(GREETING_S):
                await self._frames.write([MAGIC, VERSION])
                greeting = await self._frames.read()
        except (BadFrame, trio.BrokenResourceError, trio.TooSlowError) as problem:
            raise Unavailable(f"no pyswarm daemon answers there: {problem}") from None
        if greeting is None or greeting[0] != MAGIC:
            raise Unavailable("no pyswarm daemon answers there")
        if greeting[1] != VERSION:
            raise Unavailable(
                f"the daemon speaks version {greeting[1]}, this client {VERSION}",
                hint="use the pyswarm of the daemon's version",
            )
        self._about = greeting[2]


@asynccontextmanager
async def dialed(url: str | os.PathLike[str]) -> AsyncIterator[Line]:
    """A line to the daemon at ``unix:///path``, as long as the block lasts.

    Raises ``InvalidArgument`` for another address, ``Unavailable`` where no daemon answers.
    """
    path = socket_path(url)
    try:
        stream = await trio.open_unix_socket(path)
    except OSError as problem:
        raise Unavailable(
            f"no daemon listens at {path}: {problem.strerror or problem}",
            hint="`pyswarm daemon --state-dir DIR` listens at DIR/control.sock",
        ) from None
    frames = Frames(stream, bytes_max=ANSWER_BYTES_MAX)
    line = Line(frames)
    try:
        await line.greet()
        with plain_errors():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(line.run)
                try:
                    yield line
                finally:
                    nursery.cancel_scope.cancel()
    finally:
        await frames.aclose()


def socket_path(url: str | os.PathLike[str]) -> str:
    """The path of ``unix:///path`` (or of a path). Raises ``InvalidArgument``."""
    text = os.fspath(url)
    if text.startswith(SCHEME):
        text = text.removeprefix(SCHEME)
    elif "://" in text:
        raise InvalidArgument(
            f"a daemon is reached at unix:///path, not at {text}",
            hint="the control socket is local; over the network, run a node and join",
        )
    checked_path(text, "the daemon's socket")
    return text


# -- classes whose verbs are called over there


_mirrors: dict[type, type] = {}


def mirrored(cls: type[T], target: str) -> type[T]:
    """A class like ``cls`` whose verbs go over the line that is its objects' ``_member``."""
    if cls not in _mirrors:
        _mirrors[cls] = _mirror(cls, target)
    return _mirrors[cls]


def _mirror(cls: type, target: str) -> type:
    content: dict[str, Any] = {
        name: _streaming(target, name, function)
        if name in STREAMS
        else _calling(target, name, function)
        for name, function in verbs_of(cls).items()
    }
    if target == CLUSTER:
        content["node"] = property(lambda self: self._member.own_node)
    content.update(__module__=cls.__module__, __doc__=cls.__doc__, __qualname__=cls.__qualname__)
    return type(cls.__name__, (cls,), content)


def cluster_over(cls: type[T], line: Line) -> T:
    """A ``Cluster`` on the daemon's swarm."""
    made: Any = mirrored(cls, CLUSTER)
    cluster: T = made(line)
    for name, collection in COLLECTIONS.items():
        setattr(cluster, name, mirrored(collection, name)(line))
    return cluster


def daemon_over(cls: type[T], line: Line) -> T:
    """A ``Daemon``: the verbs of its host."""
    made: Any = mirrored(cls, DAEMON)
    daemon: T = made.__new__(made)
    daemon._member = line  # type: ignore[attr-defined]
    return daemon


def _calling(target: str, verb: str, function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)  # a wrong call is one here too
        await _read_here(target, verb, bound.arguments)
        line: Line = self._member
        content = _question(line, target, verb, self, bound.args[1:], bound.kwargs)
        value, state, _ = await line.answer(line.ask(Op.CALL, *content))
        if state is not None:
            _refresh(self, line.wire.decode(state))
        return line.wire.decode(value)

    return call


def _streaming(target: str, verb: str, function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def stream(self: Any, *args: Any, **kwargs: Any) -> Stream[Any]:
        bound = signature.bind(self, *args, **kwargs)
        line: Line = self._member
        content = _question(line, target, verb, self, bound.args[1:], bound.kwargs)
        return Stream(line.loop, _Far(line, content))

    return stream


def _question(
    line: Line, target: str, verb: str, own: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, ...]:
    encode = line.wire.encode
    thing = encode(own) if target in HANDLES else None
    return (target, verb, thing, encode(list(args)), encode(kwargs))


def _refresh(handle: Any, seen: Any) -> None:
    """The handle after the verb, as the daemon's own handle is."""
    handle.value = seen.value
    if hasattr(seen, "warnings"):
        handle.warnings = seen.warnings


async def _read_here(target: str, verb: str, arguments: dict[str, Any]) -> None:
    """Files are the client's: payloads are read here, and paths are made absolute."""
    if target in ("secrets", "configs") and arguments.get("data") is not None:
        kind: Any = COLLECTIONS[target].handle.kind
        arguments["data"] = await read_payload(kind, arguments["data"])
    if target == CLUSTER and verb == "backup":
        arguments["path"] = os.path.abspath(arguments["path"])  # noqa: ASYNC240 - looks at no file


class _Far:
    """A stream of the daemon's: asked for at once, so that it begins where it was called."""

    def __init__(self, line: Line, content: Sequence[Any]) -> None:
        self._line = line
        self._number = line.ask(Op.OPEN, *content)
        self._is_asked = False
        self._is_over = False

    async def open(self) -> None:
        await self._line.answer(self._number, takes_back=False)

    async def take(self) -> list[Any] | None:
        """A reader that gives up and comes back misses nothing: the question stays asked."""
        if not self._is_asked:
            self._line.ask(Op.TAKE, number=self._number)
            self._is_asked = True
        (items,) = await self._line.answer(self._number, takes_back=False)
        self._is_asked = False
        if items is None:
            self._is_over = True
            return None
        return [self._line.wire.decode(item) for item in items]

    def close(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._line.tell(Op.CLOSE, self._number)
