"""How a :class:`~pyswarm.runtime.raftnode.RaftNode` begins: from nothing, or from its disk.

A group that has lost its majority for good goes on from one member's disk, as a group of one. The
entry that says so is on disk before that member says anything: see ``raft/disaster.py`` for what is
kept, and why.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from pyswarm.env import Rng, system_entropy
from pyswarm.errors import InvalidArgument
from pyswarm.raft import (
    Configuration,
    HardState,
    Member,
    MemberID,
    RaftConfig,
    Replica,
    force_new_cluster,
    new_epoch,
)
from pyswarm.runtime.statemachine import AnyStateMachine, restore
from pyswarm.runtime.storage.protocol import Batch, LogStorage, Recovered
from pyswarm.runtime.waiter import Waiter


@attrs.frozen
class Beginning:
    """A member that has not said anything yet."""

    replica: Replica
    notes: tuple[str, ...]
    unwritten: Batch | None = None
    """To be on disk before the replica is driven."""


def begin(
    machine: AnyStateMachine,
    storage: LogStorage,
    config: RaftConfig,
    rng: Rng,
    *,
    founders: Mapping[MemberID, str],
    epoch: int,
    forced_at: str | None,
) -> Beginning:
    """Read the disk (blocking) and make the replica. With ``forced_at``, the address of this
    member, it is the only one of a new group.

    Raises what ``LogStorage.load`` raises, and ``FailedPrecondition`` if there is nothing to make a
    new group of.
    """
    found = storage.load()
    unwritten = None
    if forced_at is not None:
        found, unwritten = alone(config.id, found, forced_at)
    if found.is_empty:
        return Beginning(newcomer(config, rng, founders, epoch), found.notes)
    if found.snapshot is not None:
        for _ in restore(machine, found.snapshot.chunks):
            pass  # nobody waits for this member yet
    replica = Replica(
        config,
        rng,
        hard_state=found.hard_state,
        snapshot=found.snapshot,
        entries=found.entries,
    )
    return Beginning(replica, found.notes, unwritten)


def newcomer(config: RaftConfig, rng: Rng, founders: Mapping[MemberID, str], epoch: int) -> Replica:
    """A founder, or one who knows the group's epoch alone. Raises ``InvalidArgument``."""
    if not founders:
        return Replica(config, rng, hard_state=HardState(epoch=epoch))
    if config.id not in founders:
        raise InvalidArgument(f"raft: member {config.id} is not among the founders")
    members = tuple(Member(id, True, founders[id].encode()) for id in sorted(founders))
    return Replica(config, rng, bootstrap=Configuration(members, max(founders) + 1, epoch))


def alone(id: MemberID, found: Recovered, address: str) -> tuple[Recovered, Batch]:
    """What the disk will hold when the batch is written."""
    forced = force_new_cluster(
        id,
        found.hard_state,
        found.snapshot,
        found.entries,
        epoch=new_epoch(found.hard_state.epoch, system_entropy),
        context=address.encode(),
    )
    entries = (*found.entries, *forced.entries)
    after = attrs.evolve(found, hard_state=forced.hard_state, entries=entries)
    return after, Batch(forced.hard_state, forced.entries)


async def written(storage: LogStorage, batch: Batch) -> BaseException | None:
    """Write ``batch``; what went wrong, or None when it is on disk."""
    waiter = Waiter()
    storage.submit(batch, waiter.answer)
    error: BaseException | None = await waiter.wait()
    return error
