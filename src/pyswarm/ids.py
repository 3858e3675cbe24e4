"""Identifiers: 25 characters of ``[0-9a-z]``, drawn from the injected randomness.

Swarm's form: 17 random bytes with the top bit set, read as one integer, printed in base 36, without
the first character (it is not evenly distributed). An id that is taken is drawn again by the caller.
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


def base36(number: int, width: int = 0) -> str:
    """``number`` (not negative) in lower-case base 36, left-padded with zeros to ``width``."""
    assert number >= 0
    digits: list[str] = []
    while number:
        number, rest = divmod(number, 36)
        digits.append(_DIGITS[rest])
    return "".join(reversed(digits)).rjust(width, "0")


def new_id(rng: Rng) -> str:
    """A fresh object id."""
    number = rng.getrandbits(_ID_BYTES * 8) | 1 << (_ID_BYTES * 8 - 1)
    return base36(number)[1 : ID_LENGTH + 1]
