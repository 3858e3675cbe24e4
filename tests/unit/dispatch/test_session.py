"""What one node is sent: everything once, then differences, and only the secrets it needs."""

from __future__ import annotations

from typing import Any

from pyswarm.dispatch.session import Session, is_stable
from pyswarm.machine import Because
from pyswarm.model import (
    Config,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    Sealed,
    Secret,
    SecretReference,
    SecretSpec,
    Swarm,
    Task,
    TaskSpec,
    TaskState,
    replace,
)
from pyswarm.store import Store

WHY = Because("test")


def payload(text: str) -> Sealed:
    return Sealed(1, b"", text.encode(), len(text), b"")


def make_store() -> Store:
    store = Store()
    tx = store.begin(1, 1.0)
    tx.create(Swarm(id="swarm"), WHY)
    for name in ("a", "b"):
        tx.create(Secret(f"secret-{name}", SecretSpec(name=name), payload(name)), WHY)
    tx.create(Config("config-c", ConfigSpec(name="c"), payload("c")), WHY)
    store.install(tx)
    return store


def task(id: str, *names: str, state: TaskState = TaskState.ASSIGNED, **changes: Any) -> Task:
    secrets = tuple(SecretReference(f"secret-{n}", n, n) for n in names if n != "c")
    configs = tuple(ConfigReference("config-c", "c", "/c") for n in names if n == "c")
    spec = TaskSpec(container=ContainerSpec(image="web", secrets=secrets, configs=configs))
    return Task(id=id, spec=spec, service_id="s", slot=1, node_id="n", state=state, **changes)


def new_session() -> Session:
    return Session("session", "n", "n:1", period=5.0, deadline=15.0)


def keys(message: Any) -> list[str]:
    return [one.id for one in message.dependencies]


def test_the_first_message_has_everything_from_assigned_on() -> None:
    session = new_session()
    tasks = [
        task("t1", "a", "c"),
        task("t2", "a", state=TaskState.RUNNING),
        task("t3", "b", state=TaskState.FAILED),
        task("t4", "b", state=TaskState.PENDING),
    ]
    message = session.full(tasks, make_store())
    assert message.full
    assert message.sequence == 1
    assert [one.id for one in message.tasks] == ["t1", "t2", "t3"]
    assert keys(message) == ["secret-a", "config-c"], "an ended task gets no secret"
    assert [one.payload.ciphertext for one in message.dependencies] == [b"a", b"c"]
    assert len(session) == 3
    assert session.difference(make_store()) is None


def test_a_secret_stays_as_long_as_one_task_needs_it() -> None:
    store, session = make_store(), new_session()
    session.full([], store)
    one, two = task("t1", "a"), task("t2", "a", "b")
    session.changed(None, one)
    first = session.difference(store)
    assert first is not None
    assert (keys(first), first.full, first.sequence) == (["secret-a"], False, 2)
    session.changed(None, two)
    second = session.difference(store)
    assert second is not None
    assert keys(second) == ["secret-b"]
    session.removed("t1")
    third = session.difference(store)
    assert third is not None
    assert third.removed_tasks == ("t1",)
    assert third.removed_dependencies == ()
    session.removed("t2")
    fourth = session.difference(store)
    assert fourth is not None
    assert fourth.removed_dependencies == (("secret", "secret-a"), ("secret", "secret-b"))
    assert session.difference(store) is None


def test_an_ended_task_releases_its_secrets_though_it_stays_assigned() -> None:
    store, session = make_store(), new_session()
    running = task("t1", "a", state=TaskState.RUNNING)
    session.full([running], store)
    failed = replace(running, state=TaskState.FAILED)
    session.changed(running, failed)
    message = session.difference(store)
    assert message is not None
    assert message.tasks == (), "the node said so itself"
    assert message.removed_dependencies == (("secret", "secret-a"),)
    session.changed(failed, replace(failed, desired_state=TaskState.SHUTDOWN))
    message = session.difference(store)
    assert message is not None
    assert [one.desired_state for one in message.tasks] == [TaskState.SHUTDOWN]
    assert message.removed_dependencies == ()
    session.removed("t1")
    message = session.difference(store)
    assert message is not None
    assert (message.removed_tasks, message.removed_dependencies) == (("t1",), ())


def test_a_secret_released_and_needed_again_in_one_commit_stays() -> None:
    store, session = make_store(), new_session()
    old = task("t1", "a", state=TaskState.RUNNING)
    session.full([old], store)
    session.removed("t1")
    session.changed(None, task("t2", "a"))
    message = session.difference(store)
    assert message is not None
    assert (keys(message), message.removed_dependencies) == ([], ())


def test_a_task_that_came_and_went_leaves_nothing_but_its_end() -> None:
    store, session = make_store(), new_session()
    session.full([], store)
    session.changed(None, task("t1", "a"))
    session.removed("t1")
    message = session.difference(store)
    assert message is not None
    assert (message.tasks, keys(message), message.removed_dependencies) == ((), [], ())
    session.removed("never seen")
    assert session.difference(store) is None


def test_a_dependency_that_is_gone_is_left_out() -> None:
    session = new_session()
    message = session.full([task("t1", "a", "gone")], make_store())
    assert keys(message) == ["secret-a"]


def test_a_full_message_forgets_what_was_said() -> None:
    store, session = make_store(), new_session()
    session.full([task("t1", "a")], store)
    session.changed(None, task("t2", "b"))
    message = session.full([task("t2", "b")], store)
    assert [one.id for one in message.tasks] == ["t2"]
    assert keys(message) == ["secret-b"]
    assert (message.removed_tasks, message.removed_dependencies) == ((), ())
    assert session.difference(store) is None


def test_an_agent_need_not_hear_its_own_words() -> None:
    old = task("t1", state=TaskState.STARTING)
    assert is_stable(old, replace(old, state=TaskState.RUNNING, message="started"))
    assert not is_stable(old, replace(old, desired_state=TaskState.SHUTDOWN))
    assigned = task("t1")
    assert not is_stable(assigned, replace(assigned, message="assigned again"))
    same = replace(old, spec=TaskSpec(container=ContainerSpec(image="other")))
    assert not is_stable(old, same)
