"""Snapshots: in slices, of one moment, and refused when they are not whole."""

from __future__ import annotations

import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.machine import Because
from pyswarm.model import (
    Config,
    ConfigSpec,
    Node,
    Sealed,
    Service,
    ServiceSpec,
    Swarm,
    Task,
    TaskSpec,
    replace,
)
from pyswarm.store import SnapshotReader, Store
from pyswarm.store.snapshot import SLICE_OBJECTS_MAX

WHY = Because("test")
TASKS = 2 * SLICE_OBJECTS_MAX + 3


def _store() -> Store:
    store = Store()
    tx = store.begin(5, 100.0)
    spec = ServiceSpec("web", TaskSpec())
    tx.create(Swarm("c1", unlock_key=b"key"), WHY)
    tx.create(Service("s1", spec), WHY)
    for number in range(TASKS):
        tx.create(Task(f"t{number:05d}", "s1", spec.task, slot=number + 1), WHY)
    store.install(tx)
    return store


def test_slices_are_small_and_make_the_same_store() -> None:
    store = _store()
    chunks = list(store.snapshot().chunks())
    assert len(chunks) == 1 + 1 + 1 + 3  # header, swarm, service, tasks
    restored = Store.restore(chunks)
    assert restored.digest() == store.digest()
    assert (restored.version, restored.stamp) == (5, 100.0)
    assert [t.id for t in restored.tasks()] == [t.id for t in store.tasks()]
    service = restored.service("s1")
    assert service is not None
    assert all(task.spec is service.spec.task for task in restored.tasks())
    assert list(restored.snapshot().chunks()) == chunks


def test_a_snapshot_is_of_one_moment() -> None:
    store = _store()
    digest, writer = store.digest(), store.snapshot()
    chunks = writer.chunks()
    first = [next(chunks), next(chunks)]
    tx = store.begin(6, 101.0)
    service = tx.service("s1")
    assert service is not None
    tx.update(replace(service, spec=ServiceSpec("web", TaskSpec(force_update=1))), WHY)
    for task in list(tx.tasks())[:700]:
        tx.delete("task", task.id, WHY)
    tx.create(Node("n1"), WHY)
    store.install(tx)
    restored = Store.restore([*first, *chunks])
    assert (restored.version, restored.digest()) == (5, digest)


def test_large_payloads_make_small_slices() -> None:
    store = Store()
    tx = store.begin(1, 1.0)
    for number in range(6):
        sealed = Sealed(1, b"n", bytes(600 * 1024), 600 * 1024, bytes([number]))
        tx.create(Config(f"c{number}", ConfigSpec(f"c{number}"), sealed), WHY)
    store.install(tx)
    chunks = list(store.snapshot().chunks())
    assert len(chunks) == 4 and max(map(len, chunks)) < 1300 * 1024
    assert Store.restore(chunks).digest() == store.digest()


def test_chunk_by_chunk() -> None:
    store, reader = _store(), SnapshotReader()
    for chunk in store.snapshot().chunks():
        reader.feed(chunk)
    assert reader.finish().digest() == store.digest()


@pytest.mark.parametrize("missing", [0, 1, 3, -1])
def test_a_part_is_refused(missing: int) -> None:
    chunks = list(_store().snapshot().chunks())
    del chunks[missing]
    with pytest.raises(InvalidArgument):
        Store.restore(chunks)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"pswe\x01", "no snapshot"),
        (b"psws\x09rest", "unknown format 9"),
        (b"psws\x01\x93\x01\x02\x81\xa3pod\x00", "unknown kind of object 'pod'"),
        (b"psws\x01\xc1", "malformed"),
    ],
)
def test_another_format_is_refused_by_name(header: bytes, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        Store.restore([header])


def test_nothing_is_no_snapshot() -> None:
    with pytest.raises(InvalidArgument, match="truncated"):
        Store.restore([])


def test_digests_see_every_field() -> None:
    one, other = _store(), _store()
    assert one.digest() == other.digest()
    tx = other.begin(6, 101.0)
    task = tx.task("t00007")
    assert task is not None
    tx.update(replace(task, exit_code=1), WHY)
    other.install(tx)
    assert one.digest() != other.digest()
