"""``/containers``: this node's tasks, as the containers that clients look for.

They are looked at and listened to, commands run beside them (:mod:`pyswarm.api.execs`), and they
can be ended: the task then fails as if its process had been killed, and the swarm sees to the rest.
What makes a container is not for a node that runs tasks alone. A task has no standard input: what a
client that attaches sends is read by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

from pyswarm.api.asks import AwaitEnd, Host, Live, Local, Read, ReadLocalLogs, WatchUsage
from pyswarm.api.containerstats import shown_usage
from pyswarm.api.containerview import Names, image_of, inspected, labels_of, listed, state_of
from pyswarm.api.errors import TASKS_ONLY, Refused
from pyswarm.api.facts import Facts
from pyswarm.api.filters import Filters, filters_of, has_labels, is_true, strict_bool
from pyswarm.api.local import Container, Containers, LogWish, OnNetworks, Processes, Sample, Volume
from pyswarm.api.logs import attached, check_streams, streamed, wish_of
from pyswarm.api.messages import Conversation, HttpRequest, Response, Route, Streamed
from pyswarm.api.patterns import matches
from pyswarm.api.rendering import answer, document
from pyswarm.api.versions import as_recorded
from pyswarm.errors import InvalidArgument, SwarmError
from pyswarm.model import Protocol
from pyswarm.model.objects import NO_READING
from pyswarm.store import Reader

FILTERS = (
    *("ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label"),
    *("name", "network", "publish", "since", "status", "volume"),
)
CONDITIONS = ("", "not-running", "next-exit", "removed")
"""That a client may wait for: a task ends once, and is over then."""

STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
HEALTHS = ("starting", "healthy", "unhealthy", "none")


# -- finding


def find_container(reference: str) -> Generator[Any, Any, Container]:
    """A container by id, name or the beginning of its id; a task's own id does as well."""
    found: Containers = yield Local("containers")
    name = reference.removeprefix("/")
    for one in found.all:
        if reference in (one.id, one.task.id) or name == one.task.name:
            return one
    begun = [one for one in found.all if one.id.startswith(reference)]
    if len(begun) > 1:
        raise Refused(400, f"multiple IDs found with provided prefix: {reference}")
    if not begun:
        raise Refused(404, f"No such container: {reference}")
    return begun[0]


def check_runs(one: Container, request: HttpRequest) -> None:
    """Refuse what needs a task that runs."""
    if state_of(one) != "running":
        word = "Container" if as_recorded(request.version) else "container"
        raise Refused(409, f"{word} {one.id} is not running")


def _networks() -> Generator[Any, Any, Names]:
    """Networks' names by id; on a worker, of those that it is on."""

    def question(reader: Reader, live: Live) -> dict[str, str]:
        return {network.id: network.spec.name for network in reader.networks()}

    try:
        names: Names = yield Read(question, stale=True)
    except SwarmError:
        here: OnNetworks = yield Local("networks")
        return {network.id: network.spec.name for network in here.networks}
    return names


# -- looking


def list_containers(request: HttpRequest) -> Conversation:
    """The running ones, or with ``all`` those that ended too."""
    filters = filters_of(request, FILTERS)
    _check_filters(request, filters)
    found: Containers = yield Local("containers")
    networks = yield from _networks()
    asked = {"status", "exited", "before", "since"}.intersection(filters)
    everything = is_true(request.param("all")) or bool(asked)
    chosen = [
        one
        for one in _between(found.all, filters)
        if (everything or state_of(one) == "running") and _is_wanted(one, filters, networks)
    ]
    limit = request.param("limit")
    if limit.isascii() and limit.isdigit() and int(limit[:9]):
        chosen = chosen[: int(limit[:9])]
    return answer([listed(one, networks, found.now) for one in chosen])


def _check_filters(request: HttpRequest, filters: Filters) -> None:
    """Refuse words that a filter does not know; numbers that are none, as Go's parser does."""
    recorded = as_recorded(request.version)
    invalid = "Invalid" if recorded else "invalid"
    for word in filters.get("status", ()):
        if word not in STATUSES:
            raise Refused(400, f"{invalid} filter 'status={word}'")
    for word in filters.get("health", ()):
        if word not in HEALTHS:
            raise Refused(400, f"Unrecognised filter value for health: {word}")
    for word in filters.get("is-task", ()):
        if strict_bool(word) is None:
            raise Refused(400, f"{invalid} filter 'is-task=[{word}]'")
    for word in (*filters.get("exited", ()), request.param("limit") or "0"):
        if not _INTEGER.fullmatch(word):
            why = f'strconv.Atoi: parsing "{word}": invalid syntax'
            raise Refused(500 if recorded else 400, why)
    for name in ("publish", "expose"):
        for word in filters.get(name, ()):
            if not _PORTS.fullmatch(word):
                raise Refused(500 if recorded else 400, f"error while looking up for {name} {word}")


_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/([a-z]+))?")


def _has_port(ports: Iterable[tuple[int, Protocol]], wanted: str) -> bool:
    """Whether one of them is in ``first[-last][/protocol]``."""
    found = _PORTS.fullmatch(wanted)
    assert found is not None  # checked
    first, last = int(found[1]), int(found[2] or found[1])
    protocol = found[3] or str(Protocol.TCP)
    return any(first <= number <= last and str(kind) == protocol for number, kind in ports)


def _between(containers: Sequence[Container], filters: Filters) -> Sequence[Container]:
    """The part of the list (newest first) that ``before`` and ``since`` leave."""
    for reference in filters.get("before", ()):
        containers = containers[_place(containers, reference) + 1 :]
    for reference in filters.get("since", ()):
        containers = containers[: _place(containers, reference)]
    return containers


def _place(containers: Sequence[Container], reference: str) -> int:
    for place, one in enumerate(containers):
        if one.task.name == reference or one.id.startswith(reference):
            return place
    raise Refused(404, f"No such container: {reference}")


_TESTS: Mapping[str, Callable[[Container, str], bool]] = {
    "id": lambda one, value: value in one.id,
    "name": lambda one, value: matches(value, one.task.name),
    "status": lambda one, value: value == state_of(one),
    "exited": lambda one, value: state_of(one) == "exited" and value == str(one.task.exit_code),
    "health": lambda one, value: value == (one.health or "none"),
    "ancestor": lambda one, value: value in (_image(one), _image(one).rpartition(":")[0]),
    "volume": lambda one, value: any(value in (m.source, m.target) for m in _mounts(one)),
    "is-task": lambda one, value: is_true(value),
    "publish": lambda one, value: _has_port(
        [(port.published_port, port.protocol) for port in one.task.port_status], value
    ),
    "expose": lambda one, value: _has_port(
        [(port.target_port, port.protocol) for port in one.task.port_status], value
    ),
}


def _is_wanted(one: Container, filters: Filters, networks: Names) -> bool:
    for name, test in _TESTS.items():
        if name in filters and not any(test(one, value) for value in filters[name]):
            return False
    attached = [network.network_id for network in one.task.networks]
    attached += [networks[id] for id in attached if id in networks]
    wanted = filters.get("network", ())
    if wanted and not any(value in attached for value in wanted):
        return False
    return has_labels(labels_of(one), filters.get("label", ()))


def _image(one: Container) -> str:
    container = one.task.spec.container
    return image_of(container) if container is not None else ""


def _mounts(one: Container) -> Sequence[Any]:
    container = one.task.spec.container
    return container.mounts if container is not None else ()


def inspect(request: HttpRequest, reference: str) -> Conversation:
    """One of them."""
    one = yield from find_container(reference)
    networks = yield from _networks()
    volumes: tuple[Volume, ...] = yield Local("volumes")
    return answer(inspected(one, networks, {volume.name: volume.path for volume in volumes}))


def read_logs(request: HttpRequest, reference: str) -> Conversation:
    """What its task wrote."""
    check_streams(request)
    one = yield from find_container(reference)
    _check_log(one)
    container = one.task.spec.container
    source = ReadLocalLogs(one.task.id, wish_of(request))
    return streamed(request, source, tty=container is not None and container.tty)


def _check_log(one: Container) -> None:
    if not one.task.keeps_log:
        raise Refused(501, NO_READING)


def attach(request: HttpRequest, reference: str) -> Conversation:
    """What its task writes from now on, over the connection itself; with ``logs`` what it wrote
    before, too."""
    one = yield from find_container(reference)
    if is_true(request.param("logs")):
        _check_log(one)
    wish = LogWish(
        stdout=is_true(request.param("stdout")),
        stderr=is_true(request.param("stderr")),
        follow=is_true(request.param("stream")),
        tail=None if is_true(request.param("logs")) else 0,
    )
    container = one.task.spec.container
    tty = container is not None and container.tty
    return attached(request, ReadLocalLogs(one.task.id, wish), tty=tty)


def top(request: HttpRequest, reference: str) -> Conversation:
    """Its processes, as ``ps`` shows them."""
    one = yield from find_container(reference)
    check_runs(one, request)
    arguments = request.param("ps_args") or "-ef"
    if own := OWN_TITLE.search(arguments):
        raise Refused(500, f'specifying "{own[0]}" is not allowed')
    found: Processes = yield Local("processes", (one.task.id, arguments))
    return answer({"Processes": [list(row) for row in found.rows], "Titles": list(found.titles)})


OWN_TITLE = re.compile(r"\S*=\s*PID\S*")
"""Another column of that name would show other processes."""


def usage(request: HttpRequest, reference: str) -> Conversation:
    """What it uses: again and again, or once, and then with a sample before to compare with unless
    the client wants none."""
    one = yield from find_container(reference)
    is_stream, one_shot = is_true(request.param("stream", "1")), is_true(request.param("one-shot"))
    if is_stream and one_shot:
        raise Refused(400, "cannot have stream=true and one-shot=true")
    facts: Facts = yield Host("facts")
    if state_of(one) != "running":
        return answer(shown_usage(one, facts, None, None))

    def encode(pair: tuple[Sample | None, Sample | None]) -> bytes:
        return document(shown_usage(one, facts, *pair))

    once = not is_stream
    return Streamed(WatchUsage(one.task.id, once, is_primed=once and not one_shot), encode)


# -- ending


def kill(request: HttpRequest, reference: str) -> Conversation:
    """Send a signal; without one, end it at once."""
    recorded, signal = as_recorded(request.version), request.param("signal")
    cannot = f"{'C' if recorded else 'c'}annot kill container: {reference}: "
    try:
        one = yield from find_container(reference)
        check_runs(one, request)
        yield Local("signal", (one.task.id, signal))
    except Refused as refused:
        raise Refused(refused.status, cannot + refused.message) from None
    except InvalidArgument as unknown:  # the signal
        text = f"Invalid signal: {signal}" if recorded else cannot + unknown.message
        raise Refused(400, text) from None
    return Response(204)


def stop(request: HttpRequest, reference: str) -> Conversation:
    """Ask it to stop, and end it after ``t`` seconds."""
    one = yield from find_container(reference)
    if state_of(one) != "running":
        return Response(304)
    text = request.param("t")
    seconds = float(text) if text.isascii() and text.isdigit() and len(text) < 9 else None
    yield Local("stop", (one.task.id, seconds))
    return Response(204)


def remove(request: HttpRequest, reference: str) -> Conversation:
    """Remove it with its log; one that runs needs ``force``, and its task fails."""
    one = yield from find_container(reference)
    if state_of(one) == "running" and not is_true(request.param("force")):
        raise Refused(
            409,
            f"You cannot remove a running container {one.id}. Stop the container before attempting "
            "removal or force remove"
            if as_recorded(request.version)
            else f"cannot remove container {reference!r}: container is running: stop the container "
            "before removing or force remove",
        )
    yield Local("remove", (one.task.id,))
    return Response(204)


def await_end(request: HttpRequest, reference: str) -> Conversation:
    """The exit code, once there is one."""
    condition = request.param("condition")
    if condition not in CONDITIONS and not as_recorded(request.version):
        raise Refused(400, f'invalid condition: "{condition}"')
    one = yield from find_container(reference)

    def encode(code: int) -> bytes:
        return document({"StatusCode": code})

    return Streamed(AwaitEnd(one.task.id), encode)


def refuse(request: HttpRequest, reference: str) -> Conversation:
    """What a task cannot take; of one that is not there, that is what is said."""
    yield from find_container(reference)
    raise Refused(501, f"{request.method} {request.path}: {TASKS_ONLY}")


NOT_FOR_TASKS = (
    *("POST start", "POST restart", "POST pause", "POST unpause", "POST rename", "POST update"),
    *("POST resize", "GET changes", "GET export", "GET archive", "PUT archive"),
    *("HEAD archive", "GET attach/ws"),
)

ROUTES: tuple[Route, ...] = (
    Route("GET", "/containers/json", list_containers),
    Route("GET", "/containers/{id...}/json", inspect),
    Route("GET", "/containers/{id}/logs", read_logs),
    Route("POST", "/containers/{id}/attach", attach),
    Route("GET", "/containers/{id}/top", top),
    Route("GET", "/containers/{id}/stats", usage),
    Route("POST", "/containers/{id}/kill", kill),
    Route("POST", "/containers/{id}/stop", stop),
    Route("POST", "/containers/{id}/wait", await_end),
    Route("DELETE", "/containers/{id}", remove),
    *(
        Route(method, f"/containers/{{id}}/{verb}", refuse)
        for method, verb in (one.split() for one in NOT_FOR_TASKS)
    ),
)
