"""``/services``: create, list, inspect, update, remove.

Networks are looked up here, before the managers are asked, since the engine does so too and its
refusals differ. Registry credentials never leave again: an update that brings none keeps those of
the current spec, or of the one before.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

import attrs

from pyswarm.api.asks import Do, Live, Prepare, Read
from pyswarm.api.bodies import decode
from pyswarm.api.convert import (
    Said,
    service_spec_of,
    show_service,
    show_service_status,
    show_service_with_defaults,
)
from pyswarm.api.convert.services import MODES
from pyswarm.api.convert.shapes import SERVICE_SPEC
from pyswarm.api.errors import Refused
from pyswarm.api.filters import Filters, filters_of, version_of
from pyswarm.api.lookup import common, find, flag, found, in_order
from pyswarm.api.messages import Conversation, HttpRequest, Response, Route
from pyswarm.api.names import free_name
from pyswarm.api.networks import LOCAL_ONLY
from pyswarm.api.rendering import answer, array, created, fragment
from pyswarm.api.tasks import runtime_of
from pyswarm.api.versions import as_recorded
from pyswarm.errors import AlreadyExists
from pyswarm.model import Service, ServiceSpec, TaskSpec
from pyswarm.model.requests import CreateService, RemoveService, UpdateService
from pyswarm.store import Reader

FILTERS = ("name", "id", "label", "mode", "runtime")
NAME_ATTEMPTS = 5
"""How often a service without a name is given another one, if somebody was quicker."""

Prepared: TypeAlias = tuple[ServiceSpec, tuple[str, ...]]
"""A spec as it goes into a command, and warnings."""

DONE = Response(200, content_type="")
AUTH_HEADER = "x-registry-auth"


# -- create


def create(request: HttpRequest) -> Conversation:
    """A new service; answered with its id and what should be known about its image."""
    body = Said(decode(request, SERVICE_SPEC))
    # Only names of networks need the newest state; else this manager's own will do.
    spec: ServiceSpec = yield Read(
        lambda reader, live: _converted(body, reader, live), stale=not _targets(body)
    )
    if spec.task.generic is not None:
        kind = spec.task.generic.kind
        raise Refused(500, f'runtime type "{kind}" only supported in experimental')
    spec, warnings = yield from _prepared(request, spec)
    service: Service = yield from _created(spec)
    if warnings or not as_recorded(request.version):
        return answer({"ID": service.id, "Warnings": list(warnings) or None}, 201)
    return created(service.id)


def _created(spec: ServiceSpec) -> Generator[Any, Any, Service]:
    """The service written; one without a name is given one."""
    service: Service
    for attempt in range(NAME_ATTEMPTS):
        named = spec if spec.name else (yield from _named(spec, attempt))
        try:
            service = yield Do(CreateService(named))
        except AlreadyExists:
            if spec.name or attempt + 1 == NAME_ATTEMPTS:
                raise
        else:
            return service
    raise AssertionError("the last attempt returns or raises")


def _named(spec: ServiceSpec, attempt: int) -> Generator[Any, Any, ServiceSpec]:
    name = yield Read(lambda reader, live: free_name(reader, live.node_id, attempt))
    return attrs.evolve(spec, name=name)


def _converted(body: Said, reader: Reader, live: Live) -> ServiceSpec:
    """The spec with the ids of its networks; both are refused in the engine's order.

    Part of a question, because a node that is no manager says so before it looks at a spec.
    """
    ids = [_network_id(reader, live, target) for target in _targets(body)]
    spec = service_spec_of(body)
    if not ids:
        return spec
    networks = tuple(
        attrs.evolve(one, target=id) for one, id in zip(spec.task.networks, ids, strict=True)
    )
    task: TaskSpec = attrs.evolve(spec.task, networks=networks)
    return attrs.evolve(spec, task=task)


def _targets(body: Said) -> list[str]:
    networks = body.struct("TaskTemplate").each("Networks") or body.each("Networks")
    return [one.text("Target") for one in networks]


def _network_id(reader: Reader, live: Live, target: str) -> str:
    """The id of a network that services can use."""
    if target in LOCAL_ONLY:
        raise Refused(
            403,
            f"The network {target} cannot be used with services. Only networks scoped to the "
            "swarm can be used, such as those created with the overlay driver.",
        )
    try:
        found_id: str = find(reader, live, "network", target).id
    except Refused as refused:
        if target == "none":
            where = "could not find the corresponding predefined swarm network: "
            raise Refused(404, where + refused.message) from None
        raise Refused(500, refused.message) from None  # the engine's look-up gives it no kind
    return found_id


def _prepared(
    request: HttpRequest, spec: ServiceSpec, current: Service | None = None
) -> Generator[Any, Any, Prepared]:
    """The spec with its registry credentials, sealed.

    Clients that want an image pinned have done so: the engine leaves it to them since API 1.30.
    """
    if auth := request.headers.get(AUTH_HEADER, ""):
        known = current.spec if current is not None else None
        ready: Prepared = yield Prepare(spec, current=known, auth=auth)
        return ready
    return spec, ()


# -- list and inspect


def list_services(request: HttpRequest) -> Conversation:
    """The services; ``status=true`` with the counts of their tasks."""
    filters = filters_of(request, FILTERS, malformed=400)
    with_status = flag(request, "status")

    def question(reader: Reader, live: Live) -> bytes:
        chosen = [one for one in in_order(reader.services()) if _is_wanted(one, filters)]
        if not with_status:
            return array(live.rendered.of(one, show_service) for one in chosen)
        return array(_with_status(one, reader, live) for one in chosen)

    return Response(200, (yield Read(question)))


def _is_wanted(service: Service, filters: Filters) -> bool:
    spec = service.spec
    modes, runtimes = filters.get("mode", ()), filters.get("runtime") or ("container",)
    return (
        common(filters, service.id, spec.name, spec.labels)
        and (not modes or MODES[type(spec.mode)] in modes)
        and runtime_of(spec.task) in runtimes
    )


def _with_status(service: Service, reader: Reader, live: Live) -> bytes:
    status = show_service_status(service, reader.tasks_of_service(service.id))
    shown = live.rendered.of(service, show_service)
    return shown[:-1] + b',"ServiceStatus":' + fragment(status) + b"}"


def inspect(request: HttpRequest, reference: str) -> Conversation:
    """One service; ``insertDefaults=true`` with what holds where its spec does not say."""
    show = show_service_with_defaults if flag(request, "insertDefaults") else show_service

    def question(reader: Reader, live: Live) -> bytes:
        return live.rendered.of(find(reader, live, "service", reference), show)

    return Response(200, (yield Read(question)) + b"\n")


# -- update and remove


def update(request: HttpRequest, reference: str) -> Conversation:
    """A whole new spec, or (``rollback=previous``) the one before again."""
    body = Said(decode(request, SERVICE_SPEC))
    version = version_of(request, "service")

    def question(reader: Reader, live: Live) -> tuple[ServiceSpec, Service]:
        spec = _converted(body, reader, live)
        return spec, find(reader, live, "service", reference)

    spec, current = yield Read(question)
    spec, warnings = yield from _with_credentials(request, spec, current)
    if _is_rollback(request):
        yield Do(UpdateService(current.id, version, rollback=True))
        return answer({"Warnings": None})
    _check_networks(body, spec, current)
    if not spec.name:  # the engine would invent one, and be refused for it
        spec = yield from _named(spec, 0)
    yield Do(UpdateService(current.id, version, spec))
    return answer({"Warnings": list(warnings) or None})


def _is_rollback(request: HttpRequest) -> bool:
    word = request.param("rollback")
    if word not in ("", "none", "previous"):
        raise Refused(500, f"unrecognized rollback option {word}")
    return word == "previous"


def _with_credentials(
    request: HttpRequest, spec: ServiceSpec, current: Service
) -> Generator[Any, Any, Prepared]:
    """``spec`` with the credentials that came, or with those of a spec that is there."""
    if request.headers.get(AUTH_HEADER, "") or spec.task.container is None:
        return (yield from _prepared(request, spec, current))
    word = request.param("registryAuthFrom")
    source = current.spec
    if word == "previous-spec":
        if current.previous_spec is None:
            raise Refused(500, "service does not have a previous spec")
        source = current.previous_spec
    elif word not in ("", "spec"):
        if as_recorded(request.version):
            raise Refused(500, "unsupported registryAuthFrom value")
        raise Refused(400, f"invalid registryAuthFrom '{word}'")
    if source.task.container is None:
        raise Refused(500, "service does not use container tasks")
    container = attrs.evolve(spec.task.container, registry_auth=source.task.container.registry_auth)
    return attrs.evolve(spec, task=attrs.evolve(spec.task, container=container)), ()


def _check_networks(body: Said, spec: ServiceSpec, current: Service) -> None:
    """The old place of networks, beside the task's spec, cannot change them any more."""
    if not body.each("Networks") or body.struct("TaskTemplate").each("Networks"):
        return
    if spec.task.networks != current.spec.task.networks:
        raise Refused(
            501,
            "rpc error: code = Unimplemented desc = "
            "networks must be migrated to TaskSpec before being changed",
        )


def remove(request: HttpRequest, reference: str) -> Conversation:
    """Remove a service; its tasks are shut down."""
    service: Service = yield Read(found("service", reference))
    yield Do(RemoveService(service.id))
    return DONE


ROUTES: tuple[Route, ...] = (
    Route("GET", "/services", list_services),
    Route("POST", "/services/create", create),
    Route("GET", "/services/{id}", inspect),
    Route("POST", "/services/{id}/update", update),
    Route("DELETE", "/services/{id}", remove),
)
