"""One node's session: what its agent was given, and what follows from a commit.

A node holds the tasks assigned to it and, as long as a task of it has not ended, the secrets and
configs that task refers to. The session counts users of each dependency, so that a commit costs
what it changed and not what the node holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyswarm.model import Config, Sealed, Secret, Task, TaskState
from pyswarm.model.auth import sealed_auth
from pyswarm.model.session import Assignments, Dependency, Driven
from pyswarm.store import Reader

DependencyKey = tuple[str, str]
"""(kind, id) of a secret or config; or ``registry`` and the id of a task, for its credentials."""


def dependencies_of(task: Task) -> Iterator[DependencyKey]:
    """What the task's container refers to, in order."""
    container = task.spec.container
    if container is None:
        return
    for secret in container.secrets:
        yield "secret", secret.secret_id
    for config in container.configs:
        yield "config", config.config_id
    if container.registry_auth:
        yield "registry", task.id


def _credentials(reader: Reader, task_id: str) -> Iterator[Dependency]:
    """What a task's node shows to the registry of its image."""
    task = reader.task(task_id)
    container = task.spec.container if task is not None else None
    sealed = sealed_auth(container.registry_auth) if container is not None else None
    if sealed is not None:
        yield Dependency("registry", task_id, "", sealed)


def is_stable(old: Task, new: Task) -> bool:
    """True if an agent that has ``old`` need not hear of ``new``: only its own status changed."""
    return (
        new.state > TaskState.ASSIGNED
        and old.desired_state is new.desired_state
        and old.spec is new.spec
        and old.networks == new.networks
        and old.endpoint == new.endpoint
        and old.assigned_generic == new.assigned_generic
        and old.volumes == new.volumes
    )


class Session:
    """One node's session with this leader."""

    __slots__ = (
        "_changed",
        "_fresh",
        "_gone",
        "_holds",
        "_stale",
        "_tasks",
        "addr",
        "changes",
        "deadline",
        "id",
        "node_id",
        "period",
        "sequence",
    )

    def __init__(self, id: str, node_id: str, addr: str, *, period: float, deadline: float) -> None:
        self.id = id
        self.node_id = node_id
        self.addr = addr
        self.period = period
        self.deadline = deadline
        self.sequence = 0
        self.changes = 0
        """How often the node was told that it, or the list of managers, changed."""
        self._tasks: dict[str, tuple[DependencyKey, ...]] = {}
        """Task id → the dependencies it holds (none once it has ended)."""
        self._holds: dict[DependencyKey, int] = {}
        self._changed: dict[str, Task] = {}
        self._gone: dict[str, None] = {}
        self._fresh: dict[DependencyKey, None] = {}
        self._stale: dict[DependencyKey, None] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def full(self, tasks: Iterable[Task], reader: Reader) -> Assignments:
        """Everything the node should have: the first message, and the answer to a gap."""
        self._tasks.clear()
        self._holds.clear()
        self._forget_changes()
        for task in tasks:
            if task.state >= TaskState.ASSIGNED:
                self._note(task)
        return self._message(reader, full=True)

    def changed(self, old: Task | None, new: Task) -> None:
        """A task of this node was written (``old``: as it was before, on this node)."""
        if new.id in self._tasks and old is not None and is_stable(old, new):
            if old.state <= TaskState.RUNNING < new.state:
                self._release(new.id)
            return
        if new.state >= TaskState.ASSIGNED:
            self._note(new)

    def removed(self, task_id: str) -> None:
        """A task of this node was deleted, or is no longer this node's."""
        if task_id not in self._tasks:
            return
        self._release(task_id)
        del self._tasks[task_id]
        self._changed.pop(task_id, None)
        self._gone[task_id] = None

    def difference(self, reader: Reader) -> Assignments | None:
        """What changed since the last message, or None."""
        if not (self._changed or self._gone or self._fresh or self._stale):
            return None
        return self._message(reader, full=False)

    def _note(self, task: Task) -> None:
        self._gone.pop(task.id, None)
        self._changed[task.id] = task
        if task.state > TaskState.RUNNING:
            self._release(task.id)
            self._tasks[task.id] = ()
        elif task.id not in self._tasks:
            held = tuple(dependencies_of(task))
            self._tasks[task.id] = held
            for key in held:
                self._hold(key)

    def _hold(self, key: DependencyKey) -> None:
        users = self._holds.get(key, 0)
        self._holds[key] = users + 1
        if not users:
            if key in self._stale:
                del self._stale[key]
            else:
                self._fresh[key] = None

    def _release(self, task_id: str) -> None:
        """An ended task keeps no secret on its node."""
        for key in self._tasks.get(task_id, ()):
            self._holds[key] -= 1
            if not self._holds[key]:
                del self._holds[key]
                if key in self._fresh:
                    del self._fresh[key]
                else:
                    self._stale[key] = None
        if task_id in self._tasks:
            self._tasks[task_id] = ()

    def _message(self, reader: Reader, *, full: bool) -> Assignments:
        self.sequence += 1
        message = Assignments(
            session_id=self.id,
            sequence=self.sequence,
            full=full,
            tasks=tuple(self._changed.values()),
            removed_tasks=tuple(self._gone),
            dependencies=tuple(self._payloads(reader)),
            removed_dependencies=tuple(self._stale),
        )
        self._forget_changes()
        return message

    def _payloads(self, reader: Reader) -> Iterator[Dependency]:
        """A dependency that is gone is left out: the task then fails on the node and says so."""
        for kind, id in self._fresh:
            if kind == "registry":
                yield from _credentials(reader, id)
                continue
            found: Secret | Config | None = reader.get(kind, id)
            if found is None:
                continue
            spec = found.spec
            payload: Sealed | Driven | None = found.payload
            if spec.driver is not None:
                payload = Driven(spec.driver, spec.labels, self._first_user(kind, id))
            if payload is not None:
                yield Dependency(kind, id, spec.name, payload, spec.templating)

    def _first_user(self, kind: str, id: str) -> str:
        return next((task for task, held in self._tasks.items() if (kind, id) in held), "")

    def _forget_changes(self) -> None:
        self._changed.clear()
        self._gone.clear()
        self._fresh.clear()
        self._stale.clear()
