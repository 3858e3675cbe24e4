"""Finding things the way people name them, and listing them by filters.

A reference is an exact id, else an exact name (a node's hostname), else a unique prefix of an id;
a prefix of a name is not enough. ``self`` names the node that was asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyswarm.env import Rng
from pyswarm.errors import InvalidArgument, NotFound
from pyswarm.ids import new_id
from pyswarm.model.states import TaskState
from pyswarm.store import Reader

NAMED = ("service", "network", "secret", "config", "volume", "extension", "resource")


def find(reader: Reader, kind: str, reference: str, *, self_id: str = "") -> Any:
    """The one object meant by ``reference``.

    Raises ``NotFound`` (``service web not found``) or ``InvalidArgument`` where it is ambiguous.
    """
    if not reference:
        raise InvalidArgument(f"{kind} reference must not be empty")
    if kind == "node" and reference == "self" and self_id:
        reference = self_id
    if (found := reader.get(kind, reference)) is not None:
        return found
    matches = _by_name(reader, kind, reference)
    if not matches:
        matches = [reader.get(kind, id) for id in reader.ids_with_prefix(kind, reference)]
    if not matches:
        raise NotFound(f"{kind} {reference} not found")
    if len(matches) > 1:
        raise InvalidArgument(
            f"{kind} {reference} is ambiguous ({len(matches)} matches found)",
            hint="give more characters of the id",
        )
    return matches[0]


def _by_name(reader: Reader, kind: str, name: str) -> list[Any]:
    if kind == "node":
        return list(reader.nodes_by_hostname(name))
    if kind in NAMED:
        found = reader.by_name(kind, name)
        return [] if found is None else [found]
    return []


def list_objects(
    reader: Reader, kind: str, filters: Mapping[str, Any] | None = None, *, self_id: str = ""
) -> list[Any]:
    """Objects of ``kind`` that meet every filter; a filter's values are alternatives.

    Common filters: ``id`` and ``name`` (prefixes), ``label`` (``key`` or ``key=value``). Services:
    ``mode``. Tasks: ``service``, ``node``, ``desired_state`` (``running``, ``shutdown``,
    ``accepted``), ``state``, ``slot``. Nodes: ``role``, ``membership``, ``availability``,
    ``state``, ``node_label``. Networks: ``driver``. Raises ``InvalidArgument`` for an unknown one.
    """
    wanted = {key: _values(value) for key, value in (filters or {}).items() if value is not None}
    tests = []
    for key, values in wanted.items():
        test = _FILTERS.get((kind, key)) or _FILTERS.get(("", key))
        if test is None:
            raise InvalidArgument(f"invalid filter '{key}' for {kind}s")
        tests.append((test, _resolved(reader, kind, key, values, self_id)))
    return [
        item
        for item in _candidates(reader, kind, wanted, self_id)
        if all(any(test(item, value) for value in values) for test, values in tests)
    ]


def _values(value: Any) -> list[Any]:
    if isinstance(value, (str, int)):
        return [value]
    return list(value)


def _resolved(reader: Reader, kind: str, key: str, values: list[Any], self_id: str) -> list[Any]:
    """Filters of tasks name services and nodes as people do."""
    if kind == "task" and key in ("service", "node"):
        return [find(reader, key, str(value), self_id=self_id).id for value in values]
    return [str(value) for value in values]


def _candidates(
    reader: Reader, kind: str, wanted: Mapping[str, list[Any]], self_id: str
) -> Iterable[Any]:
    """As few as an index gives."""
    if kind == "task" and len(wanted.get("service", ())) == 1:
        service = find(reader, "service", str(wanted["service"][0]))
        return reader.tasks_of_service(service.id)
    if kind == "task" and len(wanted.get("node", ())) == 1:
        node = find(reader, "node", str(wanted["node"][0]), self_id=self_id)
        return reader.tasks_of_node(node.id)
    if kind == "secret":
        return [secret for secret in reader.all(kind) if not secret.internal]
    return reader.all(kind)


def _name(item: Any) -> str:
    """What a name filter looks at."""
    if hasattr(item, "hostname"):
        return str(item.hostname)
    spec = getattr(item, "spec", None)
    return str(getattr(spec, "name", "") or getattr(item, "service_name", ""))


def _labels(item: Any) -> Mapping[str, str]:
    if hasattr(item, "service_labels"):
        return item.spec.container.labels if item.spec.container else {}
    if hasattr(item, "description"):
        return item.description.engine_labels if item.description else {}
    return getattr(item.spec, "labels", {})


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or value == "" or labels[key] == value)


def _mode(service: Any, value: str) -> bool:
    names = {
        "Replicated": "replicated",
        "Global": "global",
        "ReplicatedJob": "replicated-job",
        "GlobalJob": "global-job",
    }
    return bool(names[type(service.spec.mode).__name__] == value)


def _desired(task: Any, value: str) -> bool:
    """Docker's three words: running and accepted mean "wanted", shutdown the rest."""
    wanted = bool(task.desired_state <= TaskState.COMPLETE)
    if value in ("running", "accepted"):
        return wanted
    if value == "shutdown":
        return not wanted
    raise InvalidArgument(f"invalid task desired state '{value}'")


_FILTERS: dict[tuple[str, str], Any] = {
    ("", "id"): lambda item, value: item.id.startswith(value),
    ("", "name"): lambda item, value: _name(item).startswith(value),
    ("", "label"): lambda item, value: _has_label(_labels(item), value),
    ("service", "mode"): _mode,
    ("task", "service"): lambda task, value: task.service_id == value,
    ("task", "node"): lambda task, value: task.node_id == value,
    ("task", "slot"): lambda task, value: str(task.slot) == value,
    ("task", "state"): lambda task, value: str(task.state) == value,
    ("task", "desired_state"): _desired,
    ("node", "role"): lambda node, value: str(node.role) == value,
    ("node", "membership"): lambda node, value: str(node.spec.membership) == value,
    ("node", "availability"): lambda node, value: str(node.spec.availability) == value,
    ("node", "state"): lambda node, value: str(node.state) == value,
    ("node", "node_label"): lambda node, value: _has_label(node.spec.labels, value),
    ("network", "driver"): lambda network, value: network.spec.driver == value,
}


def free_id(reader: Reader, kind: str, rng: Rng) -> str:
    """An id for a new object: one that is taken is drawn again."""
    while reader.get(kind, id := new_id(rng)) is not None:
        pass
    return id
