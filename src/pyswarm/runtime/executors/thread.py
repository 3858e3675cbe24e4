"""A thread of one's own for short blocking calls.

Two reasons not to use trio's worker threads: those end after ten idle seconds, and a process asked
to die with its parent dies when the *thread* that started it ends; and an executor that was closed
must leave no thread behind. Calls run one after the other, in the order they were made.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, ParamSpec, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")


class _Call(Generic[T]):
    """One call, on its way to the thread and back."""

    __slots__ = ("done", "error", "function", "result", "token")

    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function
        self.token = trio.lowlevel.current_trio_token()
        self.done = trio.Event()
        self.result: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result.append(self.function())
        except BaseException as error:
            self.error = error
        with suppress(trio.RunFinishedError):  # whoever asked is gone
            self.token.run_sync_soon(self.done.set)

    def answer(self) -> T:
        if self.error is not None:
            raise self.error
        return self.result[0]


class OwnThread:
    """Started with its first call, ended by :meth:`stop`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last: _Call[Any] | None = None
        self._stopped = False

    @property
    def is_idle(self) -> bool:
        """Whether it has done all that was asked of it."""
        return self._last is None or self._last.done.is_set()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``function`` returns or raises. It is not interrupted by a cancellation."""
        call = self._begin(lambda: function(*args, **kwargs))
        with trio.CancelScope(shield=True):
            await call.done.wait()
        return call.answer()

    async def run_or_leave(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, but a cancellation leaves the call to itself: its answer is nobody's."""
        call = self._begin(lambda: function(*args, **kwargs))
        await call.done.wait()
        return call.answer()

    def stop(self) -> None:
        """End the thread after the calls it has. It waits for those, so await them before."""
        thread = self._thread
        self.leave()
        if thread is not None:
            thread.join()

    def leave(self) -> None:
        """End the thread after the calls it has, whenever that is."""
        self._stopped = True
        if self._thread is not None:
            self._calls.put(None)
            self._thread = None

    def _begin(self, function: Callable[[], T]) -> _Call[T]:
        assert not self._stopped, "the thread was stopped"
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
            self._thread.start()
        call = self._last = _Call(function)
        self._calls.put(call)
        return call

    def _main(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
