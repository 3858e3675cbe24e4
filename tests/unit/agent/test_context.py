"""What a task is told of itself, and what it is handed."""

from __future__ import annotations

import pytest

from pyswarm.agent import TaskFile, TaskRejected, parse_environment, task_context
from pyswarm.model.objects import Endpoint, NetworkAttachment, Task
from pyswarm.model.specs import (
    AttachmentSpec,
    ContainerSpec,
    EndpointSpec,
    PortConfig,
    TaskSpec,
)
from pyswarm.model.states import Protocol, PublishMode
from unit.agent.world import make_task

WEB = PortConfig(80, 8080)
DNS = PortConfig(53, 5353, Protocol.UDP, PublishMode.HOST)


def test_what_the_swarm_says_of_a_task() -> None:
    attached = (NetworkAttachment("n1", ("10.20.0.5/26",)), NetworkAttachment("n2", ("fd::5/64",)))
    task = make_task(networks=attached, endpoint=Endpoint(EndpointSpec(), (WEB, DNS)))
    assert task_context(task, hostname="node-1").env == {
        "PYSWARM_TASK_ID": "t1",
        "PYSWARM_TASK_NAME": "web.1.t1",
        "PYSWARM_TASK_SLOT": "1",
        "PYSWARM_SERVICE_ID": "s1",
        "PYSWARM_SERVICE_NAME": "web",
        "PYSWARM_NODE_ID": "n1",
        "PYSWARM_NODE_HOSTNAME": "node-1",
        "PYSWARM_TASK_ADDR": "10.20.0.5",
        "PYSWARM_TASK_ADDRS": "10.20.0.5,fd::5",
        "PYSWARM_TASK_PORTS": "8080:80/tcp@ingress,5353:53/udp@host",
        "PYSWARM_PORT_80_TCP": "8080",
        "PYSWARM_PORT_53_UDP": "5353",
    }


def test_without_networks_and_ports_nothing_is_said_of_them() -> None:
    env = task_context(make_task(), hostname="h").env
    assert not [name for name in env if "ADDR" in name or "PORT" in name]


def test_what_a_service_sets_wins() -> None:
    container = ContainerSpec(image="host", env=("PYSWARM_TASK_SLOT=mine", "A=1"))
    env = task_context(make_task(container=container), hostname="h").env
    assert (env["PYSWARM_TASK_SLOT"], env["A"]) == ("mine", "1")


@pytest.mark.parametrize(
    ("entries", "env"),
    [
        (("A=1", "B=x=y", "C="), {"A": "1", "B": "x=y", "C": ""}),
        (("A=1", "A=2"), {"A": "2"}),
        (("A", "=x", ""), {}),
    ],
)
def test_entries_of_the_environment(entries: tuple[str, ...], env: dict[str, str]) -> None:
    assert parse_environment(entries) == env


def test_secrets_and_configs_by_name() -> None:
    files = {
        "/run/secrets/a": TaskFile("secret", "a", "/run/secrets/a", b"hunter2"),
        "/etc/b": TaskFile("config", "b", "/etc/b", b"x"),
    }
    task = task_context(make_task(), hostname="h", files=files)
    assert (task.secrets, task.configs) == ({"a": b"hunter2"}, {"b": b"x"})
    assert "hunter2" not in repr(task)
    assert (task.name, task.slot, task.service_name, task.stop_grace_seconds) == (
        "web.1.t1",
        1,
        "web",
        10.0,
    )


def test_what_is_no_program_is_refused() -> None:
    task = Task("t1", "s1", TaskSpec(attachment=AttachmentSpec("c")))
    with pytest.raises(TaskRejected, match="container spec"):
        task_context(task, hostname="h")
