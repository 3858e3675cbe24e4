"""Plain data for the log and the wire."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.model import (
    Identity,
    NodeState,
    Replicated,
    Request,
    Role,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    service_spec,
)
from pyswarm.model.requests import CreateService, SetNodeStates
from pyswarm.model.wire import decode, decode_trusted, differ_of, encode, field_number, patch

SPEC = service_spec("web", image="nginx", replicas=2, ports=["80:80/udp"])


def _packed(value: Any) -> Any:
    return msgpack.unpackb(msgpack.packb(encode(value)), strict_map_key=False)


def test_only_what_differs_from_the_default() -> None:
    assert encode(ServiceSpec("web", TaskSpec())) == {0: "web", 1: {}}
    assert encode(Replicated(3)) == {0: 3}
    assert encode(SPEC)[field_number(ServiceSpec, "mode")] == ["Replicated", {0: 2}]


@pytest.mark.parametrize(
    "request_",
    [
        Request("r1", CreateService(SPEC), Identity("n1", Role.MANAGER, "c1")),
        Request("r2", SetNodeStates((("n1", NodeState.DOWN, "gone"),))),
    ],
)
def test_requests_cross_the_wire(request_: Request) -> None:
    assert decode(Request, _packed(request_)) == request_


def test_what_another_node_sends_is_checked() -> None:
    data = _packed(SPEC)
    data[field_number(ServiceSpec, "mode")] = ["Replicated", {0: -5}]
    with pytest.raises(InvalidArgument, match="non-negative"):
        decode(ServiceSpec, data)
    mode = decode_trusted(ServiceSpec, data).mode  # our own log is not checked again
    assert isinstance(mode, Replicated) and mode.replicas == -5


@pytest.mark.parametrize(
    "data",
    [None, 5, [], "x", {}, {0: "web"}, {0: "web", 1: 5}, {0: 5, 1: {}}, {0: "web", 1: {}, 2: "x"}],
)
def test_garbage_is_refused(data: Any) -> None:
    with pytest.raises(InvalidArgument):
        decode(ServiceSpec, data)


def test_what_is_newer_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="ServiceSpec: unknown field 99"):
        decode(ServiceSpec, {0: "web", 1: {}, 99: 1})
    with pytest.raises(InvalidArgument, match="unknown class 'Pod'"):
        decode(ServiceSpec, {0: "web", 1: {}, 2: ["Pod", {}]})


def test_differences() -> None:
    old = Task("t1", "s1", TaskSpec(), slot=1, message="a")
    new = Task("t1", "s1", TaskSpec(), slot=1, state=TaskState.RUNNING, port_status=())
    data = differ_of(Task)(old, new)
    assert data == {
        field_number(Task, "state"): TaskState.RUNNING.value,
        field_number(Task, "message"): "",
    }
    patched = patch(old, data)
    patched.__class__ = Task
    assert patched == new and old.message == "a"
