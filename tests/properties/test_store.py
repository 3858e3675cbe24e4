"""The store against a naive model: dicts that are copied where the store is clever.

A history is a list of small numbers, read as operations on one open transaction: writes,
savepoints, roll-backs, questions, and commits. Every commit is installed on a leader and applied
from its log form on a follower; the follower is now and then replaced by what its snapshot
restores.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.errors import AlreadyExists, Compacted, NotFound, OutOfSequence, SwarmError
from pyswarm.machine import Because
from pyswarm.model import (
    Config,
    ConfigSpec,
    ContainerSpec,
    Endpoint,
    NetworkAttachment,
    NetworkAttachmentConfig,
    Node,
    NodeDescription,
    NodeSpec,
    Sealed,
    Secret,
    SecretReference,
    SecretSpec,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    VirtualIP,
    replace,
)
from pyswarm.store import Reader, Store

SERVICES = [f"s{n}" for n in range(4)]
NODES = [f"n{n}" for n in range(3)]
TASKS = [f"t{n}" for n in range(8)]
SECRETS = [f"x{n}" for n in range(3)]
IDS = {"service": SERVICES, "node": NODES, "task": TASKS, "secret": SECRETS}
KINDS = tuple(IDS)
Naive = dict[str, dict[str, Any]]


def _service_spec(pick: int) -> ServiceSpec:
    container = ContainerSpec(
        "host",
        args=(str(pick % 3),),
        secrets=(SecretReference(SECRETS[pick % 3], "x"),) if pick % 2 else (),
    )
    networks = (NetworkAttachmentConfig(f"net{pick % 2}"),) if pick % 5 == 0 else ()
    name = ("Web", "web", "db", "cache")[pick % 4]
    return ServiceSpec(name, TaskSpec(container, networks=networks), labels={"pick": str(pick % 2)})


def _fresh(kind: str, id: str, pick: int, naive: Naive) -> Any:
    if kind == "service":
        return Service(id, _service_spec(pick), spec_version=pick)
    if kind == "node":
        return Node(id, NodeSpec(labels={"a": str(pick)}), description=_description(pick))
    if kind == "secret":
        sealed = Sealed(1, b"nonce", bytes([pick % 256]) * pick, pick, b"digest")
        return Secret(id, SecretSpec(f"name{pick % 4}"), sealed)
    service = naive["service"].get(SERVICES[pick % 4])
    spec = service.spec.task if service is not None and pick % 7 else _service_spec(pick + 1).task
    return Task(
        id,
        SERVICES[pick % 4],
        spec,
        slot=pick % 3,
        node_id=("", *NODES)[pick % 4],
        service_name=service.spec.name if service is not None else "",
        service_labels=service.spec.labels if service is not None else {},
        networks=(NetworkAttachment("net0", ("10.0.0.2/24",)),) if pick % 2 else (),
    )


def _description(pick: int) -> NodeDescription | None:
    return NodeDescription(hostname=("Alpha", "alpha", "beta")[pick % 3]) if pick % 4 else None


def _changed(obj: Any, pick: int, naive: Naive) -> Any:
    if isinstance(obj, Service):
        if pick % 3 == 0:
            return replace(
                obj, endpoint=Endpoint(virtual_ips=(VirtualIP("net0", f"10.0.0.{pick}"),))
            )
        if pick % 3 == 1 and obj.previous_spec is not None:
            return replace(obj, spec=obj.previous_spec, previous_spec=None)
        return replace(obj, spec=_service_spec(pick), previous_spec=obj.spec, spec_version=pick)
    if isinstance(obj, Node):
        return replace(obj, description=_description(pick), addr=str(pick % 2))
    if isinstance(obj, Secret):
        return replace(obj, spec=SecretSpec(f"name{pick % 4}", labels={"a": str(pick % 2)}))
    service = naive["service"].get(obj.service_id)
    changes: dict[str, Any] = {"node_id": ("", *NODES)[pick % 4], "message": f"m{pick % 3}"}
    if pick % 5 == 0 and service is not None:
        changes |= {"endpoint": service.endpoint, "service_labels": service.spec.labels}
    if pick % 5 == 1:
        changes |= {"spec": _service_spec(pick).task, "slot": pick % 3}
    if pick % 5 == 2:
        changes |= {"desired_state": TaskState.SHUTDOWN, "networks": ()}
    return replace(obj, **changes)


def _copy(naive: Naive) -> Naive:
    return {kind: dict(table) for kind, table in naive.items()}


def _name_holder(naive: Naive, kind: str, name: str) -> str | None:
    found = [o.id for o in naive[kind].values() if o.spec.name.lower() == name.lower()]
    assert len(found) <= 1
    return found[0] if found else None


class _World:
    """A leader, a follower, an open transaction, and the naive model of it."""

    def __init__(self) -> None:
        self.leader = Store()
        self.follower = Store()
        self.watch = self.follower.watch()
        self.settled: Naive = {kind: {} for kind in KINDS}
        self.seen: Naive = _copy(self.settled)
        self.begin()

    def begin(self) -> None:
        self.naive = _copy(self.settled)
        version = self.leader.version + 1 + self.leader.version % 2
        self.tx = self.leader.begin(version, 1000.0 + version)
        self.savepoints: list[tuple[Any, Naive]] = []

    def step(self, op: int, pick: int) -> None:
        kind = KINDS[pick % 4]
        id = IDS[kind][pick // 4 % len(IDS[kind])]
        if op <= 3:
            self.create(kind, id, pick)
        elif op <= 7:
            self.update(kind, id, pick)
        elif op == 8:
            self.delete(kind, id)
        elif op == 9:
            self.savepoints.append((self.tx.savepoint(), _copy(self.naive)))
        elif op == 10 and self.savepoints:
            savepoint, self.naive = self.savepoints.pop()
            self.tx.rollback(savepoint)
        elif op == 11:
            check_questions(self.tx, self.naive)
        elif op >= 12:
            self.commit(restore=op == 14)

    def create(self, kind: str, id: str, pick: int) -> None:
        obj = _fresh(kind, id, pick, self.naive)
        taken = id in self.naive[kind]
        if kind in ("service", "secret"):
            taken = taken or _name_holder(self.naive, kind, obj.spec.name) is not None
        try:
            new = self.tx.create(obj, Because("create", (pick,)))
        except AlreadyExists:
            assert taken
            return
        assert not taken
        assert (new.version, new.created_at, new.updated_at) == (
            self.tx.version,
            self.tx.now,
            self.tx.now,
        )
        self.naive[kind][id] = new

    def update(self, kind: str, id: str, pick: int) -> None:
        old = self.naive[kind].get(id)
        if old is None:
            return
        obj = _changed(old, pick, self.naive)
        is_named = kind in ("service", "secret")
        holder = _name_holder(self.naive, kind, obj.spec.name) if is_named else None
        expect = None if pick % 3 else old.version + pick % 2
        try:
            new = self.tx.update(obj, Because("update", (pick,)), expect=expect)
        except OutOfSequence:
            assert expect not in (None, old.version)
            return
        except AlreadyExists:
            assert is_named and holder not in (None, id)
            return
        assert expect in (None, old.version)
        if obj == old:
            assert new is self.tx.get(kind, id) and new == old
        else:
            assert new.version == self.tx.version and new.created_at == old.created_at
        self.naive[kind][id] = new

    def delete(self, kind: str, id: str) -> None:
        try:
            self.tx.delete(kind, id, Because("delete"))
        except NotFound:
            assert id not in self.naive[kind]
            return
        del self.naive[kind][id]

    def commit(self, *, restore: bool) -> None:
        before = _copy(self.settled)
        net = self.tx.changes()
        data = self.leader.encode(self.tx)
        installed = self.leader.install(self.tx)
        applied = self.follower.apply(self.tx.version, data)
        assert installed == applied and installed.changes == net
        self.settled = self.naive
        check_net(installed.changes, before, self.settled)
        check_same(self.leader, self.follower)
        check_questions(self.leader, self.settled)
        check_questions(self.follower, self.settled)
        check_watch(self, installed)
        if restore:
            restored = Store.restore(self.follower.snapshot().chunks())
            check_same(self.follower, restored)
            check_questions(restored, self.settled)
            self.follower, self.watch = restored, restored.watch()
        check_shared(self.leader, self.follower)
        self.begin()


def check_net(changes: Any, before: Naive, after: Naive) -> None:
    """Each object once, from what it was to what it is."""
    touched = [(change.kind, change.id) for change in changes]
    assert len(touched) == len(set(touched))
    for kind, old, new, _ in changes:
        id = (old or new).id
        assert before[kind].get(id) is old or before[kind].get(id) == old
        assert after[kind].get(id) == new
        before[kind].pop(id, None)
        if new is not None:
            before[kind][id] = new
    assert before == after


def check_same(one: Store, other: Store) -> None:
    assert (one.version, one.stamp, one.digest()) == (other.version, other.stamp, other.digest())
    for kind in KINDS:
        assert list(one.all(kind)) == list(other.all(kind))


def check_shared(leader: Store, follower: Store) -> None:
    """Where the leader's tasks share the spec object of their service, so do the follower's."""
    for task in leader.tasks():
        service = leader.service(task.service_id)
        twin, other = follower.service(task.service_id), follower.task(task.id)
        if service is None or twin is None or other is None:
            continue
        if task.spec is service.spec.task:
            assert other.spec is twin.spec.task
        elif service.previous_spec is not None and task.spec is service.previous_spec.task:
            assert twin.previous_spec is not None
            assert other.spec is twin.previous_spec.task


def check_watch(world: _World, commit: Any) -> None:
    assert world.watch.take() == [commit]
    assert world.watch.version == commit.version
    assert world.watch.take() == []


def _ids(objects: Any) -> list[str]:
    ids = [obj.id for obj in objects]
    assert len(ids) == len(set(ids))
    return sorted(ids)


def check_questions(reader: Reader, naive: Naive) -> None:
    """Every question, answered by looking at everything."""
    for kind, table in naive.items():
        assert {obj.id: obj for obj in reader.all(kind)} == table
        assert reader.count(kind) == len(table)
        assert all(reader.get(kind, id) == table.get(id) for id in IDS[kind])
        for prefix in ("", kind[0], "s1", "t", "zz"):
            wanted = sorted(id for id in table if id.startswith(prefix))
            assert reader.ids_with_prefix(kind, prefix) == wanted
    tasks, services = naive["task"].values(), naive["service"].values()
    for name in ("WEB", "db", "nope"):
        found = reader.by_name("service", name)
        assert (found.id if found else None) == _name_holder(naive, "service", name)
    for id in SERVICES:
        mine = [task for task in tasks if task.service_id == id]
        assert _ids(reader.tasks_of_service(id)) == _ids(mine)
        for slot in (1, 2):
            wanted = [task for task in mine if task.slot == slot]
            assert _ids(reader.tasks_of_slot(id, slot)) == _ids(wanted)
        for node in NODES:
            wanted = [task for task in mine if not task.slot and task.node_id == node]
            assert _ids(reader.tasks_of_slot(id, 0, node)) == _ids(wanted)
    for node in NODES:
        assert _ids(reader.tasks_of_node(node)) == _ids(t for t in tasks if t.node_id == node)
    for state in (TaskState.RUNNING, TaskState.SHUTDOWN):
        wanted = [task for task in tasks if task.desired_state is state]
        assert _ids(reader.tasks_by_desired_state(state)) == _ids(wanted)
    for net in ("net0", "net1"):
        wanted = [
            t
            for t in tasks
            if any(a.network_id == net for a in t.networks)
            or any(n.target == net for n in t.spec.networks)
        ]
        assert _ids(reader.tasks_using_network(net)) == _ids(wanted)
    for secret in SECRETS:
        wanted = [
            s
            for s in services
            if any(ref.secret_id == secret for ref in s.spec.task.container.secrets)
        ]
        assert _ids(reader.services_using("secret", secret)) == _ids(wanted)
    hosts = [n for n in naive["node"].values() if n.hostname.lower() == "alpha"]
    assert _ids(reader.nodes_by_hostname("ALPHA")) == _ids(hosts)


@settings(max_examples=120)
@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 200)), min_size=40, max_size=80))
def test_store_is_the_naive_model(history: list[tuple[int, int]]) -> None:
    world = _World()
    for op, pick in history:
        world.step(op, pick)
    world.commit(restore=True)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 200)), min_size=10, max_size=20),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 200)), min_size=20, max_size=40),
)
def test_rolled_back_writes_never_were(
    settled: list[tuple[int, int]], refused: list[tuple[int, int]]
) -> None:
    """The log form after a roll-back is the one without the writes, byte for byte."""
    world = _World()
    for op, pick in settled:
        world.step(op, pick)
    before, mark = world.leader.encode(world.tx), world.tx.mark()
    savepoint, naive = world.tx.savepoint(), _copy(world.naive)
    for op, pick in refused:
        if op not in (9, 10):
            world.step(op, pick)
    world.tx.rollback(savepoint)
    assert world.leader.encode(world.tx) == before
    assert world.tx.mark() == mark and world.tx.changes_since(mark) == []
    check_questions(world.tx, naive)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=30),
    st.integers(3, 20),
    st.lists(st.integers(0, 30), max_size=5),
)
def test_watches_resume_whole_or_not_at_all(
    sizes: list[int], limit: int, resumes: list[int]
) -> None:
    store = Store(history_changes_max=limit)
    commits = []
    for size in sizes:
        tx = store.begin(store.version + 1, float(store.version))
        for number in range(size):
            tx.create(
                Config(f"{store.version}.{number}", ConfigSpec(f"c{store.version}-{number}")),
                Because("test"),
            )
        commits.append(store.install(tx))
    assert sum(len(c.changes) for c in commits if c.version > store.compacted) <= limit
    for after in resumes:
        wanted = [commit for commit in commits if commit.version > after]
        try:
            watch = store.watch(after)
        except Compacted:
            assert after < store.compacted
            continue
        assert watch.take() == wanted


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 400), st.booleans())
def test_garbage_is_refused_by_type(noise: bytes, place: int, header: bool) -> None:
    """Random bytes, and an entry or a snapshot damaged somewhere: an error of the tree or none."""
    world = _World()
    for pick in range(0, 80, 4):
        world.step(0, pick)
        world.step(0, pick + 2)
    data = world.leader.encode(world.tx)
    damaged = data[:5] + noise if header else data[:place] + noise + data[place + len(noise) :]
    digest = world.follower.digest()
    try:
        world.follower.apply(world.tx.version, damaged)
    except SwarmError:
        assert world.follower.digest() == digest and world.follower.version == 0
    world.leader.install(world.tx)
    chunks = list(world.leader.snapshot().chunks())
    chunks[place % len(chunks)] = noise
    try:
        Store.restore(chunks)
    except SwarmError:
        pass
