"""Secondary indexes: from a key to the ids of the objects that have it.

Most keys have one object (a service name, a slot) and some have thousands (a service, a node). A
bucket is therefore the bare id while there is one, and a dict used as an ordered set from the
second on; a hundred thousand one-element dicts would cost more than the tasks themselves.

An index is a pure function of the rows. Those that are rarely asked for are built on first use and
maintained from then on.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any

from pyswarm.model.objects import Node, Service, Task
from pyswarm.model.states import EndpointMode, PublishMode

Keys = Callable[[Any], tuple[Hashable, ...]]
Bucket = str | dict[str, None]

FRESH_INSERTS_MAX = 64
"""New ids up to this many are inserted one by one into the sorted list; more are sorted in."""


class Index:
    """Key → ids. ``keys`` gives the keys of an object; an object may have none or several."""

    __slots__ = ("buckets", "keys")

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.buckets: dict[Hashable, Bucket] = {}

    def ids(self, key: Hashable) -> Collection[str]:
        """The ids under ``key``, in the order they came."""
        bucket = self.buckets.get(key)
        if bucket is None:
            return ()
        return (bucket,) if isinstance(bucket, str) else bucket

    def add(self, obj: Any) -> None:
        """Enter a new object."""
        for key in self.keys(obj):
            self._put(key, obj.id)

    def discard(self, obj: Any) -> None:
        """Forget an object."""
        for key in self.keys(obj):
            self._drop(key, obj.id)

    def move(self, old: Any, new: Any) -> None:
        """An object changed: adjust only the keys that did."""
        before, after = self.keys(old), self.keys(new)
        if before == after:
            return
        for key in before:
            if key not in after:
                self._drop(key, old.id)
        for key in after:
            if key not in before:
                self._put(key, new.id)

    def _put(self, key: Hashable, id: str) -> None:
        buckets = self.buckets
        bucket = buckets.setdefault(key, id)
        if not isinstance(bucket, str):
            bucket[id] = None
        elif bucket is not id and bucket != id:
            buckets[key] = {bucket: None, id: None}

    def _drop(self, key: Hashable, id: str) -> None:
        bucket = self.buckets.get(key)
        if isinstance(bucket, dict):
            bucket.pop(id, None)
            if not bucket:
                del self.buckets[key]
        elif bucket == id:
            del self.buckets[key]


class FixedIndex(Index):
    """An index whose keys never change during an object's life."""

    __slots__ = ()

    def move(self, old: Any, new: Any) -> None:
        """Nothing moves."""


class NodeIndex(Index):
    """Tasks by node: the one that changes with each placement, so without detours."""

    __slots__ = ()

    def move(self, old: Any, new: Any) -> None:
        """Adjust when the task got, lost or changed its node."""
        before, after = old.node_id, new.node_id
        if before is after or before == after:
            return
        if before:
            self._drop(before, old.id)
        if after:
            self._put(after, new.id)


class SlotIndex(Index):
    """Tasks by slot; a slot is fixed, but tasks of slot 0 go by their node."""

    __slots__ = ()

    def move(self, old: Any, new: Any) -> None:
        """Adjust where a task without a slot changed its node."""
        if not new.slot or old.slot != new.slot:
            super().move(old, new)


class PrefixIndex:
    """All ids in order, for look-ups by a unique prefix. Deleted ids are dropped when many."""

    __slots__ = ("_fresh", "_ids")

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = sorted(ids)
        self._fresh: list[str] = []

    def add(self, id: str) -> None:
        """Note a new id; it is sorted in when someone asks."""
        self._fresh.append(id)

    def find(self, prefix: str, rows: Mapping[str, Any]) -> list[str]:
        """The ids of ``rows`` that begin with ``prefix``, in order."""
        self._settle(rows)
        ids = self._ids
        found: list[str] = []
        for place in range(bisect_left(ids, prefix), len(ids)):
            id = ids[place]
            if not id.startswith(prefix):
                break
            if id in rows and (not found or found[-1] != id):
                found.append(id)
        return found

    def _settle(self, rows: Mapping[str, Any]) -> None:
        if len(self._ids) + len(self._fresh) > 2 * len(rows) + FRESH_INSERTS_MAX:
            self._ids = sorted(rows)
        elif len(self._fresh) <= FRESH_INSERTS_MAX:
            for id in self._fresh:
                insort(self._ids, id)
        else:
            self._ids += self._fresh
            self._ids.sort()
        self._fresh.clear()


def _task_networks(task: Task) -> tuple[str, ...]:
    wanted = [attachment.network_id for attachment in task.networks]
    wanted += [network.target for network in task.spec.networks]
    return tuple(dict.fromkeys(wanted))


def _service_uses(service: Service) -> tuple[tuple[str, str], ...]:
    task = service.spec.task
    used = [("network", network.target) for network in task.networks]
    if task.container is not None:
        used += [("secret", ref.secret_id) for ref in task.container.secrets]
        used += [("config", ref.config_id) for ref in task.container.configs]
    if _publishes(service):
        used.append(("ingress", ""))
    return tuple(dict.fromkeys(used))


def _publishes(service: Service) -> bool:
    """Whether a port of the service is published in the whole swarm, so that it needs ingress."""
    endpoint = service.spec.endpoint
    if endpoint is None or endpoint.mode is EndpointMode.DNSRR:
        return False
    return any(port.publish_mode is PublishMode.INGRESS for port in endpoint.ports)


def _hostname(node: Node) -> tuple[str, ...]:
    return (node.description.hostname.lower(),) if node.description is not None else ()


def _name(obj: Any) -> tuple[str]:
    return (obj.spec.name.lower(),)


NAMED_KINDS = ("service", "network", "secret", "config", "volume", "extension", "resource")
"""Kinds whose names are unique, whatever the case of the letters."""


def standing_indexes(kind: str) -> dict[str, Index]:
    """The indexes a table of ``kind`` always keeps."""
    if kind == "task":
        return {
            "service": FixedIndex(lambda task: (task.service_id,)),
            "slot": SlotIndex(lambda task: ((task.service_id, task.slot or task.node_id),)),
            "node": NodeIndex(lambda task: (task.node_id,) if task.node_id else ()),
        }
    return {"name": Index(_name)} if kind in NAMED_KINDS else {}


LAZY_INDEXES: dict[tuple[str, str], Keys] = {
    ("task", "network"): _task_networks,
    ("task", "desired"): lambda task: (task.desired_state,),
    ("service", "uses"): _service_uses,
    ("node", "hostname"): _hostname,
}
"""Those that are built when first asked for."""
