"""The two shapes that everything deciding has, and the words they share.

A :class:`Machine` takes an input and returns effects; a :class:`Reconciler` looks at what changed
in the store and writes what should follow into the open transaction. Neither reads a clock, draws
chance or waits: ``now`` and ``rng`` are handed in. So one driver, one simulator and one recorder
serve them all.

An effect is data with an addressee. Effects after a commit are hints: whatever must happen can be
issued again from the store, and every receiver treats a repeated effect as done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import attrs

from pyswarm.env import Rng

InputT = TypeVar("InputT", contravariant=True)
TxT = TypeVar("TxT", contravariant=True)
ChangeT = TypeVar("ChangeT", contravariant=True)
ViewT = TypeVar("ViewT", contravariant=True)


class Effect:
    """The root of everything a machine asks the world to do. Subclasses are frozen values."""

    __slots__ = ()


@attrs.frozen(slots=True)
class Because:
    """Why a change was made: a code for machines and its arguments, kept with the change."""

    code: str
    args: tuple[str | int | float, ...] = ()

    def __str__(self) -> str:
        return f"{self.code}({', '.join(map(str, self.args))})" if self.args else self.code


@runtime_checkable
class Machine(Protocol[InputT]):
    """Something that decides. ``now`` is the local monotonic clock, in seconds."""

    def step(self, now: float, input: InputT, /) -> Sequence[Effect]:
        """Take one input in; say what the world should do."""
        ...

    def wake_at(self) -> float | None:
        """The next moment at which time alone changes something, or None."""
        ...


@runtime_checkable
class Reconciler(Protocol[TxT, ChangeT]):
    """Something that keeps what the swarm remembers in line with what people asked for.

    ``now`` is cluster time. Its private state is a cache: each class has a class method
    ``rebuild(view)`` that makes one from a store, and the two decide the same.
    """

    def reconcile(self, tx: TxT, changed: Sequence[ChangeT], now: float, rng: Rng, /) -> None:
        """Look at what changed (and at what is due by ``now``) and write what should follow."""
        ...

    def wake_at(self) -> float | None:
        """The cluster time of the next deadline, or None."""
        ...


def plain(value: Any) -> str | int | float:
    """A value as an argument of :class:`Because`."""
    return value if isinstance(value, (str, int, float)) else str(value)
