"""What an executor of programs has to do besides: checks for one that runs a POSIX shell.

They hold for a node that runs as root and for one that does not; where a mount really is, a task
learns from ``PYSWARM_MOUNT_<n>`` in both cases. Give them :class:`.executors.ShellBehaviours`,
whose image has no command of its own::

    await check_executor(MyExecutor, ShellBehaviours(), checks=PROGRAM_CHECKS)
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from pyswarm.agent import TaskContext, TaskRejected, swarm_environment
from pyswarm.model.resources import GenericResource
from pyswarm.model.specs import ContainerSpec, Mount, Ulimit, VolumeOptions
from pyswarm.model.states import MountType
from pyswarm.testing.executors import Bench, Check, ShellBehaviours
from pyswarm.testing.fields import treats_fields_as_declared


def _shell(bench: Bench, script: str, **fields: object) -> ContainerSpec:
    assert isinstance(bench.behaviours, ShellBehaviours), "these checks are for programs"
    return attrs.evolve(bench.behaviours.shell(script), **fields)  # type: ignore[arg-type]


async def _refusal(bench: Bench, container: ContainerSpec) -> str:
    try:
        await bench.executor.prepare(bench.task(container))
    except TaskRejected as error:
        return str(error)
    raise AssertionError(f"expected TaskRejected for {container}")


async def wants_a_command(bench: Bench) -> None:
    container = attrs.evolve(_shell(bench, ""), command=())
    assert await _refusal(bench, container) == "No command specified"


async def works_where_it_is_told(bench: Bench) -> None:
    assert await bench.run(_shell(bench, "pwd", dir="/")) == ["/"]
    own = "pwd; touch mine && echo writable"
    first, second = [await bench.run(_shell(bench, own)) for _ in range(2)]
    assert first[1] == second[1] == "writable"
    assert first[0] != second[0], "each task works in a directory of its own"


async def keeps_volumes(bench: Bench) -> None:
    volume = (Mount("/data", "kit-volume"),)
    write, read = "echo kept > ${PYSWARM_MOUNT_1:?}/f", "cat ${PYSWARM_MOUNT_1:?}/f"
    await bench.run(_shell(bench, write, mounts=volume))
    assert await bench.run(_shell(bench, read, mounts=volume)) == ["kept"]


async def mounts_what_volumes_ask_for(bench: Bench) -> None:
    """For executors that can: shared by those who use it at the time, gone with the last."""
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=711"}
    mounts = (Mount("/data", "kit-mounted", volume=VolumeOptions(driver_options=options)),)
    if str(_declared(bench).get("mounts.volume.driver_options")) == "refused":
        refusal = await _refusal(bench, _shell(bench, "true", mounts=mounts))
        assert refusal.startswith("mounts.volume.driver_options is asked for"), refusal
        return
    first = "cd ${PYSWARM_MOUNT_1:?} && touch f && stat -c %a . && sleep 1000"
    id = await bench.start(_shell(bench, first, mounts=mounts))
    await bench.line(id, "711")
    assert await bench.run(_shell(bench, "ls ${PYSWARM_MOUNT_1:?}", mounts=mounts)) == ["f"]
    await bench.executor.terminate(id)
    again = (Mount("/data", "kit-mounted"),)  # the volume knows what it was made with
    script = "stat -c %a ${PYSWARM_MOUNT_1:?}; ls -A ${PYSWARM_MOUNT_1:?}"
    assert await bench.run(_shell(bench, script, mounts=again)) == ["711"]


def _declared(bench: Bench) -> Mapping[str, object]:
    declared: Mapping[str, object] = getattr(bench.executor, "honours", {})
    return declared


async def forgets_volumes_without_a_name(bench: Bench) -> None:
    script = "ls -A ${PYSWARM_MOUNT_1:?}; touch ${PYSWARM_MOUNT_1:?}/f && echo written"
    for _ in range(2):
        assert await bench.run(_shell(bench, script, mounts=(Mount("/data"),))) == ["written"]


async def gives_memory_to_write_to(bench: Bench) -> None:
    mounts = (Mount("/tm", type=MountType.TMPFS),)
    script = "ls -A ${PYSWARM_MOUNT_1:?}; touch ${PYSWARM_MOUNT_1:?}/f && echo written"
    for _ in range(2):
        assert await bench.run(_shell(bench, script, mounts=mounts)) == ["written"]


async def binds_what_is_there(bench: Bench) -> None:
    there = (Mount("/mnt", "/", type=MountType.BIND),)
    assert "etc" in await bench.run(_shell(bench, "ls ${PYSWARM_MOUNT_1:?}", mounts=there))
    missing = (Mount("/mnt", "/nonexistent-path", type=MountType.BIND),)
    assert await _refusal(bench, _shell(bench, "true", mounts=missing)) == (
        'invalid mount config for type "bind": bind source path does not exist: /nonexistent-path'
    )


async def sets_limits(bench: Bench) -> None:
    limits = (Ulimit("nofile", 99, 199),)
    script = "ulimit -Sn; ulimit -Hn"
    assert await bench.run(_shell(bench, script, ulimits=limits)) == ["99", "199"]


async def heeds_the_stop_signal(bench: Bench) -> None:
    script = "trap 'exit 9' USR1; echo ready; while :; do sleep 60 & wait; done"
    id = await bench.start(_shell(bench, script, stop_signal="SIGUSR1"), grace=1000.0)
    await bench.line(id, "ready")
    await bench.executor.shutdown(id)
    await bench.ended(id, 9)


async def names_generic_resources(bench: Bench) -> None:
    generic = (GenericResource("gpu", names=("u1", "u2")), GenericResource("fpga", 3))
    script = "echo $DOCKER_RESOURCE_GPU $DOCKER_RESOURCE_FPGA"
    context = bench.task(_shell(bench, script))
    task = attrs.evolve(context.task, assigned_generic=generic)
    env = swarm_environment(task, context.node_id, context.hostname)
    context = attrs.evolve(context, task=task, env=env)
    assert await _printed(bench, context) == ["u1,u2 3"]


async def _printed(bench: Bench, task: TaskContext) -> list[str]:
    await bench.executor.prepare(task)
    await bench.executor.start(task.id)
    await bench.ended(task.id, 0)
    return [line.data.decode() async for line in bench.executor.logs(task.id)]


async def counts_what_it_uses(bench: Bench) -> None:
    id = await bench.start(_shell(bench, "sleep 1000 & echo ready; wait"))
    await bench.line(id, "ready")
    usage = await bench.executor.stats(id)
    assert usage.processes == 2, usage
    assert usage.memory_bytes > 0
    await bench.executor.terminate(id)


PROGRAM_CHECKS: tuple[Check, ...] = (
    wants_a_command,
    works_where_it_is_told,
    keeps_volumes,
    mounts_what_volumes_ask_for,
    forgets_volumes_without_a_name,
    gives_memory_to_write_to,
    binds_what_is_there,
    sets_limits,
    heeds_the_stop_signal,
    names_generic_resources,
    counts_what_it_uses,
    treats_fields_as_declared,
)
"""All of them, each independent of the others."""
