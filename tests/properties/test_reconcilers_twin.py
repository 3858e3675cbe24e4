"""Law 15: random lives of a swarm, in which a rebuilt reconciler always decides as the old one.

Every turn of the harness is decided twice, by the long-lived reconcilers and by twins made from the
store, and both must write the same. Here the turns come from random specs, updates, failures, node
changes and times. At the end the world is healed and must converge: each service has what its spec
says, nothing is leaked, no address or port is given twice.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.model.specs import (
    EndpointSpec,
    NetworkAttachmentConfig,
    Placement,
    PortConfig,
    Preference,
    UpdateConfig,
)
from pyswarm.model.states import (
    Availability,
    EndpointMode,
    FailureAction,
    NodeState,
    RestartCondition,
    TaskState,
    UpdateOrder,
    UpdateState,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from orchestrator.harness import (
    Global,
    GlobalJob,
    Program,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    World,
    a_spec,
)

NAMES = ("a", "b", "c")
IMAGES = ("good", "crash", "reject", "slow", "done")
PROGRAMS = {
    "good": Program(),
    "crash": Program(ends_after=0.7, exit_code=1),
    "reject": Program(rejected=True),
    "slow": Program(prepare=3.0, start=2.0, stop=8.0),
    "done": Program(ends_after=2.0),
}

PLACEMENTS = (
    Placement(),
    Placement(constraints=("node.id!=n1",)),
    Placement(constraints=("node.labels.z==1",)),
    Placement(preferences=(Preference("node.labels.z"),)),
)
ENDPOINTS = (
    None,
    EndpointSpec(),
    EndpointSpec(ports=(PortConfig(80),)),
    EndpointSpec(ports=(PortConfig(80), PortConfig(81, 70_000))),  # of which there is none
    EndpointSpec(mode=EndpointMode.DNSRR),
)

policies = st.builds(
    RestartPolicy,
    condition=st.sampled_from(RestartCondition),
    delay=st.sampled_from([None, 0.0, 1.5]),
    max_attempts=st.sampled_from([0, 0, 2]),
    window=st.sampled_from([0.0, 4.0]),
)
updates = st.builds(
    UpdateConfig,
    parallelism=st.integers(0, 2),
    delay=st.sampled_from([0.0, 1.0, 6.0]),
    failure_action=st.sampled_from(FailureAction),
    monitor=st.sampled_from([None, 0.5, 2.0]),
    max_failure_ratio=st.sampled_from([0.0, 0.4]),
    order=st.sampled_from(UpdateOrder),
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(IMAGES),
        "replicas": st.integers(0, 4),
        "force": st.just(True),
        "restart": policies,
        "update": updates,
        "rollback": updates,
        "labels": st.sampled_from([{"x": "1"}, {"x": "2"}]),
        "placement": st.sampled_from(PLACEMENTS),
        "endpoint": st.sampled_from(ENDPOINTS),
    },
)
modes = st.sampled_from(
    [Replicated(3), Replicated(1), Global(), ReplicatedJob(1, 3), ReplicatedJob(2), GlobalJob()]
)
names = st.sampled_from(NAMES)
nodes = st.sampled_from(["n1", "n2", "n3", "n4"])
steps = st.one_of(
    st.tuples(st.just("create"), names, modes, st.sampled_from(IMAGES), policies, st.booleans()),
    st.tuples(st.just("change"), names, changes),
    st.tuples(st.just("change"), names, changes),
    st.tuples(st.just("rollback"), names),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("state"), nodes, st.sampled_from([NodeState.DOWN, NodeState.READY])),
    st.tuples(st.just("availability"), nodes, st.sampled_from(Availability)),
    st.tuples(st.just("label"), nodes, st.sampled_from(["0", "1"])),
    st.tuples(st.just("forget"), nodes),
    st.tuples(st.just("rebuild")),
    st.tuples(st.just("fail"), st.integers(0, 20)),
    st.tuples(st.just("run"), st.sampled_from([0.05, 0.3, 1.0, 4.0, 20.0])),
    st.tuples(st.just("run"), st.sampled_from([0.3, 1.0, 4.0, 90.0])),
)


def take(world: World, step: tuple[Any, ...]) -> None:
    verb, *rest = step
    known = world.store.by_name("service", rest[0]) if rest and rest[0] in NAMES else None
    service_id = known.id if known is not None else ""
    if verb == "create" and known is None:
        _, mode, image, policy, attached = rest
        networks = (NetworkAttachmentConfig("net-small"),) if attached else ()
        spec = a_spec(rest[0], image=image, mode=mode, restart=policy, networks=networks)
        world.create(spec)
    elif verb == "change" and known is not None:
        world.change(service_id, **_fitting(known, dict(rest[1])))
    elif verb == "rollback" and known is not None and known.previous_spec is not None:
        world.rollback(service_id)
    elif verb == "remove" and known is not None:
        world.remove(service_id)
    elif verb == "state":
        world.node(rest[0], state=rest[1])
    elif verb == "availability":
        world.node(rest[0], availability=rest[1])
    elif verb == "label":
        world.node(rest[0], labels={"z": rest[1]})
    elif verb == "forget" and world.store.node(rest[0]) is not None:
        world.forget_node(rest[0])
    elif verb == "rebuild":
        world.rebuild()
    elif verb == "fail":
        running = [task for task in world.tasks() if task.state is TaskState.RUNNING]
        if running:
            world.report(running[rest[0] % len(running)], TaskState.FAILED)
    elif verb == "run":
        world.run(rest[0])


def _fitting(service: Any, change: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the control API would refuse for this mode."""
    mode = service.spec.mode
    if not isinstance(mode, Replicated):
        change.pop("replicas", None)
    if isinstance(mode, (ReplicatedJob, GlobalJob)):
        change.pop("update", None)
        change.pop("rollback", None)
    return change


def heal(world: World) -> None:
    """Every node is well, every program works, every update gets its time."""
    for node in list(world.store.nodes()):
        world.node(node.id, state=NodeState.READY, availability=Availability.ACTIVE)
        world.node(node.id, labels={"z": "1"})
    world.node("n9", labels={"z": "1"})
    world.programs = {name: Program() for name in PROGRAMS}
    for service in list(world.store.services()):
        if isinstance(service.spec.mode, (Replicated, Global)):
            spec = attrs.evolve(
                service.spec,
                update=UpdateConfig(monitor=1.0, failure_action=FailureAction.CONTINUE),
                task=attrs.evolve(service.spec.task, force_update=1000, restart=None),
                endpoint=None,
            )
            world.update(service.id, spec)
    world.run(400)


def check(world: World) -> None:
    store = world.store
    taken: dict[str, str] = {}
    for task in store.tasks():
        assert task.state is not TaskState.NEW or task.desired_state > TaskState.RUNNING
        if task.state <= TaskState.RUNNING:
            for attachment in task.networks:
                for address in attachment.addresses:
                    _unique(taken, address, task.id)
    for service in store.services():
        endpoint = service.endpoint
        for vip in endpoint.virtual_ips if endpoint else ():
            _unique(taken, vip.address, service.id)
        for port in endpoint.ports if endpoint else ():
            _unique(taken, f"port {port.published_port}", service.id)
        _check_service(world, service)
    for node in store.nodes():
        for attachment in node.attachments:
            for address in attachment.addresses:
                _unique(taken, address, node.id)


def _unique(taken: dict[str, str], what: str, holder: str) -> None:
    assert taken.setdefault(what, holder) == holder, f"{what}: {holder} and {taken[what]}"


def _check_service(world: World, service: Any) -> None:
    live = [
        task
        for task in world.tasks(service.id)
        if task.desired_state is TaskState.RUNNING and task.state is TaskState.RUNNING
    ]
    mode = service.spec.mode
    if isinstance(mode, Replicated):
        assert len(live) == mode.replicas
        assert len({task.slot for task in live}) == mode.replicas
    elif isinstance(mode, Global):
        fit = [
            node.id
            for node in world.store.nodes()
            if not (node.id == "n1" and "node.id!=n1" in service.spec.task.placement.constraints)
        ]
        assert sorted(task.node_id for task in live) == sorted(fit)
    if isinstance(mode, (Replicated, Global)):
        status = service.update_status
        assert status is None or status.state is UpdateState.COMPLETED
        assert all(task.spec == service.spec.task for task in live)
        for slot in {(task.slot, task.node_id if not task.slot else "") for task in live}:
            held = world.store.tasks_of_slot(service.id, *slot)
            ended = [task for task in held if task.state > TaskState.RUNNING]
            assert len(ended) <= 5


def life(story: list[tuple[Any, ...]], changes_max: int | None) -> World:
    # With little room both do the same in the end, but may leave another part over meanwhile.
    world = World(3, changes_max=changes_max, history=3, twins=changes_max is None)
    world.programs = dict(PROGRAMS)
    world.network("small", ipam=_small())
    for step in story:
        take(world, step)
    return world


def _small() -> Any:
    from pyswarm.model.specs import IPAMConfig, IPAMOptions

    return IPAMOptions(configs=(IPAMConfig(subnet="192.168.0.0/27"),))


def _creating(name: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[Any, ...]]:
    images = st.sampled_from(IMAGES)
    return st.tuples(st.just("create"), name, modes, images, policies, st.booleans())


beginnings = st.tuples(*(_creating(st.just(name)) for name in NAMES[:2]))


@settings(max_examples=60)
@given(beginnings, st.lists(steps, min_size=8, max_size=40), st.sampled_from([None, None, 12]))
def test_a_rebuilt_twin_decides_the_same(
    beginning: tuple[Any, ...], story: list[Any], changes_max: int | None
) -> None:
    world = life([*beginning, *story], changes_max)
    heal(world)
    check(world)
