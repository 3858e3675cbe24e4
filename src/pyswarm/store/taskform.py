"""How tasks and services are written: what a task shares with its service is not written again.

A hundred thousand tasks have a hundred specs between them. So a task says of its spec only *which*
of its service's it is, the current or the previous; of labels, name and endpoint, that they are the
service's. What the service does not hold (any more) goes in full, once, into a list of specs that
the entry or snapshot carries along. Reading gives tasks the very object that their service has, and
keeps a service's own specs the objects they were when an update did not change them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyswarm.errors import InvalidArgument
from pyswarm.model.labels import FrozenDict
from pyswarm.model.objects import Endpoint, Service, Task
from pyswarm.model.replace import replace
from pyswarm.model.specs import ServiceSpec, TaskSpec
from pyswarm.model.wire import (
    decode_trusted,
    decoder_of,
    differ_of,
    encode,
    encoder_of,
    field_number,
    patch,
)

ServiceOf = Callable[[str], "Service | None"]

STAMPS = ("version", "created_at", "updated_at")
_SHARED = ("spec", "service_name", "service_labels", "endpoint")
_SPEC, _NAME, _LABELS, _ENDPOINT = (field_number(Task, name) for name in _SHARED)
_SERVICE_ID = field_number(Task, "service_id")

CURRENT, PREVIOUS, FIRST_LISTED = 0, 1, 2
"""What stands for a task's spec: its service's current or previous one, or one of the list."""

_encode_whole = encoder_of(Task, _SHARED)
_encode_new = encoder_of(Task, _SHARED + STAMPS)
_encode_changed = differ_of(Task, (*_SHARED, "version", "updated_at"))
_decode = decoder_of(Task, trusted=True, apart=_SHARED)


class TaskWriter:
    """Writes tasks of one entry or snapshot; ``specs`` collects those written in full."""

    def __init__(self, service_of: ServiceOf) -> None:
        self._service_of = service_of
        self._listed: dict[int, int] = {}
        self._kept: list[TaskSpec] = []  # as long as we go by their identity
        self.specs: list[dict[int, Any]] = []

    def whole(self, task: Task) -> dict[int, Any]:
        """Everything, version and times too: for snapshots."""
        return self._share(task, _encode_whole(task))

    def new(self, task: Task) -> dict[int, Any]:
        """A task created by the entry that carries it."""
        return self._share(task, _encode_new(task))

    def changed(self, old: Task, new: Task) -> dict[int, Any]:
        """The fields that an entry changed."""
        data: dict[int, Any] = _encode_changed(old, new)
        if (
            new.spec is not old.spec
            or new.endpoint is not old.endpoint
            or new.service_labels is not old.service_labels
            or new.service_name is not old.service_name
        ):
            self._share_changed(old, new, data)
        return data

    def take_specs(self) -> list[dict[int, Any]]:
        """The specs listed since the last time."""
        specs, self.specs = self.specs, []
        return specs

    def _share(self, task: Task, data: dict[int, Any]) -> dict[int, Any]:
        service = self._service_of(task.service_id)
        data[_SPEC] = self._spec(task.spec, service)
        if task.service_name:
            data[_NAME] = self._name(task, service)
        if task.service_labels:
            data[_LABELS] = self._labels(task, service)
        if task.endpoint is not None:
            data[_ENDPOINT] = self._endpoint(task, service)
        return data

    def _share_changed(self, old: Task, new: Task, data: dict[int, Any]) -> None:
        service = self._service_of(new.service_id)
        if new.spec is not old.spec and new.spec != old.spec:
            data[_SPEC] = self._spec(new.spec, service)
        if new.service_name != old.service_name:
            data[_NAME] = self._name(new, service)
        if new.service_labels != old.service_labels:
            data[_LABELS] = self._labels(new, service)
        if new.endpoint != old.endpoint:
            data[_ENDPOINT] = self._endpoint(new, service)

    def _spec(self, spec: TaskSpec, service: Service | None) -> int:
        if service is not None:
            if spec is service.spec.task:
                return CURRENT
            previous = service.previous_spec
            if previous is not None and spec is previous.task:
                return PREVIOUS
            if spec == service.spec.task:
                return CURRENT
            if previous is not None and spec == previous.task:
                return PREVIOUS
        number = self._listed.get(id(spec))
        if number is None:
            number = self._listed[id(spec)] = len(self._kept) + FIRST_LISTED
            self._kept.append(spec)
            self.specs.append(encode(spec))
        return number

    def _name(self, task: Task, service: Service | None) -> Any:
        return (service is not None and task.service_name == service.spec.name) or task.service_name

    def _labels(self, task: Task, service: Service | None) -> Any:
        labels = task.service_labels
        return (service is not None and labels == service.spec.labels) or labels

    def _endpoint(self, task: Task, service: Service | None) -> Any:
        endpoint = task.endpoint
        if endpoint is None or (service is not None and endpoint == service.endpoint):
            return endpoint is not None or None
        return encode(endpoint)


class TaskReader:
    """Reads what a :class:`TaskWriter` wrote; services are read before the tasks."""

    def __init__(self, service_of: ServiceOf) -> None:
        self._service_of = service_of
        self._specs: list[TaskSpec] = []

    def add_specs(self, specs: list[Any]) -> None:
        """Take in specs that were written in full."""
        self._specs += [decode_trusted(TaskSpec, data) for data in specs]

    def task(self, data: dict[int, Any]) -> Task:
        """A whole or new task; the latter without its stamps."""
        self._resolve(data, data[_SERVICE_ID])
        task: Task = _decode(data)
        return task

    def changed(self, old: Task, data: dict[int, Any]) -> Any:
        """The changed task, still mutable and with the stamps of the old one."""
        self._resolve(data, data.get(_SERVICE_ID, old.service_id))
        return patch(old, data, _SHARED)

    def _resolve(self, data: dict[int, Any], service_id: str) -> None:
        """Put the objects in the place of what stands for them."""
        service = self._service_of(service_id)
        number = data.get(_SPEC)
        if number is not None:
            data[_SPEC] = self._spec(number, service)
        if data.get(_NAME) is True:
            data[_NAME] = _there(service).spec.name
        if _LABELS in data:
            labels = data[_LABELS]
            data[_LABELS] = _there(service).spec.labels if labels is True else FrozenDict(labels)
        endpoint = data.get(_ENDPOINT)
        if endpoint is True:
            data[_ENDPOINT] = _there(service).endpoint
        elif endpoint is not None:
            data[_ENDPOINT] = decode_trusted(Endpoint, endpoint)

    def _spec(self, number: int, service: Service | None) -> TaskSpec:
        if number >= FIRST_LISTED:
            return self._specs[number - FIRST_LISTED]
        if number == CURRENT:
            return _there(service).spec.task
        previous = _there(service).previous_spec
        if number != PREVIOUS or previous is None:
            raise InvalidArgument(f"no task spec for reference {number}")
        return previous.task


def _there(service: Service | None) -> Service:
    if service is None:
        raise InvalidArgument("a task refers to the spec of a service that is not there")
    return service


def interned_service(new: Service, old: Service | None) -> Service:
    """``new`` with its specs, where equal, the very objects of ``old`` and of each other."""
    known = [spec for spec in (old.spec, old.previous_spec) if spec is not None] if old else []
    spec = _interned_spec(new.spec, known)
    previous = new.previous_spec
    if previous is not None:
        previous = _interned_spec(previous, [*known, spec])
    if spec is new.spec and previous is new.previous_spec:
        return new
    return replace(new, spec=spec, previous_spec=previous)


def _interned_spec(spec: ServiceSpec, known: list[ServiceSpec]) -> ServiceSpec:
    for other in known:
        if spec == other:
            return other
    for other in known:
        if spec.task == other.task:
            return replace(spec, task=other.task)
    return spec
