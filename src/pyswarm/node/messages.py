"""What nodes say to each other beside sessions: Raft, forwarded requests, joining.

The transport vouches for the sender's identity; nothing here repeats it, but for the identity of
the caller whose request a follower forwards.
"""

from __future__ import annotations

from typing import Any

import attrs

from pyswarm.errors import SwarmError
from pyswarm.model import Request
from pyswarm.model.objects import NodeDescription
from pyswarm.model.session import ManagerAddress
from pyswarm.model.states import Availability, Role
from pyswarm.raft import Message


@attrs.frozen
class RaftPacket:
    """A Raft message on its way to a manager's replica."""

    message: Message


@attrs.frozen
class ForwardRequest:
    """A follower asks the leader to do what its caller asked; never forwarded twice."""

    number: int
    request: Request


@attrs.frozen
class ForwardReply:
    """The leader's answer to :class:`ForwardRequest`."""

    number: int
    value: Any = attrs.field(default=None, repr=False)
    error: SwarmError | None = None


@attrs.frozen
class JoinRequest:
    """A node without an identity shows its token and asks to be let in.

    ``request_id`` makes a repeated try find the node of the first one.
    """

    request_id: str
    token: str = attrs.field(repr=False)
    addr: str
    description: NodeDescription
    availability: Availability = Availability.ACTIVE


@attrs.frozen
class JoinReply:
    """The new node's identity, or why not."""

    request_id: str
    node_id: str = ""
    role: Role = Role.WORKER
    swarm_id: str = ""
    managers: tuple[ManagerAddress, ...] = ()
    error: SwarmError | None = None


@attrs.frozen
class Farewell:
    """A node tells the leader that it leaves the swarm."""

    request_id: str
    force: bool = False
