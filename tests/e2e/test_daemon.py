"""Five daemons as OS processes on 127.0.0.2-6, driven through their control sockets.

One story, since starting processes is what costs: a swarm of three managers and two workers changes
roles, tokens and its root, loses its leader and a worker (``kill -9``), is restarted all at once,
loses its quorum and is begun anew by force.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from pyswarm import Cluster, Daemon
from pyswarm.api.hosting import HostState
from pyswarm.errors import InvalidArgument, SwarmError, Unavailable
from pyswarm.model import NodeState, SwarmSpec
from pyswarm.runtime.front import Converged

WAIT_S = 60.0  # a guard on a busy machine, far above what anything here takes
LOOK_S = 0.1
HEARTBEAT_S = 2.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="daemons run on Linux")


class Process:
    """One daemon: started, killed and started again on one state directory."""

    def __init__(self, name: str, host: str, state_dir: Path) -> None:
        self.name = name
        self.listen = f"{host}:0"
        self.state_dir = state_dir
        self.url = f"unix://{state_dir / 'control.sock'}"
        self.process: subprocess.Popen[bytes] | None = None
        self.id = ""

    def start(self) -> None:
        command = [sys.executable, "-m", "pyswarm", "daemon", "--hostname", self.name]
        with open(self.state_dir.with_suffix(".log"), "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--state-dir", str(self.state_dir)], stdout=log, stderr=log
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def stop(self) -> int:
        """Gracefully; its exit code."""
        process = self.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(WAIT_S):
            return await trio.to_thread.run_sync(process.wait)

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Daemon]:
        """Connected, as soon as it answers."""
        with trio.fail_after(WAIT_S):
            while True:
                try:
                    async with Daemon.connect(self.url):
                        break
                except Unavailable:
                    await trio.sleep(LOOK_S)
        async with Daemon.connect(self.url) as daemon:
            yield daemon


async def eventually(look: Callable[[], Awaitable[bool]]) -> None:
    """Until it holds; what cannot be said for now is asked again."""
    with trio.fail_after(WAIT_S):
        while True:
            try:
                if await look():
                    return
            except SwarmError:
                pass
            await trio.sleep(LOOK_S)


async def insist(act: Callable[[], Awaitable[object]]) -> None:
    """Until it is done: a leader may be elected meanwhile."""

    async def done() -> bool:
        await act()
        return True

    await eventually(done)


async def places(cluster: Cluster) -> dict[str, int]:
    """Running tasks of ``web`` by node."""
    found: dict[str, int] = {}
    for task in await (await cluster.services.get("web")).running():
        found[task.node_id] = found.get(task.node_id, 0) + 1
    return found


async def runs(cluster: Cluster, replicas: int, without: Sequence[str] = ()) -> bool:
    """Whether ``web`` runs so many tasks, none of them on these nodes."""
    found = await places(cluster)
    return sum(found.values()) == replicas and not any(id in found for id in without)


async def state_of(cluster: Cluster, id: str) -> NodeState:
    return (await cluster.nodes.get(id)).state


@asynccontextmanager
async def five(directory: Path) -> AsyncIterator[list[Process]]:
    """Processes n1 to n5, killed at the end."""
    processes = [
        Process(f"n{number}", f"127.0.0.{number + 1}", directory / f"n{number}")
        for number in range(1, 6)
    ]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            process.kill()


async def form(processes: list[Process]) -> str:
    """Three managers and two workers, and a service; the worker's token."""
    first, *others = processes
    async with first.daemon() as daemon:
        spec = SwarmSpec(heartbeat_period=HEARTBEAT_S)
        first.id = await daemon.init(listen_addr=first.listen, spec=spec)
        manager = await daemon.cluster.join_token("manager")
        worker = await daemon.cluster.join_token("worker")
        addr = daemon.cluster.addr
        for number, process in enumerate(others):
            async with process.daemon() as other:
                token = manager if number < 2 else worker
                await other.join(addr, token, listen_addr=process.listen)
                process.id = (await other.state()).node_id
        web = await daemon.cluster.services.create(
            "web", image="host", command=["sleep", "600"], replicas=5, restart_delay=0.1
        )
        assert isinstance(await web.wait_converged(timeout=WAIT_S), Converged)
        return worker


def test_the_life_of_five_daemons(tmp_path: Path) -> None:
    """Each wait is bounded; on a machine that does other things all of them together take longer
    than one test of coroutines may."""
    trio.run(story, tmp_path)


async def story(tmp_path: Path) -> None:
    async with five(tmp_path) as processes:
        n1, n2, n3, n4, n5 = processes
        old_token = await form(processes)
        await roles_and_tokens(n1, n4, n5, old_token)
        await the_leader_is_killed(n1, n2)
        await a_worker_is_killed(n2, n5)
        await all_are_killed_at_once(processes)
        await the_quorum_is_lost(n1, n2, n3, n4)
        await an_end_in_peace(n1)


async def roles_and_tokens(n1: Process, n4: Process, n5: Process, old_token: str) -> None:
    async with n1.daemon() as daemon, n4.daemon() as promoted, n5.daemon() as leaving:
        cluster = daemon.cluster
        node = await cluster.nodes.get("n4")
        await node.promote()

        async def manages() -> bool:
            return len(await promoted.cluster.services.list()) == 1

        await eventually(manages)
        await node.demote()

        async def serves_again() -> bool:
            return not (await promoted.state()).control_available

        await eventually(serves_again)

        new_token = await cluster.rotate_join_token("worker")
        await leaving.leave()
        assert (await leaving.state()).state is HostState.INACTIVE

        async def is_down() -> bool:
            return await state_of(cluster, n5.id) is NodeState.DOWN

        await eventually(is_down)
        await (await cluster.nodes.get(n5.id)).remove()
        with pytest.raises(InvalidArgument, match="valid join token"):
            await leaving.join(cluster.addr, old_token, listen_addr=n5.listen)
        await leaving.join(cluster.addr, new_token, listen_addr=n5.listen)
        n5.id = (await leaving.state()).node_id
        await eventually(lambda: runs(cluster, 5))

        rotation = await cluster.rotate_ca()
        assert (await rotation.wait(timeout=WAIT_S)).is_done
        assert await cluster.join_token("worker") != new_token


async def the_leader_is_killed(n1: Process, n2: Process) -> None:
    """The others go on; it comes back as one of them."""
    async with n2.daemon() as daemon:
        cluster = daemon.cluster
        n1.kill()

        async def create() -> None:
            if not await cluster.services.list(name="after"):
                await cluster.services.create("after", image="host", command=["sleep", "600"])

        await insist(create)
        n1.start()

        async def is_back() -> bool:
            return await state_of(cluster, n1.id) is NodeState.READY

        await eventually(is_back)


async def a_worker_is_killed(n2: Process, n5: Process) -> None:
    """Its tasks move; it comes back without them, and nothing of it runs twice."""
    async with n2.daemon() as daemon:
        cluster = daemon.cluster
        n5.kill()
        await eventually(lambda: runs(cluster, 5, without=[n5.id]))
        n5.start()

        async def is_back() -> bool:
            return await state_of(cluster, n5.id) is NodeState.READY

        await eventually(is_back)
        await eventually(lambda: runs(cluster, 5))


async def all_are_killed_at_once(processes: list[Process]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.start()
    async with processes[1].daemon() as daemon:
        await eventually(lambda: runs(daemon.cluster, 5))
        assert await daemon.cluster.check() == []


async def the_quorum_is_lost(n1: Process, n2: Process, n3: Process, n4: Process) -> None:
    """Two of three managers are gone for good: the third begins the swarm anew, and the workers
    find it."""
    async with n1.daemon() as daemon:
        swarm_id = (await daemon.cluster.swarm()).id
        n2.kill()
        n3.kill()

        async def has_no_leader() -> bool:
            return not (await daemon.cluster.status()).leader_id

        await eventually(has_no_leader)
        assert (await daemon.state()).control_available
        id = await daemon.init(force_new_cluster=True)  # where it listened before
        assert id == n1.id
        assert (await daemon.cluster.swarm()).id == swarm_id
        assert [one.id for one in await daemon.cluster.nodes.list(role="manager")] == [n1.id]

        async def is_back() -> bool:
            return await state_of(daemon.cluster, n4.id) is NodeState.READY

        await eventually(is_back)


async def an_end_in_peace(n1: Process) -> None:
    """A graceful stop ends the tasks and removes the socket."""
    async with n1.daemon() as daemon:
        tasks = await (await daemon.cluster.services.get("web")).tasks(node=n1.id)
        pids = [task.pid for task in tasks if task.is_running]
        backup = await daemon.cluster.backup(n1.state_dir.parent / "backup")
        assert backup.node_id == n1.id
    assert await n1.stop() == 0
    assert not (n1.state_dir / "control.sock").exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids if pid)
    assert "Traceback" not in n1.state_dir.with_suffix(".log").read_text()
