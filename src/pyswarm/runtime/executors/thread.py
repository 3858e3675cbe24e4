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
from typing import ParamSpec, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")


class _Call:
    """One call, on its way to the thread and back."""

    __slots__ = ("done", "error", "function", "result", "token")

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        self.token = trio.lowlevel.current_trio_token()
        self.done = trio.Event()
        self.result: object = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.function()
        except BaseException as error:
            self.error = error
        with suppress(trio.RunFinishedError):  # whoever asked is gone
            self.token.run_sync_soon(self.done.set)


class OwnThread:
    """Started with its first call, ended by :meth:`stop`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopped = False

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``function`` returns or raises. It is not interrupted by a cancellation."""
        assert not self._stopped, "the thread was stopped"
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
            self._thread.start()
        result: list[T] = []
        call = _Call(lambda: result.append(function(*args, **kwargs)))
        self._calls.put(call)
        with trio.CancelScope(shield=True):
            await call.done.wait()
        if call.error is not None:
            raise call.error
        return result[0]

    def stop(self) -> None:
        """End the thread after the calls it has. It waits for those, so await them before."""
        self._stopped = True
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()
            self._thread = None

    def _main(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
