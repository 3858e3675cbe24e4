"""Nodes of different processes and hosts, joined by mutual TLS.

:class:`TlsNetwork` is what people hand to :class:`pyswarm.Cluster`; each node that runs in it gets
a :class:`NodeNetwork`, which knows the node's certificate, and in it an endpoint.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import attrs

from pyswarm.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from pyswarm.model import Identity
from pyswarm.runtime.network import Receive
from pyswarm.runtime.tls import addresses
from pyswarm.runtime.tls.credentials import Credentials
from pyswarm.runtime.tls.endpoint import TlsEndpoint
from pyswarm.runtime.tls.external import ExternalCA

BACKLOG = 512
"""Connections that the kernel holds until we come to them: a storm of reconnections."""


class TlsNetwork:
    """Joins nodes over TCP with mutual TLS 1.3; their certificates come from the swarm's own CA.

    ``Cluster.init(network=TlsNetwork(), listen_addr="192.0.2.1:2377")`` founds a swarm that others
    join by ``Cluster.join(["192.0.2.1:2377"], token, network=TlsNetwork())``.

    ``external_ca`` signs nodes' certificates where the swarm's root key is kept elsewhere: an async
    function from a :class:`~pyswarm.runtime.tls.SigningRequest` to PEM; for managers.
    """

    def __init__(self, *, external_ca: ExternalCA | None = None) -> None:
        self.external_ca = external_ca

    def attach(
        self, addr: str | None, identity: Callable[[], Identity | None], receive: Receive
    ) -> TlsEndpoint:
        """Not without a certificate: see :meth:`for_node`."""
        raise FailedPrecondition("a node needs a certificate to be in this network")

    def for_node(
        self, listen_addr: str | None, advertise_addr: str | None, preferred: str | None = None
    ) -> NodeNetwork:
        """One node's own part. Takes hold of the listening address, so that it is known before the
        node runs. Raises ``InvalidArgument`` and ``AlreadyExists`` (the address is taken)."""
        listen = addresses.listen_address(listen_addr, preferred)
        listener = open_listener(listen)
        try:
            port = listener.getsockname()[1]
            listen = attrs.evolve(listen, port=port)
            advertised = addresses.advertise_address(advertise_addr, listen, preferred)
        except BaseException:
            listener.close()
            raise
        return NodeNetwork(listener, listen, advertised, self.external_ca)

    def __repr__(self) -> str:
        return "<TlsNetwork>"


def open_listener(address: addresses.Address) -> socket.socket:
    """A socket that listens there."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == 98 or "in use" in str(error):
            raise AlreadyExists(f"listen tcp {address}: bind: address already in use") from None
        raise InvalidArgument(f"listen tcp {address}: {error.strerror}") from None
    return listener


class NodeNetwork:
    """One node's part of a :class:`TlsNetwork`; a :class:`~pyswarm.runtime.network.Network`."""

    def __init__(
        self,
        listener: socket.socket,
        listen: addresses.Address,
        advertised: addresses.Address,
        external_ca: ExternalCA | None = None,
    ) -> None:
        self.external_ca = external_ca
        self.listen = listen
        self.advertised = str(advertised)
        self.credentials: Credentials | None = None
        self.endpoint: TlsEndpoint | None = None
        self._listener = listener

    def attach(
        self, addr: str | None, identity: Callable[[], Identity | None], receive: Receive
    ) -> TlsEndpoint:
        """The node's endpoint; ``credentials`` must be there."""
        assert self.credentials is not None, "a node needs a certificate first"
        self.endpoint = TlsEndpoint(self._listener, self.advertised, self.credentials, receive)
        self.endpoint.external_ca = self.external_ca
        return self.endpoint

    def close(self) -> None:
        """Let go of the address, for a node that never ran."""
        self._listener.close()
