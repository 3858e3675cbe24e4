"""A place in the swarm's history that can be written down, and that knows which history it means.

Versions count the entries of the managers' log. After a restore, or a new cluster made by force,
the log goes on from an earlier entry, and a version may mean another entry than before. So a
position carries the cluster's epoch, which is drawn anew then; resuming from a position of another
epoch is refused instead of skipping changes in silence.
"""

from __future__ import annotations

import re

import attrs

from pyswarm.errors import Compacted, InvalidArgument

_FORM = re.compile(r"([0-9a-f]{1,16})-([0-9]{1,19})\Z")


@attrs.frozen(order=False)
class Position:
    """Behind the entry ``version`` of the cluster ``epoch``; ``str`` and :meth:`parse` invert each
    other."""

    epoch: int
    version: int

    def __str__(self) -> str:
        return f"{self.epoch:x}-{self.version}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that ``text`` names. Raises ``InvalidArgument``."""
        match = _FORM.match(text)
        if match is None:
            raise InvalidArgument(f"not a position in the swarm's history: {text!r}")
        return cls(int(match[1], 16), int(match[2]))


After = int | str | Position | None
"""Where to go on: a position, its text, a version of this very epoch, or None: from now on."""


def version_of(after: After, epoch: int) -> int | None:
    """The version to go on after. Raises ``Compacted`` for a position of another epoch."""
    if isinstance(after, str):
        after = Position.parse(after)
    if not isinstance(after, Position):
        return after
    if after.epoch != epoch:
        raise Compacted(
            "the position is of an earlier cluster: the swarm was restored, or begun anew by force",
            hint="list the objects and watch anew",
        )
    return after.version
