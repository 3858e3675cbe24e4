"""One running node: the machine, and everything around it that awaits.

``run_node`` drives a :class:`~pyswarm.node.NodeMachine` on the trio loop it is called in, with a
disk, a network and an executor. It is the only place where the machine's effects meet the world:

================ =============================================================================
``SendTo``        the network; payloads are opened here, and only for the node that may see them
``PersistLog``    the log's storage, on its own disk thread; the answer comes back as ``Persisted``
``SaveSnapshot``  the same, beside the log's writes
``WrapKeys``      the keys of the node's directory (see ``keywrap``)
``SaveBlob``      the node's own small state
``Perform``       the executor, through its bridge
``Reply``         the caller that waits in :meth:`RunningNode.call`
``Published``     watchers
``Observed``      the logger and the observer
``Halted``        the end
================ =============================================================================
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from pyswarm.agent import AgentStopped, Perform, SaveTask
from pyswarm.env import Clock, Entropy, Rng, system_entropy
from pyswarm.errors import Cancelled, Compacted, DeadlineExceeded, SwarmError, Unavailable
from pyswarm.ids import new_id
from pyswarm.machine import Effect
from pyswarm.model import Request, Sealed
from pyswarm.model.session import Assignments, Driven, Plain
from pyswarm.node import (
    Barrier,
    Call,
    DropLog,
    FromExecutor,
    FromPeer,
    Halted,
    KeysWrapped,
    NodeMachine,
    Observed,
    Persisted,
    PersistLog,
    Published,
    Reply,
    SaveBlob,
    SaveSnapshot,
    SendTo,
    SessionBroken,
    SnapshotSaved,
    Stop,
    Wake,
    WrapKeys,
)
from pyswarm.node.calls import HandOver
from pyswarm.node.inputs import Together
from pyswarm.node.manager import MANAGERS
from pyswarm.raft import RaftConfig, Snapshot
from pyswarm.runtime.clock import SystemClock
from pyswarm.runtime.company import Company
from pyswarm.runtime.disk import Disk
from pyswarm.runtime.drive import INBOX_MAX, Driver
from pyswarm.runtime.drivers import Drivers
from pyswarm.runtime.executors.bridge import ExecutorBridge, open_bridge
from pyswarm.runtime.keywrap import KeyWrapper
from pyswarm.runtime.network import Endpoint, Network
from pyswarm.runtime.observe import Counters, Observer, Shielded, log_event
from pyswarm.runtime.storage import DiskFull
from pyswarm.runtime.storage.disk import SyncTimes
from pyswarm.runtime.waiter import Waiter
from pyswarm.secretstore import Sealer
from pyswarm.store import Commit, Store

REQUEST_TIMEOUT_S = 20.0
"""How long a command is tried where the caller says nothing: Docker's own limit."""

RETRY_FIRST_S = 0.05
RETRY_MAX_S = 0.5
"""Back-off between tries of a request while there is no leader."""

LAG_QUIET_S = 10.0
"""After a warning about a late loop, how long nothing more is said about it."""

LAG_TIMES = 3
"""A leader whose loop is late so often within :data:`LAG_QUIET_S` lets another one lead. Once may
be the computer's doing, which slept or was stopped: that is over when it is noticed."""

CALLS_TOGETHER = 64
"""Requests that are given to the machine as one input: others of the loop must get their turn."""

BREATHER_S = 0.005
"""For so long calls may be answered at once, without others of the loop getting their turn."""

CRASHED = "crashed"
"""The reason of a node that was stopped as if its process had died."""

STOP_SLACK_S = 5.0
"""Beyond the longest grace period: how long a node may take to stop before it is dropped."""


class _Late(Exception):
    """The caller's time is over."""


class RunningNode:
    """A node that runs. Made by :func:`run_node`."""

    def __init__(
        self,
        machine: NodeMachine,
        disk: Disk,
        network: Network,
        addr: str,
        *,
        clock: Clock,
        entropy: Entropy,
        observer: Observer | None,
    ) -> None:
        self.machine = machine
        self.clock = clock
        self.entropy = entropy
        name = machine.config.description.hostname
        self.observer: Observer = Shielded(observer, name) if observer is not None else Counters()
        self.halted: Halted | None = None
        self.lag_s = 0.0
        config = machine.config
        ticks = (config.raft or RaftConfig(id=1)).election_timeout_ticks
        self._lag_max_s = ticks * config.tick_s / 2
        self._lag_quiet_until = float("-inf")
        self._late_wakes = 0
        self._rng = Rng(int.from_bytes(entropy(16), "big"))
        self._disk = disk
        self._waiters: dict[int, Waiter] = {}
        self._next_token = 0
        self._request_ids = new_id(self._rng)
        """How the ids of this life's requests begin; then comes their number."""
        self._next_request = 0
        self._company = Company()
        self._rested_at = float("-inf")
        self._news: dict[Callable[[], None], None] = {}
        self._sealer: tuple[Any, Sealer] | None = None
        self._bridge: ExecutorBridge | None = None
        self._halted = trio.Event()
        self.keys = KeyWrapper(
            disk, lambda needs: self.driver.post(KeysWrapped(needs)), self._perform
        )
        self._life = trio.CancelScope(shield=True)
        self.taps: dict[type, Callable[[Any, str, Any], None]] = {}
        """Messages of the runtime's own (logs), by class: they never reach the machine."""
        self.drivers = Drivers(lambda: self.machine.store, self._send_now)
        self.driver = Driver(
            machine,
            clock,
            wake=self._wake,
            perform=self._perform,
            on_lag=self._note_lag,
            gather=gathered,
        )
        self.endpoint: Endpoint = network.attach(addr, lambda: machine.identity, self._receive)

    # -- for callers ------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """This member's settled state; raises ``FailedPrecondition`` on a worker."""
        return self.machine.store

    async def call(self, body: Any, *, timeout_s: float = REQUEST_TIMEOUT_S) -> Any:
        """One try: put ``body`` to the machine and wait for its reply, or raise its error."""
        if self.halted is not None:
            raise Unavailable("this node has stopped")
        if self.driver.waiting >= INBOX_MAX:
            raise Unavailable(f"{INBOX_MAX} inputs wait for this node", hint="retry later")
        now = self.clock.monotonic()
        token = self._next_token = self._next_token + 1
        waiter = self._waiters[token] = Waiter(deadline=now + timeout_s)
        try:
            # Who has company waits for the driver: those who wait together share a turn.
            together = self._company.has(id(trio.lowlevel.current_task()), now)
            put = self.driver.post if together else self.driver.act
            put(Call(token, body, waiter.deadline))
            if waiter.answered and now < self._rested_at + BREATHER_S:
                await trio.lowlevel.checkpoint_if_cancelled()
                return waiter.result()
            self._rested_at = now
            if self.machine.manager is not None:  # which looks at the time again and again
                return await waiter.wait()
            with trio.fail_after(timeout_s):
                return await waiter.wait()
        except (_Late, trio.TooSlowError):
            raise DeadlineExceeded(
                f"no answer within {timeout_s:g} s", details={"outcome": "unknown"}
            ) from None
        finally:
            self._waiters.pop(token, None)

    async def request(
        self, body: Any, *, request_id: str = "", timeout_s: float = REQUEST_TIMEOUT_S
    ) -> Any:
        """Have a command done, whoever leads: the same request id makes retries harmless.

        While there is no leader it is tried again, with back-off, as long as enough managers can
        be reached to elect one; then, or when the time is up, the last error is raised.
        """
        if not request_id:
            self._next_request += 1
            request_id = f"{self._request_ids}.{self._next_request}"
        return await self._insist(Request(request_id, body), timeout_s)

    async def barrier(self, *, timeout_s: float = REQUEST_TIMEOUT_S) -> Store:
        """The store, holding at least all that was settled when this was called."""
        manager = self.machine.manager
        if manager is not None and manager.knows_all and self.halted is None:
            return manager.store
        await self._insist(Barrier(), timeout_s)
        return self.machine.store

    async def _insist(self, body: Any, timeout_s: float) -> Any:
        deadline = self.clock.monotonic() + timeout_s
        left, pause = timeout_s, RETRY_FIRST_S
        while True:
            try:
                return await self.call(body, timeout_s=left)
            except Unavailable as error:
                if self.halted is not None or _is_hopeless(error) or left <= pause:
                    raise
            await trio.sleep(pause * (0.5 + self._rng.random()))
            left = max(deadline - self.clock.monotonic(), 0.001)
            pause = min(2 * pause, RETRY_MAX_S)

    async def watch(
        self, after: int | None = None, kinds: Collection[str] | None = None
    ) -> AsyncIterator[Commit]:
        """Every commit after version ``after`` (None: from now on), as it is installed here.

        Raises ``Compacted`` where the history does not reach back, after a snapshot replaced the
        store, and when the reader is too slow: list the objects and watch anew.
        """
        store = self.machine.store
        watch = store.watch(after, kinds)
        news = _News()
        self._news[news.ring] = None
        try:
            while True:
                for commit in watch.take():
                    yield commit
                if self.halted is not None:
                    return
                if self.machine.store is not store:
                    raise Compacted("a snapshot replaced the store: list and watch anew")
                await news.wait()
        finally:
            del self._news[news.ring]
            watch.close()

    async def wait_changed(self) -> None:
        """Until the next commit is installed here (or the node halts)."""
        if self.halted is not None:
            return
        news = _News()
        self._news[news.ring] = None
        try:
            await news.wait()
        finally:
            del self._news[news.ring]

    def seal(self, data: bytes) -> Sealed:
        """Seal a payload under the swarm's key, before it enters a request."""
        return self._current_sealer().seal(data)

    def open_sealed(self, sealed: Sealed) -> bytes:
        """Open a payload; for managers only."""
        return self._current_sealer().open(sealed)

    def send(self, addr: str, message: Any, node_id: str = "") -> bool:
        """A message of the runtime's own."""
        return self.endpoint.send(addr, message, node_id)

    @property
    def sync_times(self) -> SyncTimes | None:
        """How long the disk's writes took; None in memory."""
        return self._disk.sync_times

    @property
    def bridge(self) -> ExecutorBridge:
        """The way to this node's executor."""
        assert self._bridge is not None
        return self._bridge

    # -- the world's side -------------------------------------------------------------------

    def _wake(self) -> Wake:
        now = self.clock.monotonic()
        for waiter in self._waiters.values():
            if waiter.deadline <= now:
                waiter.answer(None, _Late())
        return Wake(self.clock.realtime())

    def _receive(self, identity: Any, addr: str, message: Any) -> None:
        tap = self.taps.get(type(message))
        if tap is not None:
            tap(identity, addr, message)
        elif self.driver.waiting < INBOX_MAX:  # else it is lost, as any message may be
            self.driver.post(FromPeer(identity, addr, message))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case SendTo(node_id, addr, message):
                self._send(f"{node_id} {addr}", message)
            case PersistLog(ready, seat):
                self._persist(ready, seat)
            case Reply(token, value, error):
                self._reply(token, value, error)
            case Perform():
                self.bridge.perform(effect)
            case Published():
                for ring in tuple(self._news):
                    ring()
            case SaveTask():
                self._disk.save_task(effect.task_id, effect.task, effect.status)
            case SaveBlob(name, data):
                self._disk.save(name, data)
            case SaveSnapshot(snapshot, seat, keep_old):
                self._save_snapshot(snapshot, seat, keep_old)
            case WrapKeys():
                self.keys.want(effect)
            case DropLog():
                self._disk.drop_log()
            case Observed(event, fields, level):
                log_event(self.machine.config.description.hostname, event, level, fields)
                self.observer.event(event, fields)
            case Halted():
                self._end(effect)
            case AgentStopped():
                pass
            case _:
                raise AssertionError(f"nobody performs {effect!r}")

    def _send(self, to: str, message: Any) -> None:
        if not self.drivers.hold(to, message):
            self._send_now(to, message)

    def _send_now(self, to: str, message: Any) -> None:
        node_id, _, addr = to.partition(" ")
        if isinstance(message, Assignments) and message.dependencies:
            message = attrs.evolve(
                message,
                dependencies=tuple(
                    attrs.evolve(one, payload=self._plain(one.payload))
                    for one in message.dependencies
                ),
            )
        if not self.endpoint.send(addr, message, node_id):
            self.driver.post(SessionBroken(addr))

    def _plain(self, payload: Sealed | Plain | Driven) -> Plain:
        if isinstance(payload, Plain):
            return payload
        assert isinstance(payload, Sealed), "drivers were asked before"
        return Plain(self._current_sealer().open(payload))

    def _current_sealer(self) -> Sealer:
        keys = self.machine.store.swarm.sealing_keys
        if self._sealer is None or self._sealer[0] is not keys:
            self._sealer = (keys, Sealer(keys, self.entropy))
        return self._sealer[1]

    def _persist(self, ready: Any, seat: int) -> None:
        began = self.clock.monotonic()

        def done(error: BaseException | None) -> None:
            self.observer.observe("log.persist_s", self.clock.monotonic() - began)
            answer = Persisted(ready.number, seat)
            if error is not None:
                is_final = not isinstance(error, DiskFull)
                answer = Persisted(ready.number, seat, str(error), is_final)
            self.driver.post(answer)

        self._disk.persist(ready, done)

    def _save_snapshot(self, snapshot: Snapshot, seat: int, keep_old: int) -> None:
        def done(error: BaseException | None) -> None:
            text = None if error is None else str(error)
            self.driver.post(SnapshotSaved(snapshot.index, seat, text))

        self._disk.save_snapshot(snapshot, keep_old, done)

    def _reply(self, token: int, value: Any, error: SwarmError | None) -> None:
        waiter = self._waiters.get(token)
        if waiter is not None:
            waiter.answer(value, error)

    def _note_lag(self, late: float) -> None:
        self.lag_s = max(late, self.lag_s * 0.9)
        self.observer.observe("loop.lag_s", late)
        if late <= self._lag_max_s:
            return
        now = self.clock.monotonic()
        self._late_wakes += 1
        if now >= self._lag_quiet_until:
            self._lag_quiet_until, self._late_wakes = now + LAG_QUIET_S, 1
            self._warn_of_lag(late)
        if self._late_wakes == LAG_TIMES and self.machine.is_leader:
            # A leader that cannot keep time is a danger to its swarm.
            self.driver.post(Call(0, HandOver()))

    def _warn_of_lag(self, late: float) -> None:
        fields = {
            "late_s": round(late, 3),
            "hint": "something keeps the node's loop busy: move it away, or use own_thread=True",
        }
        self._perform(Observed("loop.late", fields, "warning"))

    def _end(self, halted: Halted) -> None:
        self.halted = halted
        self.driver.stop()
        self._halted.set()
        for waiter in self._waiters.values():
            waiter.answer(None, Cancelled(f"the node has stopped: {halted.reason}"))
        for ring in tuple(self._news):
            ring()

    # -- life -------------------------------------------------------------------------------

    async def wait_halted(self) -> Halted:
        """Until the node has stopped, by whosever decision."""
        await self._halted.wait()
        assert self.halted is not None
        return self.halted

    async def stop(self) -> None:
        """Stop cleanly: tasks end within their grace periods. The node stays a member."""
        if self.halted is None:
            self.driver.post(Stop())
            await self._halted.wait()

    def crash(self) -> None:
        """Stop at once, as if the process had died: for tests of failure."""
        self._end(Halted(CRASHED))

    async def run(self, executor: Any, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Drive the machine until it halts. Shielded: what cancels the block around the node makes
        it stop, with the executor still at work; only :meth:`end` cuts it short."""
        try:
            with self._life:
                async with (
                    open_bridge(
                        executor,
                        self._from_executor,
                        unseal=self.open_sealed,
                        fetch=self.drivers.fetch,
                    ) as bridge,
                    self.keys.running(self._ends_cleanly),
                    self.endpoint.serving(self.driver.post),
                ):
                    self._bridge = bridge
                    for note in self._disk.notes:
                        self._perform(Observed("disk.repaired", {"what": note}, "warning"))
                    task_status.started()
                    await self.driver.run()
        finally:
            self.endpoint.close()
            if self.halted is None:
                self._end(Halted("cancelled"))

    def end(self) -> None:
        """Do not wait for anything any more."""
        self._life.cancel()

    def _ends_cleanly(self) -> bool:
        return self.halted is not None and self.halted.reason != CRASHED

    def _from_executor(self, event: Any) -> None:
        self.driver.post(FromExecutor(event))

    def _stop_within(self) -> float:
        """The longest grace period of a task here, and some slack."""
        longest = 0.0
        for task_id, _ in self.machine.agent.tasks():
            task = self.machine.agent.task(task_id)
            container = task.spec.container if task is not None else None
            if container is not None:
                grace = container.stop_grace_period
                longest = max(longest, 10.0 if grace is None else grace)
        return (longest if math.isfinite(longest) else 60.0) + STOP_SLACK_S


class _News:
    """A bell that may be rung from the driver and waited for again and again."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        self._event = trio.Event()


def gathered(inbox: deque[Any]) -> Any:
    """The next input of ``inbox``: requests that wait at the same time are one."""
    first = inbox.popleft()
    if not (inbox and _is_request(first) and _is_request(inbox[0])):
        return first
    calls = [first]
    while inbox and len(calls) < CALLS_TOGETHER and _is_request(inbox[0]):
        calls.append(inbox.popleft())
    return Together(tuple(calls))


def _is_request(input: Any) -> bool:
    return type(input) is Call and type(input.body) is Request


def _is_hopeless(error: Unavailable) -> bool:
    """Too few managers answer to elect anyone: say so at once."""
    managers = error.details.get(MANAGERS)
    reachable = error.details.get("reachable")
    if not isinstance(managers, int) or not isinstance(reachable, int):
        return False
    return reachable < managers // 2 + 1


@asynccontextmanager
async def run_node(
    machine: NodeMachine,
    *,
    disk: Disk,
    network: Network,
    executor: Any,
    clock: Clock | None = None,
    entropy: Entropy = system_entropy,
    observer: Observer | None = None,
) -> AsyncIterator[RunningNode]:
    """Run a node in this trio loop; leaving the block stops it cleanly."""
    node = RunningNode(
        machine,
        disk,
        network,
        machine.config.addr,
        clock=clock or SystemClock(),
        entropy=entropy,
        observer=observer,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run, executor)
        try:
            yield node
        finally:
            with trio.CancelScope(shield=True):
                with trio.move_on_after(node._stop_within()):
                    await node.stop()
                node.end()
