"""What a log is made of: entries, and the few values a member must never forget.

An entry is named by its index (1, 2, 3 ...) and the term of the leader that created it. Two logs
that hold an entry of the same index and term are equal up to and including it: the Log Matching
property (Ongaro, dissertation, 3.5). :class:`HardState` is the rest of what figure 3.1 calls
"persistent state on all servers".
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import attrs

MemberID: TypeAlias = int
"""A member's number: positive, drawn from ``Configuration.next_member_id``, never used again."""


class EntryKind(IntEnum):
    """What an entry means to the replica itself."""

    NORMAL = 0
    """A command for the application's state machine."""
    NOOP = 1
    """Appended by a new leader: committing it commits all entries of earlier terms (6.4, 3.6.2)."""
    MEMBERSHIP = 2
    """A whole :class:`~pyswarm.raft.configuration.Configuration`, in effect once appended (4.1)."""


class Entry(NamedTuple):
    """One slot of the log.

    A named tuple and no attrs class: it is made for every proposal, and msgpack writes it as it
    stands.
    """

    index: int  # type: ignore[assignment]
    """Position in the log, from 1."""
    term: int
    """Term of the leader that created it."""
    kind: EntryKind
    data: bytes
    """The command (NORMAL), nothing (NOOP), an encoded configuration (MEMBERSHIP)."""


new_entry: Callable[[type[Entry], tuple[int, int, EntryKind, bytes]], Entry] = tuple.__new__
"""``Entry(...)`` without the function in between, for where there are very many."""


@attrs.frozen
class HardState:
    """What must be on disk before any message that depends on it leaves (figure 3.1)."""

    term: int = 0
    """The latest term this member has seen."""
    vote: MemberID | None = None
    """Whom it voted for in that term."""
    epoch: int = 0
    """The cluster's epoch: drawn anew when a cluster is restored or forced into being from one
    member, so that nothing of the old one can mix with the new. It never changes in operation;
    a joining member learns it together with its id."""
