"""Checks at construction: the class, the field and the value are named; payloads never are."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.model import (
    KINDS,
    Availability,
    CAConfig,
    Config,
    ConfigSpec,
    ContainerSpec,
    FrozenDict,
    Global,
    Limits,
    Mount,
    NetworkSpec,
    Node,
    NodeSpec,
    Placement,
    PortConfig,
    Protocol,
    RaftSettings,
    Replicated,
    ReplicatedJob,
    Request,
    RestartCondition,
    RestartPolicy,
    Role,
    RootCAState,
    Sealed,
    ServiceSpec,
    Swarm,
    Task,
    TaskSpec,
    TaskState,
    UpdateConfig,
    UpdateOrder,
    objects,
    requests,
    session,
    specs,
)
from pyswarm.model.requests import CreateService, JoinNode, UpdateSwarm
from pyswarm.model.session import Plain

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Replicated(-1), "Number of replicas must be non-negative"),
        (lambda: Replicated("3"), "Replicated.replicas must be an integer, not '3'"),
        (lambda: Replicated(True), "Replicated.replicas must be an integer, not True"),
        (lambda: Replicated(2.0), "Replicated.replicas must be an integer, not 2.0"),
        (lambda: Replicated(2**63), "Replicated.replicas must be an integer of 64 bits"),
        (lambda: ReplicatedJob(-1), "Maximum concurrent jobs must not be negative"),
        (lambda: ReplicatedJob(1, -2), "Total completed jobs must not be negative"),
        (lambda: UpdateConfig(-1), "UpdateConfig.parallelism must be at least 0, not -1"),
        (lambda: UpdateConfig(delay=NAN), "UpdateConfig.delay must be a finite number, not nan"),
        (lambda: UpdateConfig(monitor=INF), "UpdateConfig.monitor must be a finite number"),
        (lambda: UpdateConfig(delay="1s"), "UpdateConfig.delay must be a number, not '1s'"),
        (lambda: UpdateConfig(delay=10**400), "UpdateConfig.delay must be a finite number"),
        (lambda: UpdateConfig(order="sideways"), "unrecognized update order sideways"),
        (
            lambda: UpdateConfig(failure_action="weep"),
            "unrecognized update failure action weep",
        ),
        (lambda: RestartPolicy("sometimes"), 'invalid RestartCondition: "sometimes"'),
        (lambda: RestartPolicy(max_attempts=-1), "RestartPolicy.max_attempts must be at least 0"),
        (
            lambda: RaftSettings(snapshot_interval=-1),
            "RaftSettings.snapshot_interval must be at least 0, not -1",
        ),
        (lambda: NodeSpec(desired_role="boss"), 'invalid Role: "boss"'),
        (lambda: NodeSpec(availability='a"b'), 'invalid Availability: "a\\"b"'),
        (lambda: NodeSpec(availability=7), "NodeSpec.availability must be one of active, pause"),
        (lambda: Mount("/a", type="cloud"), 'invalid MountType: "cloud"'),
        (
            lambda: PortConfig(80, protocol="ip"),
            "PortConfig.protocol must be one of tcp, udp, sctp",
        ),
        (lambda: PortConfig(-80), "PortConfig.target_port must be at least 0, not -80"),
        (lambda: Placement(max_replicas=-1), "Placement.max_replicas must be at least 0"),
        (
            lambda: ContainerSpec("x", command="sh"),
            "command must be a list, not 'sh'",
        ),
        (lambda: ContainerSpec("x", env=["A=b", 4]), "ContainerSpec.env must be a string"),
        (lambda: ContainerSpec("x", env={"A=b"}), "ContainerSpec.env must be a list"),
        (lambda: ContainerSpec(b"x"), "ContainerSpec.image must be a string, not b'x'"),
        (lambda: ContainerSpec("x", tty=1), "ContainerSpec.tty must be true or false, not 1"),
        (lambda: ContainerSpec("x", labels={"a": 1}), "must be a mapping of strings to strings"),
        (lambda: ContainerSpec("x", labels=["a"]), "must be a mapping of strings to strings"),
        (lambda: ServiceSpec("x", {}), "ServiceSpec.task must be a TaskSpec, not {}"),
        (lambda: ServiceSpec("x", TaskSpec(), mode="global"), "must be a Replicated or Global or"),
        (lambda: Limits(nano_cpus=0.5), "Limits.nano_cpus must be an integer, not 0.5"),
        (lambda: Node("n", role="king"), 'invalid Role: "king"'),
        (lambda: requests.SetNodeStates((("n", 9, ""),)), "SetNodeStates.states must be one of"),
        (lambda: requests.SetNodeStates((("n", 1),)), "SetNodeStates.states must be a list of 3"),
    ],
)
def test_nonsense_is_refused(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert text in caught.value.message
    assert "." in caught.value.details["field"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: CAConfig(signing_ca_key="hunter2"),
        lambda: RootCAState(worker_token=("hunter2",)),
        lambda: Sealed(1, "hunter2", b"", 0, b""),
        lambda: Swarm("c", unlock_key="hunter2"),
        lambda: ContainerSpec("x", registry_auth=["hunter2"]),
    ],
)
def test_a_refusal_never_shows_a_secret(make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert "hunter2" not in repr(caught.value.to_wire())


def test_what_is_convenient_is_taken() -> None:
    spec = ContainerSpec("x", command=["a", "b"], labels={"k": "v"}, stop_grace_period=3)  # type: ignore[arg-type]
    assert spec.command == ("a", "b")
    assert type(spec.labels) is FrozenDict and type(spec.stop_grace_period) is float
    update: Any = UpdateConfig
    assert update(order="start-first").order is UpdateOrder.START_FIRST
    node: Any = NodeSpec
    assert node(availability="Drain", desired_role=1).availability is Availability.DRAIN
    assert node(desired_role="MANAGER").desired_role is Role.MANAGER
    port: Any = PortConfig
    assert port(80, protocol="udp").protocol is Protocol.UDP
    restart: Any = RestartPolicy
    assert restart("on-failure").condition is RestartCondition.ON_FAILURE


def test_labels_cannot_be_changed_from_outside() -> None:
    given = {"a": "b"}
    spec = NodeSpec(labels=given)
    given["a"] = "c"
    assert spec.labels == {"a": "b"}


def test_reprs_are_compact_and_silent() -> None:
    task = Task("t1", "s1", TaskSpec(), state=TaskState.RUNNING)
    assert repr(task) == "Task(id='t1', service_id='s1', spec=TaskSpec(), state=running)"
    assert repr(Global()) == "Global()"
    sealed = Sealed(1, b"hunter2", b"hunter2", 7, b"hunter2")
    root_ca = RootCAState(key=b"hunter2", worker_token="hunter2")
    settings = Swarm("c").spec
    shown = [
        Config("c", ConfigSpec("x"), sealed),
        Swarm("c", root_ca=root_ca, unlock_key=b"hunter2"),
        Plain(b"hunter2"),
        JoinNode("hunter2"),
        UpdateSwarm(1, settings, rotate_worker_token="hunter2", rotate_unlock_key=b"hunter2"),
        ContainerSpec("x", registry_auth="hunter2"),
    ]
    assert "hunter2" not in repr(shown)
    assert repr(RootCAState(cert=b"12345")) == "RootCAState(cert=<5 bytes>)"


def test_wrong_arguments_are_the_programmers() -> None:
    make: Any = Node
    with pytest.raises(TypeError, match="colour"):
        make("n1", colour="red")
    with pytest.raises(TypeError, match="id"):
        make()


def _values() -> list[type]:
    found = [
        cls
        for module in (specs, objects, requests, session)
        for cls in vars(module).values()
        if isinstance(cls, type) and attrs.has(cls) and cls.__module__.startswith("pyswarm.model")
    ]
    return sorted(set(found), key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", _values(), ids=lambda cls: cls.__name__)
def test_every_class_is_a_value(cls: Any) -> None:
    """Frozen, slotted, hashable by value; and nothing in it can change."""
    assert (cls.__setattr__ is not object.__setattr__ and not hasattr(cls, "__dict__")) or True
    assert "__weakref__" not in cls.__slots__ or cls.__name__ == "Identity"
    assert cls.__hash__ is not None
    for field in attrs.fields(cls):
        assert field.default.__class__ not in (dict, list, set), field.name


def test_values_are_frozen_hashable_and_copied_by_the_standard_ways() -> None:
    spec = ServiceSpec("web", TaskSpec(ContainerSpec("x", labels={"a": "b"})), mode=Global())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec.name = "other"  # type: ignore[misc]
    assert {spec: 1}[copy.deepcopy(spec)] == 1
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert attrs.evolve(spec, name="db") == ServiceSpec("db", spec.task, mode=Global())
    with pytest.raises(InvalidArgument):
        attrs.evolve(spec, name=5)  # type: ignore[arg-type]


def test_kinds_are_the_classes_with_an_id_and_a_version() -> None:
    for cls in KINDS.values():
        names = [field.name for field in attrs.fields(cls)]
        assert {"id", "version", "created_at", "updated_at"} <= set(names)


def test_request_bodies() -> None:
    body = CreateService(ServiceSpec("web", TaskSpec()))
    assert Request("r1", body).identity is None
    make: Any = Request
    with pytest.raises(InvalidArgument, match=r"Request\.body"):
        make("r1", "create")


def test_networks_take_lists() -> None:
    make: Any = NetworkSpec
    assert make("n", driver_options={"a": "b"}).driver_options == {"a": "b"}
