"""``/networks``: list, inspect, create, remove, prune, connect and disconnect.

The swarm's networks are objects of the store. A worker, and a manager of a swarm that nobody leads,
shows those that it is on. Beside them stand the node-local ones that every engine has, so that
clients find what they expect; here they are names only, since this node runs no containers of its
own. Lists and inspection answer in every state of the node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_network
from math import inf
from typing import Any

import attrs

from pyswarm.api.asks import Do, Host, Live, Local, Question, Read
from pyswarm.api.bodies import decode
from pyswarm.api.convert import Said, network_spec_of, show_network
from pyswarm.api.convert.networks import PREDEFINED_LABEL, SCOPE, network_resource
from pyswarm.api.convert.shapes import NETWORK_CONNECT, NETWORK_CREATE
from pyswarm.api.errors import Refused
from pyswarm.api.facts import Facts
from pyswarm.api.filters import Filters, filters_of, strict_bool
from pyswarm.api.hosting import NEVER_JOINED, HostRefusal, HostState, HostStatus
from pyswarm.api.local import Containers, OnNetworks
from pyswarm.api.lookup import flag, in_order, labels_match
from pyswarm.api.messages import ApiVersion, Conversation, HttpRequest, Response, Route
from pyswarm.api.netview import is_on, show_listed_here, show_network_here, show_to_worker
from pyswarm.api.rendering import ZERO_TIME, answer, array, fragment
from pyswarm.api.versions import as_recorded
from pyswarm.errors import FailedPrecondition, InvalidArgument, SwarmError, Unavailable
from pyswarm.model import Network, NetworkSpec
from pyswarm.model.parse import parse_duration
from pyswarm.model.requests import CreateNetwork, RemoveNetwork
from pyswarm.store import Reader

FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
PRUNE_FILTERS = ("label", "label!", "until")
LOCAL: tuple[tuple[str, str], ...] = (
    ("bridge", "bridge"),
    ("docker_gwbridge", "bridge"),
    ("host", "host"),
    ("none", "null"),
)
"""The node-local networks of every engine: name and driver."""

LOCAL_ONLY = ("docker_gwbridge",)
"""Those of them that services cannot use."""

PREDEFINED = ("bridge", "host", "none")
LOCAL_DRIVERS = ("bridge", "host", "null", "macvlan", "ipvlan")
SWARM_DRIVERS = ("overlay",)
IPAM_DRIVERS = ("", "default", "null")
DONE = Response(200, content_type="")
GONE = Response(204, content_type="")
BAD_DANGLING = 'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'


@attrs.frozen
class Shown:
    """A network as an answer: what filters look at, and its JSON."""

    id: str
    name: str
    driver: str
    scope: str
    labels: tuple[tuple[str, str], ...]
    is_used: bool
    json: bytes = attrs.field(repr=False)


# -- list and inspect


def list_networks(request: HttpRequest) -> Conversation:
    """The networks of the swarm and of this node."""
    filters = filters_of(request, FILTERS)
    _check_filters(filters, as_recorded(request.version))
    networks = yield from _all(request.version)
    return Response(200, array(one.json for one in networks if _is_wanted(one, filters)))


def inspect(request: HttpRequest, reference: str) -> Conversation:
    """One network; ``verbose`` with the services on it, ``scope`` to say which one is meant."""
    verbose = flag(request, "verbose")
    scope = request.param("scope")
    found = yield from _all(request.version, predefined=scope == SCOPE)
    chosen = _unique([one for one in found if scope in ("", one.scope)], reference)
    if chosen.scope != SCOPE:
        return Response(200, chosen.json + b"\n")

    def question(reader: Reader, live: Live) -> bytes:
        network = reader.network(chosen.id)
        if network is None:
            raise Refused(404, f"network {reference} not found")
        return fragment(show_network_here(network, reader, live, request.version, verbose))

    try:
        shown: bytes = yield Read(question)
    except Unavailable:
        shown = yield Read(question, stale=True)
    except HostRefusal:
        shown = yield from _inspected_by_worker(chosen.id, request.version)
    return Response(200, shown + b"\n")


def _inspected_by_worker(network_id: str, version: ApiVersion) -> Generator[Any, Any, bytes]:
    here: OnNetworks = yield Local("networks")
    containers: Containers = yield Local("containers")
    tasks = [one.task for one in containers.all]
    for network in here.networks:
        if network.id == network_id and here.node is not None:
            return fragment(show_to_worker(network, here.node, tasks, version))
    raise Refused(404, f"network {network_id} not found")


def _all(version: ApiVersion, *, predefined: bool = False) -> Generator[Any, Any, list[Shown]]:
    """The swarm's networks as far as they can be had, and the local ones. ``predefined``: with
    those through which a service says that it wants a node's own (``--network host``)."""
    try:
        swarm: list[Shown] = yield Read(_swarm_networks(version, predefined))
    except Unavailable:  # nobody leads
        swarm = yield Read(_swarm_networks(version, False, here=True), stale=True)
    except SwarmError:  # no manager
        on: OnNetworks = yield Local("networks")
        swarm = [
            _of_swarm(one, is_used=True, json=fragment(show_listed_here(one, version)))
            for one in on.networks
        ]
    status: HostStatus = yield Host("status")
    return [*swarm, *_local_networks(status, version)]


def _swarm_networks(version: ApiVersion, predefined: bool, *, here: bool = False) -> Question:
    """All of the swarm, or those that this node is on (``here``)."""
    show = show_listed_here if here else show_network

    def question(reader: Reader, live: Live) -> list[Shown]:
        node = reader.node(live.node_id)
        return [
            _of_swarm(
                network,
                is_used=bool(reader.tasks_using_network(network.id)),
                json=live.rendered.of(network, show, version),
            )
            for network in in_order(reader.networks())
            if (predefined or PREDEFINED_LABEL not in network.spec.labels)
            and (not here or is_on(network, node))
        ]

    return question


def _of_swarm(network: Network, *, is_used: bool, json: bytes) -> Shown:
    spec = network.spec
    labels = tuple(spec.labels.items())
    return Shown(network.id, spec.name, spec.driver, SCOPE, labels, is_used, json)


def _local_networks(status: HostStatus, version: ApiVersion) -> list[Shown]:
    is_node = status.state is HostState.ACTIVE
    return [
        _local(name, driver, status.node_id, version)
        for name, driver in LOCAL
        if is_node or name != "docker_gwbridge"
    ]


def _local(name: str, driver: str, node_id: str, version: ApiVersion) -> Shown:
    id = hashlib.sha256(f"{node_id} {name}".encode()).hexdigest()
    shown = network_resource(
        version,
        Name=name,
        Id=id,
        Created=ZERO_TIME,
        Scope="local",
        Driver=driver,
        IPAM={"Driver": "default", "Options": None, "Config": []},
        Containers={},
        Options={},
        Labels={},
    )
    return Shown(id, name, driver, "local", (), True, fragment(shown))


def _check_filters(filters: Filters, recorded: bool) -> None:
    for word in filters.get("type", ()):
        if word not in ("custom", "builtin"):
            raise (
                Refused(500, f"invalid filter: 'type'='{word}'")
                if recorded
                else Refused(400, f"invalid filter 'type=[{word}]'")
            )
    words = filters.get("dangling", ())
    if recorded and len(words) > 1:
        raise Refused(400, 'got more than one value for filter key "dangling"')
    for word in words:
        if strict_bool(word) is None:
            raise Refused(400, BAD_DANGLING if recorded else f"invalid filter 'dangling=[{word}]'")


def _is_wanted(one: Shown, filters: Filters) -> bool:
    dangling = [strict_bool(word) for word in filters.get("dangling", ())]
    kind = "builtin" if one.name in PREDEFINED else "custom"
    return (
        _matches(filters, "driver", one.driver)
        and _matches(filters, "scope", one.scope)
        and _matches(filters, "type", kind)
        and _holds(filters, "id", one.id)
        and _holds(filters, "name", one.name)
        and labels_match(filters.get("label", ()), dict(one.labels))
        and (not dangling or any(is_dangling != one.is_used for is_dangling in dangling))
    )


def _matches(filters: Filters, name: str, text: str) -> bool:
    words = filters.get(name, ())
    return not words or text in words


def _holds(filters: Filters, name: str, text: str) -> bool:
    """Part of the text will do; ``^`` and ``$`` tie it to its ends."""
    values = filters.get(name, ())
    return not values or any(_is_part(value, text) for value in values)


def _is_part(value: str, text: str) -> bool:
    wanted = value.removeprefix("^").removesuffix("$")
    at_start, at_end = value.startswith("^"), value.endswith("$")
    if at_start and at_end:
        return text == wanted
    if at_start:
        return text.startswith(wanted)
    return text.endswith(wanted) if at_end else wanted in text


def _unique(networks: list[Shown], reference: str) -> Shown:
    """The one network meant: by id, by name, by the beginning of its id."""
    by_id = [one for one in networks if one.id == reference]
    by_name = [one for one in networks if one.name == reference]
    by_prefix = [one for one in networks if reference and one.id.startswith(reference)]
    matches = by_id or by_name or by_prefix
    if not matches:
        raise Refused(404, f"network {reference} not found")
    if len(matches) > 1:
        how = "name" if by_name else "ID prefix"
        where = f"({len(matches)} matches found based on {how})"
        raise Refused(400, f"network {reference} is ambiguous {where}")
    return matches[0]


# -- create and remove


def create(request: HttpRequest) -> Conversation:
    """A new network of the swarm."""
    body = Said(decode(request, NETWORK_CREATE))
    spec = network_spec_of(body)
    _check_create(request, body, spec)
    try:
        yield Read(lambda reader, _: _check_free(reader, spec.name))
        network: Network = yield Do(CreateNetwork(spec))
    except HostRefusal:
        status: HostStatus = yield Host("status")
        raise _not_here(request, status) from None
    return answer({"Id": network.id, "Warning": ""}, 201)


def _check_create(request: HttpRequest, body: Said, spec: NetworkSpec) -> None:
    recorded = as_recorded(request.version)
    if not spec.name:
        raise (
            Refused(500, "invalid name: ")
            if recorded
            else Refused(400, "invalid name: name is empty")
        )
    if spec.name in ("none", "default"):
        raise Refused(403, f"operation is not permitted on predefined {spec.name} network ")
    if body.flag("ConfigOnly"):
        raise Refused(501, "config-only networks: this node has no networks of its own")
    scope, driver = body.text("Scope"), spec.driver or "bridge"
    if driver in SWARM_DRIVERS and scope == "local":
        raise Refused(403, "cannot downgrade network scope for overlay networks")
    if driver in LOCAL_DRIVERS and scope != SCOPE:
        raise Refused(
            501,
            f"local networks ({driver}): this node has no networks of its own, only the swarm's",
        )
    if driver not in (*SWARM_DRIVERS, *LOCAL_DRIVERS):
        raise Refused(404, f'plugin "{driver}" not found')
    problem = _why_no_driver(spec)
    if problem:
        raise Refused(400, f"rpc error: code = InvalidArgument desc = {problem}")
    _check_subnets(request, spec, recorded)


def _why_no_driver(spec: NetworkSpec) -> str:
    """What the managers have against the drivers of a network; "" for nothing."""
    if not spec.driver:
        return "driver name: if driver is specified name is required"
    if spec.driver == "null":
        return "error during lookup of plugin null"
    if spec.ipam.driver not in IPAM_DRIVERS:
        return f"error during lookup of plugin {spec.ipam.driver}"
    return ""


def _check_subnets(request: HttpRequest, spec: NetworkSpec, recorded: bool) -> None:
    """What is no subnet at all is refused by the engine; the managers look at the rest."""
    for config in spec.ipam.configs:
        if recorded and not _is_cidr(config.subnet):
            text = f"invalid CIDR address: {config.subnet}"
            raise Refused(500, f"Invalid subnet {config.subnet} : {text}")
        if config.subnet and "/" not in config.subnet:
            raise Refused(400, f"invalid JSON: netip.ParsePrefix(\"{config.subnet}\"): no '/'")


def _is_cidr(text: str) -> bool:
    with suppress(ValueError):
        ip_network(text, strict=False)
        return text.partition("/")[2].isdigit()
    return False


def _check_free(reader: Reader, name: str) -> None:
    found = reader.by_name("network", name)
    if found is not None:
        raise Refused(409, f"network with name {name} already exists")


def _not_here(request: HttpRequest, status: HostStatus) -> Refused:
    """An overlay network, and nobody here to make it."""
    if not as_recorded(request.version):
        return Refused(403, NEVER_JOINED)
    if status.state is HostState.ACTIVE:
        return Refused(
            403,
            "Cannot create a multi-host network from a worker node. "
            "Please create the network from a manager node.",
        )
    return Refused(500, NEVER_JOINED)


def remove(request: HttpRequest, reference: str) -> Conversation:
    """Remove a network of the swarm that nothing uses."""
    chosen = _unique((yield from _all(request.version)), reference)
    if chosen.scope != SCOPE:
        raise Refused(403, f"{chosen.name} is a pre-defined network and cannot be removed")
    yield Do(RemoveNetwork(chosen.id))
    return GONE


def prune(request: HttpRequest) -> Conversation:
    """Remove the swarm's networks that nothing uses; ``ingress`` stays."""
    filters = filters_of(request, PRUNE_FILTERS)
    facts: Facts = yield Host("facts")
    recorded = as_recorded(request.version)
    moments = (_until(word, facts.now, recorded) for word in filters.get("until", ()))
    until = min(moments, default=inf)
    try:
        networks: list[Network] = yield Read(lambda reader, _: in_order(reader.networks()))
    except HostRefusal:
        networks = []  # this node has none of its own
    gone = []
    for network in networks:
        if not _is_prunable(network, filters) or network.created_at > until:
            continue
        try:
            yield Do(RemoveNetwork(network.id))
        except FailedPrecondition:
            continue  # in use
        gone.append(network.spec.name)
    return answer({"NetworksDeleted": gone or None})


def _until(text: str, now: float, recorded: bool) -> float:
    """A moment: seconds since the epoch, a date, or how long ago."""
    try:
        if text.replace(".", "", 1).isdigit():
            return float(text)
        if "T" in text:
            at = datetime.fromisoformat(text)
            return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
        return now - parse_duration(text)
    except (ValueError, InvalidArgument):
        raise (
            Refused(500, f'failed to parse value as time or duration: "{text}"')
            if recorded
            else Refused(400, f"invalid filter 'until=[{text}]'")
        ) from None


def _is_prunable(network: Network, filters: Filters) -> bool:
    labels = network.spec.labels
    if network.spec.ingress or PREDEFINED_LABEL in labels:
        return False
    if any(labels_match((one,), labels) for one in filters.get("label!", ())):
        return False
    return labels_match(filters.get("label", ()), labels)


# -- containers


def connect(request: HttpRequest, reference: str) -> Conversation:
    """Refused: this node's containers are tasks, and their service says on which networks."""
    return (yield from _refuse_container(request, reference, 501, NO_CONNECT))


def disconnect(request: HttpRequest, reference: str) -> Conversation:
    """Refused, for the same reason."""
    return (yield from _refuse_container(request, reference, 403, NO_DISCONNECT))


NO_CONNECT = "this node's containers are tasks: their service says on which networks they are"
NO_DISCONNECT = "operation is not permitted on swarm scoped networks"


def _refuse_container(request: HttpRequest, reference: str, status: int, text: str) -> Conversation:
    wanted = Said(decode(request, NETWORK_CONNECT)).text("Container")
    if not wanted and as_recorded(request.version):
        raise Refused(400, 'invalid name or ID supplied: ""')
    _unique((yield from _all(request.version)), reference)
    here: Containers = yield Local("containers")
    is_task = any(wanted and wanted in (one.id, one.task.name) for one in here.all)
    raise Refused(status, text) if is_task else Refused(404, f"No such container: {wanted}")


ROUTES: tuple[Route, ...] = (
    Route("GET", "/networks", list_networks),
    Route("GET", "/networks/", list_networks),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("GET", "/networks/{id}", inspect),
    Route("DELETE", "/networks/{id}", remove),
    Route("POST", "/networks/{id}/connect", connect),
    Route("POST", "/networks/{id}/disconnect", disconnect),
)
