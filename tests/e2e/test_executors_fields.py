"""Every field of a container, its mounts and its resources is honoured, carried or refused."""

from __future__ import annotations

import attrs
import pytest

from pyswarm.agent import Executor, TaskRejected, task_context
from pyswarm.model import ContainerSpec, Mount, Task, TaskSpec
from pyswarm.model.objects import NodeDescription
from pyswarm.model.resources import Limits, ResourceRequirements
from pyswarm.model.specs import (
    BindOptions,
    ConfigReference,
    CredentialSpec,
    DNSConfig,
    GenericSpec,
    Healthcheck,
    Privileges,
    SecretReference,
    SELinuxContext,
    TmpfsOptions,
    Ulimit,
    VolumeOptions,
)
from pyswarm.model.states import MountType
from pyswarm.runtime.executors import CallableExecutor, ProcessExecutor
from pyswarm.runtime.executors.capabilities import can_make_namespaces
from pyswarm.runtime.executors.honours import EXECUTORS, Honour, names

HERE = "/tmp"


def bind(**options: object) -> dict[str, object]:
    made = BindOptions(**options)  # type: ignore[arg-type]
    return {"mounts": (Mount("/mnt", HERE, type=MountType.BIND, bind=made),)}


def volume(**options: object) -> dict[str, object]:
    return {"mounts": (Mount("/mnt", "vol", volume=VolumeOptions(**options)),)}  # type: ignore[arg-type]


def tmpfs(**options: object) -> dict[str, object]:
    made = TmpfsOptions(**options)  # type: ignore[arg-type]
    return {"mounts": (Mount("/mnt", type=MountType.TMPFS, tmpfs=made),)}


def privileges(**fields: object) -> dict[str, object]:
    return {"privileges": Privileges(**fields)}  # type: ignore[arg-type]


SAMPLES: dict[str, dict[str, object]] = {
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
    "mounts.target": volume(),
    "mounts.source": volume(),
    "mounts.type": tmpfs(),
    "mounts.read_only": {"mounts": (Mount("/mnt", "vol", read_only=True),)},
    "mounts.consistency": {"mounts": (Mount("/mnt", "vol", consistency="cached"),)},
    "mounts.bind.propagation": bind(propagation="shared"),
    "mounts.bind.non_recursive": bind(non_recursive=True),
    "mounts.bind.create_mountpoint": bind(create_mountpoint=True),
    "mounts.bind.read_only_non_recursive": bind(read_only_non_recursive=True),
    "mounts.bind.read_only_force_recursive": bind(read_only_force_recursive=True),
    "mounts.volume.no_copy": volume(no_copy=True),
    "mounts.volume.labels": volume(labels={"a": "b"}),
    "mounts.volume.driver": volume(driver="local"),
    "mounts.volume.driver_options": volume(driver_options={"a": "b"}),
    "mounts.volume.subpath": volume(subpath="."),
    "mounts.tmpfs.size_bytes": tmpfs(size_bytes=4096),
    "mounts.tmpfs.mode": tmpfs(mode=0o700),
    "mounts.tmpfs.options": tmpfs(options="exec"),
    "privileges.credential_spec": privileges(credential_spec=CredentialSpec(file="x")),
    "privileges.selinux_context": privileges(selinux_context=SELinuxContext(user="x")),
    "privileges.seccomp_mode": privileges(seccomp_mode="custom"),
    "privileges.seccomp_profile": privileges(seccomp_profile=b"{}"),
    "privileges.apparmor_mode": privileges(apparmor_mode="disabled"),
    "privileges.no_new_privileges": privileges(no_new_privileges=True),
}


async def work(task: object) -> None:
    """What the tests' image runs."""


def executor(name: str) -> Executor:
    if name == "ProcessExecutor":
        from pyswarm.runtime.executors import Image

        return ProcessExecutor(images={"app": Image(("true",))})
    return CallableExecutor({"app": work}, checks={"check": work}, own_thread=False)


def test_every_field_is_in_every_table_and_has_a_sample() -> None:
    known = list(names())
    assert len(known) == len(set(known))
    for name, table in EXECUTORS.items():
        assert set(table) == set(known), name
    assert set(SAMPLES) == {name for name in known if not name.startswith("resources.")}


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("field", SAMPLES)
async def test_a_field_is_treated_as_the_table_says(field: str, name: str) -> None:
    how = EXECUTORS[name][field]
    container = attrs.evolve(ContainerSpec("app"), **SAMPLES[field])  # type: ignore[arg-type]
    task = task_context(Task("t1", "s1", TaskSpec(container)), hostname="")
    own = executor(name)
    try:
        if how is Honour.REFUSED:
            with pytest.raises(TaskRejected, match=field.partition(".")[0]):
                await own.prepare(task)
        elif how is Honour.AS_ROOT and not can_make_namespaces():
            pytest.skip("only root can tell")
        else:
            await own.prepare(task)
            await own.start("t1")
            await own.wait("t1")
            await own.remove("t1")
    finally:
        await own.aclose()


@pytest.mark.parametrize("name", EXECUTORS)
async def test_limits_are_taken(name: str) -> None:
    limits = ResourceRequirements(Limits(10**8, 64 << 20, 20), swap_bytes=0, memory_swappiness=10)
    task = task_context(
        Task("t1", "s1", TaskSpec(ContainerSpec("app"), resources=limits)), hostname=""
    )
    own = executor(name)
    try:
        await own.prepare(task)
        await own.start("t1")
        assert (await own.wait("t1")).code == 0
    finally:
        await own.aclose()


def test_another_runtime_is_refused() -> None:
    plugin = TaskSpec(generic=GenericSpec("plugin", "x", b"{}"))
    with pytest.raises(TaskRejected, match="only runs tasks with a container spec"):
        task_context(Task("t1", "s1", plugin), hostname=NodeDescription().hostname)
