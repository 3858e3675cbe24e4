"""Changed copies."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.model import (
    KINDS,
    Node,
    NodeDescription,
    Replicated,
    Secret,
    SecretSpec,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    replace,
)
from pyswarm.model.replace import HOT_CLASSES, stamped, unchanged

TASK = Task("t1", "s1", TaskSpec(), slot=3)
HOT: list[Any] = [TASK, Node("n1"), Service("s1", ServiceSpec("web", TaskSpec()))]


@pytest.mark.parametrize("value", HOT, ids=lambda value: type(value).__name__)
def test_a_copy_is_the_class_itself(value: Any) -> None:
    assert type(value) in HOT_CLASSES
    copy = replace(value, version=7)
    assert type(copy) is type(value) and copy.version == 7
    assert copy == attrs.evolve(value, version=7) and value.version == 0
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        copy.version = 8


def test_unknown_fields_are_the_programmers() -> None:
    for value in (*HOT, Replicated(1)):
        with pytest.raises((AttributeError, TypeError)):
            replace(value, colour="red")


def test_other_classes_are_validated() -> None:
    with pytest.raises(InvalidArgument):
        replace(Replicated(1), replicas=-1)
    assert replace(Replicated(1), replicas=2) == Replicated(2)


def test_stamping_works_for_every_kind() -> None:
    secret = stamped(Secret("x", SecretSpec("s")), 5, 1.0, 2.0)
    assert (secret.version, secret.created_at, secret.updated_at) == (5, 1.0, 2.0)
    assert all("__weakref__" not in cls.__slots__ for cls in KINDS.values())  # type: ignore[attr-defined]


def test_unchanged_looks_at_everything_but_the_stamps() -> None:
    assert unchanged(TASK, stamped(TASK, 9, 9.0, 9.0))
    for field in attrs.fields(Task):
        if field.name not in ("version", "created_at", "updated_at"):
            other = replace(TASK, **{field.name: object()})
            assert not unchanged(TASK, other), field.name


def test_names_and_views() -> None:
    task = replace(TASK, service_name="web", node_id="n1", state=TaskState.FAILED, exit_code=3)
    assert task.name == "web.3.t1"
    assert replace(task, slot=0).name == "web.n1.t1"
    assert (task.status.state, task.status.exit_code) == (TaskState.FAILED, 3)
    assert replace(HOT[1], description=NodeDescription(hostname="box")).hostname == "box"
