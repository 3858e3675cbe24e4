"""``/tasks``: list and inspect."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyswarm.api.asks import Live, Read
from pyswarm.api.convert import show_attached_network, show_task, show_task_end
from pyswarm.api.errors import Refused
from pyswarm.api.filters import Filters, filters_of
from pyswarm.api.lookup import begins, find, in_order, labels_match
from pyswarm.api.messages import Conversation, HttpRequest, Response, Route
from pyswarm.api.rendering import array, fragment
from pyswarm.model import Task, TaskSpec, TaskState
from pyswarm.store import Reader

FILTERS = (
    *("id", "label", "name", "node", "service", "desired-state", "runtime"),
    "_up-to-date",  # how the CLI watches an update
)
RUNTIMES = ("container", "plugin")
"""The tasks that are listed unless others are asked for: those that are no network attachment."""


def rendered(task: Task, reader: Reader, live: Live) -> bytes:
    """A task's JSON, with its networks as they are now."""
    start, end = live.rendered.of(task, show_task), live.rendered.of(task, show_task_end)
    attachments = []
    for attachment in task.networks:
        network = reader.network(attachment.network_id)
        if network is not None:
            shown = live.rendered.of(network, show_attached_network)
            addresses = fragment(attachment.addresses)
            tail = b',"Addresses":' + addresses if attachment.addresses else b""
            attachments.append(b'{"Network":' + shown + tail + b"}")
    parts = [start[1:-1]]
    if attachments:
        parts.append(b'"NetworksAttachments":[' + b",".join(attachments) + b"]")
    if end != b"{}":
        parts.append(end[1:-1])
    return b"{" + b",".join(parts) + b"}"


def list_tasks(request: HttpRequest) -> Conversation:
    """The tasks of the swarm, ended ones included."""
    filters = filters_of(request, FILTERS)

    def question(reader: Reader, live: Live) -> bytes:
        _check_states(filters)
        services = _ids(reader, live, filters, "service")
        nodes = _ids(reader, live, filters, "node")
        is_current = _judge(reader, live)
        chosen = [
            task
            for task in in_order(_candidates(reader, services, nodes))
            if _is_wanted(task, filters)
            and (not services or task.service_id in services)
            and (not nodes or task.node_id in nodes)
            and ("_up-to-date" not in filters or is_current(task))
        ]
        return array(rendered(task, reader, live) for task in chosen)

    return Response(200, (yield Read(question)))


def _check_states(filters: Filters) -> None:
    for word in filters.get("desired-state", ()):
        if word and word.upper() not in TaskState.__members__:
            raise Refused(500, f"Invalid desired-state filter: '{word}'")


def _ids(reader: Reader, live: Live, filters: Filters, kind: str) -> list[str]:
    """Services and nodes are named as people do."""
    return [find(reader, live, kind, one).id for one in filters.get(kind, ())]


def _candidates(reader: Reader, services: list[str], nodes: list[str]) -> Iterable[Task]:
    """As few as an index gives."""
    look: Callable[[str], list[Task]] = reader.tasks_of_service
    chosen = services
    if nodes and not services:
        look, chosen = reader.tasks_of_node, nodes
    if not chosen:
        return reader.tasks()
    return [task for one in dict.fromkeys(chosen) for task in look(one)]


def _is_wanted(task: Task, filters: Filters) -> bool:
    states = [word.upper() for word in filters.get("desired-state", ()) if word]
    return (
        begins(filters.get("id", ()), task.id)
        and begins(filters.get("name", ()), task.name)
        and labels_match(filters.get("label", ()), task.service_labels)
        and (not states or task.desired_state.name in states)
        and runtime_of(task.spec) in (filters.get("runtime") or RUNTIMES)
    )


def runtime_of(spec: TaskSpec) -> str:
    """What runs such a task: ``container``, ``attachment`` or the name of another runtime."""
    if spec.generic is not None:
        return spec.generic.kind
    return "attachment" if spec.attachment is not None else "container"


def _judge(reader: Reader, live: Live) -> Callable[[Task], bool]:
    """Whether a task is as its service wants it now (of a job: of its iteration of now)."""
    outdated: dict[str, Callable[[Task, Reader], bool]] = {}

    def is_current(task: Task) -> bool:
        service = reader.service(task.service_id)
        if service is None:
            return False
        if service.job_status is not None:
            return task.job_iteration == service.job_status.iteration
        if service.id not in outdated:
            outdated[service.id] = live.outdated(service)
        return not outdated[service.id](task, reader)

    return is_current


def inspect(request: HttpRequest, reference: str) -> Conversation:
    """One task."""

    def question(reader: Reader, live: Live) -> bytes:
        return rendered(find(reader, live, "task", reference), reader, live)

    return Response(200, (yield Read(question)) + b"\n")


ROUTES: tuple[Route, ...] = (
    Route("GET", "/tasks", list_tasks),
    Route("GET", "/tasks/{id}", inspect),
)
