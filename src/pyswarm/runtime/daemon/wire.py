"""Values on the control socket: everything that a verb of the front takes or gives, as plain data.

What msgpack knows goes as it is. Everything else is a pair ``[tag, content]``; lists themselves are
``["l", …]``, so nothing is ambiguous. Classes are named, and only those of :data:`CLASSES` exist
here: values whose constructors check and do nothing else. Objects of the model go in the compact
form of the log. Handles travel as what they stand for, a plan as what it was made of.

Nothing secret leaves this way but what the verb asked for by name gives (a token, the unlock key):
secrets' payloads and the swarm's keys are blanked.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import msgpack

from pyswarm.errors import InvalidArgument, SwarmError, from_wire
from pyswarm.model import wire as model_wire
from pyswarm.model.labels import FrozenDict
from pyswarm.runtime.daemon.verbs import ROTATION
from pyswarm.runtime.front.authority import Rotation
from pyswarm.runtime.front.events import blanked
from pyswarm.runtime.front.handles import Handle
from pyswarm.scheduler import Plan
from pyswarm.scheduler.scheduler import Scheduler
from pyswarm.store import Change

FORMAT = 1
"""The version of this layout; said in the greeting."""

DEPTH_MAX = 32
"""Values within values; a spec has some ten."""

MODEL = ("model.specs", "model.objects", "model.resources", "model.states")
"""Modules whose values go in the log's form."""

OTHERS = (
    *("api.hosting", "machine", "node.whatif", "scheduler.explain"),
    *("runtime.backup", "runtime.front.authority", "runtime.front.convergence"),
    *("runtime.front.events",),
    *("runtime.front.logs", "runtime.front.logstatus", "runtime.front.position"),
    *("runtime.front.status", "runtime.front.updating", "runtime.raftmetrics", "sim.checkers"),
)
"""Modules whose values go field by field."""


@functools.cache
def _classes(modules: tuple[str, ...]) -> dict[str, type]:
    found: dict[str, type] = {}
    for name in modules:
        module = importlib.import_module(f"pyswarm.{name}")
        for cls in vars(module).values():
            if inspect.isclass(cls) and cls.__module__ == module.__name__ and _is_value(cls):
                assert found.setdefault(cls.__name__, cls) is cls, f"two classes {cls.__name__}"
    return found


def _is_value(cls: type) -> bool:
    return issubclass(cls, Enum) or attrs.has(cls)


class Wire:
    """The codec of one end. ``handle`` makes a handle of a kind and a value; ``trusted`` says that
    the other end is the daemon, whose objects were checked when they were written."""

    def __init__(self, handle: Callable[[str, Any], Any], *, trusted: bool) -> None:
        self._handle = handle
        self._decode_model = model_wire.decode_trusted if trusted else model_wire.decode
        self._model = _classes(MODEL)
        self._others = _classes(OTHERS)

    # -- to plain data

    def encode(self, value: Any) -> Any:
        """Plain data; raises ``InvalidArgument`` for what does not travel."""
        if value is None or type(value) in (bool, int, float, str, bytes):
            return value
        if isinstance(value, Enum):
            return ["e", type(value).__name__, value.value]
        if isinstance(value, Change):
            whole = [value.kind, blanked(value.old), blanked(value.new), value.because]
            return ["change", [self.encode(part) for part in whole]]
        if isinstance(value, (list, tuple)):
            tag = "l" if isinstance(value, list) else "t"
            return [tag, [self.encode(item) for item in value]]
        if isinstance(value, Mapping):
            return ["d", [[self.encode(key), self.encode(value[key])] for key in value]]
        return self._encode_object(value)

    def packed(self, items: list[Any]) -> bytes:
        """A slice of a long list, so that no frame is packed in one go."""
        data: bytes = msgpack.packb([self.encode(item) for item in items])
        return data

    def _encode_object(self, value: Any) -> Any:
        cls = type(value)
        if isinstance(value, Handle):
            return ["h", value.kind, self.encode(value.value), list(getattr(value, "warnings", ()))]
        if isinstance(value, Rotation):
            return ["h", ROTATION, value.cert, []]
        if self._model.get(cls.__name__) is cls:
            return ["m", cls.__name__, model_wire.encode(blanked(value))]
        if self._others.get(cls.__name__) is cls:
            fields = [self.encode(getattr(value, field.name)) for field in attrs.fields(cls)]
            return ["v", cls.__name__, fields]
        if isinstance(value, Plan):
            return ["plan", [self.encode(part) for part in _parts(value)]]
        if isinstance(value, datetime):
            return ["at", value.astimezone().isoformat()]
        if isinstance(value, Path):
            return ["path", str(value)]
        if isinstance(value, (bytearray, memoryview)):
            return bytes(value)
        raise InvalidArgument(
            f"a {cls.__name__} cannot be sent to a daemon",
            hint="functions and open files stay in their process; run a node in this one instead",
        )

    # -- and back

    def decode(self, data: Any, depth: int = 0) -> Any:
        """The value; raises ``InvalidArgument`` for garbage."""
        try:
            return self._decode(data, depth)
        except model_wire.MALFORMED as problem:
            raise InvalidArgument(f"malformed value: {problem!r}") from None

    def _decode(self, data: Any, depth: int) -> Any:
        if not isinstance(data, list):
            return data
        if depth > DEPTH_MAX:
            raise InvalidArgument(f"more than {DEPTH_MAX} values within each other")
        tag, *content = data
        match tag:
            case "l":
                return [self._decode(item, depth + 1) for item in content[0]]
            case "t":
                return tuple([self._decode(item, depth + 1) for item in content[0]])
            case "d":
                below = depth + 1
                return {self._decode(k, below): self._decode(v, below) for k, v in content[0]}
            case "e":
                return self._enum(content[0])(content[1])
            case "m":
                return self._decode_model(self._model[content[0]], content[1])
            case "v":
                return self._made(content[0], [self._decode(one, depth + 1) for one in content[1]])
        return self._decode_special(tag, content, depth)

    def _decode_special(self, tag: Any, content: list[Any], depth: int) -> Any:
        match tag:
            case "h":
                handle = self._handle(content[0], self._decode(content[1], depth + 1))
                if hasattr(type(handle), "warnings"):
                    handle.warnings = tuple(content[2])
                return handle
            case "packed":
                slices = [msgpack.unpackb(one, strict_map_key=False) for one in content[0]]
                return [self._decode(item, depth + 1) for items in slices for item in items]
            case "change":
                return Change(*[self._decode(part, depth + 1) for part in content[0]])
            case "plan":
                return _made_of(*[self._decode(part, depth + 1) for part in content[0]])
            case "at":
                return datetime.fromisoformat(content[0])
            case "path":
                return Path(content[0])
        raise InvalidArgument(f"a value of an unknown kind: {tag!r}")

    def _enum(self, name: str) -> Any:
        cls = self._model.get(name) or self._others[name]
        if not issubclass(cls, Enum):
            raise InvalidArgument(f"{name} is no enumeration")
        return cls

    def _made(self, name: str, values: list[Any]) -> Any:
        cls: Any = self._others[name]
        fields = attrs.fields(cls)
        given = {}
        for field, value in zip(fields, values, strict=True):
            given[field.alias] = FrozenDict(value) if isinstance(value, dict) else value
        if not hasattr(cls, "__attrs_init__"):
            return cls(**given)
        made = cls.__new__(cls)  # one whose constructor people call in another way
        made.__attrs_init__(**given)
        return made


def _parts(plan: Plan) -> tuple[Any, ...]:
    """What a plan is made of: nodes, networks' drivers and tasks as the scheduler has them."""
    scheduler = plan.scheduler
    planned = [one.task for one in plan.assignments] + [one.task for one in plan.pending]
    return (
        [info.node for info in scheduler.by_id.values()],
        scheduler.drivers,
        list(scheduler.tasks.values()),
        planned,
        plan.service_names,
    )


def _made_of(
    nodes: list[Any], drivers: Any, tasks: list[Any], planned: list[Any], names: Any
) -> Plan:
    scheduler = Scheduler()
    scheduler.drivers.update(drivers)
    for node in nodes:
        scheduler.upsert_node(node)
    for task in tasks:
        scheduler.upsert_task(task)
    return Plan(scheduler, planned, names)


# -- errors, with their classes


def encode_error(error: SwarmError) -> dict[str, Any]:
    """An error as plain data, with the name of its class."""
    return {**error.to_wire(), "class": type(error).__name__, "details": _plain(error.details)}


def decode_error(data: Mapping[str, Any]) -> SwarmError:
    """The error; of its own class where this process has it, else of its code's."""
    error = from_wire(data)
    known = _error_classes(type(error)).get(str(data.get("class")))
    if known is None:
        return error
    made = known.__new__(known)
    SwarmError.__init__(made, error.message, hint=error.hint, details=error.details)
    vars(made).update({**vars(error), **vars(made)})
    return made


def _error_classes(base: type[SwarmError]) -> dict[str, type[SwarmError]]:
    """``base`` and all that is derived from it, by name."""
    found = {base.__name__: base}
    for cls in base.__subclasses__():
        found.update(_error_classes(cls))
    return found


def _plain(value: Any) -> Any:
    """Details of an error as msgpack takes them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if type(value) in (bool, int, float, str, bytes, type(None)) else str(value)
