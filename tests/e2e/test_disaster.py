"""Most managers lost for good, and a swarm forced to begin anew from what is left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pyswarm import Cluster
from pyswarm.errors import Compacted, FailedPrecondition, InvalidArgument, Unavailable
from pyswarm.model import NodeState, Role, TaskState
from pyswarm.runtime import MemoryNetwork
from pyswarm.runtime.backup import verify
from pyswarm.runtime.front import Position
from pyswarm.testing import LocalSwarm
from swarms import IMAGES, WAIT_S, executor, one_node, until


async def running(cluster: Cluster, service: str) -> dict[str, str]:
    """Running tasks by id → node."""
    tasks = await cluster.tasks.list(service=service, stale=True)
    return {task.id: task.node_id for task in tasks if task.state is TaskState.RUNNING}


async def are_ready(cluster: Cluster, node_ids: list[str]) -> bool:
    """The leader sees all these nodes."""
    nodes = [await cluster.nodes.get(id) for id in node_ids]
    return all(node.state is NodeState.READY for node in nodes)


async def test_a_quorum_lost_for_good(tmp_path: Path) -> None:
    """Management is refused with numbers while tasks run on; then one manager begins anew."""
    async with LocalSwarm(3, 2, images=IMAGES, state_dir=tmp_path, heartbeat_period=5.0) as swarm:
        leader = await swarm.leader()
        last = next(node for node in swarm.managers if node is not leader)
        await leader.update(autolock=True)
        key = await leader.unlock_key()
        secret = await leader.secrets.create("token", b"s3cret")
        web = await leader.services.create(
            "web", image="sleeper", replicas=4, constraints=["node.role==worker"]
        )
        await web.wait_converged(timeout=WAIT_S)
        worker_token = await leader.join_token("worker")
        swarm_id = (await leader.swarm()).id
        before = await running(leader, "web")
        assert len(before) == 4
        lost = [node for node in swarm.managers if node is not last]
        lost_ids = {node.node_id for node in lost}
        for node in lost:
            await swarm.crash(node)

        with pytest.raises(Unavailable) as caught:
            await last.services.create("more", image="sleeper")
        assert caught.value.details["managers"] == 3 and caught.value.details["reachable"] == 1
        assert caught.value.hint.startswith("1 of 3 managers can be reached, 2 are needed")
        assert await running(last, "web") == before
        for worker in swarm.workers:
            tasks = worker._member.node.machine.agent.tasks()
            assert {one for one, status in tasks if status.state is TaskState.RUNNING}

        epoch = last._member.node.machine.manager.replica.epoch
        name = await swarm.stop(last)
        alone = await swarm.restart(name, force_new_cluster=True, unlock_key=key)
        assert alone.is_leader and not await alone.check()
        assert alone._member.node.machine.manager.replica.epoch not in (0, epoch)
        assert (await alone.swarm()).id == swarm_id
        assert await alone.unlock_key() == key
        assert (await alone.secrets.get("token")).id == secret.id
        assert await alone.join_token("worker") == worker_token
        # Whatever dead managers a worker was asking: it finds this one within its grace.
        worker_ids = [worker.node_id for worker in swarm.workers]
        await until(lambda: are_ready(alone, worker_ids), 3 * WAIT_S)
        assert await running(alone, "web") == before, "nothing was restarted"

        # The lost managers are workers that do not answer, for people to remove.
        for id in lost_ids:
            node = await alone.nodes.get(id)
            assert node.spec.desired_role is Role.WORKER and node.role is Role.WORKER
            assert node.manager is None
            assert node.state in (NodeState.UNKNOWN, NodeState.DOWN)
            await node.remove(force=True)
        await (await alone.services.get("web")).scale(6)
        await (await alone.services.get("web")).wait_converged(timeout=WAIT_S)
        # And it can grow again.
        joined = await swarm.join("node-6", "manager")
        await until(lambda: joined.is_manager)
        assert len(joined._member.node.machine.manager.replica.configuration.voters) == 2
        assert not await joined.check()


async def test_an_old_position_is_refused(tmp_path: Path) -> None:
    """Versions go on from where the disk ends; a position knows which cluster it is of."""
    network = MemoryNetwork()
    async with one_node(state_dir=tmp_path) as cluster:
        after = (await cluster.status()).version
        await cluster.services.create("web", image="sleeper", replicas=0)
        event = await anext(cluster.events(after=after, kinds=["service"]))
        assert event.name == "web"
        assert Position.parse(str(event.position)) == event.position
        await cluster.services.create("more", image="sleeper", replicas=0)
    async with Cluster.open(tmp_path, network=network, executor=executor()) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        following = await anext(cluster.events(after=event.position, kinds=["service"]))
        assert following.name == "more", "the same cluster: nothing is missed"
    async with Cluster.open(
        tmp_path, force_new_cluster=True, network=network, executor=executor()
    ) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        for old in (event.position, str(event.position)):
            with pytest.raises(Compacted, match="earlier cluster"):
                await anext(cluster.events(after=old))
        with pytest.raises(InvalidArgument):
            cluster.events(after="now")
        after_all = (await cluster.status()).version
        await cluster.services.create("new", image="sleeper", replicas=0)
        event = await anext(cluster.events(after=after_all, kinds=["service"]))
        assert event.name == "new" and event.position.epoch != 0


async def test_in_memory_and_in_threads_of_their_own(tmp_path: Path) -> None:
    """The same without a disk, and with nodes in other loops than their caller's."""
    async with LocalSwarm(3, 0, own_thread=True) as swarm:
        await swarm.managers[0].services.create("web", image="none", replicas=0)
        await swarm.managers[0].update(autolock=True)
        key = await swarm.managers[1].rotate_unlock_key()
        assert key.startswith("SWMKEY-1-")
        await swarm.managers[1].backup(tmp_path / "backup")
        for name in ("node-1", "node-2", "node-3"):
            await swarm.crash(name)
        alone = await swarm.restart("node-2", force_new_cluster=True)
        assert [one.name for one in await alone.services.list()] == ["web"]
        assert await alone.unlock_key() == key
    assert verify(tmp_path / "backup").locked


async def test_forcing_needs_a_manager(tmp_path: Path) -> None:
    async with LocalSwarm(1, 1, images=IMAGES, state_dir=tmp_path) as swarm:
        await swarm.stop("node-2")
        with pytest.raises(FailedPrecondition, match="This node is not a swarm manager"):
            await swarm.restart("node-2", force_new_cluster=True)
        await swarm.restart("node-2")
    with pytest.raises(FailedPrecondition, match="holds no node"):
        async with Cluster.open(tmp_path / "none", force_new_cluster=True, network=MemoryNetwork()):
            pass


async def test_a_copy_of_a_stopped_managers_directory_is_a_backup(tmp_path: Path) -> None:
    async with one_node(state_dir=tmp_path / "one") as cluster:
        await cluster.services.create("web", image="sleeper", replicas=0)
        await cluster.secrets.create("token", b"s3cret")
        node_id = cluster.node_id
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    shutil.rmtree(tmp_path / "one")
    options = {"network": MemoryNetwork(), "executor": executor()}
    async with Cluster.open(tmp_path / "copy", **options) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        assert cluster.node_id == node_id
        assert [one.name for one in await cluster.services.list()] == ["web"]
        assert [one.name for one in await cluster.secrets.list()] == ["token"]
