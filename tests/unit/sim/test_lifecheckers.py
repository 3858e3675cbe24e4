"""Each rule of a service's life finds what breaks it, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pyswarm.machine import Because
from pyswarm.model import (
    Replicated,
    SecretReference,
    Service,
    Swarm,
    SwarmSpec,
    Task,
    TaskOrigin,
    TaskState,
    UpdateOrder,
    UpdateState,
    UpdateStatus,
    replace,
    service_spec,
)
from pyswarm.model.session import Assignments, Dependency, Plain
from pyswarm.node import Published, SendTo
from pyswarm.sim.lifecheckers import SecretsStayHome, UpdatesTakeTheirTime, check_lives
from pyswarm.store import Change, Commit, Store

WHY = Because("test")


def a_service(order: str = "stop-first", parallelism: int = 1) -> Service:
    spec = service_spec(
        "web", replicas=3, update_order=order, update_parallelism=parallelism, secrets=[
            SecretReference("s1", "key")
        ],
    )  # fmt: skip
    status = UpdateStatus(UpdateState.UPDATING, "update in progress", 10.0, slots_total=3)
    return Service("web", spec, spec_version=5, update_status=status)


def a_task(id: str, service: Service, slot: int = 1, **fields: Any) -> Task:
    return Task(id, service.id, service.spec.task, slot=slot, service_name="web", **fields)


def coming_up(id: str, service: Service, slot: int) -> Task:
    return a_task(
        id, service, slot, spec_version=5, created_at=11.0, origin=TaskOrigin.UPDATED,
        desired_state=TaskState.READY, state=TaskState.PREPARING,
    )  # fmt: skip


def observed(checker: Any, *commits: list[Change]) -> list[str]:
    found = []
    for version, changes in enumerate(commits, 1):
        effect = Published(Commit(version, float(version), tuple(changes)))
        found += [str(one) for one in checker.observe(0.0, None, effect)]
    return found


def made(thing: Any, because: Because = WHY) -> Change:
    return Change(type(thing).__name__.lower(), None, thing, because)


def test_too_many_slots_at_once() -> None:
    for parallelism, found in ((1, 1), (2, 0), (0, 0)):
        service = a_service(parallelism=parallelism)
        tasks = [made(coming_up(f"t{n}", service, n)) for n in (1, 2)]
        assert len(observed(UpdatesTakeTheirTime(), [made(service), *tasks])) == found


def test_slots_that_are_up_do_not_count() -> None:
    service = a_service()
    first = coming_up("t1", service, 1)
    up = replace(first, state=TaskState.RUNNING, running_at=12.0)
    commits = [[made(service), made(first)], [Change("task", first, up, WHY)],
               [made(coming_up("t2", service, 2))]]  # fmt: skip
    assert observed(UpdatesTakeTheirTime(), *commits) == []


def test_start_first_stops_nothing_too_early() -> None:
    code = Because("update-old-task")
    for new_state, found in ((TaskState.STARTING, 1), (TaskState.RUNNING, 0)):
        service = a_service(order=str(UpdateOrder.START_FIRST))
        old = a_task("old", service, state=TaskState.RUNNING)
        new = replace(coming_up("new", service, 1), state=new_state)
        stopped = replace(old, desired_state=TaskState.SHUTDOWN)
        commits = [[made(service), made(old), made(new)], [Change("task", old, stopped, code)]]
        assert len(observed(UpdatesTakeTheirTime(), *commits)) == found


def test_secrets_sent_astray() -> None:
    service = a_service()
    dependency = Dependency("secret", "s1", "key", Plain(b"x"))
    for state, found in ((TaskState.ASSIGNED, 0), (TaskState.FAILED, 1)):
        task = a_task("t1", service, node_id="n1", state=state)
        message = Assignments("s", 1, True, (task,), dependencies=(dependency,))
        effect = SendTo("n1", "n1:2377", message)
        assert len(list(SecretsStayHome().observe(0.0, None, effect))) == found
    empty = SendTo("n1", "n1:2377", Assignments("s", 1, True, (), dependencies=(dependency,)))
    assert len(list(SecretsStayHome().observe(0.0, SimpleNamespace(), empty))) == 1


def a_store(service: Service, *tasks: Task) -> Store:
    store = Store()
    tx = store.begin(1, 1.0)
    tx.create(Swarm("swarm", spec=SwarmSpec(task_history_retention_limit=2)), WHY)
    tx.create(service, WHY)
    for task in tasks:
        tx.create(task, WHY)
    store.install(tx)
    return store


def test_the_end_of_a_life() -> None:
    service = replace(a_service(), update_status=None)
    running = a_task("t1", service, node_id="n1", state=TaskState.RUNNING)
    ended = [
        a_task(f"e{n}", service, state=TaskState.FAILED, desired_state=TaskState.SHUTDOWN)
        for n in range(2)
    ]
    held = [("n1", [("secret", "s1")])]
    assert check_lives(a_store(service, running, ended[0]), held) == []
    [kept] = check_lives(a_store(service, running, *ended), held)
    assert kept.invariant == "history"
    [secret] = check_lives(a_store(service, running), [*held, ("n2", [("secret", "s1")])])
    assert secret.invariant == "secrets"
    other = service_spec("web", image="other", replicas=1)
    moved = replace(service, spec=other)
    [spec] = check_lives(a_store(moved, running), held)
    assert spec.invariant == "specs"
    paused = replace(moved, update_status=UpdateStatus(UpdateState.PAUSED))
    assert check_lives(a_store(paused, running), held) == []
    assert isinstance(moved.spec.mode, Replicated)
