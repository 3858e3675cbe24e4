"""What people rely on about where tasks go, through all reconcilers (guide: services, nodes)."""

from __future__ import annotations

from collections import Counter

from pyswarm.model.specs import Global, Placement, Preference, UpdateConfig
from pyswarm.model.states import Availability, NodeState, TaskState

from .harness import World, a_spec

RACK = Placement(preferences=(Preference("node.labels.rack"),))


def on(world: World, service_id: str) -> dict[str, int]:
    """Running tasks by node, nodes without any left out."""
    return dict(sorted(Counter(task.node_id for task in world.live(service_id)).items()))


def test_the_guides_example_of_n_plus_1() -> None:
    """Guide, "Control service placement": "if there are N nodes with the rack label (and then some
    others), and your service is configured to run N + 1 replicas, the +1 will be scheduled on a
    node that doesn't already have the service if there is one, regardless of whether that node has
    the rack label or not"."""
    for labelled, others in ((3, 2), (1, 1), (4, 1), (3, 0)):
        world = World(0)
        for number in range(1, labelled + 1):
            world.node(f"n{number}", labels={"rack": str(number)})
        for number in range(1, others + 1):
            world.node(f"other{number}")
        service_id = world.create(a_spec(replicas=labelled + 1, placement=RACK))
        world.run(2)
        placed = on(world, service_id)
        if others:
            assert sorted(placed.values()) == [1] * (labelled + 1)  # nobody has two
            assert sum(node.startswith("other") for node in placed) == 1
        else:
            assert sorted(placed.values()) == [1] * (labelled - 1) + [2]


def test_nodes_without_the_label_are_one_group_with_an_equal_share() -> None:
    """Guide, "Missing or null labels"."""
    world = World(0)
    for name, labels in {"a": {"rack": "1"}, "b": {}, "c": {"rack": ""}, "d": {}}.items():
        world.node(name, labels=labels)
    service_id = world.create(a_spec(replicas=6, placement=RACK))
    world.run(2)
    assert on(world, service_id) == {"a": 3, "b": 1, "c": 1, "d": 1}


def test_a_drained_node_is_emptied_and_gets_nothing_back() -> None:
    world = World(3)
    service_id = world.create(a_spec(replicas=6))
    world.run(2)
    world.node("n2", availability=Availability.DRAIN)
    world.run(20)
    assert on(world, service_id) == {"n1": 3, "n3": 3}
    world.node("n2", availability=Availability.ACTIVE)
    world.run(20)
    assert on(world, service_id) == {"n1": 3, "n3": 3}
    world.change(service_id, replicas=9)
    world.run(5)
    assert on(world, service_id) == {"n1": 3, "n2": 3, "n3": 3}


def test_a_paused_node_keeps_what_it_has_and_gets_nothing_new() -> None:
    world = World(3)
    service_id = world.create(a_spec(replicas=3))
    world.run(2)
    world.node("n2", availability=Availability.PAUSE)
    world.change(service_id, replicas=7)
    world.run(20)
    assert on(world, service_id) == {"n1": 3, "n2": 1, "n3": 3}


def test_a_new_node_gets_nothing_until_something_is_placed() -> None:
    world = World(2)
    service_id = world.create(a_spec(replicas=4))
    world.run(2)
    world.node("n3")
    world.run(20)
    assert on(world, service_id) == {"n1": 2, "n2": 2}
    world.change(service_id, replicas=6)
    world.run(5)
    assert on(world, service_id) == {"n1": 2, "n2": 2, "n3": 2}


def test_a_forced_update_evens_out_what_joining_did_not() -> None:
    """Guide, "docker service update --force": nothing in the spec changed, every task moves."""
    world = World(2)
    service_id = world.create(a_spec(replicas=6))
    world.run(2)
    before = {task.id for task in world.live(service_id)}
    world.node("n3")
    world.change(service_id, force=True)
    world.run(300)
    assert on(world, service_id) == {"n1": 2, "n2": 2, "n3": 2}
    assert before.isdisjoint(task.id for task in world.live(service_id))


def test_what_waits_is_placed_when_a_node_can_take_it() -> None:
    world = World(1)
    placement = Placement(constraints=("node.labels.disk == SSD",), max_replicas=1)
    service_id = world.create(a_spec(replicas=2, placement=placement))
    world.run(5)
    (first, _) = world.tasks(service_id)
    assert first.state is TaskState.PENDING
    assert first.err == "no suitable node (scheduling constraints not satisfied on 1 node)"
    world.node("n1", labels={"disk": "ssd"})
    world.run(5)
    assert on(world, service_id) == {"n1": 1}
    waiting = [task for task in world.tasks(service_id) if task.state is TaskState.PENDING]
    assert [t.err for t in waiting] == ["no suitable node (max replicas per node limit exceed)"]
    world.node("n2", labels={"disk": "ssd"})
    world.run(5)
    assert on(world, service_id) == {"n1": 1, "n2": 1}


def test_a_replicated_task_leaves_a_node_whose_label_is_gone() -> None:
    world = World(2)
    world.node("n1", labels={"disk": "ssd"})
    placement = Placement(constraints=("node.labels.disk==ssd",))
    service_id = world.create(a_spec(replicas=1, placement=placement))
    world.run(2)
    world.node("n1", labels={})
    world.node("n2", labels={"disk": "ssd"})
    world.run(20)
    assert on(world, service_id) == {"n2": 1}


def test_a_global_service_ignores_preferences_and_follows_eligibility() -> None:
    """On every eligible node, also on those that join or become eligible later; shut down where
    constraints no longer hold."""
    world = World(0)
    world.node("a", labels={"rack": "1"})
    world.node("b", labels={"rack": "1"})
    world.node("c", labels={"rack": "2", "off": "yes"})
    world.node("d", state=NodeState.DOWN)
    world.node("e", availability=Availability.PAUSE)
    placement = Placement(
        constraints=("node.labels.off!=yes",), preferences=(Preference("node.labels.rack"),)
    )
    service_id = world.create(a_spec(mode=Global(), placement=placement))
    world.run(5)
    assert on(world, service_id) == {"a": 1, "b": 1}
    world.node("f")
    world.node("c", labels={})
    world.node("d", state=NodeState.READY)
    world.node("e", availability=Availability.ACTIVE)
    world.run(20)
    assert on(world, service_id) == dict.fromkeys("abcdef", 1)
    world.node("b", labels={"off": "yes"})
    world.run(20)
    assert on(world, service_id) == dict.fromkeys("acdef", 1)
    ended = [task for task in world.tasks(service_id) if task.node_id == "b"]
    assert ended and all(task.state > TaskState.RUNNING for task in ended)


def test_a_limit_of_replicas_holds_while_a_node_is_drained() -> None:
    world = World(3)
    service_id = world.create(a_spec(replicas=3, placement=Placement(max_replicas=1)))
    world.run(2)
    world.node("n2", availability=Availability.DRAIN)
    world.run(20)
    assert on(world, service_id) == {"n1": 1, "n3": 1}
    (waiting,) = [task for task in world.tasks(service_id) if task.state is TaskState.PENDING]
    assert waiting.err == (
        "no suitable node (max replicas per node limit exceed; 1 node not available for new tasks)"
    )
    world.change(service_id, image="app:2", update=UpdateConfig(monitor=1.0))
    world.run(20)  # stop-first, the new one takes the place of the old one
    assert on(world, service_id) == {"n1": 1, "n3": 1}
    world.node("n2", availability=Availability.ACTIVE)
    world.run(20)
    assert on(world, service_id) == {"n1": 1, "n2": 1, "n3": 1}
    assert {task.spec_version for task in world.live(service_id)} == {
        world.service(service_id).spec_version
    }
