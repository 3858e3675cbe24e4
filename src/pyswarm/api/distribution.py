"""What a registry says of an image: clients ask before they create a service, to pin its digest."""

from __future__ import annotations

from pyswarm.api.asks import ResolveImage
from pyswarm.api.errors import Refused
from pyswarm.api.facts import Described
from pyswarm.api.messages import Conversation, HttpRequest, Route
from pyswarm.api.rendering import answer
from pyswarm.errors import InvalidArgument, NotFound, SwarmError
from pyswarm.model.images import ImageReference


def inspect(request: HttpRequest, name: str) -> Conversation:
    """The digest that the name stands for now, and its platforms."""
    try:
        ImageReference.parse(name)
    except InvalidArgument:
        raise Refused(400, _why_no_reference(name)) from None
    try:
        found: Described = yield ResolveImage(name, request.headers.get("x-registry-auth", ""))
    except NotFound:
        raise Refused(404, "manifest unknown") from None
    except SwarmError as error:
        raise Refused(500, error.message) from None  # as recorded, whatever the registry said
    platforms = [{"architecture": one.architecture, "os": one.os} for one in found.platforms]
    descriptor = {
        "mediaType": found.media_type,
        "digest": found.digest,
        "size": found.size,
    }
    return answer({"Descriptor": descriptor, "Platforms": platforms})


def _why_no_reference(name: str) -> str:
    why = "invalid reference format"
    if name != name.lower() and " " not in name.lower().strip():
        return f"{why}: repository name must be lowercase"
    return f"{why}: repository name must be lowercase" if name != name.lower() else why


ROUTES: tuple[Route, ...] = (Route("GET", "/distribution/{name...}/json", inspect),)
