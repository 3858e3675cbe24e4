"""Identifiers: 25 characters of ``[0-9a-z]``, drawn from the injected randomness.

Swarm's form: 17 random bytes with the top bit set, read as one integer, printed in base 36, without
the first character (it is not evenly distributed). An id that is taken is drawn again by whoever
asked for it.
"""

from __future__ import annotations

from typing import NewType

from pyswarm.env import Rng

SwarmID = NewType("SwarmID", str)
NodeID = NewType("NodeID", str)
ServiceID = NewType("ServiceID", str)
TaskID = NewType("TaskID", str)
NetworkID = NewType("NetworkID", str)
SecretID = NewType("SecretID", str)
ConfigID = NewType("ConfigID", str)
SessionID = NewType("SessionID", str)

ID_LENGTH = 25
_ID_BYTES = 17
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)
_PAIR = 36**2
_CHUNK = _PAIR**2  # small enough for the quickest arithmetic


def base36(number: int, width: int = 0) -> str:
    """``number`` (not negative) in lower-case base 36, left-padded with zeros to ``width``.

    Two digits at a time, and big-number arithmetic only once in four digits: an id is made for
    every task.
    """
    assert number >= 0
    pairs: list[str] = []
    while number:
        rest = number // _CHUNK
        chunk = number - rest * _CHUNK
        high = chunk // _PAIR
        pairs += (_PAIRS[chunk - high * _PAIR], _PAIRS[high])
        number = rest
    pairs.reverse()
    return "".join(pairs).lstrip("0").rjust(width, "0")


def new_id(rng: Rng) -> str:
    """A fresh object id."""
    number = rng.getrandbits(_ID_BYTES * 8) | 1 << (_ID_BYTES * 8 - 1)
    return base36(number)[1 : ID_LENGTH + 1]
