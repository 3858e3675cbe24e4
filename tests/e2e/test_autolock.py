"""Autolock on a running swarm: on, off, shown, rotated; and what the disks hold meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyswarm import Cluster
from pyswarm.errors import InvalidArgument, Locked
from pyswarm.runtime import MemoryNetwork
from pyswarm.runtime.storage import FileDirectory, StorageLocked, WrongUnlockKey
from pyswarm.secretstore import UnlockKey
from pyswarm.testing import LocalSwarm
from swarms import WAIT_S, executor, one_node, until

LOCKED = (
    "Swarm is encrypted and needs to be unlocked before it can be used. "
    'Please use "docker swarm unlock" to unlock it.'
)
OTHER_KEY = UnlockKey(b"o" * 32).text


def opened(path: Path, **options: Any) -> Any:
    return Cluster.open(path, network=MemoryNetwork(), executor=executor(), **options)


async def refused(path: Path, error: type[Exception], **options: Any) -> str:
    """Opening raises ``error``; its sentence. Nothing on the disk changes by it."""
    before = contents(path)
    with pytest.raises(error) as caught:
        async with opened(path, **options):
            pass
    assert contents(path) == before
    return str(caught.value)


def contents(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


async def test_locked_from_the_start(tmp_path: Path) -> None:
    async with one_node(state_dir=tmp_path, autolock=True) as cluster:
        key = await cluster.unlock_key()
        assert key.startswith("SWMKEY-1-") and len(key) == 52
        assert (await cluster.swarm()).spec.autolock
        assert (await cluster.swarm()).unlock_key == b"", "it is shown by unlock_key alone"
        await cluster.secrets.create("token", b"s3cret")
        assert FileDirectory.is_locked(tmp_path)
    assert await refused(tmp_path, StorageLocked) == LOCKED
    wrong = await refused(tmp_path, WrongUnlockKey, unlock_key=OTHER_KEY)
    assert wrong == "swarm could not be unlocked: invalid key provided"
    with pytest.raises(InvalidArgument, match="invalid key string"):
        opened(tmp_path, unlock_key="SWMKEY-1-short")
    async with opened(tmp_path, unlock_key=key) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        assert [one.name for one in await cluster.secrets.list()] == ["token"]
        assert await cluster.unlock_key() == key


async def test_on_rotate_off(tmp_path: Path) -> None:
    async with one_node(state_dir=tmp_path) as cluster:
        assert await cluster.unlock_key() == ""
        assert await cluster.rotate_unlock_key() == "", "nothing to rotate"
        ring = cluster._member.directory.ring
        in_clear = ring._keys[1]
        await cluster.update(autolock=True)
        first = await cluster.unlock_key()
        assert FileDirectory.is_locked(tmp_path)
        # The data key that lay there in clear is replaced, and a snapshot lets it be forgotten.
        await until(lambda: ring.ids == (2,))
        assert ring.locked
        await cluster.update(autolock=True)
        assert await cluster.unlock_key() == first, "on stays as it is"
        second = await cluster.rotate_unlock_key()
        assert second == await cluster.unlock_key() != first
        assert (await cluster.status()).counters["events.log.compacted"] == 1
    for path, data in contents(tmp_path).items():
        assert in_clear not in data, path
        for text in (first, second):
            assert UnlockKey.parse(text).key not in data, path
    await refused(tmp_path, WrongUnlockKey, unlock_key=first)
    async with opened(tmp_path, unlock_key=second) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        await cluster.update(autolock=False)
        assert await cluster.unlock_key() == ""
        assert not FileDirectory.is_locked(tmp_path)
    async with opened(tmp_path) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        await cluster.update(autolock=True)
        third = await cluster.unlock_key()
        assert third not in ("", first, second)
    await refused(tmp_path, StorageLocked)


async def test_every_manager_and_no_worker(tmp_path: Path) -> None:
    """The running managers' disks follow; one that was down opens with the key of its last run."""

    def locked(name: str) -> bool:
        return FileDirectory.is_locked(tmp_path / name)

    async with LocalSwarm(managers=3, workers=1, state_dir=tmp_path) as swarm:
        leader = await swarm.leader()
        await leader.update(autolock=True)
        first = await leader.unlock_key()
        await until(lambda: all(locked(f"node-{number}") for number in (1, 2, 3)))
        assert not locked("node-4")
        for manager in swarm.managers:
            assert await manager.unlock_key() == first
        down = swarm.name_of(next(node for node in swarm.managers if not node.is_leader))
        await swarm.crash(down)
        leader = await swarm.leader()
        second = await leader.rotate_unlock_key()
        with pytest.raises(Locked):
            await swarm.restart(down, unlock_key=second)
        back = await swarm.restart(down, unlock_key=first, wait=False)
        await back.wait_ready(timeout=WAIT_S)
        ring = back._member.directory.ring
        await until(lambda: ring._kek == UnlockKey.parse(second))
        assert await back.unlock_key() == second
        # A manager that becomes a worker has nothing to hide any more.
        node = await leader.nodes.get(back.node_id)
        await node.demote()
        await until(lambda: not back.is_manager and not locked(down))
        await (await leader.nodes.get(back.node_id)).promote()
        await until(lambda: back.is_manager and locked(down))
        joined = await swarm.join("late", "manager")
        await until(lambda: joined.is_manager and locked("late"))


async def test_leaving_leaves_no_lock_behind(tmp_path: Path) -> None:
    async with one_node(state_dir=tmp_path, autolock=True) as cluster:
        await cluster.leave(force=True)
    assert not FileDirectory.is_locked(tmp_path)
    async with one_node(state_dir=tmp_path) as cluster:
        await cluster.update(autolock=True)
        assert FileDirectory.is_locked(tmp_path)
        assert await cluster.unlock_key() != ""
    with pytest.raises(Locked):  # not "invalid key": nobody gave one
        async with one_node(state_dir=tmp_path, autolock=True):
            pass


async def test_a_new_data_key_is_seen_to_the_end_by_the_next_life(tmp_path: Path) -> None:
    """A node that died right after it drew one: what the old key seals goes at the next start."""
    async with one_node(state_dir=tmp_path, autolock=True) as cluster:
        await cluster.services.create("web", image="sleeper", replicas=0)
        key = await cluster.unlock_key()
    directory = FileDirectory.open(tmp_path, unlock_key=UnlockKey.parse(key))
    drawn = directory.ring
    drawn._rotate(drawn.kek, drawn.kek_version)
    assert drawn.ids == (1, 2)
    directory.close()
    async with opened(tmp_path, unlock_key=key) as cluster:
        ring = cluster._member.directory.ring
        await until(lambda: ring.ids == (2,))
        assert [one.name for one in await cluster.services.list()] == ["web"]
    async with opened(tmp_path, unlock_key=key) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        assert cluster._member.directory.ring.ids == (2,)
