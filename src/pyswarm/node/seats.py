"""Who should hold a seat in the log, and the next step towards it.

People say what a node should be (``spec.desired_role``); Raft's configuration says who is a member;
``node.role`` and ``node.manager`` say what has been reached. The leader brings them together, one
membership change at a time:

- a node that should be a manager and has no seat gets one as a learner, and a vote once it has
  caught up;
- a member whose node should be a worker, has left or is gone, is removed (a leader hands over
  first);
- ``node.role`` and ``node.manager`` follow the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from pyswarm.errors import FailedPrecondition
from pyswarm.machine import Because
from pyswarm.model import ManagerStatus, Node, Role, replace
from pyswarm.model.requests import UpdateNode
from pyswarm.model.session import ManagerAddress
from pyswarm.raft import (
    AddMember,
    Configuration,
    Member,
    MembershipChange,
    PromoteMember,
    RemoveMember,
    Replica,
)
from pyswarm.store import Change, Reader, Transaction


def context(node_id: str, addr: str) -> bytes:
    """A member's context in the configuration: whose seat it is, and where it listens."""
    return f"{node_id} {addr}".encode()


def holder(member: Member) -> ManagerAddress:
    """The node that holds a seat."""
    return _holder(member.context)


@lru_cache(maxsize=64)  # asked for every message to a member; a swarm has a handful
def _holder(context: bytes) -> ManagerAddress:
    node_id, _, addr = context.decode().partition(" ")
    return ManagerAddress(node_id, addr)


class Seats:
    """The leader's view of seats and wishes; a cache over store and configuration."""

    def __init__(self, view: Reader) -> None:
        self._wanted: dict[str, None] = {}
        self._seated: dict[str, None] = {}
        self._still: Configuration | None = None
        for node in view.nodes():
            self._note(node.id, node)

    def committed(self, changes: Iterable[Change]) -> None:
        """Nodes came, went, or are wanted in another role."""
        for change in changes:
            if change.kind == "node" and _concerns_seats(change.old, change.new):
                self._still = None
                self._note(change.id, change.new)

    def _note(self, node_id: str, node: Node | None) -> None:
        if node is not None and node.wants_seat:
            self._wanted[node_id] = None
        else:
            self._wanted.pop(node_id, None)
        if node is not None and (node.manager is not None or node.role is Role.MANAGER):
            self._seated[node_id] = None
        else:
            self._seated.pop(node_id, None)

    def is_still(self, configuration: Configuration) -> bool:
        """True if nothing has changed since nothing was left to do: asked in every turn."""
        return self._still is configuration

    def changes(
        self, view: Reader, configuration: Configuration, caught_up: Iterable[int]
    ) -> Iterator[MembershipChange]:
        """Steps of the configuration that are wanted now, the first one first; none where all is as
        it should be. The log takes one at a time, and may refuse one that would cost the quorum:
        who is to vote gets the vote before anybody's seat is taken away, and a seat that must stay
        for now holds nobody else up."""
        taken = {holder(member).node_id: member for member in configuration.members}
        ready = tuple(caught_up)
        found = False
        for node_id in self._wanted:
            node = view.node(node_id)
            if node is not None and node_id not in taken:
                found = True
                yield AddMember(context(node_id, node.addr))
        for node_id, member in taken.items():
            if not member.voter and member.id in ready and node_id in self._wanted:
                found = True
                yield PromoteMember(member.id)
        for node_id, member in taken.items():
            if node_id not in self._wanted:
                found = True
                yield RemoveMember(member.id)
        if not found and all(member.voter for member in configuration.members):
            self._still = configuration

    def behind(self, view: Reader, configuration: Configuration) -> bool:
        """True if nodes do not say yet what the configuration says."""
        seats = {holder(member).node_id: member.id for member in configuration.members}
        for node_id, member_id in seats.items():
            node = view.node(node_id)
            status = node.manager if node is not None else None
            if node is not None and (
                status is None
                or status.member_id != member_id
                or status.epoch != configuration.epoch
            ):
                return True
        return any(node_id not in seats for node_id in self._seated)

    def write(self, tx: Transaction, configuration: Configuration) -> None:
        """Let the nodes say what the configuration says."""
        seats = {holder(member).node_id: member for member in configuration.members}
        self._dismiss(tx, configuration, seats)
        for node_id, member in seats.items():
            node = tx.node(node_id)
            if node is None:
                continue
            status = ManagerStatus(member.id, holder(member).addr, configuration.epoch)
            if node.manager != status or node.role is not Role.MANAGER:
                tx.update(
                    replace(node, role=Role.MANAGER, manager=status), Because("seat", (member.id,))
                )
        for node_id in self._seated:
            node = tx.node(node_id)
            if node is not None and node_id not in seats:
                tx.update(replace(node, role=Role.WORKER, manager=None), Because("no-seat"))

    def _dismiss(
        self, tx: Transaction, configuration: Configuration, seats: Mapping[str, Member]
    ) -> None:
        """A swarm that was forced to begin anew (its nodes still speak of another epoch) wants
        those managers only that it was forced with: the others are lost, or had better be."""
        seated = [tx.node(node_id) for node_id in self._seated]
        statuses = [node.manager for node in seated if node is not None and node.manager]
        if all(status.epoch == configuration.epoch for status in statuses):
            return
        wanted = [node for node in tx.nodes() if node.spec.desired_role is Role.MANAGER]
        for node in wanted:
            if node.id not in seats:
                spec = replace(node.spec, desired_role=Role.WORKER)
                tx.update(replace(node, spec=spec, left_seat=False), Because("new-cluster"))


def check_demotion(view: Reader, body: object, replica: Replica) -> None:
    """Refuse to take a seat away whose voters would miss it.

    Who can be reached is known to the leader's replica alone, now: so this is asked before a
    request waits for its turn, and leaves no record. Raises ``FailedPrecondition``.
    """
    if not isinstance(body, UpdateNode) or body.spec.desired_role is Role.MANAGER:
        return
    node = view.node(body.node_id)
    if node is None or node.manager is None or not node.wants_seat:
        return  # one that has left is to lose its seat anyway, as soon as that costs no quorum
    member_id, configuration = node.manager.member_id, replica.configuration
    others = any(voter != member_id for voter in configuration.voters)
    if others and not configuration.keeps_quorum_without(member_id, replica.active_members()):
        raise FailedPrecondition(
            "can't remove member from the raft: this would result in a loss of quorum",
            hint="bring another manager back first, or demote one that is lost",
        )


def _concerns_seats(old: Node | None, new: Node | None) -> bool:
    return (
        old is None
        or new is None
        or old.wants_seat is not new.wants_seat
        or old.role is not new.role
        or old.manager != new.manager
    )


def manager_addresses(configuration: Configuration) -> tuple[ManagerAddress, ...]:
    """Where the managers listen, in order of their seats."""
    return tuple(holder(member) for member in configuration.members)
