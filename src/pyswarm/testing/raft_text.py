"""Raft's nouns as short lines of text, for scripts and traces."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from pyswarm.raft import Configuration, Entry, EntryKind, FollowerStatus, Message, Ready, Replica
from pyswarm.raft.configuration import decode_configuration
from pyswarm.raft.message import AppendEntries, AppendReply, InstallSnapshot
from pyswarm.testing.raft_host import Disk

HEADER = ("to", "from_", "term", "epoch")


def text_of_configuration(configuration: Configuration) -> str:
    """``voters=(1 2) learners=(3) next=4``."""
    voters = " ".join(map(str, configuration.voters))
    learners = " ".join(map(str, configuration.learners))
    text = f"voters=({voters})"
    if learners:
        text += f" learners=({learners})"
    return f"{text} next={configuration.next_member_id}"


def text_of_entry(entry: Entry) -> str:
    """``term/index kind data``."""
    name = f"{entry.term}/{entry.index}"
    if entry.kind == EntryKind.MEMBERSHIP:
        return f"{name} membership {text_of_configuration(decode_configuration(entry.data))}"
    if entry.kind == EntryKind.NOOP:
        return f"{name} noop"
    return f"{name} {entry.data.decode('utf-8', 'replace')!r}"


def text_of_entries(entries: Iterable[Entry]) -> str:
    """Entries on one line."""
    return "[" + ", ".join(text_of_entry(entry) for entry in entries) + "]"


def text_of_message(message: Message) -> str:
    """``1->2 Type term=2 field=value ...``; flags only when they are set."""
    words = [f"{message.from_}->{message.to}", type(message).__name__, f"term={message.term}"]
    for field in attrs.fields(type(message)):
        if field.name in HEADER or field.name in ("checksum", "running"):
            continue
        if isinstance(message, AppendReply) and field.name != "index" and not message.rejected:
            continue
        value = getattr(message, field.name)
        if isinstance(message, InstallSnapshot) and field.name == "data":
            value = f"<{len(value)} bytes>"
        elif isinstance(message, AppendEntries) and field.name == "entries":
            value = text_of_entries(value)
        elif isinstance(value, Configuration):
            value = text_of_configuration(value)
        if value is True:
            words.append(field.name)
        elif value is not False:
            words.append(f"{field.name}={value}")
    return " ".join(words)


def lines_of_ready(id: int, ready: Ready) -> list[str]:
    """What a Ready wants, one line each."""
    lines = [f"ready {id}:"]
    if ready.hard_state is not None:
        vote = ready.hard_state.vote or "none"
        lines.append(f"  write term={ready.hard_state.term} vote={vote}")
    if ready.snapshot is not None:
        kind = "received" if ready.restore is not None else "own"
        at = f"{ready.snapshot.term}/{ready.snapshot.index}"
        lines.append(f"  write {kind} snapshot {at} {len(ready.snapshot.chunks)} chunks")
    if ready.entries:
        lines.append(f"  write {text_of_entries(ready.entries)}")
    lines += [f"  send {text_of_message(m)}" for m in ready.messages]
    lines += [f"  send after sync {text_of_message(m)}" for m in ready.messages_after_sync]
    if ready.committed:
        lines.append(f"  apply {text_of_entries(ready.committed)}")
    lines += [f"  read {ctx} at {index}" for ctx, index in ready.reads]
    lines += [f"  read {ctx} aborted" for ctx in ready.aborted_reads]
    if ready.removed:
        lines.append("  removed")
    return lines


def text_of_follower(follower: FollowerStatus) -> str:
    """A leader's view of one follower."""
    words = [
        f"{follower.id}: {follower.state.value}",
        f"match={follower.match} next={follower.next}",
        follower.reachability.value,
    ]
    if follower.inflight:
        words.append(f"inflight={follower.inflight}")
    if follower.paused:
        words.append("paused")
    if not follower.voter:
        words.append("learner" + (" caught-up" if follower.caught_up else ""))
    return " ".join(words)


def text_of_state(replica: Replica) -> str:
    """Where one member is."""
    status = replica.status()
    words = [
        f"{status.id}: {status.role.value} term={status.term}",
        f"leader={status.leader or 'none'}",
        f"last={status.last_index} commit={status.commit_index} applied={status.applied_index}",
        text_of_configuration(status.configuration),
    ]
    return " ".join(words) + (" removed" if status.removed else "")


def lines_of_log(disk: Disk, replica: Replica | None) -> list[str]:
    """A member's log: in memory if it is up, else on its disk."""
    lines: list[str] = []
    if disk.snapshot is not None:
        lines.append(f"  snapshot {disk.snapshot.term}/{disk.snapshot.index}")
    entries = disk.entries if replica is None else replica.entries()
    return lines + [f"  {text_of_entry(entry)}" for entry in entries]
