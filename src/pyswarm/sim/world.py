"""A swarm in virtual time: real node machines, simulated network, disks and executors.

There is one queue of what happens next, ordered by time and then by the order in which it was put
there; everything uncertain is drawn from one seed. So the same seed gives the same history, event
for event, on any machine. Nothing here waits, and no trio is involved.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import attrs

from pyswarm.agent import AgentStopped, Perform, SaveTask
from pyswarm.env import Rng
from pyswarm.errors import PermissionDenied, SwarmError
from pyswarm.ids import new_id
from pyswarm.machine import Effect
from pyswarm.model import (
    Identity,
    NodeDescription,
    Platform,
    Request,
    Resources,
    Role,
    Swarm,
    SwarmSpec,
    TLSInfo,
)
from pyswarm.model.objects import RootCAState
from pyswarm.model.session import ManagerAddress
from pyswarm.node import (
    Barrier,
    Call,
    DropLog,
    FromExecutor,
    FromPeer,
    Halted,
    NodeConfig,
    NodeMachine,
    Observed,
    Persisted,
    PersistLog,
    Published,
    RecoveredLog,
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
from pyswarm.node.config import TICK_S
from pyswarm.node.messages import JoinReply, JoinRequest
from pyswarm.node.record import RECORD, NodeRecord
from pyswarm.sim.disk import DiskFaults, Outcome, SimulatedDisk
from pyswarm.sim.executor import ExecutorFaults, SimulatedExecutor
from pyswarm.sim.network import NetworkFaults, SimulatedNetwork
from pyswarm.sim.recording import Recording

SNAPSHOT_SAVE_S = 0.02
"""How long a disk takes to write a snapshot ahead, beside the log."""

EPOCH_S = 1_700_000_000.0
"""The wall clock at virtual time 0."""

LOCAL_OFFSET_S = 1024.0
"""Monotonic clocks start anywhere; a power of two, so that conversions lose nothing."""

NODE_RESOURCES = Resources(nano_cpus=4_000_000_000, memory_bytes=8 << 30)


@attrs.define(eq=False)
class Host:
    """One simulated machine: its disk stays, its node comes and goes."""

    name: str
    addr: str
    disk: SimulatedDisk
    clock_skew_s: float = 0.0
    machine: NodeMachine | None = None
    executor: SimulatedExecutor | None = None
    identity: Identity | None = None
    incarnation: int = 0
    life: int = 0
    """Grows with every crash and start, so that nothing reaches another life."""
    wake_at: float | None = None
    recordings: list[Recording] = attrs.field(factory=list)
    """One a life, if the world records."""

    @property
    def is_up(self) -> bool:
        """True while a node runs here."""
        return self.machine is not None

    @property
    def node_id(self) -> str:
        """The id of the node here ("" before it joined)."""
        return self.identity.node_id if self.identity is not None else ""


Done = Callable[[Any, SwarmError | None], None]
Observer = Callable[[float, Host, Effect], None]


class World:
    """Hosts, and what happens to them in virtual time (seconds from 0)."""

    def __init__(
        self,
        seed: int,
        *,
        network: NetworkFaults | None = None,
        disk: DiskFaults | None = None,
        executor: ExecutorFaults | None = None,
        records: bool = False,
        tick_s: float = TICK_S,
    ) -> None:
        self.tick_s = tick_s
        """A tick of the managers' log: longer ones make long histories short."""
        self.believes: Callable[[Host, Host], bool] = lambda host, sender: True
        """Whether a host believes that its peer is who it says."""
        self.identified: Callable[[Host], Identity | None] = lambda host: host.identity
        """Who its peers take a host for."""
        self.certified: Callable[[Host], TLSInfo | None] = lambda host: None
        """What a host says of its certificate."""
        self.entered: Callable[[Host, Role], None] = lambda host, role: None
        """Hears of a host that is a member from now on, just before its node starts."""
        self.log_entries = 0
        """A swarm that is founded has its log cut after so many; 0: as its spec says."""
        self.records = records
        """Keep every input and effect of every node, for :func:`~pyswarm.sim.replay`."""
        self.now = 0.0
        self.rng = Rng(seed).child("world")
        self.hosts: dict[str, Host] = {}
        self.network = SimulatedNetwork(network or NetworkFaults(), self.rng.child("network"))
        self.disk_faults = disk or DiskFaults()
        self.executor_faults = executor or ExecutorFaults()
        self.steps = 0
        self.observers: list[Observer] = []
        self._seed = seed
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = count()
        self._by_addr: dict[str, Host] = {}
        self._calls: dict[tuple[str, int], Done] = {}
        self._tokens = count(1)
        self._joins: dict[str, tuple[Role, Done]] = {}
        self._swarm: Swarm | None = None

    @property
    def pace(self) -> float:
        """How many times as long as usual a tick is."""
        return self.tick_s / TICK_S

    # -- time -------------------------------------------------------------------------------

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Have ``action`` happen in ``delay`` seconds; never for an infinite delay."""
        if delay != float("inf"):
            heapq.heappush(self._queue, (self.now + delay, next(self._tie), action))

    def run(self, seconds: float) -> None:
        """Let this much virtual time pass."""
        self.run_until(lambda: False, seconds)

    def run_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Until ``condition`` holds (looked at after every event), or time is up: did it?"""
        end = self.now + seconds
        while not condition():
            if not self._queue or self._queue[0][0] > end:
                self.now = end
                return condition()
            at, _, action = heapq.heappop(self._queue)
            self.now = at
            action()
        return True

    # -- hosts ------------------------------------------------------------------------------

    def add_host(self, name: str) -> Host:
        """A new machine with an empty disk."""
        disk = SimulatedDisk(self.disk_faults, self.rng.child(f"disk {name}"))
        host = Host(name, f"{name}:2377", disk)
        self.hosts[name] = self._by_addr[host.addr] = host
        return host

    def found(
        self, host: Host, root: RootCAState | None = None, spec: SwarmSpec | None = None
    ) -> None:
        """Start the first node of a new swarm on ``host``; ``root`` has no tokens yet."""
        rng = self.rng.child("founding")
        node_id, swarm_id = new_id(rng), new_id(rng)
        root = attrs.evolve(
            root or RootCAState(),
            worker_token=f"SWMTKN-1-worker-{new_id(rng)}",
            manager_token=f"SWMTKN-1-manager-{new_id(rng)}",
        )
        spec = spec or SwarmSpec()
        if self.log_entries:
            kept = self.log_entries // 10
            raft = attrs.evolve(
                spec.raft,
                snapshot_interval=self.log_entries,
                log_entries_for_slow_followers=kept,
            )
            spec = attrs.evolve(spec, raft=raft)
        self._swarm = Swarm(id=swarm_id, root_ca=root, spec=spec)
        identity = Identity(node_id, Role.MANAGER, swarm_id)
        record = NodeRecord(identity, host.addr, member_id=1)
        host.disk.save(RECORD, record.to_bytes())
        self.entered(host, Role.MANAGER)
        self._start(host, record, bootstrap=self._swarm)

    def join(self, host: Host, role: Role, via: Host, done: Done | None = None) -> None:
        """Have ``host`` ask ``via`` to let it in; the node starts when the answer comes. It may
        ask again: the request id is the same, and so is the node.
        """
        swarm = self._swarm_seen_by(via)
        root = swarm.root_ca
        token = root.manager_token if role is Role.MANAGER else root.worker_token
        name = f"join {host.name}" + (f" {host.incarnation}" if host.incarnation else "")
        if self._swarm is not None and root.cert != self._swarm.root_ca.cert:
            name += f" {root.cert.decode()}"  # with another token it is another request
        request = JoinRequest(name, token, host.addr, self._description(host))
        self._joins[host.addr] = role, done or _ignore
        self._transmit(host, via.addr, request)

    def _swarm_seen_by(self, host: Host) -> Swarm:
        """Where somebody looks for a token."""
        assert self._swarm is not None
        machine = host.machine
        if machine is None or machine.manager is None or not machine.store.has_swarm:
            return self._swarm
        return machine.store.swarm

    def _joined(self, host: Host, reply: JoinReply) -> None:
        role, done = self._joins.pop(host.addr, (Role.WORKER, None))
        if done is None or host.is_up:
            return
        if reply.error is None:
            identity = Identity(reply.node_id, Role.WORKER, reply.swarm_id)
            record = NodeRecord(identity, host.addr, managers=reply.managers)
            host.disk.save(RECORD, record.to_bytes())
            host.identity = identity
            self.entered(host, role)
            self._start(host, record)
        elif isinstance(reply.error, PermissionDenied):
            host.incarnation += 1  # what it joined as is gone, and nobody told it: ask anew
        done(reply, reply.error)

    def start(self, host: Host) -> None:
        """Start again what ``host``'s disk holds."""
        record = host.disk.record
        assert record is not None and not host.is_up
        self._start(host, record)

    def _start(self, host: Host, record: NodeRecord, bootstrap: Swarm | None = None) -> None:
        host.incarnation += 1
        host.life += 1
        host.identity = record.identity
        host.executor = SimulatedExecutor(
            self.executor_faults, self.rng.child(f"executor {host.name} {host.incarnation}")
        )
        log: RecoveredLog | None = None
        if record.member_id:
            log = host.disk.log(record.member_id)
        config = NodeConfig(
            identity=record.identity,
            addr=host.addr,
            description=self._description(host),
            seed=self._seed,
            incarnation=host.incarnation,
            bootstrap=bootstrap,
            managers=record.managers or (ManagerAddress(record.identity.node_id, host.addr),),
            log=log,
            saved_tasks=host.disk.tasks,
            tick_s=self.tick_s,
        )
        host.machine = NodeMachine(config, self.local(host))
        if self.records:
            host.recordings.append(Recording(config, self.local(host)))
        self._step(host, Wake(self._wall(host)))

    def _description(self, host: Host) -> NodeDescription:
        return NodeDescription(
            hostname=host.name,
            platform=Platform("linux", "x86_64"),
            resources=NODE_RESOURCES,
            engine_version="simulated",
            tls=self.certified(host),
        )

    def crash(self, host: Host) -> None:
        """Lose power: the node is gone at once, the disk keeps what was synced."""
        host.machine = None
        host.executor = None
        host.life += 1
        host.wake_at = None
        host.disk.crash()
        for key in [key for key in self._calls if key[0] == host.name]:
            del self._calls[key]

    def wipe(self, host: Host) -> None:
        """Lose power, and the state directory: the machine may join again as a new node."""
        self.crash(host)
        host.disk.wipe()
        host.identity = None

    def stop(self, host: Host) -> None:
        """Ask the node to stop cleanly."""
        self._step(host, Stop())

    def tell(self, host: Host, input: Any) -> None:
        """Something that the host's runtime has to say to its node."""
        self._step(host, input)

    def kill_task(self, host: Host, task_id: str) -> bool:
        """End a running task from outside."""
        later = host.executor.kill(task_id) if host.executor is not None else None
        if later is None:
            return False
        self._executor_answers(host, host.life, None, later)
        return True

    # -- callers ----------------------------------------------------------------------------

    def call(self, host: Host, body: Any, done: Done) -> None:
        """Put a request (or a barrier) to a host's node."""
        token = next(self._tokens)
        self._calls[host.name, token] = done
        self._step(host, Call(token, body))

    def request(self, host: Host, body: Any, done: Done, request_id: str = "") -> None:
        """Put a command to a host's node, once."""
        name = request_id or f"request {next(self._tokens)}"
        self.call(host, Request(name, body, host.identity), done)

    def barrier(self, host: Host, done: Done) -> None:
        """Ask for a linearizable read."""
        self.call(host, Barrier(), done)

    # -- views ------------------------------------------------------------------------------

    def up(self) -> Iterator[Host]:
        """Hosts with a running node."""
        return (host for host in self.hosts.values() if host.is_up)

    def managers(self) -> Iterator[Host]:
        """Hosts whose node holds a seat."""
        return (host for host in self.up() if host.machine and host.machine.manager)

    def host_at(self, addr: str) -> Host | None:
        """The host with this address."""
        return self._by_addr.get(addr)

    def leader(self) -> Host | None:
        """The host that leads (the one of the latest term, while an old one has not noticed)."""
        best, best_term = None, -1
        for host in self.managers():
            assert host.machine is not None
            manager = host.machine.manager
            office = manager.office if manager is not None else None
            if office is not None and office.term > best_term:
                best, best_term = host, office.term
        return best

    # -- the machinery ----------------------------------------------------------------------

    def local(self, host: Host) -> float:
        """A host's own monotonic clock."""
        return self.now + LOCAL_OFFSET_S

    def _wall(self, host: Host) -> float:
        return EPOCH_S + self.now + host.clock_skew_s

    def _step(self, host: Host, input: Any) -> None:
        machine = host.machine
        if machine is None:
            return
        self.steps += 1
        effects = machine.step(self.local(host), input)
        if self.records:
            host.recordings[-1].add(self.local(host), input, effects)
        for effect in effects:
            self._perform(host, effect)
            if host.machine is not machine:
                return
        host.identity = machine.identity
        self._schedule_wake(host)

    def _schedule_wake(self, host: Host) -> None:
        machine = host.machine
        at = machine.wake_at() if machine is not None else None
        if at is None:
            host.wake_at = None
            return
        at = max(at - LOCAL_OFFSET_S, self.now)
        if host.wake_at is not None and self.now <= host.wake_at <= at:
            return
        host.wake_at = at
        life = host.life

        def wake() -> None:
            if host.life == life and host.wake_at == at:
                host.wake_at = None
                self._step(host, Wake(self._wall(host)))

        self.at(at - self.now, wake)

    def _perform(self, host: Host, effect: Effect) -> None:
        for observer in self.observers:
            observer(self.now, host, effect)
        match effect:
            case SendTo(_, addr, message):
                self._transmit(host, addr, message)
            case PersistLog(ready, seat):
                self._persist(host, ready, seat)
            case Reply(token, value, error):
                done = self._calls.pop((host.name, token), None)
                if done is not None:
                    done(value, error)
            case Perform():
                self._perform_task(host, effect)
            case SaveTask(task_id, task, status):
                host.disk.save_task(task_id, task, status)
            case SaveBlob(name, data):
                host.disk.save(name, data)
            case SaveSnapshot(snapshot, seat):
                self._save_snapshot(host, snapshot.index, seat)
            case DropLog():
                host.disk.drop_log()
            case Halted():
                host.machine = host.executor = None
                host.life += 1
                host.wake_at = None
            case Observed() | Published() | AgentStopped() | WrapKeys():
                pass
            case _:
                raise AssertionError(f"nobody performs {effect!r}")

    def _transmit(self, sender: Host, addr: str, message: Any) -> None:
        to = self._by_addr.get(addr)
        if to is None:
            return
        identity = None if isinstance(message, JoinRequest) else self.identified(sender)
        life = sender.life

        def arrive() -> None:
            if isinstance(message, JoinReply):
                self._joined(to, message)
            elif to.is_up and (identity is None or self._know_each_other(sender, to)):
                self._step(to, FromPeer(identity, sender.addr, message))
            elif sender.is_up and sender.life == life:
                self._step(sender, SessionBroken(addr))

        for delay in self.network.arrivals(sender.name, to.name, self.now):
            self.at(delay, arrive)

    def _know_each_other(self, one: Host, other: Host) -> bool:
        return one is other or (self.believes(one, other) and self.believes(other, one))

    def _persist(self, host: Host, ready: Any, seat: int) -> None:
        done_at = host.disk.write(self.now, ready)
        life = host.life

        def written() -> None:
            if host.life != life:
                return
            outcome = host.disk.done(ready)
            if outcome is not Outcome.DROPPED:
                error = None if outcome is Outcome.SAFE else outcome.value
                self._step(host, Persisted(ready.number, seat, error))

        self.at(done_at - self.now, written)

    def _save_snapshot(self, host: Host, index: int, seat: int) -> None:
        life = host.life

        def saved() -> None:
            if host.life == life:
                error = Outcome.FULL.value if host.disk.is_full else None
                self._step(host, SnapshotSaved(index, seat, error))

        self.at(SNAPSHOT_SAVE_S, saved)

    def _perform_task(self, host: Host, effect: Perform) -> None:
        assert host.executor is not None
        number, later = host.executor.perform(self.now, effect)
        self._executor_answers(host, host.life, number, later)

    def _executor_answers(self, host: Host, life: int, number: int | None, later: Any) -> None:
        def answer() -> None:
            executor = host.executor
            if host.life != life or executor is None:
                return
            event = later.event
            if number is not None and not executor.is_current(event.task_id, number):
                return
            executor.deliver(self.now, event)
            self._step(host, FromExecutor(event))

        self.at(later.delay, answer)


def _ignore(value: Any, error: SwarmError | None) -> None:
    """For calls whose answer nobody waits for."""
