"""The outside world as small protocols and values, handed in.

Everything that decides takes its time, chance and key material as arguments. Nothing here reads a
clock; :func:`system_entropy` is the one door to the operating system, for parts used alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, MutableSequence, Sequence
from random import Random
from typing import Protocol, TypeVar

T = TypeVar("T")

Entropy = Callable[[int], bytes]
"""``entropy(n)`` gives ``n`` unpredictable bytes: for keys, tokens and nonces, never for ids."""


def system_entropy(size: int) -> bytes:
    """``size`` bytes from the operating system."""
    import os

    return os.urandom(size)


class Clock(Protocol):
    """Two clocks, one object."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back. For deadlines."""
        ...

    def realtime(self) -> float:
        """Seconds since the Unix epoch (UTC). For certificates and for taking office."""
        ...


class Rng:
    """Seeded randomness that can be split by name.

    ``rng.child("raft")`` gives a stream of its own, so a new draw in one place changes no other.
    Only ``random()`` and ``getrandbits()`` of the standard generator are used underneath: they are
    the two whose sequence Python promises to keep.
    """

    __slots__ = ("_random", "_seed")

    def __init__(self, seed: int | str | bytes) -> None:
        if isinstance(seed, int):
            seed = b"i" + str(seed).encode()
        elif isinstance(seed, str):
            seed = b"s" + seed.encode()
        self._seed = hashlib.sha256(seed).digest()
        self._random = Random(int.from_bytes(self._seed, "big"))

    def child(self, name: str | int) -> Rng:
        """An independent stream, the same for the same seed and name, whatever was drawn here."""
        return Rng(b"c" + self._seed + str(name).encode())

    def random(self) -> float:
        """Uniform in [0, 1)."""
        return self._random.random()

    def getrandbits(self, bits: int) -> int:
        """A uniform integer of ``bits`` bits."""
        return self._random.getrandbits(bits)

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound)."""
        assert bound > 0
        bits = bound.bit_length()
        while (number := self._random.getrandbits(bits)) >= bound:
            pass
        return number

    def uniform(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self._random.random()

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random.random() < probability

    def choice(self, items: Sequence[T]) -> T:
        """One of ``items`` (not empty)."""
        return items[self.below(len(items))]

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Fisher-Yates, in place."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]

    def bytes(self, size: int) -> bytes:
        """``size`` bytes; reproducible, so never for secrets outside a simulation."""
        return self._random.getrandbits(size * 8).to_bytes(size, "big") if size else b""

    def __repr__(self) -> str:
        return f"<Rng {self._seed[:4].hex()}>"
