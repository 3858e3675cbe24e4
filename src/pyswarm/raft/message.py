"""What members say to each other: one class a message.

The names are the dissertation's; requests and replies are separate messages, because nothing here
waits for an answer. All carry the sender's term, and the cluster's epoch: a message of another
epoch is dropped. A message may be lost, repeated, delayed and overtaken; what may not happen is
that its content changes (the transport's checksums and seals see to that).
"""

from __future__ import annotations

import attrs

from pyswarm.raft.configuration import Configuration
from pyswarm.raft.entry import Entry, MemberID


@attrs.frozen
class Message:
    """What all messages carry."""

    to: MemberID
    from_: MemberID
    term: int
    """The sender's current term. Pre-votes differ, see :class:`VoteRequest`."""
    epoch: int
    """The cluster's epoch."""


@attrs.frozen
class VoteRequest(Message):
    """RequestVote (3.4), or with ``pre`` the question whether it could succeed (9.6)."""

    last_index: int
    """Index of the candidate's last entry."""
    last_term: int
    """Term of that entry; together they say how up to date its log is (3.6.1)."""
    pre: bool = False
    """A pre-vote: ``term`` is the term the candidate *would* start; nobody adopts it."""
    transfer: bool = False
    """The leader itself asked for this election: the members need not protect it (3.10)."""


@attrs.frozen
class VoteReply(Message):
    """Answer to :class:`VoteRequest`. A granted pre-vote carries the term asked for, everything
    else the sender's own."""

    granted: bool
    pre: bool = False


@attrs.frozen
class AppendEntries(Message):
    """AppendEntries (3.5): entries that follow (``prev_index``, ``prev_term``)."""

    prev_index: int
    prev_term: int
    entries: tuple[Entry, ...]
    """May be empty: then it asks whether the logs agree up to ``prev_index``."""
    commit: int
    """The leader's commit index."""


@attrs.frozen
class AppendReply(Message):
    """Answer to :class:`AppendEntries`, and to the last chunk of a snapshot."""

    index: int
    """Accepted: the last index known to agree with the leader, and on this member's disk.
    Rejected: the ``prev_index`` that did not agree."""
    rejected: bool = False
    hint_index: int = 0
    """Rejected: the last index of this log that could agree, namely the last one whose term is not
    above ``prev_term``. It lets the leader skip a whole conflicting term at once (3.5, end)."""
    hint_term: int = 0
    """The term of the entry at ``hint_index``."""


@attrs.frozen
class Heartbeat(Message):
    """The leader is alive; says how far the log is committed."""

    commit: int
    """Never above what the follower is known to have."""
    round: int = 0
    """Numbers the rounds of heartbeats, so that a majority of replies proves leadership at the time
    of that round (6.4). 0: news of ``commit`` alone, not answered."""


@attrs.frozen
class HeartbeatReply(Message):
    """Answer to :class:`Heartbeat`."""

    round: int


@attrs.frozen
class InstallSnapshot(Message):
    """InstallSnapshot (5.3): one chunk. Chunks are sent in order, a few ahead of the answers."""

    index: int
    """The snapshot's last index."""
    index_term: int
    """The term of that entry."""
    configuration: Configuration
    """The configuration at ``index``."""
    chunk: int
    """This chunk's number, from 0."""
    chunks: int
    """How many chunks there are (at least 1: an empty state is one empty chunk)."""
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    checksum: int
    """CRC-32 of ``data``."""
    running: int
    """CRC-32 of all chunks up to and including this one: the last is the whole snapshot's."""


@attrs.frozen
class SnapshotReply(Message):
    """Answer to :class:`InstallSnapshot` while chunks are missing."""

    index: int
    """Which snapshot."""
    next_chunk: int
    """The chunk expected next: all before it have arrived and their checksums were right."""


@attrs.frozen
class TimeoutNow(Message):
    """Leadership transfer: campaign at once (3.10)."""


@attrs.frozen
class ReadRequest(Message):
    """A follower asks the leader for a read index on behalf of its own client (6.4)."""

    request: int
    """The follower's number for it."""


@attrs.frozen
class ReadReply(Message):
    """Answer to :class:`ReadRequest`, once leadership has been proved."""

    request: int
    index: int
    """The reader may answer when it has applied this index."""


@attrs.frozen
class Removed(Message):
    """You are no member any more: the answer to any message of a removed member, which may have
    been cut off when the others decided so."""

    next_member_id: MemberID
    """The sender's committed ``next_member_id``; it proves that the id was once given."""
