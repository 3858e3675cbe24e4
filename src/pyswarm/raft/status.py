"""What a replica says about itself: immutable records for people, metrics and tests."""

from __future__ import annotations

import attrs

from pyswarm.raft.configuration import Configuration
from pyswarm.raft.entry import MemberID
from pyswarm.raft.leadership import is_active
from pyswarm.raft.progress import Progress, ProgressState, Reachability
from pyswarm.raft.role import Role
from pyswarm.raft.state import State


@attrs.frozen
class FollowerStatus:
    """A leader's view of one other member."""

    id: MemberID
    voter: bool
    state: ProgressState
    match: int
    """The last index known to be on its disk."""
    next: int
    """The next index to be sent."""
    lag: int
    """Entries it lacks."""
    inflight: int
    """Appends, or snapshot chunks, sent and not answered."""
    paused: bool
    """A probe is out."""
    heard_ticks_ago: int | None
    """None: not heard in this term."""
    reachability: Reachability
    """Learners and those not heard yet are ``unknown``."""
    caught_up: bool
    """A learner in this state may be promoted."""


@attrs.frozen
class Status:
    """One member at one moment."""

    id: MemberID
    epoch: int
    term: int
    vote: MemberID | None
    role: Role
    leader: MemberID | None
    first_index: int
    """The first entry in memory; what was before is in the snapshot."""
    last_index: int
    stable_index: int
    """On this member's disk."""
    commit_index: int
    applied_index: int
    snapshot_index: int
    configuration: Configuration
    configuration_index: int
    uncommitted_bytes: int
    pending_reads: int
    transferee: MemberID | None
    elections: int
    """How often this member has stood for election."""
    dropped: int
    """Messages dropped: of another epoch, or misdirected."""
    removed: bool
    followers: tuple[FollowerStatus, ...]
    """In order of id; empty unless this member leads."""


def status_of(s: State) -> Status:
    """The record for ``s``."""
    log = s.log
    return Status(
        id=s.id,
        epoch=s.epoch,
        term=s.term,
        vote=s.vote,
        role=s.role,
        leader=s.leader,
        first_index=log.base_index + 1,
        last_index=log.last_index,
        stable_index=log.stable_index,
        commit_index=log.commit_index,
        applied_index=log.applied_index,
        snapshot_index=s.snapshot.index if s.snapshot else 0,
        configuration=log.configuration,
        configuration_index=log.configuration_index,
        uncommitted_bytes=log.uncommitted_bytes,
        pending_reads=len(s.unproved_reads) + len(s.forwarded_reads) + len(s.proved_reads),
        transferee=s.transferee,
        elections=s.elections,
        dropped=s.dropped,
        removed=s.removed,
        followers=tuple(follower_status(s, s.progress[id]) for id in sorted(s.progress)),
    )


def follower_status(s: State, p: Progress) -> FollowerStatus:
    """The record for one follower."""
    sender = p.sender
    return FollowerStatus(
        id=p.id,
        voter=p.id in s.configuration.voters,
        state=p.state,
        match=p.match,
        next=p.next,
        lag=s.log.last_index - p.match,
        inflight=sender.next - sender.acked if sender else len(p.inflight),
        paused=p.paused,
        heard_ticks_ago=s.now - p.heard_tick if p.known else None,
        reachability=reachability(s, p),
        caught_up=p.caught_up,
    )


def reachability(s: State, p: Progress) -> Reachability:
    """From recent activity; a learner's does not matter to anyone."""
    if p.id not in s.configuration.voters:
        return Reachability.UNKNOWN
    if not is_active(s, p):
        return Reachability.UNREACHABLE
    return Reachability.REACHABLE if p.known else Reachability.UNKNOWN
