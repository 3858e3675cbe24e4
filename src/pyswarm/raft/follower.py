"""Following a leader: its entries, heartbeats and snapshots (dissertation, figure 3.1, 5.3).

An acknowledgement says "this is on my disk", so it waits for the disk; everything else, rejections
and heartbeat replies, leaves at once: a slow disk must not look like a dead member.
"""

from __future__ import annotations

import zlib

from pyswarm.raft.message import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    SnapshotReply,
)
from pyswarm.raft.role import Role
from pyswarm.raft.snapshot import Snapshot
from pyswarm.raft.state import SnapshotReceiver, State, receiver_key


def hear_leader(s: State, m: Message) -> None:
    """A message that only this term's leader can send."""
    s.renew_promise()
    if s.role is Role.FOLLOWER and s.leader == m.from_:
        s.election_elapsed = 0
        return
    assert s.role is not Role.LEADER, "two leaders in one term (election safety)"
    assert s.leader in (None, m.from_), "two leaders in one term (election safety)"
    s.become_follower(s.term, m.from_)


def on_append(s: State, m: AppendEntries) -> None:
    """Stores the entries if their predecessor is there, else says where the logs may agree."""
    hear_leader(s, m)
    log = s.log
    if m.prev_index > log.commit_index and not log.matches(m.prev_index, m.prev_term):
        hint = max(log.last_with_term(m.prev_index, m.prev_term), log.commit_index)
        hint_term = log.term_at(hint)
        assert hint_term is not None
        reply = AppendReply(m.from_, s.id, s.term, s.epoch, m.prev_index, True, hint, hint_term)
        s.send(reply)
        return
    agreed = log.accept(m.prev_index, m.entries)
    after_log_change(s)
    follow_commit(s, min(m.commit, agreed))
    s.promise(AppendReply(m.from_, s.id, s.term, s.epoch, agreed))


def on_heartbeat(s: State, m: Heartbeat) -> None:
    """The leader lives; its ``commit`` is within what this member has acknowledged."""
    hear_leader(s, m)
    follow_commit(s, min(m.commit, s.log.last_index))
    if m.round:
        s.send(HeartbeatReply(m.from_, s.id, s.term, s.epoch, m.round))


def follow_commit(s: State, index: int) -> None:
    """Raises the commit index; a committed removal of this member is noted."""
    if s.log.commit_to(index) and s.log.committed_configuration.was_removed(s.id):
        s.note_removal()


def after_log_change(s: State) -> None:
    """The log grew, or was cut: another configuration may be in effect."""
    if s.log.configuration is not s.seen_configuration:
        s.refresh_members()


# -- snapshots


def on_install_snapshot(s: State, m: InstallSnapshot) -> None:
    """Gathers chunks in order; the last one installs the snapshot."""
    hear_leader(s, m)
    if m.index <= s.log.commit_index:
        s.receiver = None
        s.promise(AppendReply(m.from_, s.id, s.term, s.epoch, s.log.commit_index))
        return
    receiver = s.receiver
    if receiver is None or receiver.key != receiver_key(m):
        receiver = s.receiver = SnapshotReceiver(m)
    if m.chunk == len(receiver.chunks) and is_sound(m):
        running = zlib.crc32(m.data, receiver.running)
        if running != m.running:
            s.receiver = None  # What came before is not what was sent: begin anew.
            s.send(SnapshotReply(m.from_, s.id, s.term, s.epoch, m.index, 0))
            return
        receiver.chunks.append(m.data)
        receiver.running = running
        if len(receiver.chunks) == m.chunks:
            install(s, m, receiver)
            return
    expected = len(receiver.chunks)
    s.send(SnapshotReply(m.from_, s.id, s.term, s.epoch, m.index, expected))


def is_sound(m: InstallSnapshot) -> bool:
    """True if the chunk is the one that was sent."""
    return zlib.crc32(m.data) == m.checksum


def install(s: State, m: InstallSnapshot, receiver: SnapshotReceiver) -> None:
    """All chunks are there.

    If the log holds the snapshot's last entry, the entries are as good as the snapshot and nothing
    is replaced (5.3). Otherwise the whole log gives way.
    """
    s.receiver = None
    if s.log.matches(m.index, m.index_term):
        follow_commit(s, m.index)
    else:
        chunks = tuple(chunk for chunk in receiver.chunks if chunk)
        snapshot = Snapshot(m.index, m.index_term, m.configuration, chunks)
        s.log.restore(snapshot)
        s.snapshot = s.snapshot_to_save = s.restore = snapshot
        after_log_change(s)
        if snapshot.configuration.was_removed(s.id):
            s.note_removal()
    s.promise(AppendReply(m.from_, s.id, s.term, s.epoch, m.index))
