"""What a task is promised to find around it, as a plan for its sandbox, or without one.

A node that may make namespaces (root) gives each task that asks for anything of the kind a mount
namespace, where volumes, binds, tmpfs, secrets, configs, ``/etc/hosts`` and ``/etc/resolv.conf``
are at their targets (:mod:`pyswarm.runtime.executors.sandbox`). On any other node a task is told by
``PYSWARM_MOUNT_<n>`` where the n-th of its mounts is, and what cannot be done that way rejects it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import attrs

from pyswarm.agent.executor import TaskContext, TaskRejected
from pyswarm.model.specs import ContainerSpec, Mount
from pyswarm.model.states import MountType
from pyswarm.runtime.executors.capabilities import dropped, numbers
from pyswarm.runtime.executors.honours import NEEDS_ROOT, UNKNOWN_MOUNTS
from pyswarm.runtime.executors.volumemounts import VolumeUse
from pyswarm.runtime.executors.volumeoptions import needs_mount
from pyswarm.runtime.executors.volumes import Volumes, anonymous

HOSTS_FIRST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"

WORK = "/run/pyswarm/work"
"""Where a task works whose user may not enter the directories that its own is in."""

IPC_SYSCTLS = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")
"""What a namespace of its own makes a task's own; anything else would change the host."""

PRIVATE = ("", "rprivate", "private")
FOLLOWING = ("slave", "rslave")

MOUNTED_MAX = 200
"""Volumes of one task that have something mounted there: a thread and a descriptor each."""

Planned: TypeAlias = dict[str, str | bool | int]
"""One mount of a plan, as the sandbox reads it."""


@attrs.frozen
class Place:
    """Where one task's things are on the host."""

    volumes: Volumes
    directory: Path
    """The task's own, on disk."""
    work: Path
    """Where it works, if the service does not say where."""
    is_closed: bool
    """Its user cannot get there, so it is to be at :data:`WORK`."""
    memory: Callable[[], Path]
    """A directory in memory that goes with the task; made when it is asked for."""
    files: Mapping[str, Path]
    """Secrets and configs: target → where it was written."""


@attrs.frozen
class Surroundings:
    """``plan`` is for the sandbox ("" where none is needed); ``env`` tells where mounts are."""

    plan: str = ""
    env: Mapping[str, str] = attrs.field(factory=dict)
    volumes: tuple[str, ...] = ()
    """Names of the volumes in use."""
    uses: tuple[VolumeUse, ...] = ()
    """What is to be mounted when the task starts; the plan speaks of them by number."""


def surround(task: TaskContext, place: Place, *, confined: bool) -> Surroundings:
    """Make what has to exist on the host, and say the rest. Blocks on the disk.

    Raises :class:`TaskRejected`, naming the field, for what this node cannot give.
    """
    container = task.container
    mounts = [_mount(task, place, number, one) for number, one in enumerate(container.mounts)]
    names = tuple(str(one["volume"]) for one in mounts if one["volume"])
    uses = _uses(mounts, place.volumes)
    if uses and not confined:
        raise TaskRejected(f"volume {uses[0].name} is to be mounted by its driver: {NEEDS_ROOT}")
    if not confined:
        numbers(container.capability_drop)  # an ordinary user has none to drop
        return Surroundings("", _mapped(mounts, place), names)
    drop = dropped(container.capability_add, container.capability_drop)
    sysctls = {name: value for name, value in container.sysctls.items() if _is_own(name)}
    mounts += _etc(task, place)
    files = sorted((target, str(path)) for target, path in place.files.items())
    mounts += [_bind(source, target, read_only=True) for target, source in files]
    mounts += _hidden_work(mounts, place.work)
    mounts += [_bind(str(place.work), WORK)] if place.is_closed else []
    env = {f"PYSWARM_MOUNT_{number}": one.target for number, one in enumerate(container.mounts, 1)}
    asked: tuple[object, ...] = (mounts, container.hostname, container.read_only, sysctls, drop)
    if not any(asked):
        return Surroundings()
    staging = place.directory / "stage"
    staging.mkdir(mode=0o700, exist_ok=True)
    plan = {
        "hostname": container.hostname,
        "ipc": bool(sysctls),
        "sysctls": sysctls,
        "read_only": container.read_only,
        "writable": [str(place.work)] if container.read_only else [],
        "staging": str(staging),
        "mounts": sorted(mounts, key=lambda one: str(one["target"]).rstrip("/").count("/")),
        "drop": drop,
    }
    return Surroundings(json.dumps(plan), env, names, uses)


def _uses(mounts: list[Planned], volumes: Volumes) -> tuple[VolumeUse, ...]:
    """The volumes that have something mounted there; what is not, is looked at now."""
    uses: list[VolumeUse] = []
    for one in mounts:
        if not one["volume"]:
            continue
        volume, subpath = volumes.get(str(one["volume"])), str(one["subpath"])
        if needs_mount(volume.options):
            one["given"] = len(uses)
            uses.append(VolumeUse(volume.name, volume.path, volume.options, subpath))
        else:
            volumes.below(volume, subpath)
    if len(uses) > MOUNTED_MAX:
        raise TaskRejected(f"a task can have {MOUNTED_MAX} volumes with something mounted there")
    return tuple(uses)


def _bind(source: str, target: str, *, read_only: bool = False) -> Planned:
    return {
        "kind": "bind",
        "source": source,
        "subpath": "",
        "given": -1,
        "target": target,
        "read_only": read_only,
        "recursive": "try",
        "flat": False,
        "follows": "",
        "options": "",
        "volume": "",
    }


def _hidden_work(mounts: list[Planned], work: Path) -> list[Planned]:
    """The task's own directory again, over a mount that covers the place it is in."""
    targets = (Path(os.path.realpath(str(one["target"]))) for one in mounts)
    return [_bind(str(work), str(work))] if any(map(work.is_relative_to, targets)) else []


def _mount(task: TaskContext, place: Place, number: int, mount: Mount) -> Planned:
    """One mount of a service, its volume made."""
    if what := _misplaced(mount) or _unfit(mount):
        raise TaskRejected(what)
    target = os.path.normpath(mount.target)
    made = _bind(mount.source, "/" + target.lstrip("/"), read_only=mount.read_only)
    match mount.type:
        case MountType.VOLUME:
            name = mount.source or anonymous(task.id, number)
            volume = place.volumes.ensure(name, mount.volume)
            subpath = mount.volume.subpath if mount.volume is not None else ""
            made |= {"source": volume.path, "subpath": subpath, "volume": name}
        case MountType.BIND:
            made |= _bound(mount)
        case MountType.TMPFS:
            made |= {"kind": "tmpfs", "options": _tmpfs(mount)}
        case _:
            raise AssertionError(f"a mount of type {mount.type} is unfit")
    return made


def _misplaced(mount: Mount) -> str:
    """What swarm mode itself finds wrong with source and target, in its words."""
    source = mount.source
    match mount.type:
        case MountType.NPIPE if not source:
            return "invalid npipe source, source must not be empty"
        case MountType.NPIPE:
            return ""
        case _ if not mount.target.startswith("/"):
            return f"invalid mount target, must be an absolute path: {mount.target}"
        case MountType.BIND if not source.startswith("/"):
            return f"invalid bind mount source, must be an absolute path: {source}"
        case MountType.VOLUME if source.startswith("/"):
            return f"invalid volume mount source, must not be an absolute path: {source}"
        case MountType.TMPFS if source:
            return "invalid tmpfs source, source must be empty"
    return ""


def _unfit(mount: Mount) -> str:
    """What an engine then finds wrong with it, in Docker's words."""
    options = (
        (MountType.BIND, "BindOptions", mount.bind),
        (MountType.VOLUME, "VolumeOptions", mount.volume),
        (MountType.TMPFS, "TmpfsOptions", mount.tmpfs),
    )
    for kind, field, value in options:
        if mount.type is not kind and value is not None:
            return f"{_problem(mount)}: field {field} must not be specified"
    if mount.type in UNKNOWN_MOUNTS:
        return f"{_problem(mount)}: mount type unknown"
    if not os.path.normpath(mount.target).lstrip("/"):
        return f"{_problem(mount)}: invalid specification: destination can't be '/'"
    return ""


def _problem(mount: Mount) -> str:
    return f'invalid mount config for type "{mount.type}"'


def _bound(mount: Mount) -> Planned:
    options, problem = mount.bind, _problem(mount)
    follows = options.propagation if options is not None else ""
    if follows not in (*PRIVATE, *FOLLOWING):
        why = "what a task mounts would stay on its host"
        raise TaskRejected(f"{problem}: propagation {follows} is not possible here: {why}")
    if not os.path.exists(mount.source):
        if options is None or not options.create_mountpoint:
            raise TaskRejected(f"{problem}: bind source path does not exist: {mount.source}")
        os.makedirs(mount.source, exist_ok=True)
    if options is None:
        return {}
    recursive = "must" if options.read_only_force_recursive else "try"
    if options.read_only_non_recursive:
        recursive = ""
    follows = follows if follows in FOLLOWING else ""
    return {"flat": options.non_recursive, "recursive": recursive, "follows": follows}


def _tmpfs(mount: Mount) -> str:
    """As the kernel wants it: a mode of 1777 and no programs where nothing is said."""
    options = mount.tmpfs
    if options is None:
        return "mode=1777,noexec"
    said = [option for option in options.options.split(",") if option]
    for option in said:
        if option not in ("exec", "noexec"):
            raise TaskRejected(f"{_problem(mount)}: invalid option: {option}")
    parts = [f"mode={options.mode or 0o1777:o}", "exec" if "exec" in said else "noexec"]
    return ",".join(parts + ([f"size={options.size_bytes}"] if options.size_bytes else []))


def _is_own(name: str) -> bool:
    if not name.startswith(IPC_SYSCTLS):
        raise TaskRejected(
            f"sysctl {name} is not in a namespace of its own, so it would change the whole host"
        )
    return True


# -- names


def _etc(task: TaskContext, place: Place) -> list[Planned]:
    """``/etc/hosts`` and ``/etc/resolv.conf``, for a task that says something of them."""
    container, found = task.container, []
    if container.hosts or container.hostname:
        path = place.directory / "hosts"
        path.write_text(hosts_file(task), encoding="utf-8")
        found.append(_bind(str(path), "/etc/hosts"))
    dns = container.dns
    if dns is not None and (dns.nameservers or dns.search or dns.options):
        path = place.directory / "resolv.conf"
        path.write_text(resolver_file(container), encoding="utf-8")
        found.append(_bind(str(path), "/etc/resolv.conf"))
    for one in found:
        os.chmod(str(one["source"]), 0o644)
    return found


def hosts_file(task: TaskContext) -> str:
    """The text of ``/etc/hosts``: the loopback, what the service says, the task's own name."""
    lines = [HOSTS_FIRST.rstrip("\n")]
    for entry in task.container.hosts:
        words = entry.split()
        if len(words) < 2 or "\n" in entry:
            raise TaskRejected(f"invalid hosts entry: {entry!r} is not: IP NAME …")
        lines.append(f"{words[0]}\t{' '.join(words[1:])}")
    if task.container.hostname:
        address = task.env.get("PYSWARM_TASK_ADDR", "127.0.1.1")
        lines.append(f"{address}\t{task.container.hostname}")
    return "\n".join(lines) + "\n"


def resolver_file(container: ContainerSpec) -> str:
    """The text of ``/etc/resolv.conf``; the host's, where the service says nothing."""
    dns = container.dns
    assert dns is not None
    host: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    try:
        for line in Path("/etc/resolv.conf").read_text(encoding="utf-8").splitlines():
            word, _, rest = line.strip().partition(" ")
            if word in host:
                host[word] += rest.split()
    except OSError:
        pass
    for words in (dns.nameservers, dns.search, dns.options):
        for word in words:
            if not word or any(character.isspace() for character in word):
                raise TaskRejected(f"invalid DNS option: {word!r}")
    lines = [f"nameserver {server}" for server in dns.nameservers or host["nameserver"]]
    for key, own in (("search", dns.search), ("options", dns.options)):
        if words := (*own,) or (*host[key],):
            lines.append(f"{key} {' '.join(words)}")
    return "\n".join(lines) + "\n"


# -- without namespaces


def _mapped(mounts: list[Planned], place: Place) -> dict[str, str]:
    """Where the mounts are: a volume and a bind where they really are, a tmpfs in memory."""
    env: dict[str, str] = {}
    for number, one in enumerate(mounts, 1):
        path = Path(str(one["source"])) / str(one["subpath"]).lstrip("/")
        if one["kind"] == "tmpfs":
            path = place.memory() / f"tmpfs-{number}"
            path.mkdir(mode=0o700, exist_ok=True)
        env[f"PYSWARM_MOUNT_{number}"] = str(path)
    return env
