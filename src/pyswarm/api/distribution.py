"""What registries say: of an image, before a client creates a service (to pin its digest), and of
credentials, before it keeps them. They are tried here and neither kept nor logged."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import urlsplit

from pyswarm.api.asks import LogIn, ResolveImage
from pyswarm.api.bodies import EMPTY_BODY, STRING, Struct, decode
from pyswarm.api.errors import Refused
from pyswarm.api.facts import Described
from pyswarm.api.messages import Conversation, HttpRequest, Route
from pyswarm.api.rendering import answer
from pyswarm.api.versions import as_recorded
from pyswarm.errors import InvalidArgument, NotFound, SwarmError, Unauthenticated
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


# -- logging in

CREDENTIALS = Struct(
    "types.AuthConfig",
    username=STRING,
    password=STRING,
    auth=STRING,
    email=STRING,
    serveraddress=STRING,
    identitytoken=STRING,
    registrytoken=STRING,
)
SCHEME = re.compile(r"https?://")
NOT_IN_A_HOST = re.compile(r"[\s\"<>\\^`{|}%@#]|[^ -~]")


def log_in(request: HttpRequest) -> Conversation:
    """Try credentials at their registry; answered with what may stand for them from now on."""
    said = _credentials(request)
    server = _server(said.pop("serveraddress", ""))
    auth = urlsafe_b64encode(json.dumps(said).encode()).decode()
    try:
        token: str = yield LogIn(server, auth)
    except Unauthenticated as error:
        raise Refused(500 if as_recorded(request.version) else 401, error.message) from None
    except SwarmError as error:
        raise Refused(500, error.message) from None  # whatever a registry did wrong
    return answer({"IdentityToken": token, "Status": "Login Succeeded"})


def _credentials(request: HttpRequest) -> dict[str, Any]:
    try:
        return decode(request, CREDENTIALS)
    except Refused as refused:
        if not as_recorded(request.version):
            raise
        text = "EOF" if refused.message == EMPTY_BODY else refused.message
        raise Refused(500, text) from None


def _server(address: str) -> str:
    """Host and port of a registry's address, whatever its scheme and path; "" for Docker Hub."""
    url = address if SCHEME.match(address) else f"https://{address}"
    host = SCHEME.sub("", url).partition("/")[0].partition("?")[0]
    wrong = NOT_IN_A_HOST.search(host)
    why = f"invalid character {json.dumps(wrong[0])} in host name" if wrong else ""
    try:
        urlsplit(f"//{host}").port  # noqa: B018 - it is parsed now
    except ValueError:
        why = why or "invalid host or port"
    if why:
        raise Refused(400, f'unable to parse server address: parse "{url}": {why}')
    return host


ROUTES: tuple[Route, ...] = (
    Route("GET", "/distribution/{name...}/json", inspect),
    Route("POST", "/auth", log_in),
)
