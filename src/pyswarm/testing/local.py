"""A whole swarm in one process, for tests and demonstrations.

``async with LocalSwarm(managers=3, workers=2) as swarm`` founds a swarm on ``node-1``, joins the
other managers and then the workers, and is ready when all nodes are. Each node is a real one, with
its own identity, replica, executor and disk; only the network is in memory. A node can crash
(at once, as if its process had died, its tasks with it) and be started again from what its disk
holds; the network can be cut and healed (``swarm.network``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import trio

from pyswarm.agent import Executor
from pyswarm.cluster import Cluster
from pyswarm.errors import DeadlineExceeded, InvalidArgument
from pyswarm.runtime import MemoryNetwork
from pyswarm.runtime.executors import CallableExecutor
from pyswarm.runtime.storage import MemoryDirectory
from pyswarm.runtime.waiter import checked_timeout

MakeExecutor = Callable[[str], Executor]
"""Makes the executor of the node with this name."""

READY_S = 30.0
"""How long a node may take to be ready: elections are over in a second, machines may be busy."""

HEARTBEAT_S = 1.0
"""A node that is silent for three heartbeats is down (for six, after an election). Swarm's period
is 5 s; tests had rather not wait."""

StateOf = Path | MemoryDirectory


class LocalSwarm:
    """A swarm in this process. An async context manager.

    ``executor`` is ``"callable"`` (async functions, those in ``images``; the default),
    ``"process"`` (OS processes, Linux), or a function that makes a node's executor from its name.
    ``state_dir`` is a directory for the nodes' state; None keeps it in memory, where it outlives
    a crash of its node all the same. ``labels`` are engine labels by node name.
    ``heartbeat_period`` (seconds) decides how soon a lost node is noticed. Other options go to
    ``Cluster.init`` (``default_addr_pools``, ``subnet_size``) or to every node (``own_thread``,
    ``observer``, ``raft``).
    """

    def __init__(
        self,
        managers: int = 3,
        workers: int = 2,
        *,
        executor: Literal["callable", "process"] | MakeExecutor = "callable",
        images: Mapping[str, Callable[..., Any]] | None = None,
        state_dir: Path | str | None = None,
        labels: Mapping[str, Mapping[str, str]] | None = None,
        default_addr_pools: tuple[str, ...] | None = None,
        subnet_size: int | None = None,
        heartbeat_period: float = HEARTBEAT_S,
        **options: Any,
    ) -> None:
        if managers < 1 or workers < 0:
            raise InvalidArgument("a swarm has at least one manager, and no negative workers")
        self.network = MemoryNetwork()
        self.names = tuple(f"node-{number}" for number in range(1, managers + workers + 1))
        self._manager_count = managers
        self._make_executor = _maker(executor, images or {})
        self._state_dir = None if state_dir is None else Path(state_dir)
        self._states: dict[str, StateOf] = {name: self._new_state(name) for name in self.names}
        self._labels = labels or {}
        self._pools = {
            key: value
            for key, value in (
                ("default_addr_pools", default_addr_pools),
                ("subnet_size", subnet_size),
            )
            if value is not None
        }
        self._heartbeat_period = heartbeat_period
        self._options = options
        self._running: dict[str, _Node] = {}
        self._nursery: trio.Nursery | None = None
        self._stack: Any = None

    # -- nodes

    def __getitem__(self, name: str) -> Cluster:
        """The node of this name; raises ``KeyError`` while it is down."""
        return self._running[name].cluster

    @property
    def nodes(self) -> tuple[Cluster, ...]:
        """All nodes that run, in the order of their names."""
        return tuple(self._running[name].cluster for name in self.names if name in self._running)

    @property
    def managers(self) -> tuple[Cluster, ...]:
        """Those that are managers now."""
        return tuple(node for node in self.nodes if node.is_manager)

    @property
    def workers(self) -> tuple[Cluster, ...]:
        """Those that are not."""
        return tuple(node for node in self.nodes if not node.is_manager)

    def name_of(self, node: Cluster | str) -> str:
        """The name of a running node."""
        if isinstance(node, str):
            return node
        for name, running in self._running.items():
            if running.cluster is node:
                return name
        raise InvalidArgument("this node does not run in this swarm")

    async def leader(self, *, timeout: float = READY_S) -> Cluster:
        """The node that leads, once there is one."""
        with trio.move_on_after(checked_timeout(timeout)):
            while True:
                for node in self.managers:
                    if node.is_leader:
                        return node
                await trio.sleep(0.01)
        raise DeadlineExceeded(f"the swarm has no leader within {timeout:g} s")

    async def crash(self, node: Cluster | str) -> str:
        """End a node at once, as if its process had died; its tasks die with it. Its name."""
        name = self.name_of(node)
        await self._running.pop(name).crash()
        return name

    async def stop(self, node: Cluster | str) -> str:
        """Stop a node cleanly; it stays a member. Its name."""
        name = self.name_of(node)
        await self._running.pop(name).stop()
        return name

    async def restart(self, name: str, *, wait: bool = True, **options: Any) -> Cluster:
        """Start a node that is down from what its disk holds; ``wait`` until it is ready. Options
        (``unlock_key``, ``force_new_cluster``) go to ``Cluster.open``."""
        if name in self._running or name not in self._states:
            raise InvalidArgument(f"{name} is no node of this swarm that is down")
        block = Cluster.open(self._states[name], **{**self._of(name), **options})
        cluster = await self._start(name, block)
        if wait:
            await cluster.wait_ready(timeout=READY_S)
        return cluster

    async def join(self, name: str, role: str = "worker") -> Cluster:
        """Let one more node join."""
        if name in self._states:
            raise InvalidArgument(f"{name} is part of this swarm already")
        self.names = (*self.names, name)
        self._states[name] = self._new_state(name)
        return await self._join(name, role)

    # -- life

    async def __aenter__(self) -> LocalSwarm:
        self._stack = self._live()
        swarm: LocalSwarm = await self._stack.__aenter__()
        return swarm

    async def __aexit__(self, *error: Any) -> bool | None:
        done: bool | None = await self._stack.__aexit__(*error)
        return done

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[LocalSwarm]:
        from pyswarm.runtime.errorgroups import plain_errors

        with plain_errors():
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    await self._found()
                    yield self
                finally:
                    with trio.CancelScope(shield=True):
                        await self._stop_all()

    async def _found(self) -> None:
        first, *others = self.names
        options = {**self._of(first), **self._pools, "state_dir": self._states[first]}
        founder = await self._start(first, Cluster.init(**options))
        await founder.update(heartbeat_period=self._heartbeat_period)
        managers = others[: self._manager_count - 1]
        for name in managers:
            await self._join(name, "manager")
        assert self._nursery is not None
        async with trio.open_nursery() as nursery:
            for name in others[len(managers) :]:
                nursery.start_soon(self._join, name, "worker")

    async def _join(self, name: str, role: str) -> Cluster:
        managers = [node for node in self.managers if node.is_manager]
        token = await managers[0].join_token(role)
        addrs = [node.addr for node in managers]
        options = {**self._of(name), "state_dir": self._states[name]}
        return await self._start(name, Cluster.join(addrs, token, **options))

    def _of(self, name: str) -> dict[str, Any]:
        """The options of one node."""
        return {
            **self._options,
            "network": self.network,
            "executor": self._make_executor(name),
            "advertise_addr": name,
            "name": name,
            "labels": self._labels.get(name, {}),
        }

    def _new_state(self, name: str) -> StateOf:
        return MemoryDirectory() if self._state_dir is None else self._state_dir / name

    async def _start(self, name: str, block: Any) -> Cluster:
        assert self._nursery is not None, "the swarm does not run"
        node: _Node = await self._nursery.start(_Node.run, block)
        self._running[name] = node
        return node.cluster

    async def _stop_all(self) -> None:
        """Workers first, then managers: what the tasks of the workers ended as is recorded."""
        running = list(self._running.values())
        self._running.clear()
        async with trio.open_nursery() as nursery:
            for node in running:
                if not node.cluster.is_manager:
                    nursery.start_soon(node.stop)
        async with trio.open_nursery() as nursery:
            for node in running:
                if node.cluster.is_manager:
                    nursery.start_soon(node.stop)

    def __repr__(self) -> str:
        return f"<LocalSwarm {', '.join(self._running) or 'stopped'}>"


class _Node:
    """One node that runs in the swarm's nursery."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._leave = trio.Event()
        self._left = trio.Event()

    @classmethod
    async def run(cls, block: Any, *, task_status: trio.TaskStatus[_Node]) -> None:
        """Enter the block, and leave it when told."""
        node: _Node | None = None
        try:
            async with block as cluster:
                node = cls(cluster)
                task_status.started(node)
                await node._leave.wait()
        finally:
            if node is not None:
                node._left.set()

    async def stop(self) -> None:
        """Stop cleanly."""
        self._leave.set()
        await self._left.wait()

    async def crash(self) -> None:
        """Stop at once."""
        await self.cluster.crash()
        await self.stop()


def _maker(executor: Any, images: Mapping[str, Callable[..., Any]]) -> MakeExecutor:
    if executor == "callable":
        return lambda name: CallableExecutor(dict(images))
    if executor == "process":
        return _process
    if callable(executor):
        make: MakeExecutor = executor
        return make
    raise InvalidArgument("executor must be 'callable', 'process' or a function of a node's name")


def _process(name: str) -> Executor:
    from pyswarm.runtime.executors import ProcessExecutor

    return ProcessExecutor(hostname=name)
