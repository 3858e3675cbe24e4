"""Where the members of a :class:`~pyswarm.runtime.raftnode.RaftNode` group are reached."""

from __future__ import annotations

from collections.abc import Mapping

from pyswarm.errors import InvalidArgument
from pyswarm.raft import MemberID
from pyswarm.raft.configuration import Configuration

ADDRESSES_MAX = 64
"""Peers of which an address is remembered that the log does not tell."""


class Addresses:
    """What the log says, and what peers say of themselves: of those the log does not name (a
    newcomer's leader, and those who ask although they were removed)."""

    __slots__ = ("_told",)

    def __init__(self, founders: Mapping[MemberID, str]) -> None:
        self._told = dict(founders)

    def __len__(self) -> int:
        return len(self._told)

    def of(self, id: MemberID, configuration: Configuration) -> str | None:
        """Where ``id`` is; None if nobody has said."""
        member = configuration.get(id)
        if member is not None and member.context:
            return member.context.decode()
        return self._told.get(id)

    def note(self, id: MemberID, address: object) -> None:
        """Where a peer says it is. Raises ``InvalidArgument``."""
        if not isinstance(address, str):
            raise InvalidArgument("an address is a text")
        self._told[id] = address
        if len(self._told) > ADDRESSES_MAX:
            del self._told[next(iter(self._told))]
