"""The leader's side of log replication and of snapshots (dissertation, 3.5, 5.3, 10.2).

Nothing is sent when an entry is proposed. Once a Ready is taken, :func:`pump` gives every follower
what it can take: so all proposals since the last one share an append, and appends follow each other
without waiting for answers, up to a window.
"""

from __future__ import annotations

import zlib

from pyswarm.raft.leadership import advance_commit, push_transfer
from pyswarm.raft.message import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    SnapshotReply,
)
from pyswarm.raft.progress import Progress, ProgressState
from pyswarm.raft.role import Role
from pyswarm.raft.state import State


def pump(s: State) -> None:
    """Sends every follower what it lacks and can take."""
    last, commit = s.log.last_index, s.log.commit_index
    for p in s.progress.values():
        if p.state is ProgressState.REPLICATE:
            window = s.config.max_inflight_appends
            while p.next <= last and len(p.inflight) < window:
                if not send_append(s, p):
                    break
            known = p.match if p.match < commit else commit
            if known > p.commit_sent:
                p.commit_sent = known
                s.send(Heartbeat(p.id, s.id, s.term, s.epoch, known))
        elif p.state is ProgressState.SNAPSHOT:
            send_chunks(s, p)
        elif not p.paused:
            send_append(s, p)


def send_append(s: State, p: Progress, *, empty: bool = False) -> bool:
    """One append from ``p.next`` on; a snapshot instead if that is compacted away (then False)."""
    log = s.log
    prev = p.next - 1
    prev_term = log.term_at(prev)
    if prev_term is None:
        assert s.snapshot is not None and prev < s.snapshot.index
        p.send_snapshot(s.snapshot, s.config.max_inflight_chunks, s.now)
        send_chunks(s, p)
        return False
    entries = () if empty else log.slice(p.next, s.config.max_append_bytes)
    commit = log.commit_index
    s.send(AppendEntries(p.id, s.id, s.term, s.epoch, prev, prev_term, entries, commit))
    last = prev + len(entries)
    if p.state is ProgressState.PROBE:
        p.paused = True
    elif entries:
        p.next = last + 1
        p.inflight.append(last)
        if p.commit_sent < commit:
            p.commit_sent = min(commit, last)
    return True


def on_append_reply(s: State, m: AppendReply) -> None:
    """A follower has stored entries, or its log disagrees."""
    p = s.progress.get(m.from_)
    if p is None or m.index > s.log.last_index:
        return
    p.heard_tick, p.known = s.now, True
    if m.rejected:
        if p.rejected(m.index, s.log.last_with_term(m.hint_index, m.hint_term)):
            p.paused = False
        return
    news = p.accepted(m.index)
    settle_state(p)
    if news:
        measure_round(s, p)
        if m.index > s.log.commit_index:
            advance_commit(s)
        if s.role is Role.LEADER and s.transferee == p.id:
            push_transfer(s)


def measure_round(s: State, p: Progress) -> None:
    """A round of catching up may be over, even if nothing is left to send or to answer."""
    if not p.caught_up:
        p.note_catching_up(s.log.last_index, s.now, s.config.election_timeout_ticks)


def settle_state(p: Progress) -> None:
    """An accepted append tells where the logs agree: entries may flow."""
    if p.state is ProgressState.REPLICATE:
        return
    if p.sender is not None:
        if p.match >= p.sender.snapshot.index:
            p.replicate()
    elif p.match >= p.next - 1:
        p.replicate()


def push_stalled(s: State, m: HeartbeatReply) -> None:
    """After a heartbeat's reply: no progress since the last one means that something was lost.

    An empty append asks whether all that was sent has arrived; a rejection shows where to resume.
    """
    p = s.progress.get(m.from_)
    if p is None:
        return
    measure_round(s, p)
    stalled, p.beat_match = p.beat_match == p.match, p.match
    if not stalled or p.match >= s.log.last_index:
        return
    if p.state is ProgressState.REPLICATE:
        send_append(s, p, empty=True)
    elif p.sender is not None:
        silence = s.now - p.sender.moved_tick
        if silence >= s.config.election_timeout_ticks:
            p.sender.resume(s.now)


# -- snapshots


def send_chunks(s: State, p: Progress) -> None:
    """The next chunks, as many as the window allows."""
    sender = p.sender
    assert sender is not None
    snapshot = sender.snapshot
    end = min(sender.count, sender.acked + sender.window)
    while sender.next < end:
        number = sender.next
        data, running = sender.chunk(number)
        sender.next = number + 1
        s.send(
            InstallSnapshot(
                p.id,
                s.id,
                s.term,
                s.epoch,
                snapshot.index,
                snapshot.term,
                snapshot.configuration,
                number,
                sender.count,
                data,
                zlib.crc32(data),
                running,
            )
        )


def on_snapshot_reply(s: State, m: SnapshotReply) -> None:
    """Chunks have arrived."""
    p = s.progress.get(m.from_)
    if p is None:
        return
    p.heard_tick, p.known = s.now, True
    if p.sender is not None and p.sender.snapshot.index == m.index:
        p.sender.acknowledge(m.next_chunk, s.now)


def report_unreachable(s: State, id: int) -> None:
    """The transport could not reach a member: what was in flight is probably lost."""
    p = s.progress.get(id)
    if p is not None and p.state is ProgressState.REPLICATE:
        p.probe()
        p.paused = True
