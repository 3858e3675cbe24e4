"""One seeded history: a swarm, a workload, faults; then healing, and the demand to converge.

First *safety*: while messages are lost and machines crash, nothing that must never happen may
happen. Then *liveness*: faults end, everything is started again, and within bounded virtual time
every service must stand as its spec says.
"""

from __future__ import annotations

import hashlib

import attrs

from pyswarm.env import Rng
from pyswarm.machine import Effect
from pyswarm.model import Replicated, Role, TaskState, UpdateState
from pyswarm.node import Observed, Published, SendTo
from pyswarm.node.seats import holder
from pyswarm.sim.checkers import (
    Checker,
    ForwardOnly,
    OneLeaderPerTerm,
    SameCommits,
    Violation,
    check_settled,
    check_twins,
    check_view,
)
from pyswarm.sim.diskcheckers import FullDisksDoNotLead, PromisesAreOnDisk
from pyswarm.sim.faults import Faults
from pyswarm.sim.lifecheckers import SecretsStayHome, UpdatesTakeTheirTime, check_lives
from pyswarm.sim.lives import LifeWorkload
from pyswarm.sim.members import MemberWorkload
from pyswarm.sim.renewals import CertificateWorkload
from pyswarm.sim.workload import Workload
from pyswarm.sim.world import Host, World
from pyswarm.store import Store

FORM_MAX_S = 30.0
"""How long the swarm may take to form, without faults."""

CONVERGE_MAX_S = 240.0
"""How long it may take to converge once the faults have ended: sessions are found again within
30 s, tasks of lost nodes replaced after that, an update of 8 slots watched for a second each."""

MEND_EVERY_S = 2.0
"""How long people wait before they put right once more what does not converge."""

CATCH_UP_MAX_S = 20.0
"""How long a follower may be behind, without faults."""

VIEW_EVERY_S = 2.0
"""How often the leader's store is looked at as a whole."""

SETTLED_EVERY_S = 0.25
"""How often it is looked whether everything has converged."""

VIOLATIONS_MAX = 20
"""After so many a history has proved its point."""


WORKLOADS: dict[str, type[Workload]] = {
    "mixed": Workload,
    "life": LifeWorkload,
    "members": MemberWorkload,
    "certificates": CertificateWorkload,
}
"""What people do meanwhile: a little of everything, services' whole lives, members that come and
go, or certificates that run out and roots that are replaced."""


@attrs.frozen
class History:
    """What became of one seed."""

    seed: int
    violations: tuple[Violation, ...]
    virtual_s: float
    steps: int
    faults: dict[str, int]
    digest: str
    """Of every commit, election and crash with its time: the same wherever the seed is run."""


class Simulation:
    """A history under way. ``run`` does all of it; the parts may be called one by one."""

    def __init__(
        self,
        seed: int,
        *,
        managers: int = 3,
        workers: int = 5,
        faults: Faults | None = None,
        trace: list[str] | None = None,
        records: bool = False,
        workload: str = "mixed",
    ) -> None:
        assert managers > 0 and workers >= 0
        rng = Rng(seed)
        self.seed = seed
        kind = WORKLOADS[workload]
        self.setting = kind.setting(rng.child("setting"))
        self.faults = faults or self.setting.faults or Faults.drawn(rng.child("faults"))
        self.world = World(
            seed,
            network=self.faults.network,
            disk=self.faults.disk,
            executor=self.faults.executor,
            records=records,
            tick_s=self.setting.tick_s,
        )
        self.world.log_entries = self.faults.log_entries
        self.violations: list[Violation] = []
        self.counts: dict[str, int] = {}
        self.workload = kind(self.world, rng.child("workload"))
        self._rng = rng.child("adversary")
        self._checkers: list[Checker] = [
            OneLeaderPerTerm(),
            SameCommits(),
            ForwardOnly(),
            UpdatesTakeTheirTime(),
            SecretsStayHome(),
            FullDisksDoNotLead(),
        ]
        self._promises = PromisesAreOnDisk()
        self._trace = trace
        self._digest = hashlib.sha256()
        self._calm = True
        self.world.observers.append(self._observe)
        skew = self.faults.clock_skew_max_s
        for number in range(1, managers + workers + 1):
            host = self.world.add_host(f"node-{number}")
            host.clock_skew_s = self._rng.uniform(-skew, skew)
        self._managers = managers
        self._sample_at = 0.0

    # -- the whole of it --------------------------------------------------------------------

    def run(self, seconds: float = 60.0) -> History:
        """Form, suffer for ``seconds``, heal, converge."""
        if self.form():
            self.suffer(self.setting.lasts_s or seconds)
            self.heal()
            self.converge()
        return self.history()

    def form(self) -> bool:
        """The swarm comes to be, without faults."""
        world = self.world
        first, *others = world.hosts.values()
        world.network.faults, faulty = (
            attrs.evolve(world.network.faults, loss=0.0, slow=0.0, duplication=0.0),
            world.network.faults,
        )
        patience = FORM_MAX_S * world.pace
        world.found(first, self.setting.root, self.setting.spec)
        world.run_until(lambda: world.leader() is not None, patience)
        for number, host in enumerate(others, 2):
            role = Role.MANAGER if number <= self._managers else Role.WORKER
            world.join(host, role, first)
        formed = world.run_until(self._is_formed, patience)
        world.network.faults = faulty
        if not formed:
            self._violated(Violation("forming", f"not within {patience:g} s"))
        return formed

    def _is_formed(self) -> bool:
        leader = self.world.leader()
        if leader is None or leader.machine is None:
            return False
        manager = leader.machine.manager
        assert manager is not None
        sessions = manager.office.dispatcher if manager.office is not None else None
        return (
            len(manager.replica.configuration.voters) == self._managers
            and sessions is not None
            and len(sessions.session_ids()) == len(self.world.hosts)
        )

    def suffer(self, seconds: float) -> None:
        """Requests and faults for a while."""
        self._calm = False
        self.workload.start()
        faults = self.faults
        self._every(faults.crash_every_s, self._crash_one)
        self._every(faults.partition_every_s, self._partition)
        self._every(faults.kill_every_s, self._kill_one)
        self._every(faults.disk_full_every_s, self._fill_disks)
        self._look()
        self.world.run(seconds)

    def heal(self) -> None:
        """Faults end; everything that is down starts again."""
        self._calm = True
        self.workload.stop()
        world = self.world
        world.network.heal()
        world.network.faults = attrs.evolve(
            world.network.faults, loss=0.0, slow=0.0, duplication=0.0
        )
        world.disk_faults = attrs.evolve(world.disk_faults, stall=0.0)
        world.executor_faults = attrs.evolve(
            world.executor_faults, rejects=0.0, fails_to_start=0.0, mean_life_s=0.0
        )
        for host in world.hosts.values():
            host.disk.is_full = False
            if host.executor is not None:
                host.executor.faults = world.executor_faults
            if not host.is_up and host.disk.record is not None:
                world.start(host)

    def converge(self) -> None:
        """Everything must come to stand as people asked, and stay so."""
        pace = self.world.pace
        settled = self.world.run_until(self._is_settled, CONVERGE_MAX_S * pace)
        self._check_workload()
        if not settled:
            self._violated(Violation("convergence", self._why_unsettled()))
            return
        leader = self.world.leader()
        assert leader is not None and leader.machine is not None
        self._check_twins(leader)
        self._check_lives(leader)
        version = leader.machine.store.version
        store = leader.machine.store
        if not self.world.run_until(lambda: self._all_hold(version, store), CATCH_UP_MAX_S * pace):
            self._violated(Violation("convergence", f"a manager never held version {version}"))
        self._check_members(leader)

    def _check_lives(self, leader: Host) -> None:
        """Agents have missed messages while there were faults; their next heartbeat tells them."""

        def found() -> list[Violation]:
            assert leader.machine is not None
            return check_lives(leader.machine.store, self._held())

        if not self.world.run_until(lambda: not found(), CATCH_UP_MAX_S * self.world.pace):
            for violation in found():
                self._violated(violation)

    def _held(self) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
        """The secrets and configs that each node holds now."""
        return [
            (host.node_id, host.machine.agent.payloads())
            for host in self.world.up()
            if host.machine is not None
        ]

    def _all_hold(self, version: int, store: Store) -> bool:
        """Whether every manager does; one that was removed while it was cut off does not count."""
        members = [host for host in self.world.managers() if store.node(host.node_id) is not None]
        machines = [host.machine for host in members if host.machine is not None]
        return all(machine.store.version >= version for machine in machines)

    def history(self) -> History:
        """What has been seen so far."""
        counts = dict(self.counts)
        for name, number in self.world.network.counts.items():
            if name != "sent":
                counts[f"messages {name}"] = number
        return History(
            self.seed,
            tuple(self.violations),
            round(self.world.now, 6),
            self.world.steps,
            counts,
            self._digest.hexdigest(),
        )

    # -- convergence ------------------------------------------------------------------------

    _mend_at = 0.0

    def _is_settled(self) -> bool:
        if self._sample_at > self.world.now:
            return False
        self._sample_at = self.world.now + SETTLED_EVERY_S * self.world.pace
        leader = self.world.leader()
        if leader is None or leader.machine is None or leader.machine.manager is None:
            return False
        office = leader.machine.manager.office
        if office is None or office.dispatcher is None:
            return False
        store = leader.machine.store
        if self._mend_at <= self.world.now and self.workload.mend(leader, store):
            self._mend_at = self.world.now + MEND_EVERY_S * self.world.pace
            return False
        return not (
            self._unsettled_services(leader)
            or self._unsettled_nodes(leader)
            or check_settled(store)
            or self.workload.unsettled(store)
        )

    def _unsettled_services(self, leader: Host) -> list[str]:
        assert leader.machine is not None
        store = leader.machine.store
        found = []
        for service in store.services():
            status = service.update_status
            if status is not None and status.state in (
                UpdateState.UPDATING,
                UpdateState.ROLLBACK_STARTED,
            ):
                found.append(f"{service.spec.name} is {status.state}")
            tasks = store.tasks_of_service(service.id)
            live = [task for task in tasks if task.desired_state <= TaskState.RUNNING]
            if isinstance(service.spec.mode, Replicated):
                lacking = service.spec.mode.replicas - len(live)
                if lacking:
                    found.append(f"{service.spec.name} lacks {lacking} tasks")
            for task in live:
                unplaceable = task.state is TaskState.PENDING and bool(task.err)
                if task.state is not TaskState.RUNNING and not unplaceable:
                    found.append(f"{task.name} is {task.state} ({task.err})")
        for task in store.tasks():
            if task.desired_state > TaskState.RUNNING and task.state <= TaskState.RUNNING:
                found.append(f"{task.name} should stop and is {task.state}")
        return found

    def _unsettled_nodes(self, leader: Host) -> list[str]:
        """Every host has its session, unless its node was removed; seats are as wanted."""
        assert leader.machine is not None and leader.machine.manager is not None
        manager, store = leader.machine.manager, leader.machine.store
        assert manager.office is not None and manager.office.dispatcher is not None
        sessions = manager.office.dispatcher.session_ids()
        found = []
        for host in self.world.hosts.values():
            if store.node(host.node_id) is None:
                if host.node_id not in self.workload.removed and host.disk.record is not None:
                    found.append(f"{host.name} is no member")
            elif host.node_id not in sessions:
                found.append(f"{host.name} has no session")
        seats = {holder(one).node_id: one.voter for one in manager.replica.configuration.members}
        for node in store.nodes():
            wanted = node.wants_seat
            if seats.get(node.id, False) is not wanted or (node.role is Role.MANAGER) is not wanted:
                found.append(f"{node.hostname} should be a {node.spec.desired_role}")
        return found

    def _why_unsettled(self) -> str:
        leader = self.world.leader()
        if leader is None or leader.machine is None:
            return f"no leader within {CONVERGE_MAX_S * self.world.pace:g} s"
        reasons = self._unsettled_services(leader) + self._unsettled_nodes(leader)
        reasons += [str(one) for one in check_settled(leader.machine.store)]
        reasons += self.workload.unsettled(leader.machine.store)
        return "; ".join(reasons[:5])

    def _check_members(self, leader: Host) -> None:
        """Equal digests at equal versions, and nothing confirmed was lost."""
        assert leader.machine is not None
        store = leader.machine.store
        for host in self.world.managers():
            assert host.machine is not None
            other = host.machine.store
            if other.version == store.version and other.digest() != store.digest():
                self._violated(Violation("equal digests", f"{host.name} differs at the end"))
        last = max((version for _, _, version in self.workload.confirmed), default=0)
        if store.version < last:
            self._violated(
                Violation("durability", f"version {last} was confirmed, {store.version} is left")
            )

    def _check_twins(self, leader: Host) -> None:
        assert leader.machine is not None and leader.machine.manager is not None
        office = leader.machine.manager.office
        if office is None or not office.is_idle:
            return
        now = office.clock.at(self.world.local(leader))
        for violation in check_twins(
            leader.machine.store, now, office.reconcilers, self._rng.child("twins")
        ):
            self._violated(violation)

    # -- the adversary ----------------------------------------------------------------------

    def _every(self, mean_s: float, act: object) -> None:
        """Do something again and again, ``mean_s`` apart on average, until the healing."""
        if not mean_s:
            return

        def happen() -> None:
            if not self._calm:
                assert callable(act)
                act()
                self.world.at(2 * mean_s * self._rng.random(), happen)

        mean_s *= self.world.pace
        self.world.at(2 * mean_s * self._rng.random(), happen)

    def _crash_one(self) -> None:
        hosts = [host for host in self.world.hosts.values() if host.is_up]
        if not hosts:
            return
        host = self._rng.choice(hosts)
        self._count("crashes")
        self._note(f"crash {host.name}")
        self.world.crash(host)

        def start() -> None:
            if not host.is_up and host.disk.record is not None:  # it may have left meanwhile
                self._note(f"start {host.name}")
                self.world.start(host)

        longest = self.faults.down_max_s * self.world.pace
        self.world.at(longest * self._rng.random(), start)

    def _partition(self) -> None:
        network = self.world.network
        if network.is_cut:
            return
        names = list(self.world.hosts)
        self._rng.shuffle(names)
        size = 1 + self._rng.below(max(1, len(names) // 2))
        one_side, other_side = names[:size], names[size:]
        self._count("partitions")
        self._note(f"partition {' '.join(one_side)}")
        if self._rng.chance(self.faults.one_way):
            for one in one_side:
                for other in other_side:
                    network.cut(one, other)
        else:
            network.partition(one_side, other_side)
        longest = self.faults.partition_max_s * self.world.pace
        self.world.at(longest * self._rng.random(), network.heal)

    def _kill_one(self) -> None:
        running = [
            (host, task_id)
            for host in self.world.up()
            if host.executor is not None
            for task_id in host.executor.running
        ]
        if running:
            host, task_id = self._rng.choice(running)
            self._count("tasks killed")
            self.world.kill_task(host, task_id)

    def _fill_disks(self) -> None:
        """One host's, or those of all managers, that have a common storage."""
        hosts = list(self.world.up())
        if hosts:
            host = self._rng.choice(hosts)
            shared = self._rng.chance(self.faults.all_full)
            for each in list(self.world.managers()) if shared else [host]:
                self._fill(each)

    def _fill(self, host: Host) -> None:
        def make_room() -> None:
            self._note(f"room {host.name}")
            host.disk.is_full = False

        self._count("disks filled")
        self._note(f"full {host.name}")
        host.disk.is_full = True
        self.world.at(self.faults.disk_full_max_s * self._rng.random(), make_room)

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # -- watching ---------------------------------------------------------------------------

    def _look(self) -> None:
        """Now and then: the whole of the leader's store."""
        leader = self.world.leader()
        if leader is not None and leader.machine is not None:
            for violation in check_view(leader.machine.store):
                self._violated(violation)
            self._check_twins(leader)
        self._check_workload()
        if not self._calm:
            self.world.at(VIEW_EVERY_S * self.world.pace, self._look)

    def _check_workload(self) -> None:
        for violation in self.workload.wrong():
            self._violated(violation)

    def _observe(self, now: float, host: Host, effect: Effect) -> None:
        if isinstance(effect, SendTo):
            for violation in self._promises.observe(now, host, effect):
                self._violated(violation)
            return
        if isinstance(effect, Published) and effect.restored:
            self._count("snapshots received")
        if isinstance(effect, Observed):
            self._note(f"{host.name} {effect.event} {effect.fields.get('term', '')}")
            if effect.event == "turn.failed":
                self._violated(Violation("turns", f"{host.name}: {effect.fields['error']}"))
        elif isinstance(effect, Published) and effect.commit is not None:
            commit = effect.commit
            what = " ".join(f"{c.kind}:{c.id[:6]}:{c.because}" for c in commit.changes)
            self._note(f"{host.name} commit {commit.version} {commit.stamp:.6f} {what}")
        else:
            return
        for checker in self._checkers:
            for violation in checker.observe(now, host, effect):
                self._violated(violation)

    def _note(self, line: str) -> None:
        text = f"{self.world.now:12.6f} {line}"
        self._digest.update(text.encode())
        if self._trace is not None:
            self._trace.append(text)

    def _violated(self, violation: Violation) -> None:
        if len(self.violations) < VIOLATIONS_MAX and violation not in self.violations:
            self.violations.append(violation)
            self._note(f"VIOLATION {violation}")
