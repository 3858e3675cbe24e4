"""The joiner's side: whom to trust, then who I am.

Nothing secret leaves before the root is known: the first contact only asks for it, and the token's
digest says whether it is the swarm's. The token goes to a *manager* of that swarm and to nobody
else: a worker that answered could use a manager's token itself.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from pyswarm.ca import FingerprintMismatch, JoinToken, create_csr, create_key
from pyswarm.env import system_entropy
from pyswarm.errors import InvalidArgument, SwarmError, Unauthenticated, Unavailable
from pyswarm.node.manager import MANAGERS
from pyswarm.runtime.tls import wire
from pyswarm.runtime.tls.addresses import split
from pyswarm.runtime.tls.connection import Broken, Connection, Refused
from pyswarm.runtime.tls.credentials import Credentials, blind_context, trusting_context
from pyswarm.runtime.tls.exchange import Hello, JoinGiven, JoinWanted, RootGiven, RootWanted
from pyswarm.runtime.tls.stream import TlsStream

T = TypeVar("T")

JOIN_TIMEOUT_S = 20.0
"""How long joining is tried: Docker's own limit."""

NO_LEADER_S = 10.0
"""How long a joiner bears that the swarm has no leader before it says so: Docker's own limit."""

ANSWER_S = 8.0
"""How long one manager may take: it may have to ask a leader that is being elected."""

CONNECT_S = 3.0
PAUSE_S = 0.3
"""Between two rounds through all managers."""


class Contact:
    """A connection to one manager, for questions with one answer each."""

    def __init__(self, connection: Connection, answers: trio.MemoryReceiveChannel[Any]) -> None:
        self.connection = connection
        self._answers = answers

    async def ask(self, question: Any, cls: type[T], within_s: float = ANSWER_S) -> T:
        """The answer of this class; raises ``Unavailable`` if none comes."""
        self.connection.put(question)
        with trio.move_on_after(within_s):
            async for answer in self._answers:
                if isinstance(answer, cls):
                    return answer
        raise Unavailable("the manager does not answer")

    @property
    def local_host(self) -> str:
        """This host's address, as it is used to reach the manager."""
        host: str = self.connection.stream.transport_stream.socket.getsockname()[0]
        return host


@asynccontextmanager
async def contact(remote: str, context: ssl.SSLContext) -> AsyncIterator[Contact]:
    """Call a manager without a certificate. Raises ``Unavailable``."""
    address = split(remote)
    send, receive = trio.open_memory_channel[Any](8)

    def take(_: Connection, data: bytes) -> None:
        message = wire.decode(data, wire.STRANGER_BYTES_MAX)[1]
        try:
            send.send_nowait(message)
        except trio.WouldBlock:
            raise Refused("it talks too much") from None

    try:
        with trio.fail_after(CONNECT_S):
            tcp = await trio.open_tcp_stream(address.host, address.port)
            stream = TlsStream(tcp, context)
            connection = Connection(stream, dialed=True)
            try:
                await connection.begin(Hello(), now=time.time())
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
    except (*Broken, trio.TooSlowError, Refused, InvalidArgument) as problem:
        raise Unavailable(f"no manager answers at {remote}: {problem}") from None

    async def run() -> None:
        async with send:
            await connection.run(take, time.time)

    refusal: SwarmError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        try:
            yield Contact(connection, receive)
        except SwarmError as error:
            refusal = error  # raised outside, so that it is not in a group
        finally:
            await connection.close()
            nursery.cancel_scope.cancel()
    if refusal is not None:
        raise refusal


async def fetch_root(remote: str, token: JoinToken) -> tuple[bytes, str]:
    """The swarm's root as the token names it, and this host's address on the way there.

    Raises ``FingerprintMismatch`` and ``Unavailable``.
    """
    async with contact(remote, blind_context()) as manager:
        given = await manager.ask(RootWanted(), RootGiven)
        token.check_root(given.root)
        return given.root, manager.local_host


async def pinned_root(remotes: Sequence[str], token: JoinToken) -> tuple[bytes, str]:
    """The same from whichever of ``remotes`` answers first."""
    last: SwarmError = Unavailable(f"no manager answers at {', '.join(remotes)}")
    with trio.move_on_after(JOIN_TIMEOUT_S):
        while True:
            for remote in remotes:
                try:
                    return await fetch_root(remote, token)
                except (FingerprintMismatch, Unavailable) as problem:
                    last = problem
            if isinstance(last, FingerprintMismatch):
                raise last  # waiting makes no other swarm of it
            await trio.sleep(PAUSE_S)
    raise last


async def join(
    remotes: Sequence[str], root_pem: bytes, wanted: JoinWanted, key_pem: bytes
) -> tuple[JoinGiven, Credentials]:
    """Become a member. Raises what the swarm answered, or ``Unavailable`` when nobody did."""
    last: SwarmError = Unavailable(f"no manager answers at {', '.join(remotes)}")
    context, began = trusting_context(root_pem), trio.current_time()
    with trio.move_on_after(JOIN_TIMEOUT_S):
        while MANAGERS not in last.details or trio.current_time() < began + NO_LEADER_S:
            for remote in remotes:
                try:
                    return await _ask_one(remote, context, wanted, key_pem)
                except Unavailable as problem:
                    last = problem
            await trio.sleep(PAUSE_S)
    raise last


async def _ask_one(
    remote: str, context: ssl.SSLContext, wanted: JoinWanted, key_pem: bytes
) -> tuple[JoinGiven, Credentials]:
    async with contact(remote, context) as manager:
        peer = manager.connection.identity
        if peer is None or not peer.is_manager:
            raise Unavailable(f"the node at {remote} is no manager")
        given = await manager.ask(wanted, JoinGiven)
        problem = wire.unpack_error(given.error)
        if problem is not None:
            raise problem
        credentials = Credentials(key_pem, given.chain, given.root, given.coming, given.as_of)
        check_given(credentials, given.node_id, peer.swarm_id)
        if given.swarm_id != peer.swarm_id or credentials.identity.role is not given.role:
            raise Unauthenticated("the certificate is not the one that the manager speaks of")
        return given, credentials


def check_given(credentials: Credentials, node_id: str, swarm_id: str) -> None:
    """Raise ``Unauthenticated`` unless this certificate is of that node and of our key."""
    credentials.check(time.time())
    try:
        credentials.client_context()
    except ssl.SSLError:
        raise Unauthenticated("the certificate is not of the key that was asked for") from None
    identity = credentials.identity
    if identity.node_id != node_id or identity.swarm_id != swarm_id:
        raise Unauthenticated("the certificate is another node's")


def new_request() -> tuple[bytes, bytes]:
    """A new key, and the request for its certificate."""
    key = create_key(system_entropy)
    return key, create_csr(key)
