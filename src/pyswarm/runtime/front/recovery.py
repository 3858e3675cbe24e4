"""Starting again where starting as before is not enough: a locked disk, a lost quorum, a backup.

When most managers are gone for good, nobody can elect a leader any more, so no command is taken;
the tasks run on. ``force_new_cluster`` makes one manager's log the log of a swarm with this manager
alone. Nothing that its disk holds is dropped: objects, tokens, secrets, and the workers with their
tasks, which find it at the address they know. Its new epoch keeps the old managers out: they must
not be started from their old directories again.
"""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from pyswarm.env import system_entropy
from pyswarm.errors import FailedPrecondition, InvalidArgument
from pyswarm.node import RecoveredLog
from pyswarm.node.machine import NOT_A_MANAGER
from pyswarm.node.seats import context
from pyswarm.raft import Ready, force_new_cluster, new_epoch
from pyswarm.runtime.backup import NOTE
from pyswarm.runtime.disk import Disk, Remembered
from pyswarm.runtime.waiter import Waiter
from pyswarm.secretstore import UnlockKey


@attrs.frozen
class Resuming:
    """How a node that was there before is started again."""

    unlock_key: UnlockKey | None = None
    force_new_cluster: bool = False


def resuming(unlock_key: str | UnlockKey | None, force_new_cluster: bool = False) -> Resuming:
    """Checked arguments. Raises ``InvalidUnlockKey``."""
    if isinstance(unlock_key, str):
        unlock_key = UnlockKey.parse(unlock_key)
    elif not isinstance(unlock_key, UnlockKey | None):
        raise InvalidArgument("the unlock key is a text: SWMKEY-1-…")
    return Resuming(unlock_key, force_new_cluster)


def check_not_backup(state_dir: object) -> None:
    """A hot backup is older than its node: started as that node it would break promises that the
    node has made since (votes, acknowledgements); and a backup had better stay one. Raises
    ``FailedPrecondition``."""
    if not isinstance(state_dir, (str, os.PathLike)):
        return
    if (Path(state_dir) / NOTE).exists():
        raise FailedPrecondition(
            f"{os.fspath(state_dir)} is a backup",
            hint="`pyswarm restore` makes a state directory of it",
        )


async def make_new_cluster(disk: Disk, remembered: Remembered, addr: str) -> Remembered:
    """Let the node's log begin a swarm of its own; on disk before this returns.

    Raises ``FailedPrecondition`` on a worker, and what the disk raises.
    """
    record, log = remembered.record, remembered.log
    if record is None or log is None or not record.member_id:
        raise FailedPrecondition(NOT_A_MANAGER)
    forced = force_new_cluster(
        record.member_id,
        log.hard_state,
        log.snapshot,
        log.entries,
        epoch=new_epoch(log.hard_state.epoch, system_entropy),
        context=context(record.identity.node_id, addr),
    )
    written = Waiter()
    disk.persist(
        Ready(0, forced.hard_state, forced.entries), lambda error: written.answer(None, error)
    )
    await written.wait()
    entries = (*log.entries, *forced.entries)
    found = RecoveredLog(record.member_id, forced.hard_state, log.snapshot, entries)
    record = attrs.evolve(record, addr=addr, epoch=forced.hard_state.epoch, managers=())
    return attrs.evolve(remembered, record=record, log=found)
