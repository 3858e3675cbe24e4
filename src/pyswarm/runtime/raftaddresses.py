"""Where the members of a :class:`~pyswarm.runtime.raftnode.RaftNode` group are reached."""

from __future__ import annotations

from collections.abc import Mapping

from pyswarm.errors import InvalidArgument
from pyswarm.raft import AddMember, MemberID, MembershipChange, UpdateMember
from pyswarm.raft.configuration import Configuration

ADDRESSES_MAX = 64
"""Peers of which an address is remembered that the log does not tell."""


def check_address(change: MembershipChange) -> None:
    """A member's context is its address; ``InvalidArgument`` if nobody could be reached there."""
    if isinstance(change, AddMember | UpdateMember):
        try:
            address = change.context.decode()
        except UnicodeDecodeError:
            address = ""
        if not address:
            raise InvalidArgument(
                "raft: a member's context is its address", hint='AddMember(b"host:port")'
            )


class Addresses:
    """What the log says, and what peers say of themselves: of those the log does not name (a
    newcomer's leader, and those who ask although they were removed)."""

    __slots__ = ("_configuration", "_listed", "_told")

    def __init__(self, founders: Mapping[MemberID, str]) -> None:
        self._told = dict(founders)
        self._configuration: Configuration | None = None
        self._listed: dict[MemberID | None, str] = {}
        """Those of ``_configuration``: it is asked for every message, and changes hardly ever."""

    def __len__(self) -> int:
        return len(self._told)

    def of(self, id: MemberID | None, configuration: Configuration) -> str | None:
        """Where ``id`` is; None if nobody has said, or for nobody."""
        if configuration is not self._configuration:
            self._configuration = configuration
            self._listed = {
                member.id: member.context.decode(errors="replace")
                for member in configuration.members
                if member.context
            }
        return self._listed.get(id) or (None if id is None else self._told.get(id))

    def note(self, id: MemberID, address: object) -> None:
        """Where a peer says it is. Raises ``InvalidArgument``."""
        if not isinstance(address, str):
            raise InvalidArgument("an address is a text")
        if self._told.get(id) == address:
            return
        self._told[id] = address
        if len(self._told) > ADDRESSES_MAX:
            del self._told[next(iter(self._told))]
