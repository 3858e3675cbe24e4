"""From a task to what an executor is handed: its environment and the payloads of its files.

The swarm says of each task, in its environment:

======================== ==========================================================================
``PYSWARM_TASK_ID``       the task's id
``PYSWARM_TASK_NAME``     ``service.slot.id``
``PYSWARM_TASK_SLOT``     the slot from 1, of a job from 0; 0 for a global service
``PYSWARM_SERVICE_ID``    the service's id
``PYSWARM_SERVICE_NAME``  the service's name
``PYSWARM_NODE_ID``       the node's id
``PYSWARM_NODE_HOSTNAME`` the node's host name
``PYSWARM_TASK_ADDR``     the task's first address, without prefix length; only with a network
``PYSWARM_TASK_ADDRS``    all its addresses, with commas between
``PYSWARM_TASK_PORTS``    published ports as ``published:target/protocol@mode``, with commas between
``PYSWARM_PORT_80_TCP``   the published port of target port 80/tcp; one such variable a port
``DOCKER_RESOURCE_GPU``   what the task was given of the generic resource ``gpu``: names or a number
======================== ==========================================================================

What a service itself sets under one of these names comes last and wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyswarm.agent.executor import TaskContext, TaskFile, TaskRejected
from pyswarm.model.objects import Task
from pyswarm.model.resources import Platform


def swarm_environment(task: Task, node_id: str, hostname: str) -> dict[str, str]:
    """What the swarm says of a task."""
    env = {
        "PYSWARM_TASK_ID": task.id,
        "PYSWARM_TASK_NAME": task.name,
        "PYSWARM_TASK_SLOT": str(task.slot),
        "PYSWARM_SERVICE_ID": task.service_id,
        "PYSWARM_SERVICE_NAME": task.service_name,
        "PYSWARM_NODE_ID": node_id,
        "PYSWARM_NODE_HOSTNAME": hostname,
    }
    for one in task.assigned_generic:
        env[f"DOCKER_RESOURCE_{one.kind}".upper()] = ",".join(one.names) or str(one.count)
    addresses = [address for network in task.networks for address in network.addresses]
    if addresses:
        plain = [address.partition("/")[0] for address in addresses]
        env["PYSWARM_TASK_ADDR"] = plain[0]
        env["PYSWARM_TASK_ADDRS"] = ",".join(plain)
    ports = task.endpoint.ports if task.endpoint else ()
    if ports:
        env["PYSWARM_TASK_PORTS"] = ",".join(
            f"{p.published_port}:{p.target_port}/{p.protocol}@{p.publish_mode}" for p in ports
        )
        for port in ports:
            name = f"PYSWARM_PORT_{port.target_port}_{str(port.protocol).upper()}"
            env[name] = str(port.published_port)
    return env


def parse_environment(entries: Iterable[str]) -> dict[str, str]:
    """``K=V`` entries as a mapping; an entry without ``=`` sets nothing, the last one wins."""
    return {
        name: value
        for name, sign, value in (entry.partition("=") for entry in entries)
        if sign and name
    }


def task_context(
    task: Task,
    *,
    hostname: str,
    files: Mapping[str, TaskFile] | None = None,
    platform: Platform = Platform(),
) -> TaskContext:
    """What an executor is handed for ``task``, whose templates were expanded.

    Raises :class:`TaskRejected` for a task that is not one of programs (a network attachment, an
    embedder's own runtime).
    """
    container = task.spec.container
    if container is None:
        raise TaskRejected("this node only runs tasks with a container spec")
    env = swarm_environment(task, task.node_id, hostname) | parse_environment(container.env)
    return TaskContext(task, task.node_id, hostname, container, env, files or {}, platform=platform)
