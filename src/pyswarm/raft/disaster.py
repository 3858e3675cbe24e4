"""A new cluster from what one member has: when the majority is lost for good, or from a backup.

Nothing in the log is dropped. Which of the last entries were committed cannot be known from one
disk, and to lose one that was acknowledged would be worse than to keep one that was not. The new
cluster has a new epoch, so members of the old one cannot reach into it, and its member ids begin
far above any that the old one may have given.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pyswarm.env import Entropy
from pyswarm.errors import FailedPrecondition
from pyswarm.raft.configuration import (
    FORCED_ID_STEP,
    Configuration,
    Member,
    decode_configuration,
    encode_configuration,
)
from pyswarm.raft.entry import Entry, EntryKind, HardState, MemberID
from pyswarm.raft.log import surviving
from pyswarm.raft.snapshot import Snapshot

EPOCH_BITS = 63
"""It stays positive wherever it is stored as a signed number."""


@attrs.frozen
class ForcedCluster:
    """What to write to the disk before the member is started from it again."""

    hard_state: HardState
    entries: tuple[Entry, ...]
    """To be appended: one MEMBERSHIP entry with this member alone."""
    configuration: Configuration


def new_epoch(old: int, entropy: Entropy) -> int:
    """A cluster epoch that is not ``old``; drawn, so that two recoveries from one backup do not
    meet either."""
    while True:
        epoch = int.from_bytes(entropy(8), "big") >> (64 - EPOCH_BITS)
        if epoch not in (0, old):
            return epoch


def latest_configuration(snapshot: Snapshot | None, entries: Sequence[Entry]) -> Configuration:
    """The configuration in effect on a disk with this content."""
    entries = surviving(snapshot, entries)
    after = snapshot.index if snapshot else 0
    for entry in reversed(entries):
        if entry.kind == EntryKind.MEMBERSHIP and entry.index > after:
            return decode_configuration(entry.data)
    return snapshot.configuration if snapshot else Configuration()


def force_new_cluster(
    id: MemberID,
    hard_state: HardState,
    snapshot: Snapshot | None,
    entries: Sequence[Entry],
    *,
    epoch: int,
    context: bytes | None = None,
) -> ForcedCluster:
    """Makes ``id`` the only member, under the freshly drawn ``epoch``.

    ``context`` replaces the member's own. Raises ``FailedPrecondition`` if the disk is empty.
    """
    assert epoch != hard_state.epoch, "a new cluster needs a new epoch"
    before = latest_configuration(snapshot, entries)
    if not before.members:
        raise FailedPrecondition("raft: there is no cluster here to make a new one from")
    kept = surviving(snapshot, entries)
    last = kept[-1].index if kept else 0
    last = max(last, snapshot.index if snapshot else 0)
    member = before.get(id)
    if context is None:
        context = member.context if member else b""
    next_member_id = max(before.next_member_id, id + 1) + FORCED_ID_STEP
    configuration = Configuration((Member(id, True, context),), next_member_id, epoch)
    term = hard_state.term + 1
    entry = Entry(last + 1, term, EntryKind.MEMBERSHIP, encode_configuration(configuration))
    return ForcedCluster(HardState(term, None, epoch), (entry,), configuration)
