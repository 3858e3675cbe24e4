"""Which secrets and configs a task gets as files, and where.

What the leader sent is kept in memory only, never in the task database. A task sees what it refers
to and nothing else. A relative target of a secret lies under ``/run/secrets``, that of a config
under ``/``; an absolute one is taken as it is, and ``..`` cannot lead out of the root.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from pyswarm.agent.executor import TaskRejected
from pyswarm.agent.vocabulary import FileSource
from pyswarm.model.objects import Task
from pyswarm.model.session import Assignments, Dependency
from pyswarm.model.specs import ConfigReference, SecretReference

SECRETS_ROOT = "/run/secrets"
CONFIGS_ROOT = "/"


def target_path(root: str, target: str) -> str:
    """The absolute, normalised path of a target."""
    return "/" + posixpath.normpath(posixpath.join("/", root, target)).lstrip("/")


class Dependencies:
    """The secrets and configs this node may see now, by kind and id."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], Dependency] = {}

    def update(self, message: Assignments) -> None:
        """Take over a full set, or a difference."""
        if message.full:
            self._by_key.clear()
        for key in message.removed_dependencies:
            self._by_key.pop((key[0], key[1]), None)
        for dependency in message.dependencies:
            self._by_key[dependency.kind, dependency.id] = dependency

    def find(self, kind: str, id: str, task_id: str) -> Dependency:
        """What a task refers to. A driver's secret may have been made for this one task."""
        own = self._by_key.get((kind, f"{id}.{task_id}")) or self._by_key.get((kind, id))
        if own is None:
            raise TaskRejected(f"{kind} {id} not found")
        if own.error:
            raise TaskRejected(own.error)
        return own

    def keys(self) -> tuple[tuple[str, str], ...]:
        """(kind, id) of each."""
        return tuple(self._by_key)

    def clear(self) -> None:
        self._by_key.clear()

    def __len__(self) -> int:
        return len(self._by_key)

    def files_of(self, task: Task) -> tuple[FileSource, ...]:
        """Every file ``task`` should find; :class:`TaskRejected` where one is missing."""
        container = task.spec.container
        if container is None:
            return ()
        configs = [reference for reference in container.configs if not reference.runtime]
        return (
            *self._files("secret", SECRETS_ROOT, task.id, container.secrets),
            *self._files("config", CONFIGS_ROOT, task.id, configs),
            *self._credentials(task.id),
        )

    def _credentials(self, task_id: str) -> Iterable[FileSource]:
        """What is shown to the registry: it travels with the files and is none."""
        found = self._by_key.get(("registry", task_id))
        if found is not None:
            yield FileSource("registry", task_id, "", "", found.payload)

    def _files(
        self,
        kind: str,
        root: str,
        task_id: str,
        references: Iterable[SecretReference | ConfigReference],
    ) -> Iterable[FileSource]:
        for ref in references:
            if isinstance(ref, SecretReference):
                id, name = ref.secret_id, ref.secret_name
            else:
                id, name = ref.config_id, ref.config_name
            found = self.find(kind, id, task_id)
            path = target_path(root, ref.target or name)
            if path == "/":
                raise TaskRejected(f"{kind} {name}: invalid target file name provided")
            yield FileSource(
                kind, id, name, path, found.payload, ref.uid, ref.gid, ref.mode, found.templating
            )
