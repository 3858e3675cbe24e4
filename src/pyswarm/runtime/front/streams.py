"""Asynchronous iterators that may be dropped at any point.

``async for`` over events or logs is often left by ``break``. A generator that is left so complains
when it is collected; a stream just lets go of what it held in the node's loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, Protocol, Self, TypeVar

from pyswarm.runtime.front.loops import Loop

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Source(Protocol[T_co]):
    """What a stream reads, in the node's loop."""

    async def open(self) -> None:
        """Begin; called once, before the first ``take``."""
        ...

    async def take(self) -> Sequence[T_co] | None:
        """The next items; None at the end."""
        ...

    def close(self) -> None:
        """Let go of everything; may be called without ``open``, and twice."""
        ...


class Stream(Generic[T]):
    """An asynchronous iterator, and a context manager for those who want it closed at once."""

    def __init__(self, loop: Loop, source: Source[T]) -> None:
        self._loop = loop
        self._source = source
        self._items: deque[T] = deque()
        self._state = "new"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._state == "new":
            await self._loop.run(self._source.open)
            self._state = "open"
        while not self._items and self._state == "open":
            items = await self._loop.run(self._source.take)
            if items is None:
                await self.aclose()
            else:
                self._items.extend(items)
        if not self._items:
            raise StopAsyncIteration
        return self._items.popleft()

    async def take(self, most: int) -> list[T] | None:
        """The next items: at least one, at most ``most``; None at the end."""
        try:
            items = [await anext(self)]
        except StopAsyncIteration:
            return None
        while self._items and len(items) < most:
            items.append(self._items.popleft())
        return items

    async def aclose(self) -> None:
        """Stop reading; what was fetched and not read is dropped."""
        if self._state != "closed":
            self._state = "closed"
            self._items.clear()
            self._loop.soon(self._source.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Stream {self._state}: read it by `async for`>"

    def __del__(self) -> None:
        if getattr(self, "_state", "closed") != "closed":
            self._loop.soon(self._source.close)
