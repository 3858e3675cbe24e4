"""What a user gets wrong has a typed error, and nothing half done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pyswarm import Cluster
from pyswarm.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfSequence,
    SwarmError,
    Unavailable,
    Unimplemented,
)
from pyswarm.model import ContainerSpec, Global, Replicated, ServiceSpec, TaskSpec
from pyswarm.model.requests import RemoveNode
from pyswarm.node.calls import Barrier
from pyswarm.node.whatif import Drain, Scale
from pyswarm.runtime import MemoryNetwork
from pyswarm.runtime.executors import CallableExecutor
from pyswarm.testing import LocalSwarm
from swarms import WAIT_S, one_node

Verb = Callable[[Cluster], Awaitable[Any]]

REFUSED: dict[str, tuple[type[SwarmError], str, Verb]] = {
    "no time to be ready": (
        InvalidArgument,
        "0 or more: -1",
        lambda c: c.wait_ready(timeout=-1),
    ),
    "no time to converge": (
        InvalidArgument,
        "0 or more: nan",
        lambda c: converged(c, float("nan")),
    ),
    "no time for a rotation": (
        InvalidArgument,
        "0 or more: '5'",
        lambda c: c.secrets.rotate("token", b"new", timeout="5"),  # type: ignore[arg-type]
    ),
    "unknown service": (NotFound, "service nope not found", lambda c: c.services.get("nope")),
    "unknown node": (NotFound, "node nope not found", lambda c: c.nodes.get("nope")),
    "unknown secret": (NotFound, "secret nope not found", lambda c: c.secrets.get("nope")),
    "unknown network": (NotFound, "network nope not found", lambda c: c.networks.get("nope")),
    "unknown task": (NotFound, "task nope not found", lambda c: c.tasks.get("nope")),
    "empty reference": (InvalidArgument, "must not be empty", lambda c: c.services.get("")),
    "empty name": (InvalidArgument, "name must be provided", lambda c: make(c, "")),
    "bad name": (InvalidArgument, "valid as a DNS name", lambda c: make(c, "no spaces")),
    "long name": (InvalidArgument, "63 characters or fewer", lambda c: make(c, "x" * 64)),
    "taken name": (AlreadyExists, "service web already exists", lambda c: make(c, "web")),
    "taken name, other case": (AlreadyExists, "service WEB already", lambda c: make(c, "WEB")),
    "negative replicas": (InvalidArgument, "non-negative", lambda c: make(c, "a", replicas=-1)),
    "no number": (InvalidArgument, "must be an integer", lambda c: make(c, "a", replicas="x")),
    "malformed constraint": (
        InvalidArgument,
        "constraint",
        lambda c: make(c, "a", constraints=["node.labels.x"]),
    ),
    "unknown network of a service": (
        NotFound,
        "network nope not found",
        lambda c: make(c, "a", networks=["nope"]),
    ),
    "unknown secret of a service": (
        NotFound,
        "secret nope not found",
        lambda c: make(c, "a", secrets=["nope"]),
    ),
    "unknown config of a service": (
        NotFound,
        "config nope not found",
        lambda c: make(c, "a", configs=["nope"]),
    ),
    "bad mode": (InvalidArgument, "invalid mode", lambda c: make(c, "a", mode="sometimes")),
    "replicas of a global service": (
        InvalidArgument,
        "replicas can only be used",
        lambda c: make(c, "a", mode="global", replicas=2),
    ),
    "bad duration": (
        InvalidArgument,
        "invalid duration",
        lambda c: make(c, "a", restart_delay="soon"),
    ),
    "bad port": (InvalidArgument, "port", lambda c: make(c, "a", ports=["80:http"])),
    "malformed subnet": (
        InvalidArgument,
        "invalid subnet 10.1.2.3/99",
        lambda c: c.networks.create("n", subnet="10.1.2.3/99"),
    ),
    "overlapping subnet": (
        SwarmError,
        "overlap",
        lambda c: c.networks.create("n", subnet="10.0.0.0/8"),
    ),
    "taken network": (AlreadyExists, "ingress", lambda c: c.networks.create("ingress")),
    "empty secret": (InvalidArgument, "larger than 0", lambda c: c.secrets.create("s", b"")),
    "large secret": (
        InvalidArgument,
        "less than 512000",
        lambda c: c.secrets.create("s", b"x" * 512_000),
    ),
    "secret of the wrong kind": (
        InvalidArgument,
        "not int",
        lambda c: c.secrets.create("s", 7),  # type: ignore[arg-type]
    ),
    "bad secret name": (InvalidArgument, "invalid name", lambda c: c.secrets.create("-", b"x")),
    "taken config": (AlreadyExists, "config c already", lambda c: c.configs.create("c", b"x")),
    "unknown role": (InvalidArgument, "unknown role boss", lambda c: c.join_token("boss")),
    "unknown setting": (InvalidArgument, "no setting 'speed'", lambda c: c.update(speed=9)),
    "negative heartbeat": (
        InvalidArgument,
        "cannot be a negative duration",
        lambda c: c.update(heartbeat_period=-1.0),
    ),
    "unknown filter": (InvalidArgument, "invalid filter", lambda c: c.services.list(colour="red")),
    "last manager demoted": (FailedPrecondition, "last manager", lambda c: c.node.demote()),
    "a manager that is removed": (
        FailedPrecondition,
        "must be demoted",
        lambda c: c.node.remove(force=True),
    ),
    "a manager that leaves": (
        FailedPrecondition,
        "participating as a manager",
        lambda c: c.leave(),
    ),
    "what if, unknown node": (NotFound, "node nope", lambda c: c.plan(Drain("nope"))),
    "what if, negative": (InvalidArgument, "non-negative", lambda c: c.plan(Scale("web", -1))),
    "what if, no change": (InvalidArgument, "not a change", lambda c: c.plan("x")),  # type: ignore[arg-type]
    "explaining nothing": (NotFound, "service nope", lambda c: c.explain("nope")),
}


async def make(cluster: Cluster, name: str, **options: Any) -> Any:
    return await cluster.services.create(name, image="sleeper", **options)


async def converged(cluster: Cluster, timeout: float) -> None:
    web = await cluster.services.get("web")
    await web.wait_converged(timeout=timeout)


async def test_refusals_leave_nothing() -> None:
    """Each mistake: its class, its sentence, and the store as it was but for the record."""
    async with one_node() as cluster:
        await cluster.services.create("web", image="sleeper", replicas=0)
        await cluster.configs.create("c", b"x")
        before = await contents(cluster)
        for what, (error, sentence, verb) in REFUSED.items():
            with pytest.raises(error) as caught:
                await verb(cluster)
            assert sentence in str(caught.value), what
            assert await contents(cluster) == before, what
        assert await cluster.check() == []


async def contents(cluster: Cluster) -> dict[str, list[tuple[str, int]]]:
    """Ids and versions of everything but the records of requests."""
    kinds = ("services", "tasks", "networks", "secrets", "configs")
    found = {}
    for kind in kinds:
        listed = await getattr(cluster, kind).list()
        found[kind] = [(handle.id, handle.value.version) for handle in listed]
    return found


async def test_ambiguous_prefixes() -> None:
    """A prefix of ids that fits several is refused; one that fits one is enough."""
    async with one_node() as cluster:
        made = [await make(cluster, f"web{number}", replicas=0) for number in range(40)]
        first: dict[str, list[str]] = {}
        for service in made:
            first.setdefault(service.id[0], []).append(service.id)
        prefix, several = next(pair for pair in first.items() if len(pair[1]) > 1)
        with pytest.raises(InvalidArgument, match=f"is ambiguous .{len(several)} matches found."):
            await cluster.services.get(prefix)
        found = await cluster.services.get(several[0][:12])
        assert found.id == several[0]


async def test_a_stale_update_is_refused() -> None:
    """A whole spec replaces only what its author saw."""
    async with one_node() as cluster:
        mine = await make(cluster, "web", replicas=0)
        theirs = await cluster.services.get("web")
        await theirs.update(env=["A=1"])
        wanted = ServiceSpec("web", TaskSpec(container=ContainerSpec("sleeper")), Replicated(0))
        with pytest.raises(OutOfSequence, match="update out of sequence"):
            await mine.update(wanted)
        await mine.refresh()
        await mine.update(wanted)
        assert mine.value.spec == wanted


async def test_what_cannot_change() -> None:
    """A service keeps its name and its mode; two ways of saying are one too many."""
    async with one_node() as cluster:
        service = await make(cluster, "web", replicas=0)
        task = TaskSpec(container=ContainerSpec("sleeper"))
        with pytest.raises(Unimplemented, match="renaming"):
            await service.update(ServiceSpec("other", task, Replicated(0)))
        with pytest.raises(Unimplemented, match="mode change"):
            await service.update(ServiceSpec("web", task, Global()))
        with pytest.raises(InvalidArgument, match="not both"):
            await service.update(ServiceSpec("web", task), image="x")
        with pytest.raises(InvalidArgument, match="not both"):
            await cluster.services.create(ServiceSpec("b", task), image="x")
        with pytest.raises(TypeError, match="flavour"):
            await service.update(flavour="mint")  # type: ignore[call-arg]
        with pytest.raises(FailedPrecondition, match="does not have a previous spec"):
            await service.rollback()
        everywhere = await make(cluster, "everywhere", mode="global")
        with pytest.raises(InvalidArgument, match="replicated mode"):
            await everywhere.scale(3)


async def test_things_in_use() -> None:
    """A secret, config or network stays while a service refers to it."""
    async with one_node() as cluster:
        secret = await cluster.secrets.create("password", "hunter2")
        network = await cluster.networks.create("back")
        service = await make(cluster, "web", replicas=0, secrets=["password"], networks=["back"])
        with pytest.raises(InvalidArgument, match=r"secret 'password' is in use by .* web"):
            await secret.remove()
        with pytest.raises(FailedPrecondition, match="in use by service"):
            await network.remove()
        await service.remove()
        await secret.remove()
        await network.remove()
        with pytest.raises(NotFound):
            await secret.refresh()
        assert "hunter2" not in repr(secret) + repr(secret.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"availability": "sometimes"}, 'invalid Availability: "sometimes"'),
        ({"default_addr_pools": ["10.0.0.0"]}, "invalid CIDR"),
        ({"default_addr_pools": "10.0.0.0/8"}, "list of CIDRs"),
        ({"subnet_size": 33}, "out of range"),
        ({"name": ""}, "must not be empty"),
        ({"advertise_addr": ""}, "must not be empty"),
        ({"executor": object()}, "not an executor"),
        ({"executor": CallableExecutor}, "not an executor"),
        ({"labels": {"a": 1}}, "strings"),
    ],
)
def test_init_checks_at_once(options: dict[str, Any], sentence: str) -> None:
    """Before anything runs, and without being entered."""
    with pytest.raises(InvalidArgument, match=sentence):
        Cluster.init(**options)


def test_join_checks_at_once() -> None:
    with pytest.raises(InvalidArgument, match="needs the network"):
        Cluster.join("node-1", "SWMTKN-1-a-b")
    with pytest.raises(SwarmError, match="join token"):
        Cluster.join("node-1", "SWMTKN-1-a-b", network=MemoryNetwork())
    with pytest.raises(InvalidArgument, match="address of a manager"):
        Cluster.join([], "SWMTKN-1-a-b", network=MemoryNetwork())


async def test_a_wrong_token_lets_nobody_in() -> None:
    """Neither a made-up one nor one that was rotated away; the swarm does not change."""
    network = MemoryNetwork()
    async with one_node(network=network) as cluster:
        old = await cluster.join_token("worker")
        new = await cluster.rotate_join_token("worker")
        assert new != old
        assert await cluster.join_token("worker") == new
        with pytest.raises(InvalidArgument, match="valid join token is necessary"):
            async with Cluster.join(
                cluster.addr, old, network=network, executor=CallableExecutor()
            ):
                pytest.fail("it was let in")
        assert len(await cluster.nodes.list()) == 1
        assert len(network.addrs) == 1


async def test_an_address_that_is_taken() -> None:
    network = MemoryNetwork()
    async with one_node(network=network) as cluster:
        with pytest.raises(AlreadyExists, match="in use in this network"):
            async with Cluster.init(network=network, advertise_addr=cluster.addr):
                pytest.fail("it started")


async def test_a_missing_image_is_a_visible_state() -> None:
    """The task is rejected with the reason; the service says what it waits for."""
    async with one_node() as cluster:
        service = await cluster.services.create("web", image="nowhere", restart_condition="none")
        outcome = await service.wait_converged(timeout=WAIT_S)
        assert type(outcome).__name__ == "Failed"
        assert "nowhere" in outcome.reason
        [task] = await service.tasks()
        assert str(task.state) == "rejected"


async def test_a_removed_service_is_gone_for_its_handle() -> None:
    async with one_node() as cluster:
        service = await make(cluster, "web")
        await service.remove()
        for verb in (service.refresh, service.wait_converged, service.rollback):
            with pytest.raises(NotFound, match="service"):
                await verb()
        with pytest.raises(NotFound):
            await service.scale(2)


async def test_a_stopped_node_answers_nobody() -> None:
    """A cluster used after its block: typed, at once."""
    async with one_node() as cluster:
        pass
    with pytest.raises(Unavailable, match="stopped"):
        await cluster.services.list()
    with pytest.raises(Unavailable, match="stopped"):
        await cluster._member.request(RemoveNode("x"))


async def test_a_node_that_is_far_behind_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are refused and messages of peers lost, before memory suffers."""
    async with LocalSwarm(managers=1, workers=1) as swarm:
        node = swarm["node-1"]._member.node
        with monkeypatch.context() as patch:
            patch.setattr("pyswarm.runtime.node.INBOX_MAX", 0)
            with pytest.raises(Unavailable, match="0 inputs wait for this node") as caught:
                await node.call(Barrier())
            assert caught.value.outcome == "not_applied"
            node._receive(None, "nowhere:1", "a message")
            assert node.driver.waiting == 0
        await swarm["node-1"].wait_ready(timeout=WAIT_S)
