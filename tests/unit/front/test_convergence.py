"""What a service's state means: a table of stores and outcomes, without a swarm."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.errors import NotFound
from pyswarm.machine import Because
from pyswarm.model import (
    ContainerSpec,
    Global,
    Node,
    NodeDescription,
    NodeState,
    Replicated,
    RestartCondition,
    RestartPolicy,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    UpdateState,
    UpdateStatus,
)
from pyswarm.runtime.front.convergence import Blocked, Converged, Failed, Watcher
from pyswarm.store import Store

NEW = TaskSpec(container=ContainerSpec("new"))
OLD = TaskSpec(container=ContainerSpec("old"))
ONCE = TaskSpec(container=ContainerSpec("new"), restart=RestartPolicy(RestartCondition.NONE))
REASON = "no suitable node (1 node not available for new tasks)"


def service(replicas: int = 1, task: TaskSpec = NEW, **fields: Any) -> Service:
    spec = ServiceSpec("web", task, Replicated(replicas))
    return Service("s", spec, spec_version=5, **fields)


def task(number: int = 1, **fields: Any) -> Task:
    spec = fields.pop("spec", NEW)
    fields = {"slot": number, "state": TaskState.RUNNING, "node_id": "n", **fields}
    version = 3 if spec is OLD else 5
    return Task(f"t{number}{len(fields)}", "s", spec, spec_version=version, **fields)


def store_of(service: Service, *tasks: Task, node: NodeState = NodeState.READY) -> Store:
    store = Store()
    tx = store.begin(1, 100.0)
    tx.create(Node("n", description=NodeDescription("node-1"), state=node), Because("test"))
    for thing in (service, *tasks):
        tx.create(thing, Because("test"))
    store.install(tx)
    return store


def status(state: UpdateState, message: str = "said so") -> UpdateStatus:
    return UpdateStatus(state, message, 1.0)


SHUTDOWN = TaskState.SHUTDOWN
PENDING = {"state": TaskState.PENDING, "node_id": "", "err": REASON}
FAILED = {"state": TaskState.FAILED, "desired_state": SHUTDOWN, "err": "boom", "spec": ONCE}

CASES: dict[str, tuple[type | None, Store]] = {
    "all run": (Converged, store_of(service(2), task(1), task(2))),
    "nothing wanted": (Converged, store_of(service(0))),
    "an old one still stops": (
        Converged,
        store_of(service(1), task(1), task(1, spec=OLD, desired_state=SHUTDOWN)),
    ),
    "one is missing": (None, store_of(service(2), task(1))),
    "one too many": (None, store_of(service(1), task(1), task(2))),
    "one starts": (None, store_of(service(1), task(1, state=TaskState.STARTING))),
    "one is outdated": (None, store_of(service(1), task(1, spec=OLD))),
    "a silent node": (None, store_of(service(1), task(1), node=NodeState.UNKNOWN)),
    "waits for a node": (Blocked, store_of(service(1), task(1, **PENDING), node=NodeState.DOWN)),
    "nodes are not known yet": (
        None,
        store_of(service(1), task(1, **PENDING), node=NodeState.UNKNOWN),
    ),
    "one waits, one starts": (
        None,
        store_of(service(2), task(1, **PENDING), task(2, state=TaskState.READY)),
    ),
    "one waits, one runs": (
        Blocked,
        store_of(service(2), task(1, **PENDING), task(2), node=NodeState.READY),
    ),
    "ended for good": (Failed, store_of(service(1, ONCE), task(1, **FAILED))),
    "ended, and gets another": (
        None,
        store_of(service(1), task(1, **{**FAILED, "spec": NEW})),
    ),
    "paused": (
        Failed,
        store_of(service(1, update_status=status(UpdateState.PAUSED)), task(1)),
    ),
    "still watched": (
        Converged,
        store_of(service(1, update_status=status(UpdateState.UPDATING)), task(1)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_outcome(case: str) -> None:
    expected, store = CASES[case]
    seen = store.service("s")
    assert seen is not None
    outcome = Watcher(seen).look(store)
    assert type(outcome) is (expected or type(None))
    if isinstance(outcome, Blocked):
        assert outcome.reason == REASON
        assert [one.reason for one in outcome.explanations] == [REASON]
    if isinstance(outcome, Failed):
        assert ("boom" in outcome.reason) != ("said so" in outcome.reason)


def test_monitored_waits_for_the_last_period() -> None:
    """An update under way is not over; a completed one is."""
    under_way = service(1, update_status=status(UpdateState.UPDATING))
    assert Watcher(under_way, monitored=True).look(store_of(under_way, task(1))) is None
    over = service(1, update_status=status(UpdateState.COMPLETED))
    found = Watcher(over, monitored=True).look(store_of(over, task(1)))
    assert isinstance(found, Converged)


def test_a_spec_that_went_back_is_a_failed_update() -> None:
    """Whoever waited for version 7 and finds 5 was rolled back; who came later was not."""
    back = service(1, update_status=status(UpdateState.ROLLBACK_COMPLETED, "rollback completed"))
    store = store_of(back, task(1))
    wanted = Service("s", back.spec, spec_version=7)
    outcome = Watcher(wanted).look(store)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "the update was undone: rollback completed"
    assert isinstance(Watcher(back).look(store), Converged)


def test_global_services_want_a_task_on_each_node_that_fits() -> None:
    spec = ServiceSpec("web", NEW, Global())
    everywhere = Service("s", spec, spec_version=5)
    ready = task(0, slot=0)
    assert isinstance(Watcher(everywhere).look(store_of(everywhere, ready)), Converged)
    assert Watcher(everywhere).look(store_of(everywhere)) is None
    down = store_of(everywhere, node=NodeState.DOWN)
    assert isinstance(Watcher(everywhere).look(down), Converged)


def test_a_removed_service_and_a_late_one() -> None:
    watcher = Watcher(service())
    with pytest.raises(NotFound, match="service s not found"):
        watcher.look(Store())
    watcher.look(store_of(service(2), task(1), task(2, state=TaskState.READY)))
    assert "1 of 2 tasks" in str(watcher.late(3.0))
    assert watcher.late(3.0).details == {"wanted": 2, "done": 1}
