"""``/volumes``: directories of this node that outlive the tasks that use them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

from pyswarm.api.asks import Local
from pyswarm.api.bodies import STRING, Map, Struct, decode
from pyswarm.api.errors import Refused
from pyswarm.api.filters import Filters, filters_of, has_labels, is_true, strict_bool
from pyswarm.api.local import Volume
from pyswarm.api.messages import ApiVersion, Conversation, HttpRequest, Response, Route
from pyswarm.api.patterns import matches
from pyswarm.api.rendering import answer, time_text
from pyswarm.api.versions import as_recorded
from pyswarm.errors import FailedPrecondition

FILTERS = ("dangling", "driver", "label", "name")
PRUNE_FILTERS = ("all", "label", "label!")
DRIVER = "local"
ANONYMOUS = "com.docker.volume.anonymous"
"""The label of a volume that was made without a name."""

PRUNE_NAMED_SINCE: ApiVersion = (1, 42)
"""From here on only volumes without a name go, unless ``all`` is asked for."""

CREATE = Struct(
    "volume.CreateOptions",
    Name=STRING,
    Driver=STRING,
    DriverOpts=Map(STRING),
    Labels=Map(STRING),
)


def show_volume(volume: Volume) -> dict[str, Any]:
    """A volume in Engine JSON."""
    return {
        "CreatedAt": time_text(float(int(volume.created_at))),
        "Driver": volume.driver,
        "Labels": dict(volume.labels) or None,
        "Mountpoint": volume.path,
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }


def volumes() -> Generator[Any, Any, tuple[Volume, ...]]:
    """All of this node."""
    found: tuple[Volume, ...] = yield Local("volumes")
    return found


def list_volumes(request: HttpRequest) -> Conversation:
    """Those of this node, by name."""
    filters = filters_of(request, FILTERS)
    for word in filters.get("dangling", ()):
        if strict_bool(word) is None:
            invalid = "Invalid" if as_recorded(request.version) else "invalid"
            raise Refused(400, f"{invalid} filter 'dangling=[{word}]'")
    found = yield from volumes()
    chosen = [show_volume(one) for one in found if _is_wanted(one, filters)]
    return answer({"Volumes": chosen, "Warnings": None})


_TESTS: Mapping[str, Callable[[Volume, str], bool]] = {
    "name": lambda one, value: matches(value, one.name),
    "driver": lambda one, value: value == one.driver,
    "dangling": lambda one, value: is_true(value) is not one.in_use,
}


def _is_wanted(one: Volume, filters: Filters) -> bool:
    for name, test in _TESTS.items():
        if name in filters and not any(test(one, value) for value in filters[name]):
            return False
    return has_labels(one.labels, filters.get("label", ()))


def inspect(request: HttpRequest, name: str) -> Conversation:
    """One volume."""
    for one in (yield from volumes()):
        if one.name == name:
            return answer(show_volume(one))
    raise Refused(404, f"get {name}: no such volume")


def create(request: HttpRequest) -> Conversation:
    """Make a volume; one that is there is answered as it is, one without a name gets one."""
    body = decode(request, CREATE)
    driver = body.get("Driver") or DRIVER
    name, labels = body.get("Name", ""), dict(body.get("Labels", {}))
    if driver != DRIVER:
        why = f'error looking up volume plugin {driver}: plugin "{driver}" not found'
        raise Refused(404, f"create {name}: {why}")
    if not name:
        labels[ANONYMOUS] = ""
    volume: Volume = yield Local("create_volume", (name, labels, body.get("DriverOpts", {})))
    return answer(show_volume(volume), 201)


def remove(request: HttpRequest, name: str) -> Conversation:
    """Delete a volume that no task here has; with ``force``, one that is not there is well too."""
    if is_true(request.param("force")):
        found = yield from volumes()
        if not any(one.name == name for one in found):
            return Response(204)
    try:
        yield Local("remove_volume", (name,))
    except FailedPrecondition as problem:
        raise Refused(409, problem.message) from None
    return Response(204)


def prune(request: HttpRequest) -> Conversation:
    """Delete the volumes that no task here has."""
    filters = filters_of(request, PRUNE_FILTERS)
    named = any(is_true(value) for value in filters.get("all", ()))
    named = named or request.version < PRUNE_NAMED_SINCE
    gone: list[str] = []
    for one in (yield from volumes()):
        spared = filters.get("label!", ())
        is_spared = bool(spared) and has_labels(one.labels, spared)
        if (
            (named or ANONYMOUS in one.labels)
            and not one.in_use
            and not is_spared
            and has_labels(one.labels, filters.get("label", ()))
        ):
            yield Local("remove_volume", (one.name,))
            gone.append(one.name)
    return answer({"VolumesDeleted": gone, "SpaceReclaimed": 0})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name...}", inspect),
    Route("DELETE", "/volumes/{name}", remove),
)
