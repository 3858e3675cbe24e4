"""What the ways into a swarm give: a way in, for a block that has not begun.

``Cluster.init(…)`` runs nothing; ``async with`` does. Who forgets that, awaits it, or takes it for
the cluster already, is told how it goes on, instead of the name of a class inside Python's library.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, NoReturn, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Way(AbstractAsyncContextManager[T_co]):
    """A context manager for one ``async with``. ``noun`` is the class it gives, ``Cluster``."""

    def __init__(self, noun: str, inside: AbstractAsyncContextManager[T_co]) -> None:
        self._noun = noun
        self._inside = inside
        self._has_begun = False

    async def __aenter__(self) -> T_co:
        if self._has_begun:
            raise RuntimeError(f"a block is entered once: make another {self._noun} for another")
        self._has_begun = True
        return await self._inside.__aenter__()

    async def __aexit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._inside.__aexit__(cls, error, traceback)

    def __repr__(self) -> str:
        return f"<a {self._noun} to be entered: {self._how}>"

    @property
    def _how(self) -> str:
        return f"async with {self._noun}.…(…) as {self._noun.lower()}:"

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name}: no {self._noun} yet, it begins with `{self._how}`")

    def __await__(self) -> NoReturn:
        raise TypeError(f"this is not awaited, but entered: `{self._how}`")

    def __enter__(self) -> NoReturn:
        raise TypeError(
            f"this is entered by `{self._how}`; pyswarm.blocking.{self._noun} is for `with`"
        )

    def __exit__(self, *_: Any) -> None:
        """Only so that ``with`` comes as far as :meth:`__enter__`."""
