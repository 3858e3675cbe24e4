"""The rules of a service's life: what an update may take away, who sees a secret, what is kept.

Like those of :mod:`pyswarm.sim.checkers`: two watch a history, the functions look at one store.
None asks the code that decides: the rules are written down here a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyswarm.machine import Effect
from pyswarm.model import (
    Availability,
    GlobalJob,
    ReplicatedJob,
    Service,
    Task,
    TaskOrigin,
    TaskState,
    UpdateConfig,
    UpdateOrder,
    UpdateState,
)
from pyswarm.model.session import Assignments
from pyswarm.node import Published, SendTo
from pyswarm.sim.checkers import Violation
from pyswarm.store import Change, Commit, Reader

Key = tuple[str, str]
Slot = tuple[str, int, str]

_LEFT_HALF_DONE = (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)
_UNDER_WAY = (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)


class UpdatesTakeTheirTime:
    """No update holds more slots at once than its parallelism, and a start-first one stops nothing
    before the successor runs: so no fewer tasks run than these two allow, but for failures."""

    def __init__(self) -> None:
        self._version = 0
        self._services: dict[str, Service] = {}
        self._slots: dict[Slot, dict[str, Task]] = {}
        self._of_service: dict[str, dict[Slot, None]] = {}

    def observe(self, now: float, host: Any, effect: Effect) -> Iterator[Violation]:
        if not isinstance(effect, Published) or effect.commit is None:
            return
        commit: Commit = effect.commit
        if commit.version <= self._version:
            return
        self._version = commit.version
        for change in commit.changes:
            self._apply(change)
        touched = dict.fromkeys(
            (change.new or change.old).service_id
            for change in commit.changes
            if change.kind == "task"
        )
        for change in commit.changes:
            yield from self._stopped_too_early(change)
        for service_id in touched:
            yield from self._too_many(service_id)

    def _apply(self, change: Change) -> None:
        if change.kind == "service":
            if change.new is None:
                self._services.pop(change.id, None)
            else:
                self._services[change.id] = change.new
        elif change.kind == "task":
            old, new = change.old, change.new
            if old is not None:
                self._slots.get(_slot(old), {}).pop(old.id, None)
            if new is not None:
                slot = _slot(new)
                self._slots.setdefault(slot, {})[new.id] = new
                self._of_service.setdefault(new.service_id, {})[slot] = None

    def _too_many(self, service_id: str) -> Iterator[Violation]:
        service = self._services.get(service_id)
        config = _rolling(service)
        if service is None or config is None or not config.parallelism:
            return
        busy = [
            slot
            for slot in self._of_service.get(service_id, {})
            if any(_is_coming_up(task, service) for task in self._slots[slot].values())
        ]
        if len(busy) > config.parallelism:
            yield Violation(
                "update parallelism",
                f"{service.spec.name}: {len(busy)} slots at once of {config.parallelism}",
            )

    def _stopped_too_early(self, change: Change) -> Iterator[Violation]:
        old, new = change.old, change.new
        if change.kind != "task" or old is None or new is None:
            return
        service = self._services.get(new.service_id)
        config = _rolling(service)
        if config is None or config.order is not UpdateOrder.START_FIRST:
            return
        is_stopped = old.desired_state <= TaskState.RUNNING < new.desired_state
        ran = old.state is TaskState.RUNNING and new.state is TaskState.RUNNING
        if not (is_stopped and ran and change.because.code == "update-old-task"):
            return
        others = self._slots[_slot(new)].values()
        if not any(t.id != new.id and t.state is TaskState.RUNNING for t in others):
            yield Violation("start first", f"task {new.name} was stopped with nothing beside it")


def _slot(task: Task) -> Slot:
    return task.service_id, task.slot, "" if task.slot else task.node_id


def _rolling(service: Service | None) -> UpdateConfig | None:
    """How the update under way goes."""
    if service is None or service.update_status is None:
        return None
    state = service.update_status.state
    if state not in _UNDER_WAY:
        return None
    back = state is UpdateState.ROLLBACK_STARTED
    return (service.spec.rollback if back else service.spec.update) or UpdateConfig()


def _is_coming_up(task: Task, service: Service) -> bool:
    """Whether the update under way made the task and waits for it to run."""
    status = service.update_status
    assert status is not None
    return (
        task.origin is TaskOrigin.UPDATED
        and task.spec_version == service.spec_version
        and task.created_at >= status.started_at
        and task.desired_state <= TaskState.RUNNING
        and task.state < TaskState.RUNNING
        and not task.running_at
    )


class SecretsStayHome:
    """Payloads are sent to nodes that have a task which may see them, and to no others."""

    def observe(self, now: float, host: Any, effect: Effect) -> Iterator[Violation]:
        if not isinstance(effect, SendTo) or not isinstance(effect.message, Assignments):
            return
        message = effect.message
        may = {key for task in message.tasks for key in seen_by(task)}
        for dependency in message.dependencies:
            if (dependency.kind, dependency.id) not in may:
                yield Violation(
                    "secrets", f"{dependency.kind} {dependency.name} went to {effect.addr}"
                )


def seen_by(task: Task) -> Iterator[Key]:
    """The secrets and configs that a task may see while it has not ended."""
    container = task.spec.container
    if container is None or task.state > TaskState.RUNNING:
        return
    for secret in container.secrets:
        yield "secret", secret.secret_id
    for config in container.configs:
        yield "config", config.config_id


def check_lives(view: Reader, held: Iterable[tuple[str, Iterable[Key]]]) -> list[Violation]:
    """What holds once everything has converged. ``held``: node id → the payloads it has."""
    return [*_forgotten(view, held), *_histories(view), *_specs(view)]


def _forgotten(view: Reader, held: Iterable[tuple[str, Iterable[Key]]]) -> Iterator[Violation]:
    """Nodes have forgotten what none of their tasks may see any more."""
    for node_id, keys in held:
        may = {key for task in view.tasks_of_node(node_id) for key in seen_by(task)}
        for kind, id in keys:
            if (kind, id) not in may:
                yield Violation("secrets", f"node {node_id} still has {kind} {id}")


def _histories(view: Reader) -> Iterator[Violation]:
    """No slot keeps more tasks than the swarm's history limit, the running one counted."""
    limit = view.swarm.spec.task_history_retention_limit
    for service in view.services():
        if isinstance(service.spec.mode, (ReplicatedJob, GlobalJob)) or limit < 0:
            continue
        policy = service.spec.task.restart
        most = policy.max_attempts + 1 if policy is not None and policy.max_attempts else limit
        slots: dict[Slot, int] = {}
        for task in view.tasks_of_service(service.id):
            slots[_slot(task)] = slots.get(_slot(task), 0) + 1
        for slot, count in slots.items():
            if count > max(most, 1):
                yield Violation(
                    "history", f"{service.spec.name}: slot {slot[1] or slot[2]} keeps {count} tasks"
                )


def _is_paused(view: Reader, node_id: str) -> bool:
    node = view.node(node_id)
    return node is not None and node.spec.availability is Availability.PAUSE


def _specs(view: Reader) -> Iterator[Violation]:
    """Every task that should run is of its service's spec (its node may have been chosen by an
    older placement)."""
    for service in view.services():
        status = service.update_status
        if status is not None and status.state in _LEFT_HALF_DONE:
            continue
        wanted = service.spec.task
        for task in view.tasks_of_service(service.id):
            if task.desired_state > TaskState.RUNNING or task.state is not TaskState.RUNNING:
                continue
            if not task.slot and _is_paused(view, task.node_id):
                continue  # A paused node keeps a global service's task through an update.
            same = (task.spec.container, task.spec.force_update, task.spec.networks)
            if same != (wanted.container, wanted.force_update, wanted.networks):
                yield Violation("specs", f"task {task.name} is not of the service's spec")
