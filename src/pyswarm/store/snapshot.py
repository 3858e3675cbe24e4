"""A whole store in slices: written and read a few hundred objects at a time.

Objects are immutable, so a snapshot is consistent from the moment the tables' values are taken (one
copy of each list, about a millisecond for a hundred thousand tasks), however long the writing then
takes and whatever is settled meanwhile. Each slice is encoded when asked for, so the loop that asks
can do other things in between; a thread would only make everything wait for the interpreter's lock.

The first chunk is magic, format, and what is to come (version, stamp, objects of each kind); each
other one is ``[kind, task specs, objects]``. Services come before the tasks that refer to them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgpack

from pyswarm.errors import InvalidArgument, SwarmError
from pyswarm.model.objects import KINDS, Service, Task
from pyswarm.model.wire import MALFORMED, decoder_of, encode, encoder_of
from pyswarm.store.entry import check_header
from pyswarm.store.taskform import TaskReader, TaskWriter, interned_service

if TYPE_CHECKING:
    from pyswarm.store.store import Store

MAGIC = b"psws"
FORMAT = 1

SLICE_OBJECTS_MAX = 500
"""Objects a chunk: 1 to 4 ms of encoding, far below what a turn may be held up."""

SLICE_PAYLOAD_MAX = 1024 * 1024
"""Bytes of payloads (secrets, configs, resources) a chunk: they may be 1 MB each."""

_MALFORMED = (*MALFORMED, msgpack.UnpackException, msgpack.exceptions.ExtraData)


class SnapshotWriter:
    """The state of a store at one version, on its way into chunks."""

    def __init__(self, version: int, stamp: float, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self.version = version
        self.stamp = stamp
        self._objects = {kind: list(table.values()) for kind, table in rows.items()}
        self._services: dict[str, Service] = dict(rows["service"])

    def chunks(self) -> Iterator[bytes]:
        """The chunks in order; each ``next()`` encodes one."""
        counts = {kind: len(objects) for kind, objects in self._objects.items()}
        yield MAGIC + bytes([FORMAT]) + msgpack.packb([self.version, self.stamp, counts])
        writer = TaskWriter(self._services.get)
        for kind, objects in self._objects.items():
            encoder = writer.whole if kind == "task" else encoder_of(KINDS[kind])
            for part in _slices(objects):
                items = [encoder(obj) for obj in part]
                yield msgpack.packb([kind, writer.take_specs(), items])


def _slices(objects: Sequence[Any]) -> Iterator[list[Any]]:
    part: list[Any] = []
    size = 0
    for obj in objects:
        part.append(obj)
        size += _payload_size(obj)
        if len(part) >= SLICE_OBJECTS_MAX or size >= SLICE_PAYLOAD_MAX:
            yield part
            part, size = [], 0
    if part:
        yield part


def _payload_size(obj: Any) -> int:
    if obj.__class__ is Task:
        return 0
    payload = getattr(obj, "payload", None)
    if payload is not None:
        return len(payload.ciphertext)
    return len(getattr(getattr(obj, "spec", None), "payload", b""))


class SnapshotReader:
    """Takes chunks in; :meth:`finish` gives the store. Feed it a chunk at a time."""

    def __init__(self) -> None:
        from pyswarm.store.store import Store

        self._store = Store()
        self._counts: dict[str, int] | None = None
        self._stamp = 0.0
        self._version = 0
        self._tasks = TaskReader(lambda id: self._store.get("service", id))

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk; :class:`~pyswarm.errors.InvalidArgument` when it is not one."""
        try:
            if self._counts is None:
                self._begin(chunk)
            else:
                self._add(*msgpack.unpackb(chunk, strict_map_key=False))
        except SwarmError:
            raise
        except _MALFORMED as error:
            raise InvalidArgument(f"malformed chunk of a snapshot: {error!r}") from error

    def finish(self) -> Store:
        """The store, complete; :class:`~pyswarm.errors.InvalidArgument` when objects lack."""
        for kind, count in (self._counts or {"header": 1}).items():
            found = self._store.count(kind) if self._counts else 0
            if found != count:
                raise InvalidArgument(f"truncated snapshot: {found} of {count} of kind {kind}")
        self._store.restored(self._version, self._stamp)
        return self._store

    def _begin(self, chunk: bytes) -> None:
        check_header(chunk, MAGIC, FORMAT, "snapshot")
        body = memoryview(chunk)[len(MAGIC) + 1 :]
        version, stamp, counts = msgpack.unpackb(body, strict_map_key=False)
        for kind in counts:
            if kind not in KINDS:
                raise InvalidArgument(f"unknown kind of object {kind!r}")
        self._version, self._stamp, self._counts = int(version), float(stamp), dict(counts)

    def _add(self, kind: str, specs: list[Any], items: list[Any]) -> None:
        if kind not in KINDS:
            raise InvalidArgument(f"unknown kind of object {kind!r}")
        self._tasks.add_specs(specs)
        if kind == "task":
            objects: list[Any] = [self._tasks.task(data) for data in items]
        else:
            decoder = decoder_of(KINDS[kind], trusted=True)
            objects = [decoder(data) for data in items]
            if kind == "service":
                objects = [interned_service(service, None) for service in objects]
        self._store.add_restored(kind, objects)


def digest(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A hash of all objects, whatever their order: equal stores have equal ones."""
    total = 0
    spec_digests: dict[int, bytes] = {}
    encode_task = encoder_of(Task, ("spec",))
    for kind, table in rows.items():
        encoder = encode_task if kind == "task" else encoder_of(KINDS[kind])
        for obj in table.values():
            body = [kind, encoder(obj)]
            if kind == "task":
                body.append(_spec_digest(obj, spec_digests))
            total += int.from_bytes(_hash(body), "big")
    return f"{total % 2**128:032x}"


def _spec_digest(task: Task, known: dict[int, bytes]) -> bytes:
    """The hash of a task's spec, made once for all tasks that share the object."""
    found = known.get(id(task.spec))
    if found is None:
        found = known[id(task.spec)] = _hash(encode(task.spec))
    return found


def _hash(body: Any) -> bytes:
    return hashlib.blake2b(msgpack.packb(body), digest_size=16).digest()
