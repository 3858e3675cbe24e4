"""``/images``: what the node's executor can run. Nothing is fetched or deleted here.

An image is a name; its id is made from it. Pulling one that is there succeeds, since clients do so
before they use it; one that is not is answered as a registry that does not know it answers.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pyswarm.api.asks import Local
from pyswarm.api.containerview import image_id
from pyswarm.api.errors import Refused
from pyswarm.api.filters import filters_of
from pyswarm.api.local import Image
from pyswarm.api.messages import Conversation, HttpRequest, Response, Route
from pyswarm.api.rendering import ZERO_TIME, answer, document
from pyswarm.api.versions import as_recorded
from pyswarm.errors import InvalidArgument
from pyswarm.model.images import ImageReference

FILTERS = ("before", "dangling", "label", "reference", "since", "until")
ID = "sha256:"


def images() -> Generator[Any, Any, Mapping[str, Image]]:
    """Those of the executor, by full name: ``busybox:latest``."""
    found: Mapping[str, Image] = yield Local("images")
    return {tagged(name): image for name, image in found.items()}


def tagged(name: str) -> str:
    """A name as Docker shows it, with its tag. Raises ``InvalidArgument``."""
    return str(ImageReference.parse(name).tagged)


def _find(reference: str, problem: str = "") -> Generator[Any, Any, tuple[str, Image]]:
    """An image by id, or by name: any tag and digest of a known name will do. ``problem`` is what
    stands before the reason where it is refused."""
    found = yield from images()
    for name, image in found.items():
        id = image_id(name)
        if id == reference or (len(reference) >= 12 and id.removeprefix(ID).startswith(reference)):
            return name, image
    try:
        wanted = ImageReference.parse(reference)
    except InvalidArgument as error:
        raise Refused(400, f"{problem}{error.message}") from None
    shown = str(wanted.tagged)
    for name in (shown, tagged(wanted.familiar_name)):
        if name in found:
            return shown, found[name]
    raise Refused(404, f"{problem}No such image: {shown}")


def list_images(request: HttpRequest) -> Conversation:
    """All of them, or those whose name is like a ``reference``."""
    wanted = filters_of(request, FILTERS).get("reference", ())
    found = yield from images()
    chosen = [
        name
        for name in sorted(found)
        if not wanted or any(_is_like(name, pattern) for pattern in wanted)
    ]
    return answer([listed(name) for name in chosen])


def _is_like(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition(":")[0], pattern)


def listed(name: str) -> dict[str, Any]:
    """A row of ``docker images``."""
    return {
        "Id": image_id(name),
        "ParentId": "",
        "RepoTags": [name],
        "RepoDigests": [],
        "Created": 0,
        "Size": 0,
        "SharedSize": -1,
        "VirtualSize": 0,
        "Labels": None,
        "Containers": -1,
    }


def inspect(request: HttpRequest, reference: str) -> Conversation:
    """One image: what a task of it runs by itself."""
    problem = f"no such image: {reference}: " if as_recorded(request.version) else ""
    name, image = yield from _find(reference, problem)
    config = {
        "User": image.user,
        "Env": [f"{key}={text}" for key, text in image.env.items()] or None,
        "Cmd": list(image.command) or None,
        "WorkingDir": image.dir,
        "Entrypoint": list(image.entrypoint) or None,
        "Labels": None,
        **({"StopSignal": image.stop_signal} if image.stop_signal else {}),
    }
    return answer(
        {
            "Id": image_id(name),
            "RepoTags": [name],
            "RepoDigests": [],
            "Parent": "",
            "Comment": "",
            "Created": ZERO_TIME,
            "DockerVersion": "",
            "Author": "",
            "Config": config,
            "Architecture": "",
            "Os": "linux",
            "Size": 0,
            "VirtualSize": 0,
            "GraphDriver": {"Data": None, "Name": "pyswarm"},
            "RootFS": {"Type": "layers"},
            "Metadata": {"LastTagTime": ZERO_TIME},
        }
    )


def history(request: HttpRequest, reference: str) -> Conversation:
    """What an image was made of: nothing that could be told."""
    yield from _find(reference)
    return answer([])


def pull(request: HttpRequest) -> Conversation:
    """Progress of fetching an image: it is there, or nobody has it."""
    name, tag = request.param("fromImage"), request.param("tag")
    if not name:
        raise Refused(501, "images cannot be imported here: this node runs programs of its host")
    reference = f"{name}{'@' if tag.startswith(ID) else ':'}{tag}" if tag else name
    try:
        shown, _ = yield from _find(reference)
    except Refused as refused:
        if refused.status != 404:
            raise
        wanted = ImageReference.parse(reference)
        raise Refused(404, _denied(wanted.familiar_name)) from None
    wanted = ImageReference.parse(shown)
    steps = [
        {"status": f"Pulling from {wanted.path}", "id": wanted.tag or wanted.digest},
        {"status": f"Digest: {wanted.digest or image_id(shown)}"},
        {"status": f"Status: Image is up to date for {shown}"},
    ]
    return Response(200, b"".join(document(step) for step in steps))


def _denied(name: str) -> str:
    return (
        f"pull access denied for {name}, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied"
    )


ROUTES: tuple[Route, ...] = (
    Route("GET", "/images/json", list_images),
    Route("POST", "/images/create", pull),
    Route("GET", "/images/{name...}/json", inspect),
    Route("GET", "/images/{name...}/history", history),
)
