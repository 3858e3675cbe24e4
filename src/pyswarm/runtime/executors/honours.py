"""What becomes of every field of a service's spec, with each executor: data, and its enforcement.

``HONOURED`` the task gets it. ``AS_ROOT`` it gets it on a node that runs as root, and is rejected
on another one. ``CARRIED`` it is kept and shown, and does nothing here: leaving it out changes
nothing a task could rely on. ``REFUSED`` a task that asks for it is rejected, by the name of the
field. ``docs/executors.md`` shows these tables; a test compares them with the model's fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import attrs

from pyswarm.agent.executor import TaskRejected
from pyswarm.model.resources import Limits, ResourceRequirements, Resources
from pyswarm.model.specs import (
    BindOptions,
    ContainerSpec,
    DNSConfig,
    Mount,
    Privileges,
    TmpfsOptions,
    VolumeOptions,
)
from pyswarm.model.states import MountType


class Honour(Enum):
    HONOURED = "honoured"
    AS_ROOT = "as root"
    CARRIED = "carried"
    REFUSED = "refused"

    def __str__(self) -> str:
        return self.value


def names() -> Iterator[str]:
    """Every field there is, in the model's order; those of a part after a dot."""
    parts = {
        "mounts": (Mount, {"bind": BindOptions, "volume": VolumeOptions, "tmpfs": TmpfsOptions}),
        "privileges": (Privileges, {}),
    }
    yield from _names(ContainerSpec, "", parts)
    inner = {"limits": Limits, "reservations": Resources}
    yield from _names(ResourceRequirements, "resources.", {k: (v, {}) for k, v in inner.items()})


def _names(cls: type, prefix: str, parts: Mapping[str, Any]) -> Iterator[str]:
    for field in attrs.fields(cls):
        if field.name in parts:
            inner, deeper = parts[field.name]
            nested: dict[str, Any] = {name: (kind, {}) for name, kind in deeper.items()}
            yield from _names(inner, f"{prefix}{field.name}.", nested)
        else:
            yield prefix + field.name


def _table(groups: Mapping[Honour, str]) -> Mapping[str, Honour]:
    return {name: how for how, text in groups.items() for name in text.split()}


PROCESSES = _table(
    {
        Honour.HONOURED: """
            image command args env dir user groups hostname secrets configs stop_signal
            stop_grace_period healthcheck tty init registry_auth ulimits oom_score_adj
            capability_drop pids_limit
            mounts.target mounts.source mounts.type mounts.bind.create_mountpoint
            mounts.bind.read_only_non_recursive mounts.volume.no_copy
            mounts.volume.labels mounts.volume.driver mounts.volume.subpath
            privileges.no_new_privileges
            resources.limits.memory_bytes resources.limits.pids
            resources.reservations.nano_cpus resources.reservations.memory_bytes
            resources.reservations.generic
        """,
        Honour.AS_ROOT: """
            read_only hosts dns sysctls capability_add mounts.read_only
            mounts.bind.non_recursive mounts.bind.read_only_force_recursive
            mounts.bind.propagation mounts.tmpfs.size_bytes mounts.tmpfs.mode mounts.tmpfs.options
            mounts.volume.driver_options
            resources.limits.nano_cpus resources.swap_bytes
            resources.memory_swappiness
        """,
        Honour.CARRIED: """
            labels open_stdin isolation mounts.consistency privileges.apparmor_mode
        """,
        Honour.REFUSED: """
            privileges.credential_spec
            privileges.selinux_context privileges.seccomp_mode privileges.seccomp_profile
        """,
    }
)

FUNCTIONS = _table(
    {
        Honour.HONOURED: """
            image args env secrets configs stop_grace_period healthcheck registry_auth
            resources.reservations.nano_cpus resources.reservations.memory_bytes
            resources.reservations.generic
        """,
        Honour.CARRIED: """
            command dir hostname labels stop_signal open_stdin init isolation oom_score_adj
            pids_limit hosts dns privileges.no_new_privileges privileges.apparmor_mode
            capability_drop ulimits
            resources.limits.nano_cpus resources.limits.memory_bytes resources.limits.pids
            resources.swap_bytes resources.memory_swappiness
        """,
        Honour.REFUSED: """
            user groups tty read_only sysctls capability_add
            mounts.target mounts.source mounts.type mounts.read_only mounts.consistency
            mounts.bind.propagation mounts.bind.non_recursive mounts.bind.create_mountpoint
            mounts.bind.read_only_non_recursive mounts.bind.read_only_force_recursive
            mounts.volume.no_copy mounts.volume.labels mounts.volume.driver
            mounts.volume.driver_options mounts.volume.subpath
            mounts.tmpfs.size_bytes mounts.tmpfs.mode mounts.tmpfs.options
            privileges.credential_spec privileges.selinux_context privileges.seccomp_mode
            privileges.seccomp_profile
        """,
    }
)

EXECUTORS = {"ProcessExecutor": PROCESSES, "CallableExecutor": FUNCTIONS}

HARMLESS: Mapping[str, tuple[object, ...]] = {
    "privileges.seccomp_mode": ("default", "unconfined"),
    "mounts.bind.propagation": ("private", "rprivate"),
    "dns": (DNSConfig(),),
}
"""Values of such fields that ask for nothing."""


def as_ordinary_user(table: Mapping[str, Honour]) -> Mapping[str, Honour]:
    """The table of a node that does not run as root: a limit is carried, all else refused."""
    return {
        name: _without_root(name) if how is Honour.AS_ROOT else how for name, how in table.items()
    }


def _without_root(name: str) -> Honour:
    return Honour.CARRIED if name.startswith("resources.") else Honour.REFUSED


UNKNOWN_MOUNTS = (MountType.NPIPE, MountType.CLUSTER, MountType.IMAGE)
"""Types of mounts that no executor here has: a task that asks for one is rejected."""

NEEDS_ROOT = "tasks of this node have no namespaces of their own, since it does not run as root"


def refuse(container: ContainerSpec, table: Mapping[str, Honour], *, confined: bool = True) -> None:
    """Raise :class:`TaskRejected` for the first field that is asked for and cannot be had.

    ``confined`` is whether the tasks of this node get namespaces of their own.
    """
    for entry in container.env:
        if entry.startswith("="):
            raise TaskRejected(f"invalid environment variable: {entry}")
    for name, how in table.items():
        if how is Honour.REFUSED and _is_asked(container, name):
            raise TaskRejected(f"{name} is asked for, and tasks of this node cannot have it")
        if how is Honour.AS_ROOT and not confined and _is_asked(container, name):
            raise TaskRejected(f"{name} is asked for: {NEEDS_ROOT}")


def _is_asked(container: ContainerSpec, name: str) -> bool:
    harmless = HARMLESS.get(name, ())
    return any(value not in harmless for value in _asked(container, name.split(".")))


def _asked(value: Any, path: list[str]) -> Iterator[object]:
    """What is at ``path``, of every mount, where it is not what it is by default."""
    if path[0] == "resources" or value is None:
        return
    field = next(one for one in attrs.fields(type(value)) if one.name == path[0])
    found = getattr(value, path[0])
    if len(path) == 1:
        if found != field.default and found:
            yield found
        return
    for one in found if isinstance(found, tuple) else (found,):
        yield from _asked(one, path[1:])
