"""One node's place in the network: links to its peers, and the door for strangers.

A :class:`Link` is the way to one peer, named by its node id where that is known and by the address
that was given where it is not. It has at most one connection that it sends on, whoever opened it:
of two that were opened at once the one of the smaller node id stays. A link is dialed when there is
something to send; after a failure it waits, a random part of a back-off that grows to 2 s, and says
at once that nobody is there meanwhile.

**Who speaks is what the certificate says**, never what a message says. What leaves for a node id
goes to a connection whose certificate names that node, and to nobody else, whatever address it
claims. Strangers (no certificate) have no address: what they said is answered on their connection.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from pyswarm.env import Rng, system_entropy
from pyswarm.errors import InvalidArgument
from pyswarm.model import Identity
from pyswarm.model.session import Heartbeat, OpenSession, ReportStatus, SessionRefused
from pyswarm.node import SessionBroken
from pyswarm.node.machine import REMOVED_CODE
from pyswarm.runtime.network import OnBroken, Receive
from pyswarm.runtime.tls import wire
from pyswarm.runtime.tls.addresses import split
from pyswarm.runtime.tls.connection import Broken, Connection, Refused
from pyswarm.runtime.tls.credentials import Credentials
from pyswarm.runtime.tls.exchange import Hello, Ping, RootGiven, RootWanted
from pyswarm.runtime.tls.external import ExternalCA
from pyswarm.runtime.tls.frames import FRAGMENT_BYTES_MAX, SendQueue
from pyswarm.runtime.tls.stream import TlsStream

CONNECT_S = 3.0
"""TCP to a host that is there takes a fraction of it, also around the world."""

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0
"""A manager that comes back is heard within an election or two."""

HANDSHAKES_MAX = 64
"""Callers in their handshake at once; the oldest makes room, since an honest one is done soon."""

STRANGERS_MAX = 64
"""Callers without a certificate at once; the oldest makes room."""

MEMBERS_MAX = 4096
"""Connections with members: a thousand agents, all their managers, and as much again."""

LINKS_MAX = 4096
"""Peers that something is said to; the idle ones are forgotten beyond that."""

STRANGER = "stranger:"

UNREACHED = (*Broken, Refused, InvalidArgument, ValueError)
"""What becomes of a call: also that an address, which a node may say as it likes, is no host's
name at all (``ValueError``)."""

ABOUT_TRUST = ("CERTIFICATE", "UNKNOWN_CA", "UNKNOWN CA")
"""What OpenSSL says, in capitals or in words, when one end does not take the other's certificate:
seen at this end (``CERTIFICATE_VERIFY_FAILED``), or in the other's alert."""

REMOVED = "Permission denied: node {} was removed from swarm"


class Link:
    """The way to one peer."""

    __slots__ = ("addr", "connection", "dialing", "failures", "node_id", "queue", "retry_at")

    def __init__(self, node_id: str, addr: str) -> None:
        self.node_id = node_id
        self.addr = addr
        self.queue = SendQueue()
        self.connection: Connection | None = None
        self.dialing = False
        self.failures = 0
        self.retry_at = 0.0

    @property
    def is_idle(self) -> bool:
        return self.connection is None and not self.dialing


class TlsEndpoint:
    """See the module's text. Made by :class:`~.network.NodeNetwork`; used in the node's loop."""

    def __init__(
        self, listener: socket.socket, addr: str, credentials: Credentials, receive: Receive
    ) -> None:
        self.refused: Counter[str] = Counter()
        """What was refused, by its reason."""
        self.is_revoked: Callable[[str], bool] = lambda node_id: False
        """Whether this node's certificate counts no more; a manager's runtime knows."""
        self.on_refused: Callable[[str, dict[str, Any]], None] = lambda reason, fields: None
        self.present_root: Callable[[], bytes] = lambda: self.credentials.root_pem
        """The root that join tokens name now; a manager's store knows first."""
        self.external_ca: ExternalCA | None = None
        """Who signs where the swarm's root key is not in the swarm."""
        self._listener = listener
        self._addr = addr
        self._receive = receive
        self._on_broken: OnBroken = lambda broken: None
        self._by_node: dict[str, Link] = {}
        self._by_addr: dict[str, Link] = {}
        self._strangers: dict[str, Connection] = {}
        self._handshakes: dict[Connection, trio.CancelScope] = {}
        self._members: dict[Connection, None] = {}
        self._next_stranger = 0
        self._rng = Rng(int.from_bytes(system_entropy(16), "big"))
        self._nursery: trio.Nursery | None = None
        self.use(credentials)

    # -- what the node sees

    @property
    def addr(self) -> str:
        """Where others reach this node."""
        return self._addr

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._listener.getsockname()[1])

    def use(self, credentials: Credentials) -> None:
        """Prove this node, and believe others, by these from the next connection on.

        A new role is shown at once. A connection whose peer proved itself by a root that is not
        trusted any more ends: the peer has another certificate by now, or should not be here.
        """
        former: Credentials | None = getattr(self, "credentials", None)
        self.credentials = credentials
        self.identity: Identity = credentials.identity
        self._server = credentials.server_context()
        self._client = credentials.client_context()
        if former is None:
            return
        is_renamed = former.identity != self.identity
        distrusts = former.root_pem != credentials.root_pem
        for connection in list(self._members):
            if is_renamed or (distrusts and not credentials.has_signed(connection.leaf)):
                self._replace(connection)

    def _replace(self, connection: Connection) -> None:
        """What waits for this connection, and all that comes, goes over another one."""
        for link in self._by_node.values():
            if link.connection is connection:
                link.connection, link.queue = None, SendQueue()
                for lane, data in connection.queue.take_whole():
                    link.queue.put(lane, data)
                if link.queue and not link.dialing and self._nursery is not None:
                    link.dialing = True
                    self._nursery.start_soon(self._dial, link)
        connection.retire()

    def send(self, addr: str, message: Any, node_id: str = "") -> bool:
        """Let ``message`` leave for the node ``node_id`` at ``addr``; never waits.

        False: nobody is there, or it takes nothing more. True promises nothing.
        """
        kind = wire.kind_of(type(message))
        lane, data = kind.lane(message), wire.encode(message)
        if len(data) > wire.MESSAGE_BYTES_MAX:
            self._refuse("oversized", addr=addr, kind=kind.cls.__name__, bytes=len(data))
            return False
        if addr.startswith(STRANGER):
            connection = self._strangers.get(addr)
            return connection is not None and connection.put_bytes(lane, data)
        link = self._link(node_id, addr)
        if link is None:
            return False
        if link.connection is not None:
            link.connection.last_message = trio.current_time()
            return link.connection.put_bytes(lane, data) or lane < wire.Lane.COMMON
        if not link.dialing:
            if link.failures and trio.current_time() < link.retry_at:
                return False
            if self._nursery is None:
                return False
            link.dialing = True
            self._nursery.start_soon(self._dial, link)
        return link.queue.put(lane, data) or lane < wire.Lane.COMMON

    def close(self) -> None:
        """Nobody reaches this node any more."""
        self._listener.close()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def serving(self, on_broken: OnBroken) -> AsyncIterator[None]:
        """Be reachable; ``on_broken`` is told of lines that broke."""
        self._on_broken = on_broken
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._listen, nursery)
            try:
                yield
                await self._drain()
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()

    async def _drain(self) -> None:
        """The last words of a node that stops: its goodbye, its last answers."""
        async with trio.open_nursery() as nursery:
            for connection in [*self._members, *self._strangers.values()]:
                nursery.start_soon(connection.drain)

    # -- links

    def _link(self, node_id: str, addr: str) -> Link | None:
        """The way to a node; None if there is no room for one more."""
        link = self._by_node.get(node_id) if node_id else self._by_claim(addr)
        if link is None:
            if len(self._by_node) + len(self._by_addr) >= LINKS_MAX:
                self._forget_idle()
                if len(self._by_node) + len(self._by_addr) >= LINKS_MAX:
                    return None
            link = Link(node_id, addr)
            if node_id:
                self._by_node[node_id] = link
            else:
                self._by_addr[addr] = link
        elif link.addr != addr:
            link.addr = addr
            link.retry_at = 0.0
        if link.connection is not None:
            link.connection.addr = addr
        return link

    def _by_claim(self, addr: str) -> Link | None:
        """A link to whoever was found at ``addr``. A manager's word for its own address is enough,
        a worker's is not."""
        link = self._by_addr.get(addr)
        if link is not None:
            return link
        for connection in self._members:
            peer = connection.identity
            if peer is not None and peer.is_manager and connection.hello.addr == addr:
                return self._by_node.get(peer.node_id)
        return None

    def _forget_idle(self) -> None:
        for links in (self._by_node, self._by_addr):
            for key in [key for key, link in links.items() if link.is_idle]:
                del links[key]

    async def _dial(self, link: Link) -> None:
        """Open the connection that a link needs; what waits for it is lost if that fails."""
        connection = None
        try:
            connection = await self._call(link.addr)
            assert connection.identity is not None
            if link.node_id and connection.identity.node_id != link.node_id:
                raise Refused("another node answers there")
        except UNREACHED as problem:
            if connection is not None:
                await connection.close()
            self._dial_failed(link, problem)
            return
        link.dialing = False
        connection.addr = link.addr
        await self._live(self._adopt(connection, link), connection)

    def _dial_failed(self, link: Link, problem: BaseException) -> None:
        link.dialing = False
        link.failures += 1
        longest = min(BACKOFF_FIRST_S * 2.0 ** min(link.failures, 10), BACKOFF_MAX_S)
        link.retry_at = trio.current_time() + longest * (0.5 + self._rng.random() / 2)
        if link.connection is None:
            link.queue = SendQueue()
            self._on_broken(why_broken(link.addr, problem))
        if isinstance(problem, (Refused, InvalidArgument, ssl.SSLError)):
            self._refuse("dial", addr=link.addr, error=str(problem))

    async def _call(self, addr: str) -> Connection:
        address = split(addr)
        with trio.move_on_after(CONNECT_S):
            tcp = await trio.open_tcp_stream(address.host, address.port)
            _tune(tcp)
            stream = TlsStream(tcp, self._client)
            connection = Connection(stream, dialed=True)
            try:
                hello = Hello(self._addr, self.identity.node_id)
                await connection.begin(hello, now=time.time())
                self._check_peer(connection)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            return connection
        raise trio.BrokenResourceError("nobody answers in time")

    def _check_peer(self, connection: Connection) -> None:
        peer = connection.identity
        if peer is None or peer.swarm_id != self.identity.swarm_id:
            raise Refused("remote certificate not part of organization: " + self.identity.swarm_id)
        if peer.node_id == self.identity.node_id:
            raise Refused("this is the node itself")

    # -- connections

    def _adopt(self, connection: Connection, link: Link | None = None) -> Link:
        """Give a connection to the link of the node that it proved to be."""
        assert connection.identity is not None
        node_id = connection.identity.node_id
        known = self._by_node.get(node_id)
        if known is None:
            known = self._by_node[node_id] = link or Link(node_id, connection.hello.addr)
        if link is not None:
            self._by_addr.update({key: known for key, one in self._by_addr.items() if one is link})
            if link is not known:
                for lane, data in link.queue.take_whole():
                    known.queue.put(lane, data)
        known.node_id = node_id
        known.failures = 0
        former = known.connection
        if former is not None and not self._replaces(connection, former):
            for lane, data in known.queue.take_whole():
                former.put_bytes(lane, data)
            connection.retire()
            return known
        for queue in (former.queue, known.queue) if former is not None else (known.queue,):
            for lane, data in queue.take_whole():
                connection.queue.put(lane, data)
        connection.addr = connection.addr or connection.hello.addr
        known.connection = connection
        known.queue = SendQueue()
        connection.wake()
        if former is not None:
            former.retire()
        return known

    def _replaces(self, connection: Connection, former: Connection) -> bool:
        """Of two connections opened at once that of the smaller node id stays; one that its own
        opener opens again is the better one."""
        assert connection.identity is not None
        if connection.dialed is former.dialed or former.retired:
            return True
        if connection.identity != former.identity:
            return True  # its role has changed: what it proves now counts
        ours_is_smaller = self.identity.node_id < connection.identity.node_id
        return connection.dialed is ours_is_smaller

    async def _live(self, link: Link | None, connection: Connection) -> None:
        """A connection's life, from its handshake to its end."""
        self._members[connection] = None
        try:
            await connection.run(self._take, time.time)
        finally:
            self._members.pop(connection, None)
            if link is not None and link.connection is connection:
                link.connection = None
                link.queue = SendQueue()
                if connection.addr:
                    self._on_broken(SessionBroken(connection.addr))
            await connection.close()

    async def _listen(self, nursery: trio.Nursery) -> None:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._listener))
        with suppress(trio.ClosedResourceError):
            await trio.serve_listeners(self._accept, [listener], handler_nursery=nursery)

    async def _accept(self, tcp: trio.SocketStream) -> None:
        """Whoever calls: a member, or a stranger who wants to join."""
        _tune(tcp)
        stream = TlsStream(tcp, self._server, server=True)
        connection = Connection(stream, dialed=False)
        scope = trio.CancelScope()
        if len(self._handshakes) >= HANDSHAKES_MAX:
            self._refuse("crowd")
            self._handshakes.pop(next(iter(self._handshakes))).cancel()
        self._handshakes[connection] = scope
        begun = False
        try:
            with scope:
                await connection.begin(Hello(self._addr, self.identity.node_id), now=time.time())
                begun = True
        except UNREACHED as problem:
            self._refuse("handshake", error=str(problem) or type(problem).__name__)
        finally:
            self._handshakes.pop(connection, None)
            if not begun:
                await trio.aclose_forcefully(tcp)
        if begun:
            await self._welcome(connection)

    async def _welcome(self, connection: Connection) -> None:
        if connection.identity is None:
            await self._serve_stranger(connection)
            return
        try:
            self._check_peer(connection)
            self._check_claim(connection)
            if len(self._members) >= MEMBERS_MAX:
                raise Refused("too many connections")
        except Refused as problem:
            self._refuse("peer", error=str(problem))
            await connection.close()
            return
        await self._live(self._adopt(connection), connection)

    def _check_claim(self, connection: Connection) -> None:
        """A worker that says it listens where a manager does could end that manager's sessions by
        hanging up: the manager's word counts."""
        peer = connection.identity
        assert peer is not None
        for other in list(self._members):
            if other.hello.addr != connection.hello.addr or other.identity is None:
                continue
            if other.identity.node_id == peer.node_id:
                continue
            if peer.is_manager and not other.identity.is_manager:
                other.addr = ""
                other.cancel()
            elif other.identity.is_manager and not peer.is_manager:
                raise Refused("it claims a manager's address")

    async def _serve_stranger(self, connection: Connection) -> None:
        if len(self._strangers) >= STRANGERS_MAX:
            self._refuse("crowd")
            self._strangers.pop(next(iter(self._strangers))).cancel()
        self._next_stranger += 1
        connection.addr = f"{STRANGER}{self._next_stranger}"
        self._strangers[connection.addr] = connection
        try:
            await connection.run(self._take, time.time)
        finally:
            self._strangers.pop(connection.addr, None)
            await connection.close()

    # -- messages

    def _take(self, connection: Connection, data: bytes) -> None:
        """A whole message has come."""
        peer = connection.identity
        try:
            kind, content = wire.open_envelope(data)
            if kind.cls is Ping:
                return
            connection.last_message = connection.last_heard
            if not self._may_say(connection, kind, content):
                return
            message = wire.decode_content(kind, content)
        except InvalidArgument as problem:
            node = peer.node_id if peer is not None else ""
            about = {"node": node, "error": str(problem), "hint": problem.hint}
            self._refuse("garbage", addr=connection.addr, **about)
            raise
        if isinstance(message, RootWanted):
            connection.put(RootGiven(self.present_root()))
            return
        self._receive(peer, connection.addr, message)

    def _may_say(self, connection: Connection, kind: wire.Kind, content: Any) -> bool:
        """Whether this peer may send this kind of message."""
        peer = connection.identity
        if peer is None:
            if kind.sender is not wire.Sender.ANYONE:
                self._refuse("no certificate", kind=kind.cls.__name__)
                raise Refused("unauthorized peer role: none")
            return True
        if self.is_revoked(peer.node_id):
            self._refuse("removed", node=peer.node_id, kind=kind.cls.__name__)
            if kind.cls in (OpenSession, Heartbeat, ReportStatus):
                message = wire.decode_content(kind, content)
                sentence = REMOVED.format(peer.node_id)
                connection.put(SessionRefused(message.session_id, REMOVED_CODE, sentence))
            return False
        if kind.sender is wire.Sender.MANAGER and not peer.is_manager:
            self._refuse("role", node=peer.node_id, kind=kind.cls.__name__)
            return False
        return True

    def _refuse(self, reason: str, **fields: Any) -> None:
        self.refused[reason] += 1
        self.on_refused(reason, fields)


def why_broken(addr: str, problem: BaseException) -> SessionBroken:
    """What went wrong when somebody was called, said for people: the cause beneath, where there is
    one, since "TLS: the handshake failed" says little."""
    cause = problem.__cause__ or problem
    if isinstance(cause, ExceptionGroup):  # one for each address of a name
        cause = cause.exceptions[0]
    tls = isinstance(cause, ssl.SSLError)
    about_trust = tls and any(word in str(cause).upper() for word in ABOUT_TRUST)
    said = (cause.strerror if isinstance(cause, OSError) else "") or str(cause)
    if tls:
        said = f"TLS: {said}"
    elif isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        said = os.strerror(cause.errno)  # without the address: that is said beside it
    return SessionBroken(addr, said or type(cause).__name__, about_trust)


def _tune(tcp: trio.SocketStream) -> None:
    """Small messages leave at once, and the kernel holds little of what could wait for them."""
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lowat = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if hasattr(socket, "TCP_USER_TIMEOUT") else 0)
    if lowat:
        with suppress(OSError):
            tcp.setsockopt(socket.IPPROTO_TCP, lowat, 2 * FRAGMENT_BYTES_MAX)
