"""Several nodes in one process: joining, spreading, losing nodes and leaders, leaving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from pyswarm import Cluster, LocalSwarm
from pyswarm.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from pyswarm.model import NodeState, Role, TaskState
from pyswarm.node.whatif import Drain
from pyswarm.raft import RaftConfig
from pyswarm.runtime.front import Converged
from swarms import IMAGES, WAIT_S, executor, until

HEARTBEAT_S = 2.0  # a node is down after three of them, or six after an election
QUICK_S = 0.3  # where a node that is lost is waited for, and no other one does anything
PATIENT_S = 1.0  # where a leader is lost, and no node that is well may be taken for lost


def local_swarm(managers: int = 3, workers: int = 2, **options: Any) -> LocalSwarm:
    options.setdefault("heartbeat_period", HEARTBEAT_S)
    options.setdefault("executor", lambda name: executor())
    return LocalSwarm(managers, workers, **options)


async def converged(service: Any, timeout: float = WAIT_S) -> Converged:
    outcome = await service.wait_converged(timeout=timeout)
    assert isinstance(outcome, Converged), outcome
    return outcome


async def places(cluster: Cluster, service: Any) -> dict[str, int]:
    """Running tasks by the name of their node."""
    counts: dict[str, int] = {}
    for task in await service.running():
        name = (await cluster.nodes.get(task.node_id)).name
        counts[name] = counts.get(name, 0) + 1
    return counts


async def wait_state(cluster: Cluster, name: str, state: NodeState) -> None:
    async def is_so() -> bool:
        return (await cluster.nodes.get(name)).state is state

    await until(is_so)


async def test_a_swarm_of_five() -> None:
    """Spread evenly, asked through any manager; workers are told so; drained, tasks move."""
    async with local_swarm(labels={"node-4": {"disk": "ssd"}}) as swarm:
        assert [node.node.name for node in swarm.managers] == ["node-1", "node-2", "node-3"]
        assert [swarm.name_of(node) for node in swarm.workers] == ["node-4", "node-5"]
        follower = next(node for node in swarm.managers if not node.is_leader)
        web = await follower.services.create("web", image="sleeper", replicas=10)
        await converged(web)
        assert await places(follower, web) == dict.fromkeys(swarm.names, 2)
        lines = [line async for line in web.logs()]
        assert len(lines) == 10
        assert len({line.node_id for line in lines}) == 5

        ssd = await follower.services.create(
            "db", image="sleeper", constraints=["engine.labels.disk==ssd"]
        )
        await converged(ssd)
        assert await places(follower, ssd) == {"node-4": 1}

        node = await follower.nodes.get("node-2")
        supposed = await follower.plan(Drain("node-2"))
        assert len(supposed.stopped) == 2
        assert not supposed.unmet
        await node.drain()
        await converged(web)
        spread = await places(follower, web)
        assert "node-2" not in spread
        moved = supposed.placement.counts("web")
        assert {name: count for name, count in moved.items() if count} == spread
        await node.activate()
        await converged(web)
        assert await places(follower, web) == spread  # nothing moves back by itself

        worker = swarm.workers[0]
        for verb in (worker.services.list, worker.join_token, web.refresh):
            if verb != web.refresh:
                with pytest.raises(FailedPrecondition, match="not a swarm manager"):
                    await verb()
        with pytest.raises(FailedPrecondition, match="not a swarm manager"):
            await worker.services.create("x", image="sleeper")
        status = await worker.status()
        assert status.role is Role.WORKER
        assert status.has_session
        assert status.leader_id == (await swarm.leader()).node_id
        assert worker.node.name == "node-4"
        assert await follower.check() == []


async def test_the_leader_crashes_and_comes_back() -> None:
    """Another takes over at once; the dead node's tasks are replaced, all others keep running."""
    async with local_swarm(heartbeat_period=PATIENT_S) as swarm:
        leader = await swarm.leader()
        web = await leader.services.create("web", image="sleeper", replicas=5, restart_delay=0.1)
        before = {task.node_id: task.id for task in (await converged(web)).tasks}
        lost_id = leader.node_id
        name = await swarm.crash(leader)
        heir = await swarm.leader()
        web = await heir.services.get("web")
        await web.update(labels={"still": "answering"})
        outcome = await converged(web, 2 * WAIT_S)  # once the lost node is known to be
        after = {task.id: task.node_id for task in outcome.tasks}
        kept = {id for node_id, id in before.items() if node_id != lost_id}
        assert kept <= set(after)
        assert lost_id not in after.values()
        assert (await heir.nodes.get(name)).state is NodeState.DOWN

        again = await swarm.restart(name)
        assert again.node_id == lost_id
        await wait_state(heir, name, NodeState.READY)
        assert [task.id for task in await (await again.services.get("web")).running()]
        digests = {node._member.node.store.digest() for node in await settled(swarm)}
        assert len(digests) == 1
        assert await heir.check() == []


async def settled(swarm: LocalSwarm) -> tuple[Cluster, ...]:
    """The managers, once all are at the same version."""
    with trio.fail_after(WAIT_S):
        while True:
            versions = {(await node.status()).version for node in swarm.managers}
            if len(versions) == 1:
                return swarm.managers
            await trio.sleep(0.02)


async def test_without_a_majority_nothing_is_promised() -> None:
    """Two of three managers are gone: a typed error with the reason, soon, and no change; reads
    that need no promise still work."""
    async with local_swarm(3, 0) as swarm:
        last = swarm.managers[-1]
        await last.services.create("web", image="sleeper")
        for name in ("node-1", "node-2"):
            await swarm.crash(name)
        with pytest.raises(Unavailable) as caught:
            await last.services.create("more", image="sleeper")
        assert "does not have a leader" in str(caught.value)
        assert [service.name for service in await last.services.list(stale=True)] == ["web"]
        assert (await last.status()).leader_id == ""
        await swarm.restart("node-1", wait=False)
        await last.wait_ready(timeout=WAIT_S)
        assert [service.name for service in await last.services.list()] == ["web"]


async def test_a_partition_and_its_end() -> None:
    """A leader that is cut off promises nothing; the others go on; healed, all agree."""
    async with local_swarm(3, 0) as swarm:
        old = await swarm.leader()
        swarm.network.isolate(old.addr)
        others = [node for node in swarm.managers if node is not old]
        await until(lambda: any(node.is_leader for node in others))
        await others[0].services.create("web", image="sleeper", replicas=0)
        swarm.network.heal()
        await old.wait_ready(timeout=WAIT_S)
        assert (await old.services.get("web")).name == "web"
        assert not await others[1].check()


async def test_handing_leadership_over() -> None:
    """What a leader does that cannot keep time: another one leads, and nothing else changes."""
    async with local_swarm(3, 0) as swarm:
        old = await swarm.leader()

        def hands_over() -> bool:
            old._member.node._note_lag(1.0)
            return any(node.is_leader for node in swarm.nodes if node is not old)

        await until(hands_over)
        await old.services.create("web", image="sleeper", replicas=0)


async def test_promoting_and_demoting() -> None:
    """A worker gets a seat and a vote; a manager gives up its own, the leader too."""
    async with local_swarm(1, 2) as swarm:
        first = swarm.managers[0]
        second, third = swarm.workers
        for node in (second, third):
            await (await first.nodes.get(node.node_id)).promote()

        async def three_are_reachable() -> bool:
            seen = (await first.status()).managers
            return [manager.reachability for manager in seen] == ["reachable"] * 3

        await until(three_are_reachable)
        assert len(await second.nodes.list(role="manager")) == 3
        await first.node.demote()
        await until(lambda: not first.is_manager)
        heir = await swarm.leader()
        assert heir is not first
        await heir.services.create("web", image="sleeper", mode="global")
        await converged(await heir.services.get("web"))
        with pytest.raises(FailedPrecondition, match="not a swarm manager"):
            await first.services.list()


async def test_leaving_and_removing() -> None:
    """A worker says goodbye and is down at once; removed, it is gone; a manager leaves by force."""
    async with local_swarm(3, 2) as swarm:
        leader = await swarm.leader()
        worker = swarm["node-4"]
        node = await leader.nodes.get("node-4")
        with pytest.raises(FailedPrecondition, match="is not down and can't be removed"):
            await node.remove()
        await worker.leave()
        assert await worker.wait_stopped() == "left"
        await wait_state(leader, "node-4", NodeState.DOWN)
        await node.remove()
        with pytest.raises(NotFound, match="node node-4 not found"):
            await leader.nodes.get("node-4")

        follower = next(node for node in swarm.managers if not node.is_leader)
        name = follower.node.name
        await follower.leave(force=True)
        gone = await leader.nodes.get(name)
        assert (gone.left_seat, gone.manager) == (True, None)
        assert len((await leader.status()).managers) == 2
        await gone.demote()
        await gone.remove()
        await leader.services.create("web", image="sleeper")
        await converged(await leader.services.get("web"))


async def test_a_node_that_is_removed_by_force_stops() -> None:
    """It is refused from then on, and its tasks are replaced elsewhere."""
    async with local_swarm(1, 2) as swarm:
        leader = swarm.managers[0]
        web = await leader.services.create("web", image="sleeper", replicas=3, restart_delay=0.1)
        await converged(web)
        node = await leader.nodes.get("node-3")
        await node.remove(force=True)
        outcome = await converged(web)
        assert node.id not in {task.node_id for task in outcome.tasks}
        assert len(await leader.nodes.list()) == 2
        with trio.fail_after(WAIT_S):
            assert await swarm["node-3"].wait_stopped() == "removed"


async def test_the_whole_swarm_starts_again(tmp_path: Path) -> None:
    """All nodes stop and start from their directories: identities, services and secrets stay."""
    async with local_swarm(3, 1, state_dir=tmp_path) as swarm:
        leader = await swarm.leader()
        await leader.secrets.create("password", "hunter2")
        web = await leader.services.create(
            "web", image="reader", secrets=["password"], replicas=4, restart_delay=0.05
        )
        tasks = (await converged(web)).tasks
        ids = {name: swarm[name].node_id for name in swarm.names}
        for name in swarm.names:
            await swarm.crash(name)
        for name in swarm.names:
            await swarm.restart(name, wait=False)
        for node in swarm.nodes:
            await node.wait_ready(timeout=WAIT_S)
        assert {name: swarm[name].node_id for name in swarm.names} == ids
        leader = await swarm.leader()
        web = await leader.services.get("web")
        before = {task.id for task in tasks}

        async def new_ones_read_it() -> bool:
            try:
                lines = [line async for line in web.logs() if line.task_id not in before]
            except Unavailable:  # of a node that does not answer yet
                return False
            assert all(line.text == "/run/secrets/password=hunter2" for line in lines)
            return len(lines) == 4

        await until(new_ones_read_it)
        await converged(web)
        assert not {task.id for task in await web.running()} & before
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"hunter2" in path.read_bytes() for path in files)


async def test_own_threads() -> None:
    """Every node in a loop and thread of its own, over the same network."""
    raft = RaftConfig(id=1, election_timeout_ticks=20)
    async with local_swarm(
        3, 1, own_thread=True, raft=raft, executor="callable", images=IMAGES
    ) as swarm:
        web = await swarm.managers[1].services.create(
            "web", image="sleeper", replicas=4, restart_delay=0.1
        )
        await converged(web)
        assert await places(swarm.managers[2], web) == dict.fromkeys(swarm.names, 1)
        name = await swarm.crash(await swarm.leader())
        heir = await swarm.leader()
        await (await heir.services.get("web")).scale(2)
        await swarm.restart(name)
        await converged(await heir.services.get("web"))


async def test_a_crash_takes_its_own_processes_along() -> None:
    """Real processes: those of the node that crashed are gone, all others go on."""
    async with local_swarm(1, 2, executor="process") as swarm:
        leader = swarm.managers[0]
        web = await leader.services.create("web", command=["sleep", "600"], replicas=3)
        tasks = (await converged(web)).tasks
        pids = {task.node_id: Path(f"/proc/{task.pid}") for task in tasks}
        lost = swarm["node-3"].node_id
        await swarm.crash("node-3")
        assert [node_id for node_id, path in pids.items() if not path.exists()] == [lost]
    assert not any(path.exists() for path in pids.values())


async def test_names_of_a_local_swarm() -> None:
    with pytest.raises(InvalidArgument, match="at least one manager"):
        LocalSwarm(0)
    with pytest.raises(InvalidArgument, match="executor must be"):
        LocalSwarm(executor="magic")  # type: ignore[arg-type]
    async with local_swarm(1, 0, heartbeat_period=QUICK_S) as swarm:
        with pytest.raises(InvalidArgument, match="no node of this swarm that is down"):
            await swarm.restart("node-1")
        with pytest.raises(InvalidArgument, match="part of this swarm already"):
            await swarm.join("node-1")
        worker = await swarm.join("late")
        assert swarm.name_of(worker) == "late"
        await swarm.stop("late")
        with pytest.raises(KeyError):
            swarm["late"]
        await wait_state(swarm.managers[0], "late", NodeState.DOWN)
        task_states = [task.state for task in await swarm.managers[0].tasks.list()]
        assert TaskState.RUNNING not in task_states
