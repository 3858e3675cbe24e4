"""The constraint language: spec/scheduler.md section 3 and what a real swarm answered."""

from __future__ import annotations

import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.model.objects import Node, NodeDescription
from pyswarm.model.resources import Platform
from pyswarm.model.specs import NodeSpec
from pyswarm.model.states import Role
from pyswarm.scheduler import Constraint

NODE = Node(
    id="abc123",
    spec=NodeSpec(labels={"region": "East", "Tier": "1", "star": "*", "sign": "ſet"}),
    role=Role.MANAGER,
    addr="10.99.0.12",
    description=NodeDescription(
        hostname="Node-3",
        platform=Platform("linux", "x86_64"),
        engine_labels={"storage": "ssd"},
    ),
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("node.id==ABC123", True),
        ("node.id!=abc123", False),
        ("NODE.HOSTNAME == node-3", True),
        ("node.hostname!=x y", True),
        ("node.role==manager", True),
        ("node.role==Manager", True),
        ("node.role!=worker", True),
        ("node.role==bogus", False),
        ("node.platform.os==LINUX", True),
        ("node.platform.arch==x86_64", True),
        ("node.platform.arch==amd64", False),
        ("node.labels.region==east", True),
        ("Node.Labels.region==EAST", True),
        ("node.labels.Region==east", False),
        ("node.labels.Region!=east", True),
        ("node.labels.missing!=x", True),
        ("node.labels.missing==x", False),
        ("node.labels.region==e*", False),
        ("node.labels.star==*", True),
        ("node.labels.sign==set", True),
        ("node.labels.==x", False),
        ("node.labels.!=x", False),
        ("engine.labels.storage==SSD", True),
        ("engine.labels.storage!=ssd", False),
        ("node.bogus==1", False),
        ("node.bogus!=1", False),
        ("foo==bar", False),
        ("node.ip==10.99.0.12", True),
        ("node.ip==::ffff:10.99.0.12", True),
        ("node.ip!=10.99.0.12", False),
        ("node.ip==10.99.0.12/31", True),
        ("node.ip==10.99.0.13/31", True),
        ("node.ip!=10.99.0.0/24", False),
        ("node.ip!=2001:db8::/32", True),
        ("node.ip==bad", False),
        ("node.ip!=bad", False),
        ("node.ip==10.99.0.0/255.255.255.0", False),
    ],
)
def test_what_holds(text: str, holds: bool) -> None:
    assert Constraint.parse(text).matches(NODE) is holds


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("node.hostname==x", False),
        ("node.hostname!=x", True),
        ("engine.labels.a!=x", True),
        ("node.platform.os==linux", False),
        ("node.ip!=10.0.0.1", True),
        ("node.ip==10.0.0.0/8", False),
        ("node.ip!=10.0.0.0/8", True),
    ],
)
def test_a_node_that_has_not_said_anything(text: str, holds: bool) -> None:
    assert Constraint.parse(text).matches(Node(id="n")) is holds


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ("node.role", "constraint expected one operator from ==, !=", 9),
        ("node.role=manager", "constraint expected one operator from ==, !=", 9),
        ("node.role>manager", "constraint expected one operator from ==, !=", 17),
        ("node.role==", "value '' is invalid", 11),
        ("node.role===manager", "value '=manager' is invalid", 11),
        ("node.id==x!=y", "value 'x!=y' is invalid", 10),
        ("node.labels.x==a,b", "value 'a,b' is invalid", 16),
        ("node.labels.a b==x", "key 'node.labels.a b' is invalid", 13),
        ("==x", "key '' is invalid", 0),
        ("x==1", "key 'x' is invalid", 0),
        ("node.id==a\u00a0b", "value 'a\u00a0b' is invalid", 10),
    ],
)
def test_what_is_refused_and_where(text: str, message: str, at: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Constraint.parse(text)
    assert str(caught.value) == message
    assert caught.value.details["at"] == at
    assert caught.value.hint.splitlines()[1:3] == [f"  {text}", f"  {' ' * at}^"]


def test_a_trailing_newline_is_trimmed_not_matched() -> None:
    assert Constraint.parse("node.id==abc123\n").matches(NODE)


def test_shows_itself() -> None:
    assert str(Constraint.parse(" node.id !=  x ")) == "node.id!=x"
