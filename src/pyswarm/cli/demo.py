"""The story that ``pyswarm demo`` and examples/quickstart.py tell: a swarm through its paces.

Three managers and two workers live in this one process, each with its own identity, store, state
directory and executor; their tasks are real processes. Every step does something to the swarm and
shows what follows. Read it as an example: what it does, any program can do.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import trio

from pyswarm.cli.screen import Screen
from pyswarm.cluster import Blocked, Cluster, Drain
from pyswarm.model import TaskState
from pyswarm.node.calls import HandOver
from pyswarm.runtime.front.nodes import NodeHandle
from pyswarm.runtime.front.services import ServiceHandle
from pyswarm.runtime.front.tasks import TaskHandle
from pyswarm.testing import LocalSwarm

PATIENCE_S = 30.0
"""How long any step may take before the story is given up."""

HEARTBEAT_S = 2.0
"""Docker's 5 s would make a lost node known only after half a minute; this is a demonstration."""

INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended, as shells have it."""

CLOCK = ("/bin/sh", "-c", "while :; do date; sleep 1; done")
WEB = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "0")


class Story:
    """The steps, in order. Each is told by its first line."""

    def __init__(self, swarm: LocalSwarm, screen: Screen) -> None:
        self.swarm = swarm
        self.screen = screen
        self.cluster: Cluster = swarm["node-2"]
        """The swarm as node-2 sees it: any manager would do, and this one is never crashed."""

    async def tell(self) -> None:
        """All of it."""
        await self.cluster.update(heartbeat_period=HEARTBEAT_S)
        web = await self.create()
        await self.kill_a_process(web)
        await self.crash_the_leader(web)
        await self.drain_a_node(web)
        await self.scale_and_update(web)
        await self.global_and_blocked()
        await self.networks_and_secrets()
        await self.what_if()

    async def create(self) -> ServiceHandle:
        """Six real processes, spread evenly."""
        self.screen.step(1, "a service of 6 tasks, each an operating system process")
        web = await self.cluster.services.create(
            "web", image="host", command=WEB, replicas=6, restart_delay=1.0
        )
        await self.converged(web)
        await self.show_places(web)
        return web

    async def kill_a_process(self, web: ServiceHandle) -> None:
        """The slot gets another task after the restart delay."""
        victim = (await web.running())[0]
        self.screen.step(2, f"kill -9 {victim.pid} ({victim.name.rpartition('.')[0]}) from outside")
        os.kill(victim.pid, signal.SIGKILL)
        await self.until(lambda: self.is_replaced(web, victim), "the task is replaced")
        again = next(one for one in await web.running() if one.slot == victim.slot)
        self.screen.say(f"slot {again.slot} runs again: pid {again.pid}")

    async def crash_the_leader(self, web: ServiceHandle) -> None:
        """Its processes end with it; others go on; another manager leads."""
        leader = await self.other_leader()
        self.screen.step(3, f"crash {leader.node.name}, the leader")
        before = {task.id: task for task in await web.running()}
        lost = {id: task for id, task in before.items() if task.node_id == leader.node_id}
        name = leader.node.name
        await self.swarm.crash(leader)
        clock = await self.cluster.services.create(
            "clock", image="host", command=CLOCK, replicas=2, restart_delay=1.0
        )
        self.screen.say("the next command was accepted by the new leader")
        gone = [task for task in lost.values() if not is_alive(task.pid)]
        self.screen.say(f"{len(gone)} of its {len(lost)} processes ended with it")
        await self.until(lambda: self.are_elsewhere(web, lost), "its tasks run elsewhere")
        same = [task for task in await web.running() if task.id in before and is_alive(task.pid)]
        self.screen.say(f"{len(same)} processes on the other nodes ran on, untouched")
        await self.show_places(web)
        await self.converged(clock)
        await self.swarm.restart(name)
        await self.until(lambda: self.is_ready(name), f"{name} is back")
        self.screen.say(f"{name} is back from its state directory")
        await clock.remove()

    async def other_leader(self) -> Cluster:
        """The leader; on a busy computer it may have become the node that this story is told
        through, which then hands over."""
        with trio.fail_after(PATIENCE_S):
            while (leader := await self.swarm.leader()) is self.cluster:
                await leader._member.call(HandOver())
                await trio.sleep(0.1)
        return leader

    async def drain_a_node(self, web: ServiceHandle) -> None:
        """Its tasks move; nothing moves back."""
        self.screen.step(4, "drain node-4: its tasks move; then set it active again")
        node = await self.cluster.nodes.get("node-4")
        await node.drain()
        await self.until(lambda: self.is_empty(node), "node-4 is empty")
        await self.converged(web)
        await self.show_places(web)
        await node.activate()
        await trio.sleep(1.0)
        await self.show_places(web)
        self.screen.say("nothing moves back: Swarm does not rebalance by itself")

    async def scale_and_update(self, web: ServiceHandle) -> None:
        """Up, down, a rolling update, and back."""
        self.screen.step(5, "scale to 9, down to 3, update with parallelism 2, roll back")
        await web.scale(9)
        await self.converged(web)
        await self.show_places(web)
        await web.scale(3)
        await self.converged(web)
        await self.show_places(web)
        await web.update(command=CLOCK, parallelism=2, monitor=1)
        await self.screen.watch(web)
        await self.converged(web)
        self.screen.say(f"updated: {(await web.running())[0].spec.container.command[0]} runs")
        await web.rollback()
        await self.converged(web)
        self.screen.say(f"rolled back: {(await web.running())[0].spec.container.command[0]} runs")

    async def global_and_blocked(self) -> None:
        """One task a node; and a service that waits, and says why."""
        self.screen.step(6, "a global service, and one whose constraint no node meets")
        everywhere = await self.cluster.services.create(
            "agent", image="host", command=CLOCK, mode="global"
        )
        await self.converged(everywhere)
        await self.show_places(everywhere)
        picky = await self.cluster.services.create(
            "fast", image="host", command=CLOCK, replicas=2, constraints=["node.labels.disk==ssd"]
        )
        outcome = await picky.wait_converged(timeout=PATIENCE_S)
        assert isinstance(outcome, Blocked), outcome
        self.screen.say(f"fast: {outcome.reason}")
        await (await self.cluster.nodes.get("node-5")).label(disk="ssd")
        self.screen.say("label node-5 disk=ssd")
        await self.converged(picky)
        await self.show_places(picky)

    async def networks_and_secrets(self) -> None:
        """Subnets from the pools; a config and a secret as files of a task."""
        self.screen.step(7, "two overlay networks, a config, a secret, a service that reads them")
        for name in ("front", "back"):
            network = await self.cluster.networks.create(name)
            self.screen.say(f"network {name}: {network.ipam[0].subnet}")
        await self.cluster.configs.create("motd", "good morning")
        await self.cluster.secrets.create("password", "correct horse battery staple")
        script = (
            'echo "$(cat "$PYSWARM_CONFIGS_DIR/motd"); the password has '
            '$(wc -c < "$PYSWARM_SECRETS_DIR/password") bytes; my address is $PYSWARM_TASK_ADDR"; '
            "exec sleep 3600"
        )
        reader = await self.cluster.services.create(
            "reader",
            image="host",
            command=("/bin/sh", "-c", script),
            networks=["front"],
            configs=["motd"],
            secrets=["password"],
        )
        await self.converged(reader)
        with trio.fail_after(PATIENCE_S):
            async for line in reader.logs(follow=True):
                self.screen.say(f"reader says: {line.data.decode()}")
                break

    async def what_if(self) -> None:
        """What draining node-2 would do, without doing it."""
        self.screen.step(8, "what would draining node-2 do?")
        answer = await self.cluster.plan(Drain("node-2"))
        self.screen.say(str(answer))
        assert not await self.cluster.check(), "an invariant is broken"
        self.screen.say("and nothing was done; all invariants hold")

    # -- seeing -----------------------------------------------------------------------------

    async def converged(self, service: ServiceHandle) -> None:
        """Until every task runs."""
        await service.wait_converged(timeout=PATIENCE_S)

    async def until(self, condition: Any, what: str) -> None:
        """Until an asynchronous condition holds; looks again and again."""
        with trio.move_on_after(PATIENCE_S):
            while True:
                if await condition():
                    return
                await trio.sleep(0.05)
        raise AssertionError(f"{what}: not within {PATIENCE_S:g} s")

    async def show_places(self, service: ServiceHandle) -> None:
        """How many of its tasks run on each node."""
        nodes = {node.id: node.name for node in await self.cluster.nodes.list()}
        counts: dict[str, int] = {}
        for task in await service.running():
            name = nodes.get(task.node_id, task.node_id)
            counts[name] = counts.get(name, 0) + 1
        text = ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))
        self.screen.say(f"{service.name}: {text}")

    async def is_replaced(self, service: ServiceHandle, victim: TaskHandle) -> bool:
        """Another task runs in the victim's slot."""
        running = await service.running()
        return any(one.slot == victim.slot and one.id != victim.id for one in running)

    async def are_elsewhere(self, service: ServiceHandle, lost: dict[str, Any]) -> bool:
        """Every slot of the lost tasks has another task that runs."""
        running = {task.slot for task in await service.running() if task.id not in lost}
        return all(task.slot in running for task in lost.values())

    async def is_empty(self, node: NodeHandle) -> bool:
        """No task runs on the node."""
        return not any(task.state is TaskState.RUNNING for task in await node.tasks())

    async def is_ready(self, name: str) -> bool:
        """The swarm sees the node again."""
        return str((await self.cluster.nodes.get(name)).state) == "ready"


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs (one that ended and was not collected does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def tell(screen: Screen, pids: set[int]) -> None:
    """Run the story; ``pids`` takes the process ids of its tasks, to be looked for afterwards."""
    with tempfile.TemporaryDirectory(prefix="pyswarm-") as state_dir:
        screen.step(0, "a swarm of 3 managers and 2 workers in this process")
        async with LocalSwarm(
            managers=3,
            workers=2,
            executor="process",
            state_dir=state_dir,
            default_addr_pools=("10.20.0.0/16", "10.30.0.0/16"),
            subnet_size=26,
        ) as swarm:
            story = Story(swarm, screen)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(screen.redraw, story.cluster)
                nursery.start_soon(screen.follow, story.cluster)
                nursery.start_soon(note_pids, story.cluster, pids)
                await story.tell()
                nursery.cancel_scope.cancel()
            screen.step(9, "stop everything")


async def note_pids(cluster: Cluster, pids: set[int]) -> None:
    """Take down the process id of every task that starts, until cancelled."""
    async for event in cluster.events(kinds=["task"]):
        if event.new is not None and event.new.pid:
            pids.add(event.new.pid)


def run() -> None:
    """Tell the story; exits with an error if it is interrupted or anything is left behind."""
    screen = Screen()
    pids: set[int] = set()
    interrupted = False
    with screen.shown():
        try:
            trio.run(tell, screen, pids)
        except KeyboardInterrupt:
            interrupted = True
            screen.step(9, "interrupted: stop everything")
        left = sorted(pid for pid in pids if is_alive(pid))
        threads = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
        threads = [name for name in threads if not name.startswith("Trio thread")]
        if left or threads:
            raise SystemExit(f"left behind: processes {left}, threads {threads}")
        screen.say(f"no process, no thread and no file is left; {screen.seconds:.1f} s in all")
    if interrupted:
        raise SystemExit(INTERRUPTED)
