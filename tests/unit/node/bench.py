"""A few real nodes on a bench: every message and every write waits until the test lets it go.

Nothing happens by itself. ``pump`` delivers what is not held and syncs the disks that are not held;
``wait`` lets time pass in ticks. So a test stops a swarm at any point it likes: an entry on the
leader's disk and nowhere else, an acknowledgement on its way, an answer not yet sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count, pairwise
from typing import Any

import attrs

from pyswarm.agent import AgentStopped, Exited, Operation, OperationDone, Perform, SaveTask, Started
from pyswarm.env import Rng
from pyswarm.errors import SwarmError
from pyswarm.model import (
    Identity,
    NodeDescription,
    Platform,
    Request,
    Resources,
    Role,
    Swarm,
    SwarmSpec,
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
    NodeRecord,
    Observed,
    Persisted,
    PersistLog,
    Published,
    Reply,
    SaveBlob,
    SaveSnapshot,
    SendTo,
    SnapshotSaved,
    Stop,
    Wake,
    WrapKeys,
)
from pyswarm.node.messages import JoinReply, JoinRequest, RaftPacket
from pyswarm.node.record import RECORD
from pyswarm.raft import Ready
from pyswarm.raft.message import AppendEntries
from pyswarm.sim.checkers import check_twins
from pyswarm.sim.disk import DiskFaults, SimulatedDisk
from pyswarm.store import Commit, Store

TICK_S = 0.0625
"""A little more than a tick, and a power of two, so that times are exact."""
EPOCH_S = 1_700_000_000.0
WORKER_TOKEN = "SWMTKN-1-worker"
MANAGER_TOKEN = "SWMTKN-1-manager"


@attrs.frozen
class Letter:
    sender: str
    to: str
    message: Any


@attrs.define(eq=False)
class Station:
    """One node and everything around it that is not the network."""

    name: str
    disk: SimulatedDisk
    machine: NodeMachine | None = None
    identity: Identity | None = None
    skew_s: float = 0.0
    incarnation: int = 0
    logs_dropped: int = 0
    is_disk_held: bool = False
    unsynced: deque[Ready] = attrs.field(factory=deque)
    seat: int = 0
    """The member whose log was last written to."""
    from_executor: deque[OperationDone] = attrs.field(factory=deque)
    snapshots: deque[tuple[int, int]] = attrs.field(factory=deque)
    wrapped: tuple[bytes, int] | None = None
    replies: dict[int, tuple[Any, SwarmError | None]] = attrs.field(factory=dict)
    commits: list[Commit] = attrs.field(factory=list)
    events: list[Observed] = attrs.field(factory=list)
    halted: str = ""
    halt_error: SwarmError | None = None

    @property
    def node(self) -> NodeMachine:
        assert self.machine is not None, f"{self.name} is down"
        return self.machine

    @property
    def store(self) -> Store:
        return self.node.store

    @property
    def office(self) -> Any:
        return self.node.manager.office if self.node.manager is not None else None

    @property
    def leads(self) -> bool:
        return self.machine is not None and self.machine.is_leader


Answer = tuple[Any, SwarmError | None]


class Bench:
    """Stations, the wire between them, and time."""

    def __init__(self, *, spec: SwarmSpec | None = None, seed: int = 1) -> None:
        self.now = 1024.0
        self.stations: dict[str, Station] = {}
        self.wire: deque[Letter] = deque()
        self.is_lost: Callable[[Letter], bool] = lambda letter: False
        self.is_held: Callable[[Letter], bool] = lambda letter: False
        self.joins: dict[str, JoinReply] = {}
        self._spec = spec or SwarmSpec()
        self._seed = seed
        self._tokens = count(1)

    # -- building

    @classmethod
    def formed(cls, managers: int = 3, workers: int = 0, **options: Any) -> Bench:
        """Managers ``m1`` …, the first of which leads, and workers ``w1`` …, all with sessions."""
        bench = cls(**options)
        bench.found("m1")
        for number in range(2, managers + 1):
            bench.join(f"m{number}", MANAGER_TOKEN)
        for number in range(1, workers + 1):
            bench.join(f"w{number}", WORKER_TOKEN)
        bench.wait_until(lambda: bench.is_formed(managers))
        bench.wait_until(bench.is_quiet)
        return bench

    def is_formed(self, managers: int) -> bool:
        office = self["m1"].office
        if office is None or office.dispatcher is None:
            return False
        voters = self["m1"].node.manager.replica.configuration.voters
        sessions = office.dispatcher.session_ids()
        return len(voters) == managers and len(sessions) == len(self.stations)

    def is_quiet(self) -> bool:
        """Every manager holds the same, and nothing is under way."""
        versions = [one.store.version for one in self.managers()]
        leader = self.leader()
        return leader is not None and len(set(versions)) == 1 and leader.office._turn is None

    def __getitem__(self, name: str) -> Station:
        return self.stations[name]

    def add(self, name: str) -> Station:
        disk = SimulatedDisk(DiskFaults(), Rng(name))
        station = self.stations[name] = Station(name, disk)
        return station

    def found(self, name: str, *, is_disk_held: bool = False) -> Station:
        station = self.add(name)
        station.is_disk_held = is_disk_held
        root = RootCAState(worker_token=WORKER_TOKEN, manager_token=MANAGER_TOKEN)
        swarm = Swarm(id="swarm", spec=self._spec, root_ca=root)
        record = NodeRecord(Identity(f"node-{name}", Role.MANAGER, "swarm"), name, member_id=1)
        station.disk.save(RECORD, record.to_bytes())
        self.start(name, bootstrap=swarm)
        if not is_disk_held:
            self.wait_until(lambda: station.leads and station.store.has_swarm)
        return station

    def join(self, name: str, token: str, *, via: str = "m1", request_id: str = "") -> Station:
        """Ask to be let in, and start with the answer."""
        station = self.stations.get(name) or self.add(name)
        self.ask_to_join(name, token, via=via, request_id=request_id)
        self.wait_until(lambda: name in self.joins)
        reply = self.joins[name]
        assert reply.error is None, reply.error
        identity = Identity(reply.node_id, Role.WORKER, reply.swarm_id)
        record = NodeRecord(identity, name, managers=reply.managers)
        station.disk.save(RECORD, record.to_bytes())
        self.start(name)
        return station

    def ask_to_join(self, name: str, token: str, *, via: str, request_id: str = "") -> None:
        self.joins.pop(name, None)
        request = JoinRequest(request_id or f"join {name}", token, name, description(name))
        self.wire.append(Letter(name, via, request))

    def start(self, name: str, bootstrap: Swarm | None = None) -> None:
        """Start what the station's disk holds."""
        station = self[name]
        record = station.disk.record
        assert record is not None and station.machine is None
        station.incarnation += 1
        station.identity = record.identity
        config = NodeConfig(
            identity=record.identity,
            addr=name,
            description=description(name),
            seed=self._seed,
            incarnation=station.incarnation,
            bootstrap=bootstrap,
            managers=record.managers or (ManagerAddress(record.identity.node_id, name),),
            log=station.disk.log(record.member_id) if record.member_id else None,
            saved_tasks=station.disk.tasks,
        )
        station.machine = NodeMachine(config, self.now)
        self.step(name, Wake(self.wall(station)))

    def crash(self, name: str) -> None:
        """The node is gone; of its disk what was synced stays, and nothing of what was not."""
        station = self[name]
        station.machine = None
        station.unsynced.clear()
        station.from_executor.clear()
        station.snapshots.clear()
        station.disk._pending.clear()
        self.wire = deque(one for one in self.wire if one.sender != name)

    # -- moving

    def wall(self, station: Station) -> float:
        return EPOCH_S + self.now + station.skew_s

    def step(self, name: str, input: Any) -> None:
        station = self[name]
        if station.machine is None:
            return
        for effect in station.machine.step(self.now, input):
            self._perform(station, effect)
        if station.machine is not None:
            station.identity = station.machine.identity

    def _perform(self, station: Station, effect: Any) -> None:
        match effect:
            case SendTo(_, addr, message):
                self.wire.append(Letter(station.name, addr, message))
            case PersistLog(ready, seat):
                station.disk.write(self.now, ready)
                station.unsynced.append(ready)
                station.seat = seat
            case Reply(token, value, error):
                assert token not in station.replies, "a caller is answered once"
                station.replies[token] = (value, error)
            case Published(commit, _):
                if commit is not None:
                    station.commits.append(commit)
            case Observed():
                station.events.append(effect)
            case Perform():
                self._work(station, effect)
            case SaveTask(task_id, task, status):
                station.disk.save_task(task_id, task, status)
            case SaveBlob(name, data):
                station.disk.save(name, data)
            case SaveSnapshot(snapshot, seat):
                station.snapshots.append((snapshot.index, seat))
            case WrapKeys(unlock_key, version):
                station.wrapped = (unlock_key, version)
            case DropLog():
                station.disk.drop_log()
                station.unsynced.clear()
                station.logs_dropped += 1
            case Halted(reason, error):
                station.machine, station.halted, station.halt_error = None, reason, error
            case AgentStopped():
                pass
            case _:
                raise AssertionError(effect)

    def _work(self, station: Station, effect: Perform) -> None:
        """Tasks do what they are told at once, and never end by themselves."""
        result: Started | Exited | None = None
        match effect.operation:
            case Operation.WAIT:
                return
            case Operation.START:
                result = Started(effect.task.id, 1)
            case Operation.SHUTDOWN | Operation.TERMINATE:
                result = Exited(137)
        station.from_executor.append(OperationDone(effect.task.id, effect.operation, result))

    def sync(self, name: str) -> None:
        """The oldest write under way on this disk is done."""
        station = self[name]
        ready = station.unsynced.popleft()
        station.disk.done(ready)
        self.step(name, Persisted(ready.number, station.seat))

    def pump(self) -> None:
        """Until nothing moves that may."""
        while self._pump_once():
            pass

    def _pump_once(self) -> bool:
        moved = False
        letters, self.wire = self.wire, deque()
        for letter in letters:
            if self.is_lost(letter):
                continue
            if self.is_held(letter):
                self.wire.append(letter)
                continue
            moved = True
            self._deliver(letter)
        for station in list(self.stations.values()):
            while station.from_executor:
                moved = True
                self.step(station.name, FromExecutor(station.from_executor.popleft()))
            while station.snapshots and not station.is_disk_held:
                moved = True
                self.step(station.name, SnapshotSaved(*station.snapshots.popleft()))
            while station.unsynced and not station.is_disk_held:
                moved = True
                self.sync(station.name)
        return moved

    def _deliver(self, letter: Letter) -> None:
        if isinstance(letter.message, JoinReply):
            self.joins[letter.to] = letter.message
            return
        is_stranger = isinstance(letter.message, JoinRequest)
        identity = None if is_stranger else self[letter.sender].identity
        self.step(letter.to, FromPeer(identity, letter.sender, letter.message))

    def wait(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        end = self.now + seconds
        while self.now < end:
            self.tick()

    def tick(self) -> None:
        self.now += TICK_S
        for station in list(self.stations.values()):
            self.step(station.name, Wake(self.wall(station)))
        self.pump()

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Until ``condition`` holds; the test fails if it does not in time."""
        end = self.now + seconds
        self.pump()
        while not condition():
            assert self.now < end, "it never happened"
            self.tick()

    # -- trouble

    def cut_off(self, *names: str) -> None:
        """From now on everything from and to these stations is lost."""
        self.is_lost = lambda letter: letter.sender in names or letter.to in names

    def heal(self) -> None:
        self.is_lost = self.is_held = lambda letter: False
        for station in self.stations.values():
            station.is_disk_held = False

    # -- asking

    def call(self, name: str, body: Any, deadline: float | None = None) -> int:
        token = next(self._tokens)
        self.step(name, Call(token, body, deadline))
        return token

    def send(self, name: str, body: Any, request_id: str = "") -> int:
        """Put a request to a node; its token, to look for the answer."""
        identity = self[name].identity
        return self.call(name, Request(request_id or f"r{next(self._tokens)}", body, identity))

    def ask(self, name: str, body: Any, request_id: str = "") -> Any:
        """Put a request and wait for what it wrote; its error is raised."""
        value, error = self.answer(name, self.send(name, body, request_id))
        if error is not None:
            raise error
        return value

    def read(self, name: str) -> int:
        return self.call(name, Barrier())

    def answer(self, name: str, token: int, seconds: float = 30.0) -> Answer:
        """Wait for the answer to a call."""
        self.wait_until(lambda: token in self[name].replies, seconds)
        return self[name].replies[token]

    def error(self, name: str, token: int) -> SwarmError:
        value, error = self.answer(name, token)
        assert error is not None, f"answered with {value!r}"
        return error

    def stop(self, name: str) -> None:
        self.step(name, Stop())

    # -- looking

    def managers(self) -> list[Station]:
        return [one for one in self.stations.values() if one.machine and one.machine.manager]

    def leader(self) -> Station | None:
        """Who leads (of two that believe so, the one of the later term)."""
        leaders = [one for one in self.managers() if one.leads]
        return max(leaders, key=lambda one: one.office.term, default=None)

    def new_leader(self, *, besides: str) -> Station:
        """Wait for a leader other than ``besides``."""

        def found() -> bool:
            leader = self.leader()
            return leader is not None and leader.name != besides

        self.wait_until(found)
        leader = self.leader()
        assert leader is not None
        return leader

    def settle(self) -> Station:
        """Heal, and wait until all managers hold the same; the leader."""
        self.heal()
        self.wait_until(lambda: self.leader() is not None)
        self.wait(2.0)
        self.wait_until(self.is_quiet)
        leader = self.leader()
        assert leader is not None
        return leader

    def check(self) -> None:
        """All managers hold the same, each applied each entry once; twins decide the same."""
        digests = {one.name: one.store.digest() for one in self.managers()}
        assert len(set(digests.values())) == 1, digests
        for station in self.managers():
            versions = [commit.version for commit in station.commits]
            begun_again = [b <= a for a, b in pairwise(versions)].count(True)
            lives = station.incarnation + station.logs_dropped
            assert begun_again < lives, f"{station.name} applied twice: {versions}"
        leader = self.leader()
        assert leader is not None
        now = leader.office.clock.at(self.now)
        assert not check_twins(leader.store, now, leader.office.reconcilers, Rng("twins"))


def description(name: str) -> NodeDescription:
    return NodeDescription(
        hostname=name,
        platform=Platform("linux", "x86_64"),
        resources=Resources(nano_cpus=4_000_000_000, memory_bytes=8 << 30),
    )


def is_append(letter: Letter) -> bool:
    """A leader's entries on their way to a follower."""
    message = letter.message
    return (
        isinstance(message, RaftPacket)
        and isinstance(message.message, AppendEntries)
        and bool(message.message.entries)
    )
