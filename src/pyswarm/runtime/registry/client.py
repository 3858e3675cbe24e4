"""Asking a registry which digest a tag stands for now: Registry v2, with its token authentication.

The manifest is fetched, its digest computed and compared with what the registry says. A registry
that wants to know who asks answers 401 and names a token server (or wants a name and password at
once); the credentials go to those two and nowhere else. To log in is to ask for nothing with them.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from re import compile as pattern
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

import attrs
import trio

from pyswarm.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    SwarmError,
    Unauthenticated,
    Unavailable,
)
from pyswarm.model.images import HUB, ImageReference
from pyswarm.model.resources import Platform
from pyswarm.runtime.images import Resolved
from pyswarm.runtime.registry.http import Answer, fetch

T = TypeVar("T")

HUB_ADDRESS = "registry-1.docker.io"
HUB_NAMES = ("", HUB, "index.docker.io")
"""What clients call it when they log in."""

LOGIN_CLIENT = "docker"
"""What token servers know as a client that keeps a refresh token."""

TIMEOUT_S = 10.0
"""For all of one image: half of what a command may take."""

LOOPBACK = ("127.0.0.0/8", "::1/128", "localhost")
"""Where plain HTTP is taken, as Docker's engine does."""

LISTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    *LISTS,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_PARAMETER = pattern(r'(\w+)="((?:[^"\\]|\\.)*)"')


@attrs.frozen
class Credentials:
    """Who asks. At most one of the two tokens; neither with nothing set is anonymous."""

    username: str = ""
    password: str = attrs.field(default="", repr=False)
    identity_token: str = attrs.field(default="", repr=False)
    registry_token: str = attrs.field(default="", repr=False)

    @classmethod
    def parse(cls, header: str) -> Credentials:
        """From the text of Docker's ``X-Registry-Auth`` (base64 of JSON; empty: anonymous).

        Raises ``InvalidArgument``, without showing it.
        """
        if not header:
            return cls()
        try:
            data = json.loads(urlsafe_b64decode(header + "=" * (-len(header) % 4)))
            names = ("username", "password", "identitytoken", "registrytoken")
            return cls(*(str(data.get(name) or "") for name in names))
        except (ValueError, AttributeError):
            raise InvalidArgument("invalid X-Registry-Auth header") from None

    @property
    def basic(self) -> str:
        """As an ``Authorization`` header, or empty."""
        if not self.username:
            return ""
        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()


class RegistryClient:
    """Resolves images at their registries; an :class:`~pyswarm.runtime.images.ImageResolver`.

    ``insecure`` are the hosts (names, addresses or networks) that may be asked over plain HTTP, or
    over TLS that is not verified; ``tls`` replaces the system's idea of whom to trust.
    """

    def __init__(
        self,
        *,
        insecure: Sequence[str] = LOOPBACK,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        try:
            import h11  # noqa: F401
        except ImportError:
            raise FailedPrecondition(
                "asking registries needs h11", hint="pip install 'pyswarm-orchestrator[registry]'"
            ) from None
        self._insecure = tuple(insecure)
        self._tls = tls
        self._timeout_s = timeout_s

    async def resolve(self, image: ImageReference, auth: str = "", /) -> Resolved:
        """The digest of ``image`` now, and the platforms it is there for, if it says so.

        Raises ``NotFound`` (no such tag), ``Unauthenticated``, ``PermissionDenied``,
        ``Unavailable`` (nobody answers, in time) and ``InvalidArgument`` (``auth``).
        """
        credentials = Credentials.parse(auth)
        with trio.move_on_after(self._timeout_s):
            return await self._resolve(image, credentials)
        raise Unavailable(f"{image.domain} did not answer within {self._timeout_s:g} s")

    async def _resolve(self, image: ImageReference, credentials: Credentials) -> Resolved:
        host = HUB_ADDRESS if image.domain == HUB else image.domain
        plain = self._is_insecure(host)
        path = f"/v2/{image.path}/manifests/{image.digest or image.tagged.tag}"

        async def ask(url: str) -> Answer:
            return await self._manifest(url, image, credentials, plain)

        answer = await _over_tls_first(ask, host + path, plain)
        if answer.status != 200:
            raise _refusal(answer)
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        said = answer.headers.get("docker-content-digest", digest)
        if said.startswith("sha256:") and said != digest:
            raise Unavailable(f"the manifest is not what its digest {said} says")
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        return Resolved(said, _platforms(answer), media_type, len(answer.body))

    async def _manifest(
        self, url: str, image: ImageReference, credentials: Credentials, plain: bool
    ) -> Answer:
        scope = f"repository:{image.path}:pull"
        asking = _Asking(credentials, self._context(plain), plain, scope=scope)
        with _about("Head", url):
            return await asking.ask(url, {"Accept": ", ".join(MANIFESTS)})

    def _is_insecure(self, host: str) -> bool:
        name = urlsplit(f"//{host}").hostname or host
        if name in self._insecure or host in self._insecure:
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        networks = [one for one in self._insecure if "/" in one]
        return any(address in ip_network(one, strict=False) for one in networks)

    def _context(self, plain: bool) -> ssl.SSLContext | None:
        if self._tls is not None or not plain:
            return self._tls
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    async def login(self, server: str, auth: str, /) -> str:
        """Ask the registry at ``server`` (a host, perhaps a port; "" is Docker Hub) whether it
        knows the credentials ``auth``; answered with the identity token to use instead of them
        from now on, or "".

        Raises ``Unauthenticated``, and ``Unavailable`` where nobody answers, or not as hoped.
        """
        credentials = Credentials.parse(auth)
        host = HUB_ADDRESS if server in HUB_NAMES else server
        plain = self._is_insecure(host)

        async def ask(url: str) -> str:
            return await self._login(url, credentials, plain)

        with trio.move_on_after(self._timeout_s):
            return await _over_tls_first(ask, f"{host}/v2/", plain)
        raise Unavailable(f'Get "https://{host}/v2/": context deadline exceeded')

    async def _login(self, url: str, credentials: Credentials, plain: bool) -> str:
        asking = _Asking(credentials, self._context(plain), plain, offline=True)
        with _about("Get", url):
            answer = await asking.ask(url, {})
        if answer.status != 200:
            kind = Unauthenticated if answer.status == 401 else Unavailable
            what = f"{answer.status} {_reason(answer.status)}".rstrip()
            raise kind(f"login attempt to {url} failed with status: {what}")
        return asking.identity_token


async def _over_tls_first(ask: Callable[[str], Awaitable[T]], place: str, plain: bool) -> T:
    """``ask`` at ``place`` by TLS; where that may be left out, and nobody answers it, without:
    in dockerd's order."""
    try:
        return await ask(f"https://{place}")
    except Unavailable:
        if not plain:
            raise
        return await ask(f"http://{place}")


@contextmanager
def _about(method: str, url: str) -> Iterator[None]:
    """Name the address in errors that do not, worded as clients of dockerd know them. (It asks for
    the head of a manifest where this client fetches it.)"""
    try:
        yield
    except SwarmError as error:
        if error.message.startswith(f'Get "{url}"'):
            raise
        raise type(error)(f'{method} "{url}": {error.message}') from error


class _Asking:
    """One question to a registry, asked once more with an authorization if that is wanted."""

    def __init__(
        self,
        credentials: Credentials,
        tls: ssl.SSLContext | None,
        plain: bool,
        *,
        scope: str = "",
        offline: bool = False,
    ) -> None:
        self.identity_token = credentials.identity_token
        """What stands for the credentials from now on; with ``offline`` one is asked for."""
        self._credentials = credentials
        self._tls = tls
        self._plain = plain
        self._scope = scope
        self._offline = offline

    async def ask(self, url: str, headers: dict[str, str]) -> Answer:
        """What the registry says in the end."""
        credentials = self._credentials
        if credentials.registry_token:
            headers["Authorization"] = f"Bearer {credentials.registry_token}"
        answer = await fetch(url, headers=headers, tls=self._tls, may_be_plain=self._plain)
        if answer.status != 401 or "Authorization" in headers:
            return answer
        scheme, _, rest = answer.headers.get("www-authenticate", "").partition(" ")
        if scheme.lower() == "basic":
            if not credentials.basic:
                raise Unauthenticated("no basic auth credentials")
            headers["Authorization"] = credentials.basic
        elif scheme.lower() == "bearer":
            token = await self._token(dict(_PARAMETER.findall(rest)))
            headers["Authorization"] = f"Bearer {token}"
        else:
            return answer
        return await fetch(url, headers=headers, tls=self._tls, may_be_plain=self._plain)

    async def _token(self, wanted: dict[str, str]) -> str:
        answer = await self._ask_for_token(wanted)
        if answer.status != 200:
            raise _refusal(answer)
        try:
            found = json.loads(answer.body)
            token = found.get("token") or found.get("access_token")
            self.identity_token = str(found.get("refresh_token") or self.identity_token)
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Unavailable("authorization server did not include a token in the response")
        return token

    async def _ask_for_token(self, wanted: dict[str, str]) -> Answer:
        credentials, realm = self._credentials, wanted.get("realm", "")
        query = {"service": wanted.get("service", "")}
        if scope := wanted.get("scope") or self._scope:
            query["scope"] = scope
        if credentials.identity_token:
            form = {**query, "grant_type": "refresh_token", "client_id": "pyswarm"}
            form["refresh_token"] = credentials.identity_token
            return await fetch(
                realm,
                method="POST",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=urlencode(form).encode(),
                tls=self._tls,
                may_be_plain=self._plain,
            )
        if self._offline:
            query |= {"offline_token": "true", "client_id": LOGIN_CLIENT}
            query["account"] = credentials.username
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
        basic = {"Authorization": credentials.basic} if credentials.basic else {}
        return await fetch(url, headers=basic, tls=self._tls, may_be_plain=self._plain)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _refusal(answer: Answer) -> SwarmError:
    """Why a registry did not answer as hoped, in its own words where it has some."""
    text = _said(answer) or f"status {answer.status} from the registry"
    match answer.status:
        case 401:
            return Unauthenticated(f"unauthorized: {text}")
        case 403:
            return PermissionDenied(f"denied: {text}")
        case 404:
            return NotFound(text)
    return Unavailable(text)


def _said(answer: Answer) -> str:
    """The text of a refusal; some token servers have a form of their own."""
    try:
        body = json.loads(answer.body)
        if isinstance(body.get("details"), str):
            return str(body["details"])[:300]
        said = body["errors"][0]
        return str(said.get("message") or said.get("code"))[:300]
    except (ValueError, LookupError, TypeError, AttributeError):
        return "authentication required" if answer.status == 401 else ""


def _platforms(answer: Answer) -> tuple[Platform, ...]:
    """Of a list of manifests: for which platforms there is one."""
    if answer.headers.get("content-type", "").partition(";")[0] not in LISTS:
        return ()
    try:
        entries = [entry.get("platform") or {} for entry in json.loads(answer.body)["manifests"]]
        found = [Platform(str(e.get("os", "")), str(e.get("architecture", ""))) for e in entries]
    except (ValueError, LookupError, TypeError, AttributeError):
        return ()
    known = [one for one in found if one.os not in ("", "unknown")]
    return tuple(dict.fromkeys(known))
