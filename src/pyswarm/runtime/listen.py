"""Where a daemon listens: unix sockets, and TCP on loopback addresses.

Whoever can reach the API is root of the swarm. So a unix socket is for its owner and group, and TCP
stays on this host.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import trio

from pyswarm.errors import AlreadyExists, InvalidArgument, Unavailable

SOCKET_MODE = 0o660
TCP_PORT = 2375
BACKLOG = 128
FULL_PAUSE_S = 0.1
"""Out of file descriptors: how long until the next try to accept."""


@attrs.frozen
class Address:
    """``path`` of a unix socket, or ``host`` and ``port``."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """``unix:///path.sock`` or ``tcp://127.0.0.1:2375``.

    Raises ``InvalidArgument``, also for TCP addresses that other hosts can reach.
    """
    scheme, _, rest = text.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return Address(path=rest)
    if scheme != "tcp":
        raise InvalidArgument(
            f"cannot listen at {text!r}", hint="unix:///path.sock or tcp://127.0.0.1:2375"
        )
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", TCP_PORT if parts.port is None else parts.port
    except ValueError as problem:
        raise InvalidArgument(f"cannot listen at {text!r}: {problem}") from None
    if not _is_loopback(host):
        raise InvalidArgument(
            f"cannot listen at {text!r}: who reaches this API controls the swarm, so TCP is for "
            "loopback addresses only",
            hint="use a unix socket, or a tunnel (ssh -L) to a loopback address",
        )
    return Address(host="127.0.0.1" if host == "localhost" else host, port=port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def names_loopback(host: str) -> bool:
    """Whether a ``Host`` header means this very host: ``localhost:2375``, ``[::1]``."""
    try:
        return _is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


KEEPALIVE_S = 60
"""Of silence, until the kernel asks whether the other end is still there."""


class SocketStream:
    """A connected socket: one turn of the loop per receive, none per send that fits."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):  # on Linux
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        self._socket = sock
        self._poll = select.poll()
        self._poll.register(sock, 0)

    def has_gone(self) -> bool:
        """Whether the other end is closed altogether, not only done with sending. Over TCP that is
        noticed with the next thing sent, or when nobody answers the kernel any more."""
        return bool(self._poll.poll(0))

    async def receive_some(self, max_bytes: int) -> bytes:
        """What is there; b"" at the end."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(max_bytes)
            except BlockingIOError:
                continue
            except OSError as problem:
                raise trio.BrokenResourceError from problem

    async def send_all(self, data: bytes) -> None:
        """All of it."""
        left = memoryview(data)
        while True:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                pass
            except OSError as problem:
                raise trio.BrokenResourceError from problem
            if not left:
                return
            await trio.lowlevel.wait_writable(self._socket)

    async def aclose(self) -> None:
        """Also for whoever still waits on it."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


@asynccontextmanager
async def listening(addresses: Sequence[Address]) -> AsyncIterator[list[socket.socket]]:
    """Sockets that listen, as long as the block lasts; unix ones are removed afterwards.

    Raises ``AlreadyExists`` where somebody else listens, ``Unavailable`` where nobody may.
    """
    async with AsyncExitStack() as stack:
        sockets = []
        for address in addresses:
            try:
                sock = _open(address)
            except OSError as problem:
                why = f"cannot listen at {address}: {problem.strerror or problem}"
                if problem.errno == errno.EADDRINUSE:
                    raise AlreadyExists(why) from None
                raise Unavailable(why) from None
            stack.callback(_close, sock, address.path)
            sockets.append(sock)
        yield sockets


def _open(address: Address) -> socket.socket:
    if address.path:
        return _open_unix(address.path)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _open_unix(path: str) -> socket.socket:
    """A stale socket, which nobody answers, is replaced; the new one is never open to others."""
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~SOCKET_MODE)
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _remove_stale(path: str) -> None:
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise OSError(errno.EADDRINUSE, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            pass
    raise OSError(errno.EADDRINUSE, "somebody else listens there")


def _close(sock: socket.socket, path: str) -> None:
    sock.close()
    if path:
        Path(path).unlink(missing_ok=True)


async def accept_all(
    sock: socket.socket,
    serve: Callable[[SocketStream], Awaitable[None]],
    limit: trio.CapacityLimiter,
) -> None:
    """A task per connection, for ever; at most as many as ``limit`` has tokens at a time."""

    async def one(stream: SocketStream, holder: object) -> None:
        try:
            await serve(stream)
        finally:
            limit.release_on_behalf_of(holder)

    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(sock)
            holder = object()
            await limit.acquire_on_behalf_of(holder)
            try:
                connected, _ = sock.accept()
            except OSError as problem:
                limit.release_on_behalf_of(holder)
                if problem.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    await trio.sleep(FULL_PAUSE_S)
                continue
            nursery.start_soon(one, SocketStream(connected), holder)
