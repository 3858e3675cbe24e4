"""Services in one call."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.model import (
    Config,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    EndpointMode,
    EndpointSpec,
    GenericResource,
    Global,
    GlobalJob,
    Limits,
    LogDriver,
    Mount,
    Network,
    NetworkAttachmentConfig,
    NetworkSpec,
    Placement,
    PortConfig,
    Preference,
    Replicated,
    ReplicatedJob,
    ResourceRequirements,
    Resources,
    RestartCondition,
    RestartPolicy,
    Secret,
    SecretReference,
    SecretSpec,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
    UpdateOrder,
    service_spec,
)

build: Any = service_spec


def test_everything_at_once() -> None:
    spec = service_spec(
        "web",
        image="nginx:1",
        command=["run"],
        args=["-v"],
        env={"A": "b", "EMPTY": "", "BARE": None},
        workdir="/srv",
        user="www",
        labels={"l": "1"},
        container_labels={"c": "1"},
        mounts=["data:/var:ro"],
        secrets=["token", {"source": "key", "target": "k", "mode": 0o400}],
        configs=[Config("c1", ConfigSpec("conf"))],
        networks=["front", Network("n1", NetworkSpec("back"))],
        ports=["8080:80", 53],
        endpoint_mode="vip",
        stop_grace_period="1m",
        cap_add=["NET_ADMIN"],
        replicas=3,
        constraints=["node.role==worker"],
        preferences=["spread=node.labels.zone"],
        max_replicas_per_node=2,
        reserve_cpu=0.5,
        reserve_memory="512M",
        limit_memory="1g",
        generic={"gpu": 2},
        log_driver="json-file",
        log_options={"max-size": "1m"},
        restart_condition="on-failure",
        restart_delay="2s",
        update={"parallelism": 2, "delay": "10s"},
        update_order="start-first",
        rollback=UpdateConfig(3),
        rollback_monitor="4s",
        force_update=1,
    )
    container = ContainerSpec(
        "nginx:1",
        command=("run",),
        args=("-v",),
        env=("A=b", "EMPTY=", "BARE"),
        dir="/srv",
        user="www",
        labels={"c": "1"},
        mounts=(Mount("/var", "data", read_only=True),),
        secrets=(SecretReference("", "token"), SecretReference("", "key", "k", mode=0o400)),
        configs=(ConfigReference("c1", "conf"),),
        stop_grace_period=60.0,
        capability_add=("NET_ADMIN",),
    )
    task = TaskSpec(
        container,
        resources=ResourceRequirements(
            Limits(0, 2**30),
            Resources(500_000_000, 512 * 2**20, (GenericResource("gpu", 2),)),
        ),
        restart=RestartPolicy(RestartCondition.ON_FAILURE, 2.0),
        placement=Placement(("node.role==worker",), (Preference("node.labels.zone"),), 2),
        log_driver=LogDriver("json-file", {"max-size": "1m"}),
        networks=(NetworkAttachmentConfig("front"), NetworkAttachmentConfig("n1")),
        force_update=1,
    )
    assert spec == ServiceSpec(
        "web",
        task,
        Replicated(3),
        {"l": "1"},
        UpdateConfig(2, 10.0, order=UpdateOrder.START_FIRST),
        UpdateConfig(3, monitor=4.0),
        EndpointSpec(EndpointMode.VIP, (PortConfig(80, 8080), PortConfig(53))),
    )


def test_what_is_not_said_is_not_set() -> None:
    assert service_spec("web", image="nginx") == ServiceSpec(
        "web", TaskSpec(ContainerSpec("nginx"))
    )


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({"mode": "global"}, Global()),
        ({"mode": "global-job"}, GlobalJob()),
        ({"mode": "replicated-job", "replicas": 4}, ReplicatedJob(4, 4)),
        ({"mode": "replicated-job", "replicas": 4, "max_concurrent": 2}, ReplicatedJob(2, 4)),
        ({"mode": Replicated(2)}, Replicated(2)),
        ({}, Replicated(1)),
    ],
)
def test_modes(options: dict[str, Any], mode: Any) -> None:
    assert build("web", **options).mode == mode


def test_cpu_and_memory_are_limit_and_reservation() -> None:
    wanted = service_spec("web", cpu=2, memory="1g", limit_memory="2g").task.resources
    assert wanted.limits == Limits(2 * 10**9, 2**31)
    assert wanted.reservations == Resources(2 * 10**9, 2**30)


def test_handles_and_objects_are_references() -> None:
    class Handle:
        value = Secret("x1", SecretSpec("token"))

    container = build("web", secrets=[Handle()]).task.container
    assert container.secrets == (SecretReference("x1", "token"),)
    given = SecretReference("x2", "other")
    assert build("web", secrets=[given]).task.container.secrets == (given,)


@pytest.mark.parametrize(
    "options",
    [
        {"replicas": -1},
        {"mode": "sideways"},
        {"mode": "global", "replicas": 2},
        {"ports": "80:80"},
        {"ports": ["80:x"]},
        {"env": "A=b"},
        {"env": [1]},
        {"command": "sh -c"},
        {"memory": "lots"},
        {"cpu": "many"},
        {"update": {"speed": 1}},
        {"update_delay": "soon"},
        {"restart_condition": "sometimes"},
        {"constraints": "node.role==worker"},
        {"preferences": ["node.labels.zone"]},
        {"secrets": [5]},
        {"networks": "front"},
        {"labels": {"a": 1}},
        {"generic": {"gpu": "2"}},
        {"image": None},
    ],
    ids=str,
)
def test_nonsense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        build("web", **options)


def test_keywords_that_do_not_exist_are_the_programmers() -> None:
    with pytest.raises(TypeError, match="colour"):
        build("web", colour="red")
