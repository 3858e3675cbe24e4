"""Backups of a running manager, and a swarm made of one."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import attrs
import trio

from pyswarm.errors import FailedPrecondition, Unavailable
from pyswarm.node.machine import NOT_A_MANAGER
from pyswarm.node.record import RECORD
from pyswarm.node.snapshots import SnapshotTaker
from pyswarm.raft import HardState
from pyswarm.runtime.backup import NOTE, Image, copy_files, verify, write_image
from pyswarm.runtime.backup import Backup as Backup
from pyswarm.runtime.clock import SystemClock
from pyswarm.runtime.disk import open_disk
from pyswarm.runtime.front.member import Member
from pyswarm.runtime.front.recovery import Resuming, make_new_cluster
from pyswarm.runtime.node import RunningNode
from pyswarm.runtime.parts import check_free, made
from pyswarm.runtime.storage import StateDirectory
from pyswarm.runtime.storage.errors import disk_errors
from pyswarm.runtime.storage.files import checked_path
from pyswarm.runtime.tls import TlsEndpoint
from pyswarm.runtime.tls.credentials import BLOB
from pyswarm.secretstore import UnlockKey
from pyswarm.store import Store


async def backup(member: Member, path: str | os.PathLike[str], *, stale: bool) -> Backup:
    """Write a backup to ``path``: all that was settled when this was called.

    The store's tables are taken at once and encoded slice by slice between the node's turns; the
    files are written in a thread.
    """
    target = checked_path(path, "a backup's target")
    check_free(target)
    member.check_manager()

    async def take() -> Image:
        if not stale:
            await member.node.barrier()
        return await take_image(member.node, member.directory)

    image = await member.loop.run(take)
    now = SystemClock().realtime()
    return await trio.to_thread.run_sync(partial(write_image, image, target, now))


async def take_image(node: RunningNode, directory: StateDirectory) -> Image:
    """What a manager knows now. Commits go on meanwhile, and are not in it."""
    machine = node.machine
    manager = machine.manager
    if manager is None:
        raise FailedPrecondition(NOT_A_MANAGER)
    if manager.is_restoring:
        raise Unavailable(
            "this manager is being brought up to date by a snapshot", hint="try again in a moment"
        )
    replica = manager.replica
    index = replica.applied_index
    taker = SnapshotTaker(manager.store, index)
    status = replica.status()
    head = replica.snapshot_at(index, ()) if index else None
    key, version = wrapping(manager.store, directory)
    blobs = {
        name: blob
        for name in directory.state.names()
        if name != RECORD and (blob := directory.state.load(name)) is not None
    }
    if isinstance(node.endpoint, TlsEndpoint):
        blobs[BLOB] = node.endpoint.credentials.to_bytes()  # its files are made of it again
    image = Image(
        record=machine.record(),
        hard_state=HardState(status.term, status.vote, status.epoch),
        snapshot=head,
        # What follows is not settled yet. It is kept, as after a crash: see raft/disaster.py.
        entries=tuple(entry for entry in replica.entries() if entry.index > index),
        blobs=blobs,
        unlock_key=key,
        unlock_key_version=version,
    )
    if head is None:
        return image
    while not taker.step():
        await trio.lowlevel.checkpoint()
    return attrs.evolve(image, snapshot=attrs.evolve(head, chunks=taker.chunks))


def wrapping(store: Store, directory: StateDirectory) -> tuple[UnlockKey | None, int]:
    """The unlock key of the node's last word, and its version: the swarm object's; or the disk's,
    where that is newer. A manager that started without a quorum knows its log up to its last
    snapshot only, and the key may have been rotated since."""
    if store.has_swarm and store.swarm.version >= directory.unlock_key_version:
        key = store.swarm.unlock_key
        return UnlockKey(key) if key else None, store.swarm.version
    return directory.unlock_key, directory.unlock_key_version


async def restore(
    source: Path,
    state_dir: Path,
    *,
    unlock_key: UnlockKey | None = None,
    advertise_addr: str | None = None,
) -> str:
    """Make a state directory of a backup, or of a copied one: its node will be the only manager of
    the swarm. Returns the node's id.

    Raises ``AlreadyExists``, ``Locked``, what :func:`~pyswarm.runtime.backup.verify` raises, and
    what opening a directory raises; then there is no ``state_dir``.
    """
    source, state_dir = checked_path(source, "a backup"), checked_path(state_dir, "state_dir")
    check_free(state_dir)
    check_source(source)
    with made(state_dir, "the state directory") as part:
        with disk_errors("the state directory"):
            copy_files(source, part)
        return await begin_anew(part, Resuming(unlock_key, True), advertise_addr)


def check_source(source: Path) -> None:
    """A backup is checked by its note; the copied directory of a stopped manager has none, and is
    checked when it is read."""
    if (source / NOTE).exists() or not (source / "keys").exists():
        verify(source)


async def begin_anew(path: Path, how: Resuming, advertise_addr: str | None) -> str:
    """Make the node at ``path`` the only manager, on disk."""
    disk, remembered = open_disk(path, unlock_key=how.unlock_key)
    try:
        if remembered.record is None:
            raise FailedPrecondition(f"{path} holds no node")
        addr = advertise_addr or remembered.record.addr
        forced = await make_new_cluster(disk, remembered, addr)
        assert forced.record is not None
        disk.save(RECORD, forced.record.to_bytes())
        return forced.record.identity.node_id
    finally:
        await disk.aclose()
