"""Disks that fill up, and disks that fail, under running managers."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio

from pyswarm import Cluster
from pyswarm.errors import Unavailable
from pyswarm.model import Request, TaskState, service_spec
from pyswarm.model.requests import CreateService
from pyswarm.runtime import MemoryNetwork
from pyswarm.runtime.storage import directory
from pyswarm.runtime.storage.files import SystemFiles
from pyswarm.testing import LocalSwarm
from swarms import IMAGES, WAIT_S, executor, one_node, until


class Disk(SystemFiles):
    """Writing fails with ``code`` while it is set; half of what was to be written gets there."""

    def __init__(self) -> None:
        self.code = 0

    def fail(self) -> None:
        if self.code:
            raise OSError(self.code, os.strerror(self.code))

    def create(self, path: Path) -> int:
        self.fail()
        return super().create(path)

    def write(self, fd: int, data: bytes, offset: int, *, sync: bool) -> None:
        if self.code:
            super().write(fd, data[: len(data) // 2], offset, sync=sync)
        self.fail()
        super().write(fd, data, offset, sync=sync)


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> list[Disk]:
    """The disks of the nodes, in the order of their start."""
    found: list[Disk] = []

    def make() -> Disk:
        found.append(Disk())
        return found[-1]

    monkeypatch.setattr(directory, "SystemFiles", make)
    return found


def the_disk(cluster: Cluster) -> Disk:
    return cluster._member.directory._files


async def one_try(cluster: Cluster, name: str) -> None:
    """Asks once, where the front door would try again."""
    body = CreateService(service_spec(name, image="sleeper"))
    await cluster._member.call(Request(name, body))


async def disk_error(cluster: Cluster) -> str:
    log = (await cluster.status()).log
    assert log is not None
    return log.disk_error


async def test_one_manager_waits_for_room(tmp_path: Path, disks: list[Disk]) -> None:
    """It refuses and says why, its tasks run on, and it goes on by itself when there is room; what
    was under way is not applied twice."""
    async with one_node(state_dir=tmp_path) as cluster:
        (disk,) = disks
        web = await cluster.services.create("web", image="sleeper")
        await web.wait_converged(timeout=WAIT_S)
        disk.code = errno.ENOSPC
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: cluster.services.create("later", image="sleeper"))

            async def refuses() -> bool:
                return "No space left on device" in await disk_error(cluster)

            await until(refuses)
            assert not cluster.is_leader
            with pytest.raises(Unavailable) as caught:
                await one_try(cluster, "refused")
            assert "No space left on device" in caught.value.hint
            (task,) = await cluster.tasks.list(service="web", stale=True)
            assert task.state is TaskState.RUNNING
            disk.code = 0
        assert await disk_error(cluster) == ""
        assert sorted(one.name for one in await cluster.services.list()) == ["later", "web"]
        counters = (await cluster.status()).counters
        assert counters["events.disk.failed"] == counters["events.disk.recovered"] == 1
        version = (await cluster.status()).version
    options = {"network": MemoryNetwork(), "executor": executor()}
    async with Cluster.open(tmp_path, **options) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        assert (await cluster.status()).version > version
        assert sorted(one.name for one in await cluster.services.list()) == ["later", "web"]


async def test_a_leader_with_a_full_disk_is_replaced(tmp_path: Path, disks: list[Disk]) -> None:
    async with LocalSwarm(3, 0, images=IMAGES, state_dir=tmp_path) as swarm:
        old = await swarm.leader()
        the_disk(old).code = errno.ENOSPC
        others = [node for node in swarm.managers if node is not old]
        await others[0].services.create("one", image="sleeper", replicas=0)
        await until(lambda: any(node.is_leader for node in others))
        assert not old.is_leader and await disk_error(old)
        # The log goes on, in one batch after the other, while this member holds all of it back.
        for number in range(30):
            await others[0].services.create(f"s{number}", image="sleeper", replicas=0)
        stable = (await old.status()).log.stable_index
        leader = next(node for node in others if node.is_leader)
        lag = {f.node_id: f.lag for f in (await leader.status()).log.followers}
        assert lag[old.node_id] >= 30
        the_disk(old).code = 0

        async def has_caught_up() -> bool:
            log = (await old.status()).log
            return log.stable_index >= stable + 30 and not log.disk_error

        await until(has_caught_up)
        assert len(await old.services.list()) == 31


async def test_a_disk_that_fails_is_given_up_until_the_node_starts_again(
    tmp_path: Path, disks: list[Disk]
) -> None:
    async with LocalSwarm(3, 0, images=IMAGES, state_dir=tmp_path) as swarm:
        old = await swarm.leader()
        the_disk(old).code = errno.EIO
        others = [node for node in swarm.managers if node is not old]
        await others[0].services.create("one", image="sleeper", replicas=0)
        await until(lambda: any(node.is_leader for node in others))
        the_disk(old).code = 0
        await others[0].services.create("two", image="sleeper", replicas=0)
        await until(lambda: old._member.node.store.count("service") == 2)
        stable = (await old.status()).log.stable_index
        assert "Input/output error" in await disk_error(old), "what lies there is uncertain"
        name = await swarm.crash(old)
        again = await swarm.restart(name)

        async def goes_on() -> bool:
            return (await again.status()).log.stable_index > stable

        await until(goes_on)
        assert await disk_error(again) == ""
        assert sorted(one.name for one in await again.services.list()) == ["one", "two"]


async def test_keys_are_wrapped_once_there_is_room(tmp_path: Path, disks: list[Disk]) -> None:
    """Three managers, one disk full while autolock is switched on: its keys follow later."""
    async with LocalSwarm(3, 0, images=IMAGES, state_dir=tmp_path) as swarm:
        leader = await swarm.leader()
        slow = next(node for node in swarm.managers if node is not leader)
        name = swarm.name_of(slow)
        the_disk(slow).code = errno.ENOSPC
        await leader.update(autolock=True)
        await until(lambda: slow._member.node.store.swarm.spec.autolock)
        assert not directory.FileDirectory.is_locked(tmp_path / name)
        the_disk(slow).code = 0
        await until(lambda: directory.FileDirectory.is_locked(tmp_path / name))
        ring = slow._member.directory.ring
        await until(lambda: len(ring.ids) == 1)
