"""Global services (spec: tasks.md section 5)."""

from __future__ import annotations

from pyswarm.model.specs import Global, Placement, RestartPolicy
from pyswarm.model.states import Availability, NodeState, RestartCondition, TaskState

from .harness import Program, World, a_spec


def nodes_of(world: World, service_id: str) -> list[str]:
    return sorted(task.node_id for task in world.live(service_id))


def test_a_task_on_every_node_and_on_new_ones() -> None:
    world = World(2)
    service_id = world.create(a_spec(mode=Global()))
    world.run(2)
    world.node("n3")
    world.run(2)
    assert nodes_of(world, service_id) == ["n1", "n2", "n3"]
    assert {task.slot for task in world.tasks(service_id)} == {0}


def test_drain_down_and_back() -> None:
    world = World(3)
    service_id = world.create(a_spec(mode=Global()))
    world.run(2)
    world.node("n1", availability=Availability.DRAIN)
    world.node("n2", state=NodeState.DOWN)
    world.run(10)
    assert nodes_of(world, service_id) == ["n3"]
    world.node("n1", availability=Availability.ACTIVE)
    world.node("n2", state=NodeState.READY)
    world.run(10)
    assert nodes_of(world, service_id) == ["n1", "n2", "n3"]


def test_constraints_follow_labels() -> None:
    world = World(2)
    spec = a_spec(mode=Global(), placement=Placement(constraints=("node.labels.disk==ssd",)))
    service_id = world.create(spec)
    world.run(2)
    assert world.tasks(service_id) == []
    world.node("n2", labels={"disk": "ssd"})
    world.run(2)
    assert nodes_of(world, service_id) == ["n2"]
    world.node("n2", labels={})
    world.run(5)
    assert nodes_of(world, service_id) == []


def test_failed_task_is_restarted_on_its_node_but_not_while_paused() -> None:
    world = World(2)
    world.programs["app:1"] = Program()
    service_id = world.create(a_spec(mode=Global(), restart=RestartPolicy(delay=1.0)))
    world.run(2)
    for task in world.live(service_id):
        world.report(task, TaskState.FAILED)
    world.run(2)
    assert nodes_of(world, service_id) == ["n1", "n2"]
    world.node("n1", availability=Availability.PAUSE)
    for task in world.live(service_id):
        world.report(task, TaskState.FAILED)
    world.run(5)
    assert nodes_of(world, service_id) == ["n2"]
    world.node("n1", availability=Availability.ACTIVE)
    world.run(5)
    assert nodes_of(world, service_id) == ["n1", "n2"]


def test_a_finished_task_keeps_its_place() -> None:
    world = World(2)
    world.programs["app:1"] = Program(ends_after=1.0)
    policy = RestartPolicy(condition=RestartCondition.NONE)
    service_id = world.create(a_spec(mode=Global(), restart=policy))
    world.run(10)
    world.node("n1", labels={"touched": "yes"})
    world.rebuild()
    world.run(10)
    assert len(world.tasks(service_id)) == 2


def test_removed_node_takes_its_global_tasks_along() -> None:
    world = World(2)
    service_id = world.create(a_spec(mode=Global()))
    world.run(2)
    world.forget_node("n2")
    assert [task.node_id for task in world.tasks(service_id)] == ["n1"]


def test_paused_node_is_brought_up_to_date_when_it_comes_back() -> None:
    world = World(3)
    service_id = world.create(a_spec(mode=Global()))
    world.run(2)
    world.node("n2", availability=Availability.PAUSE)
    world.change(service_id, image="app:2")
    world.run(60)
    assert str(world.status(service_id).state) == "completed"  # type: ignore[union-attr]
    images = {t.node_id: t.spec.container.image for t in world.live(service_id)}
    assert images == {"n1": "app:2", "n2": "app:1", "n3": "app:2"}
    world.node("n2", availability=Availability.ACTIVE)
    world.run(10)
    images = {t.node_id: t.spec.container.image for t in world.live(service_id)}
    assert images == {"n1": "app:2", "n2": "app:2", "n3": "app:2"}


def test_changed_constraints_move_no_task_that_still_fits() -> None:
    world = World(3)
    spec = a_spec(mode=Global(), placement=Placement(constraints=("node.id!=n3",)))
    service_id = world.create(spec)
    world.run(2)
    before = {task.node_id: task.id for task in world.live(service_id)}
    world.change(service_id, placement=Placement(constraints=("node.id!=n1",)))
    world.run(10)
    after = {task.node_id: task.id for task in world.live(service_id)}
    assert (sorted(before), sorted(after)) == (["n1", "n2"], ["n2", "n3"])
    assert after["n2"] == before["n2"]
    (gone,) = [task for task in world.tasks(service_id) if task.node_id == "n1"]
    assert gone.state is TaskState.SHUTDOWN


def test_a_spent_task_of_an_older_spec_is_replaced_where_its_node_fits_again() -> None:
    world = World(1)
    world.programs["app:1"] = Program(ends_after=0.5, exit_code=1)
    policy = RestartPolicy(delay=0.5, max_attempts=1)
    ssd = Placement(constraints=("node.labels.disk==ssd",))
    world.node("n1", labels={"disk": "ssd"})
    service_id = world.create(a_spec(mode=Global(), restart=policy, placement=ssd))
    world.run(10)
    assert [str(task.state) for task in world.tasks(service_id)] == ["failed"] * 2
    world.node("n1", labels={})
    world.change(service_id, image="app:2")
    world.run(5)
    assert len(world.tasks(service_id)) == 2
    world.node("n1", labels={"disk": "ssd"})
    world.run(5)
    assert nodes_of(world, service_id) == ["n1"]
