"""Being a leader: taking office, the quorum check, commitment, handing over, stepping down.

A new leader knows that it has all committed entries, but not which of its entries are committed:
only entries of its own term are counted (3.6.2, figure 3.7). So it appends a no-op at once, and
until that is committed it starts no membership change and answers no read.
"""

from __future__ import annotations

from pyswarm.errors import FailedPrecondition, NotFound, Unavailable
from pyswarm.raft.configuration import Configuration
from pyswarm.raft.entry import Entry, EntryKind, MemberID
from pyswarm.raft.message import Heartbeat, Removed, TimeoutNow
from pyswarm.raft.progress import Progress
from pyswarm.raft.reads import register_waiting_reads, start_round
from pyswarm.raft.role import Role
from pyswarm.raft.state import State


def become_leader(s: State) -> None:
    """Takes office: appends the no-op of this term."""
    assert s.vote == s.id
    s.change_role(Role.LEADER)
    s.set_leader(s.id)
    s.round = s.confirmed_round = 0
    s.confirmed_tick = -1
    s.lease_void = False
    s.heartbeat_elapsed = 0
    last = s.log.last_index
    s.progress = {id: Progress(id, last + 1, s.now) for id in s.configuration.ids if id != s.id}
    s.noop_index = last + 1
    append(s, EntryKind.NOOP, b"")


def append(s: State, kind: EntryKind, data: bytes) -> int:
    """Appends to the leader's own log; followers get it with the next Ready."""
    assert s.role is Role.LEADER
    index = s.log.last_index + 1
    s.log.push(Entry(index, s.term, kind, data))
    return index


def is_active(s: State, progress: Progress) -> bool:
    """True if the follower was heard within an election timeout."""
    return s.now - progress.heard_tick <= s.config.election_timeout_ticks


def active_members(s: State) -> list[MemberID]:
    """The members a leader is in touch with, itself among them."""
    return [s.id] + [id for id, progress in s.progress.items() if is_active(s, progress)]


# -- time


def tick_leader(s: State) -> None:
    """One tick of a leader: every ``heartbeat_ticks`` there is something to do."""
    s.heartbeat_elapsed += 1
    if s.heartbeat_elapsed < s.config.heartbeat_ticks:
        return
    s.heartbeat_elapsed = 0
    if s.config.check_quorum and not s.configuration.has_quorum(active_members(s)):
        s.become_follower(s.term, None)  # Others may lead by now: answer nobody (6.2).
        return
    for progress in s.progress.values():
        if not is_active(s, progress):
            progress.lose_touch(s.log.last_index, s.now)
    tick_transfer(s)
    start_round(s)


# -- commitment


def advance_commit(s: State) -> None:
    """Commits what a majority of the voters has on disk, if it is of this term (3.6.2).

    The leader counts itself as far as its own disk has come, and not at all if it is no voter (it
    manages its own removal, 4.2.2).
    """
    log = s.log
    voters = s.configuration.voters
    matches = [log.stable_index if id == s.id else s.progress[id].match for id in voters]
    matches.sort()
    index = matches[len(voters) - s.configuration.quorum]
    if index > log.commit_index and index >= s.noop_index:
        first = log.commit_index < s.noop_index
        before = log.committed_configuration
        log.commit_to(index)
        if first:
            register_waiting_reads(s)
        if log.committed_configuration is not before or first:
            after_membership_commit(s, before)


def after_membership_commit(s: State, before: Configuration) -> None:
    """A configuration is committed, ``before`` was the last one: those that it removes are told,
    and a leader that is no voter in it goes."""
    for id in before.ids:
        if s.log.committed_configuration.was_removed(id) and id != s.id:
            say_goodbye(s, id)
    if s.log.committed_configuration is s.log.configuration and not s.is_voter:
        resign_after_removal(s)


def resign_after_removal(s: State) -> None:
    """The leader's own removal (or demotion) is committed: tells the others, hands over, goes."""
    for id, progress in s.progress.items():
        known = min(progress.match, s.log.commit_index)
        s.send(Heartbeat(id, s.id, s.term, s.epoch, known))
    heir = best_heir(s)
    if heir is not None and s.progress[heir].match == s.log.last_index:
        s.send(TimeoutNow(heir, s.id, s.term, s.epoch))
    if s.configuration.was_removed(s.id):
        s.note_removal()
    s.become_follower(s.term, None)


def say_goodbye(s: State, id: MemberID) -> None:
    """Tells a member that its removal is committed."""
    next_member_id = s.log.committed_configuration.next_member_id
    s.send(Removed(id, s.id, s.term, s.epoch, next_member_id))


# -- handing over (3.10)


def best_heir(s: State) -> MemberID | None:
    """The voter that would take over soonest: in touch, with the longest log."""
    heirs = [
        progress
        for id, progress in s.progress.items()
        if id in s.configuration.voters and progress.known and is_active(s, progress)
    ]
    return max(heirs, key=lambda p: (p.match, -p.id)).id if heirs else None


def not_leader(s: State) -> Unavailable:
    """How what only a leader does is refused elsewhere: with the leader's name, if it is known."""
    details = {"leader": s.leader}
    if s.leader is None:
        text = "raft: this member is not the leader, and knows of none"
        return Unavailable(text, hint="retry after the election", details=details)
    return Unavailable(
        f"raft: this member is not the leader: member {s.leader} is", details=details
    )


def transfer_leadership(s: State, to: MemberID | None) -> None:
    """Begins to hand over; see ``Replica.transfer_leadership``."""
    if s.role is not Role.LEADER:
        raise not_leader(s)
    to = best_heir(s) if to is None else to
    if to is None:
        raise FailedPrecondition("raft: no other voting member is reachable")
    if to == s.id or to == s.transferee:
        return
    if to not in s.configuration:
        raise NotFound(f"raft: member {to} unknown", details={"member": to})
    if to not in s.configuration.voters:
        raise FailedPrecondition(f"raft: member {to} does not vote and cannot lead")
    s.transferee, s.transfer_started = to, s.now
    s.progress[to].paused = False
    push_transfer(s)


def push_transfer(s: State) -> None:
    """Tells the heir to campaign, once it has everything."""
    if s.transferee is None:
        return
    if s.progress[s.transferee].match == s.log.last_index:
        s.lease_void = True
        s.send(TimeoutNow(s.transferee, s.id, s.term, s.epoch))


def tick_transfer(s: State) -> None:
    """Gives up after an election timeout, and goes on leading; until then asks again."""
    if s.transferee is None:
        return
    if s.now - s.transfer_started >= s.config.election_timeout_ticks:
        s.transferee = None
    else:
        push_transfer(s)
