"""Heartbeats, and the linearizable reads they prove (dissertation, 6.4).

The leader notes its commit index as the *read index*, proves that it still leads by a round of
heartbeats that a majority answers, and the read is answered where it was asked, once that index is
applied. A follower asks the leader for the read index, so any member can serve reads. With
``lease_reads`` a recent round is proof enough (6.4.1).

Many reads share a round: while one is under way, newcomers wait for the next.
"""

from __future__ import annotations

from typing import Any

from pyswarm.errors import ResourceExhausted, Unavailable
from pyswarm.raft.message import Heartbeat, HeartbeatReply, ReadReply, ReadRequest
from pyswarm.raft.role import Role
from pyswarm.raft.state import PendingRead, State

ROUNDS_OPEN_MAX = 256
"""Rounds whose sending time is remembered; older ones are past any lease."""


# -- reads


def read_index(s: State, ctx: Any) -> None:
    """Asks for a read index on behalf of this member's own caller."""
    if s.leader is None:
        raise Unavailable("raft: no elected cluster leader", hint="retry after the election")
    if len(s.unproved_reads) + len(s.forwarded_reads) >= s.config.max_pending_reads:
        raise ResourceExhausted(f"raft: {s.config.max_pending_reads} reads are waiting already")
    if s.role is Role.LEADER:
        register(s, PendingRead(ctx, None))
        return
    request = s.next_request
    s.next_request += 1
    s.forwarded_reads[request] = ctx
    s.send(ReadRequest(s.leader, s.id, s.term, s.epoch, request))


def register(s: State, read: PendingRead) -> None:
    """Puts a read in line for its proof."""
    if s.log.commit_index < s.noop_index:
        s.unproved_reads.append(read)  # The true commit index is not known yet (6.4, step 1).
        return
    read.index = s.log.commit_index
    if s.configuration.voters == (s.id,) or holds_lease(s):
        resolve(s, read)
        return
    idle = s.confirmed_round == s.round
    read.round = s.round + 1
    s.unproved_reads.append(read)
    if idle:
        start_round(s)


def register_waiting_reads(s: State) -> None:
    """The no-op of this term is committed now: reads that came before it get their index."""
    assert s.log.commit_index >= s.noop_index
    waiting, s.unproved_reads = s.unproved_reads, []
    for read in waiting:
        register(s, read)


def prove_reads(s: State) -> bool:
    """Answers the reads whose round is confirmed; True if the others want a round now."""
    if not s.unproved_reads:
        return False
    proved = [r for r in s.unproved_reads if 0 < r.round <= s.confirmed_round]
    if proved:
        s.unproved_reads = [r for r in s.unproved_reads if not 0 < r.round <= s.confirmed_round]
        for read in proved:
            resolve(s, read)
    idle = s.confirmed_round == s.round
    return idle and any(read.round > s.round for read in s.unproved_reads)


def resolve(s: State, read: PendingRead) -> None:
    """The read index is good: to the caller, or back to the member that asked."""
    if read.reader is None:
        s.proved_reads.append((read.ctx, read.index))
    else:
        s.send(ReadReply(read.reader, s.id, s.term, s.epoch, read.ctx, read.index))


def on_read_request(s: State, m: ReadRequest) -> None:
    """A follower asks. Repeated requests are answered again; over the limit they are dropped."""
    if s.role is Role.LEADER and len(s.unproved_reads) < s.config.max_pending_reads:
        register(s, PendingRead(m.request, m.from_))


def on_read_reply(s: State, m: ReadReply) -> None:
    """The leader's answer to a forwarded read."""
    if m.request in s.forwarded_reads:
        s.proved_reads.append((s.forwarded_reads.pop(m.request), m.index))


def resend_reads(s: State) -> None:
    """Asks again for what was not answered: requests and replies may be lost."""
    if s.leader is not None:
        for request in s.forwarded_reads:
            s.send(ReadRequest(s.leader, s.id, s.term, s.epoch, request))


def take_reads(s: State) -> tuple[tuple[Any, int], ...]:
    """The reads that may be answered: their index is applied with this Ready."""
    if not s.proved_reads:
        return ()
    applied = s.log.applied_index
    done = tuple(read for read in s.proved_reads if read[1] <= applied)
    if done:
        s.proved_reads = [read for read in s.proved_reads if read[1] > applied]
    return done


# -- rounds of heartbeats


def start_round(s: State) -> None:
    """Sends heartbeats to everybody, under a new number."""
    s.round += 1
    s.round_ticks[s.round] = s.now
    if len(s.round_ticks) > ROUNDS_OPEN_MAX:
        del s.round_ticks[next(iter(s.round_ticks))]
    commit = s.log.commit_index
    for id, progress in s.progress.items():
        known = min(progress.match, commit)
        s.send(Heartbeat(id, s.id, s.term, s.epoch, known, s.round))
        progress.commit_sent = known
    confirm_rounds(s)


def on_heartbeat_reply(s: State, m: HeartbeatReply) -> None:
    """The follower is there: it counts for the round, and may need a push."""
    progress = s.progress.get(m.from_)
    if progress is None or m.round > s.round:
        return
    progress.heard_tick, progress.known = s.now, True
    progress.round = max(progress.round, m.round)
    progress.paused = False
    confirm_rounds(s)


def confirm_rounds(s: State) -> None:
    """Finds the latest round that a majority answered: leadership is proved as of its sending."""
    voters = s.configuration.voters
    rounds = sorted(s.round if id == s.id else s.progress[id].round for id in voters)
    confirmed = rounds[len(voters) - s.configuration.quorum]
    if confirmed <= s.confirmed_round:
        return
    s.confirmed_round = confirmed
    for number in [number for number in s.round_ticks if number <= confirmed]:
        s.confirmed_tick = max(s.confirmed_tick, s.round_ticks.pop(number))
    if prove_reads(s):
        start_round(s)


def holds_lease(s: State) -> bool:
    """True if a majority promised, recently enough, to elect nobody else (6.4.1).

    A handover breaks that promise at the leader's own request, so the lease ends with it.
    """
    fresh = s.confirmed_tick >= 0 and s.now - s.confirmed_tick < s.config.lease_ticks
    return s.config.lease_reads and fresh and not s.lease_void
