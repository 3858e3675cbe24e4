"""Calls under way at a follower: what it forwarded, and what it may be asked beside requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from pyswarm.env import Rng
from pyswarm.errors import SwarmError, Unavailable
from pyswarm.model import Request
from pyswarm.model.session import ManagerAddress
from pyswarm.node.config import FORWARD_TIMEOUT_S, FORWARDED_MAX
from pyswarm.node.messages import ForwardRequest
from pyswarm.node.outbox import Outbox

Done = Callable[[Any, SwarmError | None], None]
"""Told the value, or the error, exactly once."""


@attrs.frozen
class Barrier:
    """Wait until this member's store holds all that was settled when the call was made.

    After the reply the store of this member may be read: the read is linearizable.
    """


@attrs.frozen
class Leave:
    """Give this node's membership up: say so to the leader, end the tasks, and halt."""


@attrs.frozen
class HandOver:
    """If this node leads, let another manager lead: this one cannot keep time."""


@attrs.define
class _Forwarded:
    node_id: str
    addr: str
    done: Done
    deadline: float


class Calls:
    """What a follower passed on to the leader and has no answer to yet."""

    def __init__(self, out: Outbox, rng: Rng) -> None:
        self._out = out
        self._next = rng.getrandbits(32)
        self._forwarded: dict[int, _Forwarded] = {}

    def forward(
        self,
        leader: ManagerAddress,
        request: Request,
        done: Done,
        now: float,
        deadline: float | None,
    ) -> None:
        """Pass ``request`` on; without an answer in time its outcome is unknown."""
        if len(self._forwarded) >= FORWARDED_MAX:
            done(None, Unavailable(f"{FORWARDED_MAX} requests are under way", hint="retry later"))
            return
        self._next += 1
        limit = now + FORWARD_TIMEOUT_S
        if deadline is not None:
            limit = min(limit, deadline)
        self._forwarded[self._next] = _Forwarded(leader.node_id, leader.addr, done, limit)
        self._out.send(leader.node_id, leader.addr, ForwardRequest(self._next, request))

    def answered(self, node_id: str, number: int, value: Any, error: SwarmError | None) -> None:
        """``node_id`` answered. A second answer, or one from a node that was not asked, means
        nothing."""
        call = self._forwarded.get(number)
        if call is not None and call.node_id == node_id:
            self._finish(number, value, error)

    def _finish(self, number: int, value: Any, error: SwarmError | None) -> None:
        self._forwarded.pop(number).done(value, error)

    def expire(self, now: float) -> None:
        """Give up on what took too long."""
        if self._forwarded:
            self._give_up("the leader did not answer in time", lambda call: now >= call.deadline)

    def broken(self, addr: str) -> None:
        """The line to ``addr`` broke: nothing forwarded there will be answered."""
        self._give_up("the line to the leader broke", lambda call: call.addr == addr)

    def follow(self, leader_addr: str) -> None:
        """Another one leads now; the old one can confirm nothing any more."""
        self._give_up("leadership changed", lambda call: call.addr != leader_addr)

    def _give_up(self, reason: str, concerns: Callable[[_Forwarded], bool]) -> None:
        for number, call in list(self._forwarded.items()):
            if concerns(call):
                hint = "retry with the same request id"
                error = Unavailable(reason, outcome="unknown", hint=hint)
                self._finish(number, None, error)

    def wake_at(self) -> float | None:
        """The next deadline."""
        if not self._forwarded:
            return None
        return min(call.deadline for call in self._forwarded.values())

    def close(self) -> None:
        """The node stops: nobody will answer."""
        for number in list(self._forwarded):
            self._finish(number, None, Unavailable("the node stops", outcome="unknown"))
