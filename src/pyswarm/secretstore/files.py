"""Where a task finds its secrets and configs.

A secret's relative target lies under ``/run/secrets``, a config's under ``/``; an absolute one is
taken as it is. Paths are those *inside* the task: an executor maps them to where it can put files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.model.specs import TaskSpec
from pyswarm.secretstore.references import is_file_target
from pyswarm.secretstore.rules import Kind

SECRETS_DIRECTORY = "/run/secrets"
CONFIGS_DIRECTORY = "/"


@attrs.frozen
class TaskFile:
    """One file of a task. ``path`` is absolute and has no ``.`` or ``..`` in it."""

    kind: Kind
    id: str
    name: str
    path: str
    data: bytes = attrs.field(repr=False)
    uid: str = "0"
    gid: str = "0"
    mode: int = 0o444


def secret_path(target: str) -> str:
    """Path of a secret in its task: ``db`` → ``/run/secrets/db``."""
    return resolved(SECRETS_DIRECTORY, target)


def config_path(target: str) -> str:
    """Path of a config in its task: ``nginx.conf`` → ``/nginx.conf``."""
    return resolved(CONFIGS_DIRECTORY, target)


def files_for_task(spec: TaskSpec, read: Callable[[Kind, str], bytes]) -> tuple[TaskFile, ...]:
    """All files of a task of ``spec``, secrets first, in the order of the spec.

    ``read(kind, id)`` gives the payload and is asked once for each object; what it raises (it is
    the one that knows who may see what) passes through.
    """
    payloads: dict[tuple[Kind, str], bytes] = {}

    def payload(kind: Kind, id: str) -> bytes:
        if (kind, id) not in payloads:
            payloads[kind, id] = read(kind, id)
        return payloads[kind, id]

    return tuple(attrs.evolve(file, data=payload(file.kind, file.id)) for file in empty_files(spec))


def empty_files(spec: TaskSpec) -> Iterator[TaskFile]:
    """The files of a task of ``spec`` without their contents."""
    container = spec.container
    if container is None:
        return
    for secret in container.secrets:
        path = secret_path(secret.target or secret.secret_name)
        name = secret.secret_name
        owner = (secret.uid, secret.gid, secret.mode)
        yield TaskFile("secret", secret.secret_id, name, path, b"", *owner)
    for config in container.configs:
        if not config.runtime:
            path = config_path(config.target or config.config_name)
            name = config.config_name
            owner = (config.uid, config.gid, config.mode)
            yield TaskFile("config", config.config_id, name, path, b"", *owner)


def resolved(directory: str, target: str) -> str:
    """``target`` seen from ``directory``, in its shortest form.

    Raises ``InvalidArgument`` if it names no file.
    """
    path = target if target.startswith("/") else f"{directory}/{target}"
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    if not parts or not is_file_target(target):
        raise InvalidArgument("invalid target file name provided", details={"target": target})
    return "/" + "/".join(parts)
