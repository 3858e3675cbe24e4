"""Rolling updates and rollbacks, second by second (spec: update.md; recorded: updates.jsonl)."""

from __future__ import annotations

import attrs
import pytest

from pyswarm.model.objects import Config
from pyswarm.model.specs import (
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    Placement,
    PortConfig,
    RestartPolicy,
    UpdateConfig,
)
from pyswarm.model.states import (
    Availability,
    FailureAction,
    RestartCondition,
    TaskState,
    UpdateOrder,
    UpdateState,
)
from pyswarm.orchestrator.rollout import progress

from .harness import WHY, EndpointSpec, Global, Program, World, a_spec

CRASHING = Program(ends_after=0.2, exit_code=7)


def begin(replicas: int = 4, update: UpdateConfig | None = None, **fields: object) -> World:
    world = World(3)
    world.create(a_spec(replicas=replicas, update=update, **fields))
    world.run(2)
    world.log.clear()
    world.now = 1000.0 + round(world.now - 1000.0, 6)
    return world


WEB = "service-web"


def images(world: World) -> list[str]:
    return sorted(task.spec.container.image for task in world.live(WEB))  # type: ignore[union-attr]


def state(world: World) -> UpdateState | None:
    status = world.status(WEB)
    return status.state if status else None


def taken(world: World, start: float) -> dict[int, float]:
    """When the new task of each slot was made, in seconds since ``start``."""
    return {
        task.slot: round(task.created_at - start, 3)
        for task in world.tasks(WEB)
        if task.created_at >= start
    }


def test_one_after_the_other_by_default() -> None:
    world = begin(4, UpdateConfig(monitor=1.0))
    start = world.now
    world.change(WEB, image="app:2")
    assert state(world) is UpdateState.UPDATING
    assert world.status(WEB).message == "update in progress"  # type: ignore[union-attr]
    assert world.status(WEB).slots_total == 4  # type: ignore[union-attr]
    world.run(20)
    # the old one needs 1 s to stop, the new one 0.1 s to start
    assert taken(world, start) == {1: 0.0, 2: 1.1, 3: 2.2, 4: 3.3}
    status = world.status(WEB)
    assert status is not None and status.state is UpdateState.COMPLETED
    assert status.message == "update completed" and status.slots_done == 4
    assert status.completed_at - start == pytest.approx(4.4 + 1.0), "one monitor period at the end"
    assert images(world) == ["app:2"] * 4


def test_recorded_parallelism_two_with_delay() -> None:
    """order-par2-delay3: taken at 0.0, 4.76 and 9.26, completed delay + delay + 1 s later."""
    world = begin(5, UpdateConfig(parallelism=2, delay=3.0, monitor=1.0))
    start = world.now
    world.change(WEB, image="app:2")
    world.run(60)
    assert taken(world, start) == {1: 0.0, 2: 0.0, 3: 4.1, 4: 4.1, 5: 8.2}
    status = world.status(WEB)
    assert status is not None
    assert status.completed_at - start == pytest.approx(8.2 + 1.1 + 3.0 + 3.0 + 1.0)


def test_parallelism_zero_is_all_at_once() -> None:
    world = begin(6, UpdateConfig(parallelism=0, monitor=1.0))
    start = world.now
    world.change(WEB, image="app:2")
    assert set(taken(world, start).values()) == {0.0}
    world.run(5)
    assert state(world) is UpdateState.COMPLETED


def test_start_first_never_has_fewer_running() -> None:
    world = begin(2, UpdateConfig(order=UpdateOrder.START_FIRST, monitor=1.0))
    world.change(WEB, image="app:2")
    for _ in range(40):
        world.run(0.1)
        running = [t for t in world.tasks(WEB) if t.state is TaskState.RUNNING]
        assert len(running) >= 2
    assert images(world) == ["app:2", "app:2"]


def test_failure_pauses_by_default() -> None:
    world = begin(3, UpdateConfig(monitor=3.0), restart=RestartPolicy(delay=1.0))
    world.programs["app:2"] = CRASHING
    world.change(WEB, image="app:2")
    world.run(30)
    status = world.status(WEB)
    assert status is not None and status.state is UpdateState.PAUSED
    first = status.failed[0]
    assert status.message == f"update paused due to failure or early termination of task {first}"
    assert status.completed_at == 0.0
    # As recorded (fail-pause): it ran before it failed, so the second slot was taken already.
    assert images(world).count("app:1") == 1, "a paused update stays as it is"
    world.programs["app:3"] = Program()
    world.change(WEB, image="app:3")
    world.run(60)
    assert state(world) is UpdateState.COMPLETED and images(world) == ["app:3"] * 3


def test_rejected_counts_as_failure() -> None:
    world = begin(2, UpdateConfig())
    world.programs["app:2"] = Program(rejected=True)
    world.change(WEB, image="app:2")
    world.run(5)
    assert state(world) is UpdateState.PAUSED


@pytest.mark.parametrize(
    ("after", "counts"), [(0.5, True), (2.9, True), (3.1, False), (20.0, False)]
)
def test_monitor_period(after: float, counts: bool) -> None:
    world = begin(1, UpdateConfig(monitor=3.0), restart=RestartPolicy(delay=1.0))
    world.programs["app:2"] = Program(ends_after=after, exit_code=1)
    world.change(WEB, image="app:2")
    world.run(10)
    assert (state(world) is UpdateState.PAUSED) is counts


def test_monitor_defaults() -> None:
    world = begin(1)
    start = world.now
    world.change(WEB, image="app:2")
    world.run(60)
    assert world.status(WEB).completed_at - start == pytest.approx(1.1 + 30.0)  # type: ignore[union-attr]
    start = world.now
    world.rollback(WEB)
    world.run(60)
    assert state(world) is UpdateState.ROLLBACK_COMPLETED
    assert world.status(WEB).completed_at - start == pytest.approx(1.1 + 5.0)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("replicas", "ratio", "failures"), [(5, 0.2, 2), (4, 0.3, 2), (3, 0.0, 1), (4, 0.5, 3)]
)
def test_failure_ratio_is_strictly_exceeded(replicas: int, ratio: float, failures: int) -> None:
    update = UpdateConfig(monitor=3.0, max_failure_ratio=ratio)
    policy = RestartPolicy(condition=RestartCondition.NONE)
    world = begin(replicas, update, restart=policy)
    world.programs["app:2"] = CRASHING
    world.change(WEB, image="app:2")
    world.run(60)
    status = world.status(WEB)
    assert status is not None and status.state is UpdateState.PAUSED
    assert len(status.failed) == failures


def test_continue_completes_although_all_fail() -> None:
    update = UpdateConfig(monitor=1.0, failure_action=FailureAction.CONTINUE)
    world = begin(3, update, restart=RestartPolicy(delay=1.0))
    world.programs["app:2"] = CRASHING
    world.change(WEB, image="app:2")
    world.run(30)
    assert state(world) is UpdateState.COMPLETED


def test_automatic_rollback() -> None:
    update = UpdateConfig(monitor=2.0, failure_action=FailureAction.ROLLBACK)
    world = begin(3, update, rollback=UpdateConfig(monitor=1.0), restart=RestartPolicy(delay=1.0))
    before = world.service(WEB)
    world.programs["app:2"] = CRASHING
    world.change(WEB, image="app:2")
    refused = world.service(WEB).version
    started = world.status(WEB).started_at  # type: ignore[union-attr]
    world.run(1.4)
    status = world.status(WEB)
    assert status is not None and status.state is UpdateState.ROLLBACK_STARTED
    assert status.message.startswith("update rolled back due to failure or early termination")
    assert status.started_at == started, "as recorded"
    after = world.service(WEB)
    assert after.spec == before.spec and after.spec_version == before.spec_version
    assert after.previous_spec is None
    assert after.spec_written > refused  # who saw the spec between is out of sequence
    world.run(30)
    assert state(world) is UpdateState.ROLLBACK_COMPLETED
    assert world.status(WEB).message == "rollback completed"  # type: ignore[union-attr]
    assert images(world) == ["app:1"] * 3


def test_rollback_that_fails_is_paused() -> None:
    world = begin(2, UpdateConfig(monitor=1.0), rollback=UpdateConfig(monitor=1.0))
    world.change(WEB, image="app:2")
    world.run(20)
    world.programs["app:1"] = CRASHING
    world.rollback(WEB)
    assert world.status(WEB).message == "manually requested rollback"  # type: ignore[union-attr]
    world.run(20)
    status = world.status(WEB)
    assert status is not None and status.state is UpdateState.ROLLBACK_PAUSED
    assert status.message.startswith("update paused due to failure"), "as recorded"


def test_an_update_interrupts_a_rollback() -> None:
    fails = UpdateConfig(monitor=2.0, failure_action=FailureAction.ROLLBACK)
    slow = UpdateConfig(monitor=1.0, delay=1.0)
    world = begin(4, fails, rollback=slow, restart=RestartPolicy(delay=1.0))
    world.programs["app:2"] = CRASHING
    world.change(WEB, image="app:2")
    while state(world) is not UpdateState.ROLLBACK_STARTED:
        world.run(0.2)
    world.change(WEB, image="app:3", update=UpdateConfig(monitor=1.0))
    assert state(world) is UpdateState.UPDATING
    assert world.service(WEB).previous_spec.task.container.image == "app:1"  # type: ignore[union-attr]
    world.run(40)
    assert state(world) is UpdateState.COMPLETED
    assert images(world) == ["app:3"] * 4


def test_second_rollback_goes_forward_again() -> None:
    world = begin(2, UpdateConfig(monitor=0.5), rollback=UpdateConfig(monitor=0.5))
    world.change(WEB, image="app:2", replicas=3)
    world.run(20)
    assert images(world) == ["app:2"] * 3
    world.rollback(WEB)
    world.run(20)
    assert images(world) == ["app:1"] * 2
    world.rollback(WEB)
    world.run(20)
    assert images(world) == ["app:2"] * 3


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ({"labels": {"a": "b"}}, 0),
        ({"replicas": 2}, 0),
        ({"update": UpdateConfig(delay=1.0)}, 0),
        ({"rollback": UpdateConfig(delay=1.0)}, 0),
        ({"placement": Placement(constraints=("node.id!=n9",))}, 0),
        ({"placement": Placement(constraints=("node.id!=n1",))}, 1),
        ({"image": "app:2"}, 2),
        ({"force": True}, 2),
        ({"restart": RestartPolicy(delay=9.0)}, 2),
        ({"endpoint": EndpointSpec(ports=(PortConfig(80, 8080),))}, 2),
    ],
)
def test_what_makes_a_task_dirty(change: dict[str, object], replaced: int) -> None:
    world = begin(2, UpdateConfig(monitor=1.0))
    world.change(WEB, **change)
    world.run(20)
    made = [task for task in world.tasks(WEB) if task.created_at >= 1002.0]
    assert len(made) == replaced
    assert (state(world) is UpdateState.COMPLETED) is bool(replaced)


def test_an_update_interrupts_an_update() -> None:
    world = begin(4, UpdateConfig(monitor=1.0))
    world.change(WEB, image="app:2")
    world.run(1.5)
    world.change(WEB, image="app:3")
    assert world.status(WEB).slots_total == 4  # type: ignore[union-attr]
    world.run(30)
    assert images(world) == ["app:3"] * 4 and state(world) is UpdateState.COMPLETED


def test_update_that_cannot_be_placed_blocks_until_the_next() -> None:
    world = begin(2, UpdateConfig(monitor=1.0))
    world.change(WEB, image="app:2", placement=Placement(constraints=("node.labels.never==x",)))
    world.run(600)
    assert state(world) is UpdateState.UPDATING
    assert images(world) == ["app:1"], "one slot is taken and waits, the other is untouched"
    world.change(WEB, image="app:3", placement=Placement())
    world.run(30)
    assert images(world) == ["app:3"] * 2


def test_drain_in_the_middle_of_an_update() -> None:
    world = begin(6, UpdateConfig(monitor=1.0, delay=1.0))
    world.change(WEB, image="app:2")
    world.run(3)
    world.node("n1", availability=Availability.DRAIN)
    world.run(60)
    assert state(world) is UpdateState.COMPLETED
    assert images(world) == ["app:2"] * 6
    assert "n1" not in {task.node_id for task in world.live(WEB)}


@pytest.mark.parametrize("at", [0.5, 1.5, 4.0, 7.5, 11.0])
def test_a_new_leader_continues_where_the_old_one_stood(at: float) -> None:
    def story(rebuilt: bool) -> list[str]:
        world = begin(4, UpdateConfig(delay=2.0, monitor=3.0, max_failure_ratio=0.5))
        world.programs["app:2"] = Program(ends_after=2.5, exit_code=1)
        world.change(WEB, image="app:2")
        world.run(at)
        if rebuilt:
            world.rebuild()
        world.run(40)
        return world.log

    assert story(True) == story(False)


def test_three_hours_are_milliseconds() -> None:
    world = begin(4, UpdateConfig(delay=3600.0, monitor=10.0))
    world.twins = False
    world.change(WEB, image="app:2")
    world.run(4 * 3600 + 100)
    assert state(world) is UpdateState.UPDATING
    world.run(3601)
    assert state(world) is UpdateState.COMPLETED


def test_failed_start_first_leaves_the_old_ones_running() -> None:
    update = UpdateConfig(order=UpdateOrder.START_FIRST, monitor=2.0)
    world = begin(2, update, restart=RestartPolicy(delay=0.5))
    world.programs["app:2"] = Program(rejected=True)
    world.change(WEB, image="app:2")
    world.run(5.0)
    assert state(world) is UpdateState.PAUSED
    assert images(world).count("app:1") == 2
    world.rollback(WEB)
    world.run(20)
    assert images(world) == ["app:1"] * 2 and state(world) is UpdateState.ROLLBACK_COMPLETED


def test_scale_while_updating() -> None:
    world = begin(4, UpdateConfig(monitor=1.0))
    world.change(WEB, image="app:2")
    world.run(1.5)
    world.change(WEB, replicas=6)
    world.run(1.5)
    world.change(WEB, replicas=2)
    world.run(30)
    assert images(world) == ["app:2"] * 2


def test_finished_tasks_are_updated_too() -> None:
    policy = RestartPolicy(condition=RestartCondition.NONE)
    world = begin(1, UpdateConfig(monitor=1.0), restart=policy)
    world.report(world.tasks(WEB)[0], TaskState.COMPLETE)
    world.change(WEB, image="app:2")
    world.run(20)
    assert images(world) == ["app:2"]


def test_progress_can_be_read_at_any_time() -> None:
    world = begin(4, UpdateConfig(monitor=1.0))
    assert progress(world.service(WEB), world.store) == (0, 0)
    world.change(WEB, image="app:2")
    steps = []
    for _ in range(30):
        world.run(0.2)
        step = progress(world.service(WEB), world.store)
        if step not in steps:
            steps.append(step)
    assert steps == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_global_service_rolls_over_its_nodes() -> None:
    world = World(4)
    service_id = world.create(a_spec(mode=Global(), update=UpdateConfig(parallelism=2, monitor=1)))
    world.run(2)
    start = world.now
    world.change(service_id, image="app:2")
    world.run(20)
    made = {t.node_id: round(t.created_at - start, 3) for t in world.live(service_id)}
    assert made == {"n1": 0.0, "n2": 0.0, "n3": 1.1, "n4": 1.1}
    assert state(world) is UpdateState.COMPLETED


def test_registry_credentials_alone_replace_nothing_that_has_its_image() -> None:
    world = begin(2, UpdateConfig(monitor=1.0))
    spec = world.service(WEB).spec
    container = attrs.evolve(spec.task.container, registry_auth="secret")  # type: ignore[arg-type]
    task = attrs.evolve(spec.task, container=container)
    world.update(WEB, attrs.evolve(spec, task=task))
    world.run(10)
    assert len(world.tasks(WEB)) == 2 and world.status(WEB) is None


def test_a_task_that_an_update_keeps_waits_for_the_one_that_ran_meanwhile() -> None:
    """The minute begins when it is kept, not when it was made."""
    start_first = UpdateConfig(monitor=1.0, order=UpdateOrder.START_FIRST)
    world = begin(1, start_first, restart=RestartPolicy(delay=1000.0))
    world.programs["app:2"] = Program(stop=30.0)
    world.report(world.live(WEB)[0], TaskState.FAILED)
    world.run(100)
    world.change(WEB, image="app:2")
    world.run(0.25)
    assert [str(task.state) for task in world.tasks(WEB)] == ["failed", "ready", "ready"]
    world.rollback(WEB)
    world.run(10)
    assert [str(task.state) for task in world.tasks(WEB)] == ["failed", "ready", "ready"]
    world.run(21)
    assert [str(task.state) for task in world.tasks(WEB)] == ["failed", "running", "shutdown"]


def test_a_task_that_an_update_keeps_does_not_stay_on_a_drained_node() -> None:
    start_first = UpdateConfig(monitor=1.0, order=UpdateOrder.START_FIRST)
    policy = RestartPolicy(delay=1000.0)
    world = begin(1, start_first, rollback=start_first, restart=policy)
    world.report(world.live(WEB)[0], TaskState.FAILED)
    world.run(5)
    waits = world.tasks(WEB)[-1]
    world.change(WEB, image="app:2")
    world.node(waits.node_id, availability=Availability.DRAIN)
    world.rollback(WEB)
    world.run(20)
    assert images(world) == ["app:1"]
    assert world.live(WEB)[0].node_id != waits.node_id


def test_update_of_a_removed_service_ends() -> None:
    world = begin(3, UpdateConfig(monitor=1.0))
    world.change(WEB, image="app:2")
    world.run(1.5)
    world.remove(WEB)
    world.run(30)
    assert world.tasks() == []


@pytest.mark.parametrize("order", UpdateOrder)
def test_two_updates_at_one_moment(order: UpdateOrder) -> None:
    world = begin(3, UpdateConfig(parallelism=0, order=order, monitor=1.0))
    world.change(WEB, image="app:2")
    world.change(WEB, labels={"a": "b"})
    world.change(WEB, image="app:2", labels={"a": "c"})
    world.run(20)
    assert images(world) == ["app:2"] * 3
    # stop-first, the slots have new tasks only, so the later updates find nothing to do
    stop_first = order is UpdateOrder.STOP_FIRST
    assert state(world) is (None if stop_first else UpdateState.COMPLETED)
    assert len(world.tasks(WEB)) == 6


def test_no_automatic_way_back_to_a_spec_whose_config_is_gone() -> None:
    """Its tasks could not start, so the ones that still run are left alone."""
    rollback = UpdateConfig(monitor=1.0, failure_action=FailureAction.ROLLBACK)
    world = World()
    world.programs["crash"] = CRASHING
    config = Config(id="site", spec=ConfigSpec(name="site"))
    world.turn(lambda tx: tx.create(config, WHY))
    container = ContainerSpec("app:1", configs=(ConfigReference("site", "site", "/site"),))
    spec = a_spec(replicas=3, update=rollback)
    world.create(attrs.evolve(spec, task=attrs.evolve(spec.task, container=container)))
    world.run(5)
    world.change(WEB, image="crash")
    world.turn(lambda tx: tx.delete("config", "site", WHY))
    world.run(20)
    status = world.status(WEB)
    assert status is not None and status.state is UpdateState.PAUSED
    assert status.message.endswith(", and not rolled back: config not found: site")
    left = [task for task in world.live(WEB) if task.spec.container == container]
    assert len(left) >= 1
