"""The Engine API, served: the loop between handlers that ask and a host that does.

A handler of :mod:`pyswarm.api` is a generator. :class:`Engine` drives it: each ask becomes an
operation of the host or of its node, the answer is sent in or the error raised there, and what the
handler returns goes out. Nothing of the API is decided here. The host's node runs in this loop.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from pyswarm import __version__
from pyswarm.agent import Executor
from pyswarm.api import asks
from pyswarm.api.errors import answer_to, failure
from pyswarm.api.facts import Described
from pyswarm.api.hosting import HostRefusal, HostStatus, InitSwarm, JoinSwarm
from pyswarm.api.messages import Conversation, Response, Streamed
from pyswarm.api.rendering import Rendered
from pyswarm.api.routes import request_of, route
from pyswarm.api.versions import MAX_VERSION, version_text
from pyswarm.env import Clock
from pyswarm.errors import SwarmError, Unavailable
from pyswarm.model import NodeDescription, ServiceSpec
from pyswarm.model.images import ImageReference
from pyswarm.node.manager import NO_LEADER
from pyswarm.node.nodes import TOKEN_ERROR
from pyswarm.orchestrator.task import Outdated
from pyswarm.runtime import front
from pyswarm.runtime.clock import SystemClock
from pyswarm.runtime.facts import read_facts
from pyswarm.runtime.following import Following
from pyswarm.runtime.front.locking import unlock_key
from pyswarm.runtime.front.logs import LogOptions, TaskLine, read_logs
from pyswarm.runtime.front.pinning import prepared
from pyswarm.runtime.front.replacing import replace_settings
from pyswarm.runtime.front.status import managers_of
from pyswarm.runtime.front.streams import Stream
from pyswarm.runtime.http import CONNECTIONS_MAX, Headers, HttpServer, Respond, Streaming
from pyswarm.runtime.images import ImageResolver, Registries
from pyswarm.runtime.listen import accept_all, listening, names_loopback, parse_address
from pyswarm.runtime.local import LocalNode
from pyswarm.store import Store

logger = logging.getLogger("pyswarm.api")


class HostConfig(Protocol):
    """What the Engine reads of a host's configuration."""

    @property
    def state_dir(self) -> Path: ...


class Host(Protocol):
    """A process that may be a node: :class:`pyswarm.runtime.daemon.Host`."""

    @property
    def config(self) -> HostConfig: ...

    def state(self) -> HostStatus:
        """What the host is now; never waits."""
        ...

    def member(self) -> front.Member:
        """The node as a manager of its swarm; raises why the swarm cannot be asked here."""
        ...

    def node(self) -> front.Member | None:
        """The node that runs now, whatever its role."""
        ...

    def executor(self) -> Executor:
        """What runs tasks here, or would."""
        ...

    def describe(self) -> NodeDescription:
        """What this host is, in a swarm or not."""
        ...

    async def init(self, wish: InitSwarm, /) -> str: ...

    async def join(self, wish: JoinSwarm, /) -> None: ...

    async def unlock(self, key: str, /) -> None: ...

    async def leave(self, *, force: bool = False) -> None: ...


class Engine:
    """Answers requests by driving their handlers."""

    def __init__(
        self,
        host: Host,
        *,
        images: ImageResolver | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.host = host
        self.images = images
        self.clock = clock or SystemClock()
        self._rendered = Rendered()
        self._local = LocalNode(host.node, host.executor, self.clock)
        self._answers: dict[type, Callable[[Any], Awaitable[Any]]] = {
            asks.Do: self._do,
            asks.Seal: self._seal,
            asks.OpenSealed: self._open_sealed,
            asks.CheckDriver: self._check_driver,
            asks.Prepare: self._prepare,
            asks.ChangeSwarm: self._change_swarm,
            asks.ShowUnlockKey: self._show_unlock_key,
            asks.ResolveImage: self._resolve_image,
            asks.LogIn: self._log_in,
            asks.Host: self._ask_host,
            asks.Local: self._local.answer,
        }
        self._sources: dict[type, Callable[[Any], AsyncIterator[Any]]] = {
            asks.Follow: self._follow,
            asks.ReadLogs: self._read_logs,
            asks.ReadLocalLogs: self._local.lines,
            asks.WatchUsage: self._local.usage,
            asks.AwaitEnd: self._local.end,
            asks.RunExec: self._local.execs.run,
        }

    async def respond(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Response | Streaming:
        """The answer to one request."""
        try:
            request = request_of(method, target, headers, body)
            handler, params = route(request)
        except SwarmError as error:
            return answer_to(error)
        answer = await self.converse(handler(request, *params))
        if isinstance(answer, Response):
            return answer
        items = self._sources[type(answer.source)](answer.source)
        return Streaming(answer, items, getattr(items, "feed", None))

    async def converse(self, conversation: Conversation) -> Response | Streamed:
        """Answer what a handler asks until it returns. An error that it does not catch becomes the
        answer, marked as the managers' if it came from them."""
        relayed: SwarmError | None = None
        try:
            ask = next(conversation)
            while True:
                try:
                    if type(ask) is asks.Read:
                        value = await self._read(ask)
                    else:
                        value = await self._answers[type(ask)](ask)
                except _Own as own:
                    ask = conversation.throw(own.error)
                except SwarmError as error:
                    if _is_relayed(ask, error):
                        relayed = error
                    ask = conversation.throw(error)
                else:
                    ask = conversation.send(value)
        except StopIteration as end:
            answer: Response | Streamed = end.value
            return answer
        except SwarmError as error:
            return answer_to(error, relayed=error is relayed)

    # -- of the swarm

    async def _read(self, ask: asks.Read) -> Any:
        member = self.host.member()
        node = member.node
        store = node.store if ask.stale else await node.barrier()
        live = self._live(member, store)
        try:
            return ask.question(store, live)
        except SwarmError as error:
            raise _Own(error) from None

    def _live(self, member: front.Member, store: Store) -> asks.Live:
        manager = member.node.machine.manager
        leader = manager.leader if manager is not None else None
        leader_id = leader.node_id if leader is not None else ""
        return asks.Live(
            node_id=member.node_id,
            leader_id=leader_id,
            no_leader="" if leader_id else f"rpc error: code = Unknown desc = {NO_LEADER}",
            reachability=_Reachability(member),
            outdated=Outdated,
            rendered=self._rendered,
        )

    async def _do(self, ask: asks.Do) -> Any:
        return await self.host.member().node.request(ask.body)  # a daemon has no other loop

    async def _seal(self, ask: asks.Seal) -> Any:
        return self.host.member().node.seal(ask.data)  # a manager that knows its swarm has the key

    async def _open_sealed(self, ask: asks.OpenSealed) -> bytes:
        return await self.host.member().open_sealed(ask.sealed)

    async def _check_driver(self, ask: asks.CheckDriver) -> None:
        self.host.member().node.drivers.check(ask.name)

    async def _prepare(self, ask: asks.Prepare) -> tuple[ServiceSpec, tuple[str, ...]]:
        member = self.host.member()
        spec, container = ask.spec, ask.spec.task.container
        if ask.auth and container is not None:
            container = attrs.evolve(container, registry_auth=ask.auth)
            spec = attrs.evolve(spec, task=attrs.evolve(spec.task, container=container))
        return await prepared(member, spec, current=ask.current, anew=ask.image_changed)

    async def _change_swarm(self, ask: asks.ChangeSwarm) -> Any:
        return await replace_settings(
            self.host.member(),
            ask.version,
            ask.spec,
            rotate_worker_token=ask.rotate_worker_token,
            rotate_manager_token=ask.rotate_manager_token,
            rotate_unlock_key=ask.rotate_unlock_key,
        )

    async def _show_unlock_key(self, ask: asks.ShowUnlockKey) -> str:
        return await unlock_key(self.host.member())

    def _follow(self, ask: asks.Follow) -> AsyncIterator[Any]:
        return Following(self.host.member, ask, self.clock)

    def _read_logs(self, ask: asks.ReadLogs) -> AsyncIterator[Any]:
        wish = ask.wish
        options: LogOptions = {
            "follow": wish.follow,
            "tail": wish.tail,
            "since": wish.since,
            "stdout": wish.stdout,
            "stderr": wish.stderr,
        }
        lines = read_logs(self.host.member(), ask.tasks, options, task_id=ask.task_id)
        return _with_what_is_missing(lines)

    # -- of the host

    async def _resolve_image(self, ask: asks.ResolveImage) -> Described:
        image = ImageReference.parse(ask.image)
        if self.images is None:
            raise Unavailable("this node asks no registry")
        found = await self.images.resolve(image, ask.auth)
        return Described(found.media_type, found.digest, found.size, found.platforms)

    async def _log_in(self, ask: asks.LogIn) -> str:
        if not isinstance(self.images, Registries):
            raise Unavailable("this node asks no registry")
        return await self.images.login(ask.server, ask.auth)

    async def _ask_host(self, ask: asks.Host) -> Any:
        host, wish = self.host, ask.arguments
        match ask.verb:
            case "status":
                return host.state()
            case "facts":
                root = host.config.state_dir
                facts = read_facts(host.describe(), root, __version__, self.clock)
                return self._local.counted(facts)
            case "init":
                return await host.init(wish)
            case "join":
                return await host.join(wish)
            case "leave":
                return await host.leave(force=wish.force)
            case "unlock":
                return await host.unlock(wish.key)


async def _with_what_is_missing(lines: Stream[TaskLine]) -> AsyncGenerator[Any, None]:
    async with lines:
        try:
            async for line in lines:
                yield line
        except SwarmError as error:
            yield asks.LogsMissing(error.message)


class _Own(Exception):
    """An error of a question: this node's own, not one of the managers."""

    def __init__(self, error: SwarmError) -> None:
        super().__init__(error)
        self.error = error


def _is_relayed(ask: Any, error: SwarmError) -> bool:
    """Whether the managers said so. A host speaks for itself, but for a token they refused."""
    if isinstance(ask, asks.Host):
        return ask.verb == "join" and error.message == TOKEN_ERROR
    own = isinstance(ask, asks.ResolveImage | asks.LogIn | asks.Local) or isinstance(
        error, HostRefusal
    )
    return not own


class _Reachability(Mapping[str, str]):
    """Who can be reached, looked up only when somebody asks."""

    def __init__(self, member: front.Member) -> None:
        self._member = member
        self._found: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._found is None:
            managers = managers_of(self._member.node)
            self._found = {one.node_id: one.reachability for one in managers}
        return self._found

    def __getitem__(self, node_id: str) -> str:
        return self._all()[node_id]

    def __iter__(self) -> Any:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


# -- served


def standing_headers() -> Headers:
    """What every answer says of the server."""
    return (
        ("Api-Version", version_text(MAX_VERSION)),
        ("Docker-Experimental", "false"),
        ("Ostype", "linux"),
        ("Server", f"Docker/{__version__} (linux)"),
    )


NO_BROWSERS = "requests that a web page may have made are not answered over TCP"


def without_browsers(respond: Respond) -> Respond:
    """For TCP: any page that a browser on this host shows can reach a loopback address, under a
    name of its own (which ``Host`` tells) or across origins (which ``Origin`` tells)."""

    async def guarded(
        method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Response | Streaming:
        if "origin" in headers or not names_loopback(headers.get("host", "")):
            return failure(403, NO_BROWSERS)
        return await respond(method, target, headers, body)

    return guarded


async def serve(
    host: Host,
    addresses: Sequence[str],
    *,
    images: ImageResolver | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the Engine API at ``addresses`` (``unix:///path.sock``, ``tcp://127.0.0.1:2375``) until
    cancelled; started once it listens everywhere. ``images`` answers what tags stand for.

    Raises ``InvalidArgument``, ``AlreadyExists`` and ``Unavailable`` for addresses.
    """
    places = [parse_address(one) for one in addresses]
    engine = Engine(host, images=images)
    standing, clock = standing_headers(), engine.clock.realtime
    local = HttpServer(engine.respond, standing, clock=clock)
    remote = HttpServer(without_browsers(engine.respond), standing, clock=clock)
    limit = trio.CapacityLimiter(CONNECTIONS_MAX)
    async with listening(places) as sockets, trio.open_nursery() as nursery:
        for sock, place in zip(sockets, places, strict=True):
            server = local if place.path else remote
            nursery.start_soon(accept_all, sock, server.serve, limit)
        task_status.started()
