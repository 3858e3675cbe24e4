"""A small world for reconcilers: the real store, virtual time, and agents that do as told.

``World.turn`` runs requests and the reconcilers to a fixed point, as a leader's turn does, and each
time lets freshly rebuilt twins decide the same turn: they must write the same. ``World.run`` lets
virtual time pass; agents carry their tasks through their states, a program being a few numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from pyswarm.env import Rng
from pyswarm.machine import Because
from pyswarm.model.objects import (
    JobStatus,
    Network,
    Node,
    NodeDescription,
    Service,
    Swarm,
    Task,
    UpdateStatus,
)
from pyswarm.model.replace import replace
from pyswarm.model.specs import (
    ContainerSpec,
    EndpointSpec,
    Global,
    GlobalJob,
    NetworkSpec,
    NodeSpec,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ServiceSpec,
    SwarmSpec,
    TaskSpec,
)
from pyswarm.model.states import Availability, NodeState, TaskState, UpdateState
from pyswarm.orchestrator.leases import Leases
from pyswarm.orchestrator.order import RECONCILERS
from pyswarm.store import Store, Transaction

WHY = Because("test")
ROUNDS_MAX = 32


@attrs.define
class Program:
    """What an image does: seconds to prepare, start and stop; when it ends, and how."""

    prepare: float = 0.2
    start: float = 0.1
    stop: float = 1.0
    ends_after: float | None = None
    exit_code: int = 0
    rejected: bool = False


class World:
    """Nodes n1, n2 …; ``programs`` by image."""

    def __init__(
        self,
        nodes: int = 3,
        *,
        reconcilers: Sequence[type] | None = None,
        seed: int = 1,
        twins: bool = True,
        history: int = 5,
        changes_max: int | None = None,
        ingress: bool = True,
        pools: tuple[str, ...] = ("10.0.0.0/8",),
        subnet_size: int = 24,
    ) -> None:
        self.store = Store()
        self.now = 1000.0
        self.seed = seed
        self.twins = twins
        self.changes_max = changes_max
        self.classes = tuple(RECONCILERS if reconcilers is None else reconcilers)
        self.programs: dict[str, Program] = {}
        self.turns = 0
        self._made = 0
        self._ids: dict[str, None] = {}
        self.log: list[str] = []
        self._agents: dict[str, tuple[float, TaskState, str, str]] = {}  # task -> next report
        self._running: list[Any] = [cls.rebuild(self.store, self.now) for cls in self.classes]

        def begin(tx: Transaction) -> None:
            tx.create(
                Swarm(
                    id="swarm",
                    spec=SwarmSpec(task_history_retention_limit=history),
                    default_addr_pools=pools,
                    subnet_size=subnet_size,
                ),
                WHY,
            )
            for number in range(1, nodes + 1):
                tx.create(a_node(f"n{number}"), WHY)
            if ingress:
                spec = NetworkSpec(name="ingress", ingress=True)
                tx.create(Leases.rebuild(tx).allocate(tx, Network(id="ingress", spec=spec)), WHY)

        self.turn(begin)

    # -- turns

    def turn(self, work: Callable[[Transaction], Any] | None = None) -> Any:
        """One turn, which may be empty; the answer of ``work``."""
        version = self.store.version + 1
        if self.twins:
            twins = [cls.rebuild(self.store, self.now) for cls in self.classes]
            other = self._begin(version)
            self._decide(other, twins, work)
        tx = self._begin(version)
        answer = self._decide(tx, self._running, work)
        if self.twins:
            mine, theirs = net(tx), net(other)
            assert mine == theirs, difference(mine, theirs)
        if tx.is_empty:
            return answer
        self.turns += 1
        for change in tx.changes():
            self._remember(change)
        self.store.install(tx)
        return answer

    def _begin(self, version: int) -> Transaction:
        tx = self.store.begin(version, self.now)
        if self.changes_max is not None:
            tx.changes_max = self.changes_max
        return tx

    def _decide(self, tx: Transaction, reconcilers: list[Any], work: Any) -> Any:
        answer = work(tx) if work is not None else None
        seen = [0] * len(reconcilers)
        for round_ in range(ROUNDS_MAX):
            before = tx.mark()
            for place, reconciler in enumerate(reconcilers):
                start, seen[place] = seen[place], tx.mark()
                wake = reconciler.wake_at()
                due = round_ == 0 and wake is not None and wake <= self.now
                if seen[place] == start and not due:
                    continue
                rng = Rng(self.seed).child(tx.version).child(place).child(round_)
                reconciler.reconcile(tx, tx.changes_since(start), self.now, rng)
            if tx.mark() == before and all(mark == before for mark in seen):
                return answer
        raise AssertionError("no fixed point")

    def _remember(self, change: Any) -> None:
        if change.kind != "task":
            return
        old, new = change.old, change.new
        stamp = f"{self.now - 1000:.2f}"
        if new is None:
            self.log.append(f"{stamp} {old.service_name}.{old.slot or old.node_id} deleted")
        elif old is None or (old.state, old.desired_state) != (new.state, new.desired_state):
            where = f"{new.service_name}.{new.slot or new.node_id}"
            self.log.append(f"{stamp} {where} {new.state}/{new.desired_state}")

    def rebuild(self) -> None:
        """A new leader: every reconciler is made anew from the store."""
        self._running = [cls.rebuild(self.store, self.now) for cls in self.classes]

    # -- time and agents

    def run(self, seconds: float) -> None:
        """Let time pass: agents report, reconcilers wake, all in order of time."""
        end = self.now + seconds
        self._settle()
        while (at := self._next()) is not None and at <= end:
            self.now = max(self.now, at)
            self.turn(self._report)
            self._settle()
        self.now = end
        self.turn()

    def _settle(self) -> None:
        """Take turns until nothing is due now."""
        for _ in range(200):
            self.turn()
            if not any(
                at is not None and at <= self.now
                for at in (reconciler.wake_at() for reconciler in self._running)
            ):
                break
        else:
            raise AssertionError("reconcilers stay due without end")
        self._plan()

    def _next(self) -> float | None:
        times = [report[0] for report in self._agents.values()]
        times += [at for r in self._running if (at := r.wake_at()) is not None]
        return min(times, default=None)

    def _plan(self) -> None:
        """What every agent will report next, and when."""
        for task in self.store.tasks():
            step = self._step(task)
            known = self._agents.get(task.id)
            if step is None:
                self._agents.pop(task.id, None)
            elif known is None or known[1] is not step[1]:
                self._agents[task.id] = (self.now + step[0], *step[1:])
        for task_id in list(self._agents):
            if self.store.task(task_id) is None:
                del self._agents[task_id]

    def _step(self, task: Task) -> tuple[float, TaskState, str, str] | None:
        node = self.store.node(task.node_id) if task.node_id else None
        if node is None or node.state is NodeState.DOWN or task.state < TaskState.ASSIGNED:
            return None
        if task.state > TaskState.RUNNING:
            return None
        container = task.spec.container
        program = self.programs.get(container.image if container else "", Program())
        if task.desired_state >= TaskState.SHUTDOWN:
            return (program.stop, TaskState.SHUTDOWN, "shutdown", "")
        if task.state < TaskState.READY:
            if program.rejected:
                return (program.prepare, TaskState.REJECTED, "preparing", "No such image")
            return (program.prepare, TaskState.READY, "prepared", "")
        if task.desired_state is TaskState.READY:
            return None
        if task.state < TaskState.RUNNING:
            return (program.start, TaskState.RUNNING, "started", "")
        if program.ends_after is None:
            return None
        if program.exit_code:
            err = f"task: non-zero exit ({program.exit_code})"
            return (program.ends_after, TaskState.FAILED, "started", err)
        return (program.ends_after, TaskState.COMPLETE, "finished", "")

    def _report(self, tx: Transaction) -> None:
        for task_id, (at, state, message, err) in sorted(self._agents.items()):
            task = tx.task(task_id)
            if at > self.now or task is None or task.state >= state:
                continue
            tx.update(reported(task, state, tx.now, message, err), WHY)
        # A twin decides the same turn first, so reports are forgotten by the next plan only.

    def report(self, task: Task, state: TaskState, err: str = "") -> None:
        """The agent says so, now."""

        def work(tx: Transaction) -> None:
            current = tx.task(task.id)
            assert current is not None
            tx.update(reported(current, state, tx.now, str(state), err), WHY)

        self.turn(work)

    # -- what people do

    def create(self, spec: ServiceSpec) -> str:
        self._made += 1
        service_id = f"service-{spec.name}"
        if service_id in self._ids:  # ids are never used again
            service_id += f"-{self._made}"
        self._ids[service_id] = None
        job = isinstance(spec.mode, (ReplicatedJob, GlobalJob))

        def work(tx: Transaction) -> None:
            tx.create(
                Service(
                    id=service_id,
                    spec=spec,
                    spec_version=tx.version,
                    job_status=JobStatus(0, tx.now) if job else None,
                ),
                WHY,
            )

        self.turn(work)
        return service_id

    def update(self, service_id: str, spec: ServiceSpec) -> None:
        def work(tx: Transaction) -> None:
            old = tx.service(service_id)
            assert old is not None
            job = old.job_status
            tx.update(
                replace(
                    old,
                    spec=spec,
                    spec_version=tx.version,
                    previous_spec=old.spec,
                    previous_spec_version=old.spec_version,
                    update_status=None,
                    job_status=JobStatus(job.iteration + 1, tx.now) if job else None,
                ),
                WHY,
            )

        self.turn(work)

    def change(self, service_id: str, **changes: Any) -> None:
        """Update some fields of the service's spec; ``image`` and ``force`` of its task's."""
        spec = self.service(service_id).spec
        task = spec.task
        if "image" in changes:
            task = attrs.evolve(task, container=ContainerSpec(image=changes.pop("image")))
        if "restart" in changes:
            task = attrs.evolve(task, restart=changes.pop("restart"))
        if "placement" in changes:
            task = attrs.evolve(task, placement=changes.pop("placement"))
        if changes.pop("force", False):
            task = attrs.evolve(task, force_update=task.force_update + 1)
        if "replicas" in changes:
            changes["mode"] = Replicated(changes.pop("replicas"))
        self.update(service_id, attrs.evolve(spec, task=task, **changes))

    def rollback(self, service_id: str) -> None:
        def work(tx: Transaction) -> None:
            old = tx.service(service_id)
            assert old is not None and old.previous_spec is not None
            status = UpdateStatus(
                UpdateState.ROLLBACK_STARTED, "manually requested rollback", tx.now
            )
            job = old.job_status
            tx.update(
                replace(
                    old,
                    spec=old.previous_spec,
                    spec_version=old.previous_spec_version,
                    previous_spec=old.spec,
                    previous_spec_version=old.spec_version,
                    update_status=None if job else status,
                    job_status=JobStatus(job.iteration + 1, tx.now) if job else None,
                ),
                WHY,
            )

        self.turn(work)

    def remove(self, service_id: str) -> None:
        self.turn(lambda tx: tx.delete("service", service_id, WHY))

    def node(self, node_id: str, **changes: Any) -> None:
        """Change a node: ``state``, ``availability``, ``labels``; a new id joins."""

        def work(tx: Transaction) -> None:
            old = tx.node(node_id)
            if old is None:
                tx.create(a_node(node_id, **changes), WHY)
                return
            spec = old.spec
            for name in ("availability", "labels"):
                if name in changes:
                    spec = attrs.evolve(spec, **{name: changes[name]})
            state = changes.get("state", old.state)
            down_at = old.down_at
            if state is not old.state:
                down_at = tx.now if state is NodeState.DOWN else 0.0
            tx.update(replace(old, spec=spec, state=state, down_at=down_at), WHY)

        self.turn(work)

    def network(self, name: str, **fields: Any) -> Network:
        """Create a network, its subnet allocated as the control API does."""

        def work(tx: Transaction) -> Network:
            network = Network(id=f"net-{name}", spec=NetworkSpec(name=name, **fields))
            return tx.create(Leases.rebuild(tx).allocate(tx, network), WHY)

        created: Network = self.turn(work)
        return created

    def forget_node(self, node_id: str) -> None:
        self.turn(lambda tx: tx.delete("node", node_id, WHY))

    # -- what is there

    def service(self, service_id: str) -> Service:
        found = self.store.service(service_id)
        assert found is not None
        return found

    def tasks(self, service_id: str = "", slot: int | None = None) -> list[Task]:
        every = self.store.tasks_of_service(service_id) if service_id else self.store.tasks()
        return [task for task in every if slot is None or task.slot == slot]

    def live(self, service_id: str, state: TaskState = TaskState.RUNNING) -> list[Task]:
        """The tasks that are in ``state`` and should not end."""
        return [
            task
            for task in self.tasks(service_id)
            if task.state is state and task.desired_state <= TaskState.COMPLETE
        ]

    def status(self, service_id: str) -> UpdateStatus | None:
        return self.service(service_id).update_status


def net(tx: Transaction) -> list[tuple[str, str, Any]]:
    return sorted(
        ((change.kind, change.id, change.new) for change in tx.changes()),
        key=lambda entry: entry[:2],
    )


def difference(mine: Any, theirs: Any) -> str:
    left = [entry for entry in mine if entry not in theirs]
    right = [entry for entry in theirs if entry not in mine]
    return f"the rebuilt twin writes something else:\nonly here: {left}\nonly twin: {right}"


def reported(task: Task, state: TaskState, now: float, message: str = "", err: str = "") -> Task:
    """The task as the leader records an agent's report."""
    running_at = task.running_at
    if state is TaskState.RUNNING and not running_at:
        running_at = now
    return replace(
        task,
        state=state,
        message=message,
        err=err,
        status_at=now,
        applied_at=now,
        running_at=running_at,
    )


def a_node(node_id: str, **changes: Any) -> Node:
    return Node(
        id=node_id,
        spec=NodeSpec(
            labels=changes.get("labels", {}),
            availability=changes.get("availability", Availability.ACTIVE),
        ),
        state=changes.get("state", NodeState.READY),
        description=NodeDescription(hostname=node_id),
    )


def a_spec(name: str = "web", image: str = "app:1", **fields: Any) -> ServiceSpec:
    """A service spec; ``replicas``, ``restart``, ``placement`` and ``ports`` are short forms."""
    task = TaskSpec(container=ContainerSpec(image=image))
    for field in ("restart", "placement", "networks"):
        if field in fields:
            task = attrs.evolve(task, **{field: fields.pop(field)})
    if "replicas" in fields:
        fields["mode"] = Replicated(fields.pop("replicas"))
    if "ports" in fields:
        fields["endpoint"] = EndpointSpec(ports=tuple(fields.pop("ports")))
    return ServiceSpec(name=name, task=task, **fields)


__all__ = [
    "Global",
    "GlobalJob",
    "Program",
    "Replicated",
    "ReplicatedJob",
    "RestartPolicy",
    "World",
    "a_node",
    "a_spec",
    "net",
    "reported",
]
