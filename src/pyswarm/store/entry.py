"""The log form of a turn: its net effect, from which every member makes the same store.

After magic and format come, as one msgpack array: the stamp (cluster time), the list of reasons,
the list of task specs that no service holds, and the changes by kind, in the order of the tables,
each as ``[reason, ...]`` with

* an object for a new one: every field that differs from its default;
* id and fields for a change: the fields that are different now;
* the id alone for a deletion.

Version and times of what was written are those of the entry and not repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgpack

from pyswarm.errors import Internal, InvalidArgument, SwarmError
from pyswarm.machine import Because
from pyswarm.model.objects import KINDS
from pyswarm.model.replace import stamped
from pyswarm.model.wire import MALFORMED, decoder_of, differ_of, encoder_of, patch
from pyswarm.store.change import Change
from pyswarm.store.taskform import STAMPS, TaskReader, TaskWriter, interned_service

MAGIC = b"pswe"
FORMAT = 1
_HEADER = MAGIC + bytes([FORMAT])

Overlays = Mapping[str, Mapping[str, Change]]
Get = Callable[[str, str], Any]

_MALFORMED = (*MALFORMED, msgpack.UnpackException, msgpack.exceptions.ExtraData)


class Entry(NamedTuple):
    """A decoded entry."""

    stamp: float
    overlays: dict[str, dict[str, Change]]


# -- writing


def encode_entry(overlays: Overlays, stamp: float, get: Get) -> bytes:
    """The log form of net changes; ``get`` reads the state after them."""
    writer = TaskWriter(lambda id: get("service", id))
    reasons = _Reasons()
    groups = []
    for kind, overlay in overlays.items():
        if not overlay:
            continue
        items = [
            _task_item(change, writer, reasons) if kind == "task" else _item(change, reasons)
            for change in overlay.values()
            if change[1] is not None or change[2] is not None
        ]
        if items:
            groups.append([kind, items])
    body = [stamp, reasons.listed, writer.specs, groups]
    packed: bytes = msgpack.packb(body)
    return _HEADER + packed


class _Reasons:
    """The list of reasons; most changes of a turn share a few."""

    def __init__(self) -> None:
        self.listed: list[list[Any]] = []
        self._numbers: dict[Because, int] = {}
        self._last: Because | None = None
        self._last_number = 0

    def number(self, because: Because) -> int:
        if because is self._last:
            return self._last_number
        number = self._numbers.setdefault(because, len(self.listed))
        if number == len(self.listed):
            self.listed.append([because.code, *because.args])
        self._last, self._last_number = because, number
        return number


def _item(change: Change, reasons: _Reasons) -> list[Any]:
    _, old, new, because = change
    number = reasons.number(because)
    if new is None:
        return [number, old.id]
    cls = new.__class__
    if old is None:
        return [number, encoder_of(cls, STAMPS)(new)]
    return [number, new.id, differ_of(cls, ("version", "updated_at"))(old, new)]


def _task_item(change: Change, writer: TaskWriter, reasons: _Reasons) -> list[Any]:
    _, old, new, because = change
    number = reasons.number(because)
    if new is None:
        return [number, old.id]
    if old is None:
        return [number, writer.new(new)]
    return [number, new.id, writer.changed(old, new)]


# -- reading


def decode_entry(data: bytes, version: int, get: Get) -> Entry:
    """The net changes of an entry, as made on the state that ``get`` reads.

    Raises :class:`~pyswarm.errors.InvalidArgument` on anything that is not an entry of this
    format, and :class:`~pyswarm.errors.Internal` on one that does not fit the state.
    """
    check_header(data, MAGIC, FORMAT, "entry")
    try:
        body = msgpack.unpackb(memoryview(data)[len(_HEADER) :], strict_map_key=False)
        return _EntryReader(body, version, get).read()
    except SwarmError:
        raise
    except _MALFORMED as error:
        raise InvalidArgument(f"malformed entry {version}: {error!r}") from error


def check_header(data: bytes, magic: bytes, newest: int, what: str) -> None:
    """Refuse what does not begin with ``magic`` and a format that is known."""
    if bytes(data[: len(magic)]) != magic or len(data) <= len(magic):
        raise InvalidArgument(f"this is no {what} of a store")
    if data[len(magic)] != newest:
        raise InvalidArgument(
            f"unknown format {data[len(magic)]} of a store's {what}",
            hint="it was written by another version of pyswarm",
        )


class _EntryReader:
    def __init__(self, body: Any, version: int, get: Get) -> None:
        stamp, reasons, specs, self._groups = body
        self._stamp = stamp + 0.0
        self._version = version
        self._get = get
        self._reasons = [Because(code, tuple(args)) for code, *args in reasons]
        self._overlays: dict[str, dict[str, Change]] = {kind: {} for kind in KINDS}
        self._tasks = TaskReader(self._service)
        self._tasks.add_specs(specs)

    def read(self) -> Entry:
        for kind, items in self._groups:
            overlay = self._overlays.get(kind)
            if overlay is None:
                raise InvalidArgument(f"unknown kind of object {kind!r}")
            for item in items:
                change = self._change(kind, item)
                overlay[change.id] = change
        return Entry(self._stamp, self._overlays)

    def _service(self, id: str) -> Any:
        change = self._overlays["service"].get(id)
        return change.new if change is not None else self._get("service", id)

    def _change(self, kind: str, item: list[Any]) -> Change:
        because = self._reasons[item[0]]
        if len(item) == 2 and isinstance(item[1], dict):
            return Change(kind, None, self._created(kind, item[1]), because)
        old = self._get(kind, item[1])
        if old is None:
            raise Internal(f"entry {self._version} changes {kind} {item[1]}, which is not here")
        if len(item) == 2:
            return Change(kind, old, None, because)
        return Change(kind, old, self._changed(kind, old, item[2]), because)

    def _created(self, kind: str, data: dict[int, Any]) -> Any:
        if kind == "task":
            obj: Any = self._tasks.task(data)
        else:
            obj = decoder_of(KINDS[kind], trusted=True)(data)
            if kind == "service":
                obj = interned_service(obj, None)
        if self._get(kind, obj.id) is not None:
            raise Internal(f"entry {self._version} creates {kind} {obj.id}, which is here")
        return stamped(obj, self._version, self._stamp, self._stamp)

    def _changed(self, kind: str, old: Any, data: dict[int, Any]) -> Any:
        new = self._tasks.changed(old, data) if kind == "task" else patch(old, data)
        new.version = self._version
        new.updated_at = self._stamp
        new.__class__ = old.__class__
        return interned_service(new, old) if kind == "service" else new
