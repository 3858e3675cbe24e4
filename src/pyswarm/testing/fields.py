"""A sample of every field of a container, and the check that an executor treats it as it declares.

An executor that declares ``honours`` (a table: field → what becomes of it, see
:mod:`pyswarm.runtime.executors.honours`) takes a task that asks for what is honoured or carried,
and rejects one that asks for what is refused, naming the field.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from pyswarm.agent import TaskContext, TaskRejected
from pyswarm.model.specs import (
    BindOptions,
    ConfigReference,
    CredentialSpec,
    DNSConfig,
    Healthcheck,
    Mount,
    Privileges,
    SecretReference,
    SELinuxContext,
    TmpfsOptions,
    Ulimit,
    VolumeOptions,
)
from pyswarm.model.states import MountType
from pyswarm.testing.executors import Bench

HERE = "/tmp"


def _bind(**options: object) -> dict[str, object]:
    made = BindOptions(**options)  # type: ignore[arg-type]
    return {"mounts": (Mount("/mnt", HERE, type=MountType.BIND, bind=made),)}


def _volume(**options: object) -> dict[str, object]:
    made = VolumeOptions(**options)  # type: ignore[arg-type]
    return {"mounts": (Mount("/mnt", "vol", volume=made),)}


def _mounted() -> dict[str, object]:
    options = VolumeOptions(driver_options={"type": "tmpfs", "device": "tmpfs"})
    return {"mounts": (Mount("/mnt", "mounted", volume=options),)}


def _tmpfs(**options: object) -> dict[str, object]:
    made = TmpfsOptions(**options)  # type: ignore[arg-type]
    return {"mounts": (Mount("/mnt", type=MountType.TMPFS, tmpfs=made),)}


def _privileges(**fields: object) -> dict[str, object]:
    return {"privileges": Privileges(**fields)}  # type: ignore[arg-type]


SAMPLES: Mapping[str, dict[str, object]] = {
    "image": {"image": "app:1"},
    "command": {"command": ("true",)},
    "args": {"args": ("x",)},
    "env": {"env": ("A=1",)},
    "dir": {"dir": "/"},
    "user": {"user": "root"},
    "groups": {"groups": ("root",)},
    "hostname": {"hostname": "h"},
    "labels": {"labels": {"a": "b"}},
    "secrets": {"secrets": (SecretReference("i", "n"),)},
    "configs": {"configs": (ConfigReference("i", "n"),)},
    "stop_signal": {"stop_signal": "SIGINT"},
    "stop_grace_period": {"stop_grace_period": 1.0},
    "healthcheck": {"healthcheck": Healthcheck(("CMD", "check"))},
    "tty": {"tty": True},
    "open_stdin": {"open_stdin": True},
    "read_only": {"read_only": True},
    "init": {"init": True},
    "hosts": {"hosts": ("1.2.3.4 x",)},
    "dns": {"dns": DNSConfig(("9.9.9.9",))},
    "registry_auth": {"registry_auth": "e30="},
    "isolation": {"isolation": "default"},
    "pids_limit": {"pids_limit": 50},
    "sysctls": {"sysctls": {"kernel.msgmax": "1"}},
    "capability_add": {"capability_add": ("CHOWN",)},
    "capability_drop": {"capability_drop": ("CHOWN",)},
    "ulimits": {"ulimits": (Ulimit("nofile", 99, 99),)},
    "oom_score_adj": {"oom_score_adj": 10},
    "mounts.target": _volume(),
    "mounts.source": _volume(),
    "mounts.type": _tmpfs(),
    "mounts.read_only": {"mounts": (Mount("/mnt", "vol", read_only=True),)},
    "mounts.consistency": {"mounts": (Mount("/mnt", "vol", consistency="cached"),)},
    "mounts.bind.propagation": _bind(propagation="shared"),
    "mounts.bind.non_recursive": _bind(non_recursive=True),
    "mounts.bind.create_mountpoint": _bind(create_mountpoint=True),
    "mounts.bind.read_only_non_recursive": _bind(read_only_non_recursive=True),
    "mounts.bind.read_only_force_recursive": _bind(read_only_force_recursive=True),
    "mounts.volume.no_copy": _volume(no_copy=True),
    "mounts.volume.labels": _volume(labels={"a": "b"}),
    "mounts.volume.driver": _volume(driver="local"),
    "mounts.volume.driver_options": _mounted(),
    "mounts.volume.subpath": _volume(subpath="."),
    "mounts.tmpfs.size_bytes": _tmpfs(size_bytes=4096),
    "mounts.tmpfs.mode": _tmpfs(mode=0o700),
    "mounts.tmpfs.options": _tmpfs(options="exec"),
    "privileges.credential_spec": _privileges(credential_spec=CredentialSpec(file="x")),
    "privileges.selinux_context": _privileges(selinux_context=SELinuxContext(user="x")),
    "privileges.seccomp_mode": _privileges(seccomp_mode="custom"),
    "privileges.seccomp_profile": _privileges(seccomp_profile=b"{}"),
    "privileges.apparmor_mode": _privileges(apparmor_mode="disabled"),
    "privileges.no_new_privileges": _privileges(no_new_privileges=True),
}
"""Field → what asks for it. Limits are no part of a container."""

LOOKED_AT_ELSEWHERE = (
    *("image", "command", "args", "healthcheck", "user", "groups"),
    "mounts.bind.propagation",
)
"""What the samples of the others are built on, or what depends on who is asked, and where."""


async def treats_fields_as_declared(bench: Bench) -> None:
    """For executors that declare anything at all."""
    declared = getattr(bench.executor, "honours", None)
    for name, fields in SAMPLES.items():
        if declared is None or name in LOOKED_AT_ELSEWHERE:
            continue
        container = attrs.evolve(bench.behaviours.exits(0), **fields)  # type: ignore[arg-type]
        task = bench.task(container)
        task = attrs.evolve(task, container=attrs.evolve(container, env=task.container.env))
        await _tried(bench, name, task, str(declared[name]))


async def _tried(bench: Bench, name: str, task: TaskContext, how: str) -> None:
    try:
        await bench.executor.prepare(task)
    except TaskRejected as error:
        assert how == "refused", f"{name} should be {how}: {error}"
        assert str(error).startswith(name.partition(".")[0]), f"{name} is not named: {error}"
        return
    assert how != "refused", f"{name} should be refused"
    await bench.executor.start(task.id)
    exited = await bench.executor.wait(task.id)
    assert exited.code == 0, f"a task that asks for {name} ended with {exited}"
    await bench.executor.remove(task.id)
