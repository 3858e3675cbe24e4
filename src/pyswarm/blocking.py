"""The same swarm for people who do not await: scripts, notebooks, threads.

``with Cluster.init() as cluster`` runs the node in a thread of its own, in a trio loop of its own.
Names, arguments and errors are those of :class:`pyswarm.Cluster`; what is awaited there blocks
here, and ``async for`` is ``for``. Nothing is written twice: every attribute is looked up on the
asynchronous object and called over there, which costs some 200 µs. May be used from several
threads. Ctrl-C interrupts the waiting call; leaving the block stops the node.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

from pyswarm import cluster as asynchronous
from pyswarm.errors import FailedPrecondition

T = TypeVar("T")

_SHADOWED = ("Handle", "Collection", "Cluster", "Daemon", "LocalSwarm", "Rotation")
"""Classes whose objects have verbs: they are shadowed wherever they come out."""


class Portal:
    """A trio loop in a thread, and the way into it from any other thread."""

    def __init__(self) -> None:
        self._token: trio.lowlevel.TrioToken | None = None
        self._started = threading.Event()
        self._end = trio.Event()
        self.nursery: trio.Nursery
        self._thread = threading.Thread(target=trio.run, args=(self._live,), name="pyswarm")

    def start(self) -> None:
        """Begin; returns once calls can be made."""
        self._thread.daemon = True
        self._thread.start()
        self._started.wait()

    async def _live(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self.nursery:
            self._started.set()
            await self._end.wait()

    def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run ``await function(*args)`` over there; wait for it here."""
        if self._token is None:
            raise FailedPrecondition("this cluster does not run: use it as a context manager")
        result: T = trio.from_thread.run(function, *args, trio_token=self._token)
        return result

    def stop(self) -> None:
        """End the loop and its thread."""
        if self._token is not None:
            self._token.run_sync_soon(self._end.set)
            self._thread.join()
            self._token = None


class Shadow:
    """An object whose verbs are asynchronous, with the same verbs blocking."""

    __slots__ = ("_portal", "_target")

    def __init__(self, portal: Portal, target: Any) -> None:
        object.__setattr__(self, "_portal", portal)
        object.__setattr__(self, "_target", target)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if inspect.ismethod(found):
            return functools.partial(_called, self._portal, found)
        return shadowed(self._portal, found)

    def __dir__(self) -> list[str]:
        return dir(self._target)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shadow) and bool(self._target == other._target)

    def __hash__(self) -> int:
        return hash(self._target)

    def __repr__(self) -> str:
        return repr(self._target)


def shadowed(portal: Portal, value: Any) -> Any:
    """What comes out of a call: objects with verbs as shadows, also in lists and tuples."""
    if any(cls.__name__ in _SHADOWED for cls in type(value).__mro__):
        return Shadow(portal, value)
    if type(value) in (list, tuple):
        return type(value)(shadowed(portal, one) for one in value)
    return value


def _plain(value: Any) -> Any:
    """What goes into a call: shadows as what they stand for."""
    if isinstance(value, Shadow):
        return value._target
    if type(value) in (list, tuple):
        return type(value)(_plain(one) for one in value)
    return value


def _called(portal: Portal, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a method over there: wait for a coroutine, walk through an asynchronous iterator."""

    async def over_there() -> Any:
        result = method(
            *[_plain(one) for one in args], **{key: _plain(one) for key, one in kwargs.items()}
        )
        return await result if inspect.isawaitable(result) else result

    result = portal.call(over_there)
    if isinstance(result, AsyncIterator):
        return _Walk(portal, result)
    return shadowed(portal, result)


_END = object()


class _Walk:
    """An asynchronous iterator, walked through step by step."""

    def __init__(self, portal: Portal, source: AsyncIterator[Any]) -> None:
        self._portal = portal
        self._source = source

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        value = self._portal.call(self._step)
        if value is _END:
            raise StopIteration
        return shadowed(self._portal, value)

    async def _step(self) -> Any:
        try:
            return await anext(self._source)
        except StopAsyncIteration:
            return _END

    def close(self) -> None:
        """Stop before the end."""
        close = getattr(self._source, "aclose", None)
        if close is not None:
            self._portal.call(close)

    def __enter__(self) -> _Walk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Hold:
    """A block that is entered by one call and left by another, in one task over there."""

    def __init__(self, block: AbstractAsyncContextManager[Any]) -> None:
        self._block = block
        self._leave = trio.Event()
        self._left = trio.Event()
        self._problem: Exception | None = None

    async def enter(self, nursery: trio.Nursery) -> Any:
        """Enter; what the block yields."""
        return await nursery.start(self._run)

    async def _run(self, *, task_status: trio.TaskStatus[Any]) -> None:
        is_entered = False
        try:
            async with self._block as value:
                task_status.started(value)
                is_entered = True
                await self._leave.wait()
        except Exception as problem:
            if not is_entered:
                raise
            self._problem = problem
        finally:
            self._left.set()

    async def leave(self) -> None:
        """Leave; raises what leaving raised."""
        self._leave.set()
        await self._left.wait()
        if self._problem is not None:
            raise self._problem


class Block(Shadow):
    """Any asynchronous block of pyswarm (a ``Cluster``, a ``LocalSwarm``) as a blocking one."""

    __slots__ = ("_block", "_hold")

    def __init__(self, block: AbstractAsyncContextManager[Any]) -> None:
        super().__init__(Portal(), None)
        object.__setattr__(self, "_block", block)
        object.__setattr__(self, "_hold", None)

    def __enter__(self) -> Self:
        hold = _Hold(self._block)
        self._portal.start()
        object.__setattr__(self, "_hold", hold)
        try:
            entered = self._portal.call(hold.enter, self._portal.nursery)
            object.__setattr__(self, "_target", entered)
        except BaseException:
            self._portal.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._portal.call(self._hold.leave)
        finally:
            self._portal.stop()


class Cluster(Block):
    """A node of a swarm: see :class:`pyswarm.Cluster`. A context manager."""

    __slots__ = ()

    @classmethod
    def init(cls, **options: Any) -> Cluster:
        """Found a swarm; options as in :meth:`pyswarm.Cluster.init`."""
        return cls(asynchronous.Cluster.init(**options))

    @classmethod
    def join(cls, remote_addrs: Any, token: str, **options: Any) -> Cluster:
        """Join a swarm; options as in :meth:`pyswarm.Cluster.join`."""
        return cls(asynchronous.Cluster.join(remote_addrs, token, **options))

    @classmethod
    def open(cls, state_dir: Any, **options: Any) -> Cluster:
        """Start a node again; options as in :meth:`pyswarm.Cluster.open`."""
        return cls(asynchronous.Cluster.open(state_dir, **options))

    @classmethod
    def open_or_init(cls, state_dir: Any, **options: Any) -> Cluster:
        """Start again, or found; options as in :meth:`pyswarm.Cluster.open_or_init`."""
        return cls(asynchronous.Cluster.open_or_init(state_dir, **options))

    @classmethod
    def connect(cls, url: Any) -> Cluster:
        """A handle on a daemon's swarm: see :meth:`pyswarm.Cluster.connect`."""
        return cls(asynchronous.Cluster.connect(url))


class Daemon(Block):
    """A daemon, in a swarm or not: see :class:`pyswarm.Daemon`. A context manager."""

    __slots__ = ()

    @classmethod
    def connect(cls, url: Any) -> Daemon:
        """The daemon whose control socket is ``unix:///path``."""
        return cls(asynchronous.Daemon.connect(url))
