"""Where a node runs: in the trio loop of its host, or in a loop and thread of its own.

A swarm that shares its host's loop is delayed by whatever else that loop does. With a loop of its
own it is not; then every call hops over: the coroutine runs over there, the caller waits here, and
cancelling the caller cancels it there. Objects are immutable, so they travel as they are.

What ends a program (Ctrl-C, a failing sibling) cancels a node and its callers at once. That the
node refuses their calls is news to nobody then: a caller's own cancellation goes before an error,
so that what ended the program comes out alone.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar, cast

import trio

from pyswarm.errors import Cancelled, SwarmError

T = TypeVar("T")


class Loop(Protocol):
    """Where coroutines that touch a node are run."""

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run ``await function(*args)`` there; its result or its exception comes back."""
        ...

    def soon(self, function: Callable[[], object]) -> None:
        """Call ``function`` there; from any thread, and nobody waits. Nothing, once it is over."""
        ...


class Here:
    """The caller's own loop: nothing to cross."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()

    def soon(self, function: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function)

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        try:
            return await function(*args)
        except SwarmError:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise


class _Crossing:
    """One call on its way over and back."""

    def __init__(self) -> None:
        self.home = trio.lowlevel.current_trio_token()
        self.back = trio.Event()
        self.scope = trio.CancelScope()
        self.value: Any = None
        self.error: BaseException | None = None

    async def carry(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        """Run over there, then wake the caller, whatever happened."""
        self.error = Cancelled("the node has stopped")
        try:
            with self.scope:
                self.value = await function(*args)
            self.error = None
        except Exception as error:
            self.error = error
        finally:
            self.wake()

    def wake(self) -> None:
        """Tell the caller; one whose loop is gone does not wait any more."""
        with suppress(trio.RunFinishedError):
            self.home.run_sync_soon(self.back.set)


class Elsewhere:
    """A trio loop in a thread of its own. Made by :func:`own_loop`."""

    def __init__(self) -> None:
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._end = trio.Event()
        self._is_over = False

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        crossing = _Crossing()
        self._soon(lambda: self._start(crossing, function, args))
        try:
            await crossing.back.wait()
        except trio.Cancelled:
            self._soon(crossing.scope.cancel)
            with trio.CancelScope(shield=True):
                await crossing.back.wait()
            raise
        if crossing.error is not None:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise crossing.error
        return cast("T", crossing.value)

    def _start(self, crossing: _Crossing, function: Any, args: tuple[Any, ...]) -> None:
        assert self._nursery is not None
        if self._is_over:
            crossing.error = Cancelled("the node has stopped")
            crossing.wake()
        else:
            self._nursery.start_soon(crossing.carry, function, args)

    def _soon(self, function: Callable[[], object]) -> None:
        assert self._token is not None
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            raise Cancelled("the node has stopped") from None

    def soon(self, function: Callable[[], object]) -> None:
        with suppress(Cancelled):
            self._soon(function)

    async def live(self, started: Callable[[], None]) -> None:
        """The thread's main function: serve calls until :meth:`close`."""
        self._token = trio.lowlevel.current_trio_token()
        self._end = trio.Event()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            started()
            await self._end.wait()
            self._is_over = True
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Cancel what still runs there and end the loop."""
        self._soon(self._end.set)


@asynccontextmanager
async def own_loop(name: str = "pyswarm node") -> AsyncIterator[Elsewhere]:
    """A loop in a new thread, for as long as the block lasts."""
    loop = Elsewhere()
    home = trio.lowlevel.current_trio_token()
    started, ended = trio.Event(), trio.Event()

    def main() -> None:
        try:
            trio.run(loop.live, lambda: home.run_sync_soon(started.set))
        finally:
            home.run_sync_soon(ended.set)

    thread = threading.Thread(target=main, name=name, daemon=True)
    with trio.CancelScope(shield=True):
        thread.start()
        await started.wait()
    try:
        yield loop
    finally:
        with trio.CancelScope(shield=True):
            loop.close()
            await ended.wait()
            await trio.to_thread.run_sync(thread.join)
