"""What is said about certificates: by a node that joins, and by one that renews.

Joining is two questions on two connections. The first is put to whoever answers, over TLS that
proves nothing: what is your root? The token's digest tells whether that is the swarm's. Only then,
over TLS that this root proves, the token's secret leaves, with a request for a certificate.
"""

from __future__ import annotations

import attrs

from pyswarm.model.objects import NodeDescription
from pyswarm.model.session import ManagerAddress
from pyswarm.model.states import Availability, Role
from pyswarm.model.value import value
from pyswarm.runtime.tls.wire import Lane, Sender, register


@value
@attrs.frozen(weakref_slot=False)
class Hello:
    """The first message of each side: where it listens ("" for one that does not)."""

    addr: str = ""
    node_id: str = ""


@value
@attrs.frozen(weakref_slot=False)
class Ping:
    """Nothing to say: the line is alive."""


@value
@attrs.frozen(weakref_slot=False)
class RootWanted:
    """Whose swarm is this?"""


@value
@attrs.frozen(weakref_slot=False)
class RootGiven:
    """The root's certificates, PEM."""

    root: bytes


@value
@attrs.frozen(weakref_slot=False)
class JoinWanted:
    """A node without a certificate shows its token. ``request_id`` is the same in every try."""

    request_id: str
    token: str = attrs.field(repr=False)
    addr: str
    description: NodeDescription
    csr: bytes
    availability: Availability = Availability.ACTIVE


@value
@attrs.frozen(weakref_slot=False)
class JoinGiven:
    """The new member's identity and certificate, or why not (``error``, packed). It is to trust
    ``root``, and the ``coming`` one while that takes its place, ``as_of`` as in ``Trust``."""

    request_id: str
    node_id: str = ""
    role: Role = Role.WORKER
    swarm_id: str = ""
    managers: tuple[ManagerAddress, ...] = ()
    chain: bytes = b""
    root: bytes = b""
    error: bytes = b""
    coming: bytes = b""
    as_of: tuple[float, int] = (0.0, 0)


@value
@attrs.frozen(weakref_slot=False)
class CertificateWanted:
    """A member asks for its next certificate, with a new key."""

    number: int
    csr: bytes


@value
@attrs.frozen(weakref_slot=False)
class CertificateGiven:
    """The next certificate, in the role that the swarm gives the node now; or why not. ``root``
    and ``coming`` are those of the swarm at that time."""

    number: int
    chain: bytes = b""
    root: bytes = b""
    error: bytes = b""
    coming: bytes = b""
    as_of: tuple[float, int] = (0.0, 0)


register(1, Hello, Sender.ANYONE, lane=Lane.PULSE)
register(2, Ping, Sender.ANYONE, lane=Lane.PULSE)
register(3, RootWanted, Sender.ANYONE)
register(4, RootGiven, Sender.ANYONE)
register(5, JoinWanted, Sender.ANYONE)
register(6, JoinGiven, Sender.MANAGER)
register(7, CertificateWanted, Sender.MEMBER)
register(8, CertificateGiven, Sender.MANAGER)
