"""What a member does on a message: first what holds for all roles, then the role's table.

:data:`HANDLERS` is complete: which role does what on which message. :func:`step` decides before it
whether the message is meant for this member at all, whether its sender is a member, and what its
term means (dissertation, 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from pyswarm.raft import election, follower, leadership, reads, replication
from pyswarm.raft.message import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    ReadReply,
    ReadRequest,
    Removed,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from pyswarm.raft.role import Role
from pyswarm.raft.state import State

Handler: TypeAlias = Callable[[State, Any], None]


def ignore(s: State, m: Message) -> None:
    """The message means nothing (any more) to a member in this role."""


def on_heartbeat_reply(s: State, m: HeartbeatReply) -> None:
    """A follower answered: it counts for reads and leases, and may need a push."""
    reads.on_heartbeat_reply(s, m)
    replication.push_stalled(s, m)


FOLLOWING: dict[type[Message], Handler] = {
    AppendEntries: follower.on_append,
    Heartbeat: follower.on_heartbeat,
    InstallSnapshot: follower.on_install_snapshot,
    VoteRequest: election.on_vote_request,
    VoteReply: ignore,
    AppendReply: ignore,
    HeartbeatReply: ignore,
    SnapshotReply: ignore,
    TimeoutNow: election.on_timeout_now,
    ReadRequest: ignore,
    ReadReply: reads.on_read_reply,
}
"""In this role or any other, a message of this term's leader makes a member its follower."""
CAMPAIGNING: dict[type[Message], Handler] = {
    **FOLLOWING,
    VoteReply: election.on_vote_reply,
    TimeoutNow: ignore,
}
LEADING: dict[type[Message], Handler] = {
    **FOLLOWING,
    AppendReply: replication.on_append_reply,
    HeartbeatReply: on_heartbeat_reply,
    SnapshotReply: replication.on_snapshot_reply,
    ReadRequest: reads.on_read_request,
    ReadReply: ignore,
    TimeoutNow: ignore,
}
HANDLERS: dict[Role, dict[type[Message], Handler]] = {
    Role.FOLLOWER: FOLLOWING,
    Role.PRE_CANDIDATE: CAMPAIGNING,
    Role.CANDIDATE: CAMPAIGNING,
    Role.LEADER: LEADING,
}
"""What a role does on a message of its own term."""
FROM_LEADER = (AppendEntries, Heartbeat, InstallSnapshot)
"""Messages that only the leader of their term sends."""


def step(s: State, message: Message) -> None:
    """A message has arrived. Never raises for what another member may send."""
    if message.epoch != s.epoch or message.to != s.id or message.from_ == s.id:
        s.dropped += 1
        return
    if type(message) is Removed:
        on_removed(s, message)
        return
    if message.from_ not in s.members and is_from_removed(s, message):
        return
    if message.term != s.term and not settle_term(s, message):
        return
    HANDLERS[s.role][type(message)](s, message)


def is_from_removed(s: State, message: Message) -> bool:
    """Answers a sender that is no member any more.

    An id that was never given belongs to a member that this one has not heard of yet. A leader
    that has committed its own removal still names its heir.
    """
    if isinstance(message, TimeoutNow):
        return False
    removed = s.log.committed_configuration.was_removed(message.from_)
    if removed:
        leadership.say_goodbye(s, message.from_)
    return removed


def on_removed(s: State, message: Removed) -> None:
    """The others have removed this member; ids are never given twice, so it is for good."""
    if s.id < message.next_member_id:
        s.note_removal()
        step_aside(s)


def step_aside(s: State) -> None:
    """Gives up leadership or a candidacy, in the same term."""
    if s.role is not Role.FOLLOWER:
        s.become_follower(s.term, None)


def settle_term(s: State, message: Message) -> bool:
    """The rules about terms (3.3); True if the message is to be handled by the role."""
    if message.term < s.term:
        refuse_old(s, message)
        return False
    if isinstance(message, VoteRequest):
        if s.has_leader_contact() and not message.transfer:
            return False  # It lost touch, not the cluster: the leader is protected (4.2.3).
        if not message.pre:
            s.become_follower(message.term, None)
        return True
    if isinstance(message, VoteReply) and message.pre and message.granted:
        return True  # The term that was asked for; nobody is in it yet.
    leader = message.from_ if isinstance(message, FROM_LEADER) else None
    s.become_follower(message.term, leader)
    return True


def refuse_old(s: State, message: Message) -> None:
    """An old leader or candidate learns the term; other old messages mean nothing."""
    if isinstance(message, FROM_LEADER):
        s.send(AppendReply(message.from_, s.id, s.term, s.epoch, 0, True))
    elif isinstance(message, VoteRequest):
        s.send(VoteReply(message.from_, s.id, s.term, s.epoch, False, message.pre))
