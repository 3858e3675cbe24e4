"""Who is a member: voters, learners, and the ids they are named by.

A configuration is replicated whole, as the data of a MEMBERSHIP entry, and every member uses the
latest one in its log, committed or not (dissertation, 4.1). One member is added, promoted, demoted
or removed at a time: then any majority of the old configuration and any majority of the new one
share a member. *Learners* receive the log and have no vote (4.2.1); every quorum counts voters
only.

**Ids are never used again.** They are counted up by ``next_member_id``, which is part of the
configuration. So an id below it that is not a member *was* one: removed members are recognised
without a list that grows for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs
import msgpack

from pyswarm.errors import FailedPrecondition, InvalidArgument, NotFound
from pyswarm.raft.entry import MemberID

CONFIGURATION_FORMAT = 1
"""First element of the encoded form; another number is refused by name."""
FORCED_ID_STEP = 2**32
"""How far forcing a new cluster advances ``next_member_id``: past any id that members of the old
cluster may have handed out without this member having seen it."""
CONTEXT_BYTES_MAX = 4096
"""A member's context is an address and a node id; it is copied into each configuration entry."""


@attrs.frozen
class Member:
    """One member as the log describes it."""

    id: MemberID
    voter: bool = True
    context: bytes = b""
    """Opaque to Raft: the application's address or name of this member."""


@attrs.frozen
class Configuration:
    """The members at one point of the log."""

    members: tuple[Member, ...] = ()
    """In order of id."""
    next_member_id: MemberID = 1
    """The id the next new member gets. Greater than every id ever given."""
    epoch: int = 0
    """See :class:`~pyswarm.raft.entry.HardState`."""
    voters: tuple[MemberID, ...] = attrs.field(init=False, repr=False, eq=False)
    """Ids of the voting members, in order."""

    def __attrs_post_init__(self) -> None:
        ids = [member.id for member in self.members]
        assert ids == sorted(set(ids)), "members are distinct and in order of id"
        assert not ids or (ids[0] > 0 and ids[-1] < self.next_member_id)
        voters = tuple(member.id for member in self.members if member.voter)
        object.__setattr__(self, "voters", voters)

    @property
    def learners(self) -> tuple[MemberID, ...]:
        """Ids of the members without a vote, in order."""
        return tuple(member.id for member in self.members if not member.voter)

    @property
    def ids(self) -> tuple[MemberID, ...]:
        """Ids of all members, in order."""
        return tuple(member.id for member in self.members)

    @property
    def quorum(self) -> int:
        """How many voters make a majority."""
        return len(self.voters) // 2 + 1

    def get(self, id: MemberID) -> Member | None:
        """The member with this id."""
        for member in self.members:
            if member.id == id:
                return member
        return None

    def __contains__(self, id: object) -> bool:
        for member in self.members:  # noqa: SIM110 - asked at each commit
            if member.id == id:
                return True
        return False

    def was_removed(self, id: MemberID) -> bool:
        """True for the id of a former member."""
        return 0 < id < self.next_member_id and id not in self

    def has_quorum(self, ids: Iterable[MemberID]) -> bool:
        """True if the voters among ``ids`` (distinct) are a majority."""
        present = frozenset(ids)
        return sum(voter in present for voter in self.voters) >= self.quorum

    def keeps_quorum_without(self, id: MemberID, reachable: Iterable[MemberID]) -> bool:
        """True if after removing ``id`` a majority of the remaining voters is ``reachable``."""
        rest = [voter for voter in self.voters if voter != id]
        present = frozenset(reachable)
        return bool(rest) and sum(voter in present for voter in rest) > len(rest) // 2


@attrs.frozen
class AddMember:
    """Adds a member under ``next_member_id``: as a learner, to be promoted once caught up; as a
    ``voter`` at once, which is refused if without it a majority would not be reachable."""

    context: bytes = b""
    voter: bool = False


@attrs.frozen
class PromoteMember:
    """Gives a learner its vote. Refused while it is behind (4.2.1)."""

    id: MemberID


@attrs.frozen
class DemoteMember:
    """Takes a voter's vote; it stays as a learner. Refused as a removal without force is."""

    id: MemberID


@attrs.frozen
class RemoveMember:
    """Ends a membership for good. Without ``force`` it is refused if the voters that remain and
    are reachable would be no majority."""

    id: MemberID
    force: bool = False


@attrs.frozen
class UpdateMember:
    """Changes a member's context (it moved to another address)."""

    id: MemberID
    context: bytes = b""


MembershipChange: TypeAlias = AddMember | PromoteMember | DemoteMember | RemoveMember | UpdateMember


def changed(configuration: Configuration, change: MembershipChange) -> Configuration:
    """``configuration`` after ``change``.

    Raises ``NotFound`` for an unknown member and ``FailedPrecondition`` if no voter would be left.
    """
    if isinstance(change, AddMember):
        check_context(change.context)
        member = Member(configuration.next_member_id, change.voter, change.context)
        return attrs.evolve(
            configuration,
            members=(*configuration.members, member),
            next_member_id=member.id + 1,
        )
    member_before = configuration.get(change.id)
    if member_before is None:
        raise NotFound(f"raft: member {change.id} unknown", details={"member": change.id})
    members = tuple(
        after
        for before in configuration.members
        if (after := before if before.id != change.id else changed_member(before, change))
        is not None
    )
    if not any(member.voter for member in members):
        raise FailedPrecondition(
            "raft: the last voting member cannot be removed or demoted",
            hint="add and promote another member first",
        )
    return attrs.evolve(configuration, members=members)


def changed_member(member: Member, change: MembershipChange) -> Member | None:
    """``member`` after a change that names it; None if it is removed."""
    if isinstance(change, RemoveMember):
        return None
    if isinstance(change, UpdateMember):
        check_context(change.context)
        return attrs.evolve(member, context=change.context)
    return attrs.evolve(member, voter=isinstance(change, PromoteMember))


def check_context(context: bytes) -> None:
    """Raises ``InvalidArgument`` if ``context`` is too long to live in each configuration."""
    if len(context) > CONTEXT_BYTES_MAX:
        raise InvalidArgument(
            f"raft: a member's context of {len(context)} bytes is over {CONTEXT_BYTES_MAX}"
        )


def encode_configuration(configuration: Configuration) -> bytes:
    """The versioned form written in MEMBERSHIP entries, snapshots and messages."""
    members = [(member.id, member.voter, member.context) for member in configuration.members]
    packed: bytes = msgpack.packb(
        (CONFIGURATION_FORMAT, configuration.next_member_id, configuration.epoch, members)
    )
    return packed


def decode_configuration(data: bytes) -> Configuration:
    """The inverse of :func:`encode_configuration`; ``InvalidArgument`` if it is malformed."""
    try:
        form: Any = msgpack.unpackb(data, use_list=False)
    except Exception as error:
        raise InvalidArgument("raft: a configuration is not readable") from error
    if not isinstance(form, tuple) or len(form) != 4 or form[0] != CONFIGURATION_FORMAT:
        raise InvalidArgument("raft: a configuration is of an unknown format")
    _, next_member_id, epoch, rows = form
    if not (is_count(next_member_id) and is_count(epoch) and isinstance(rows, tuple)):
        raise InvalidArgument("raft: a configuration is malformed")
    ids = [row[0] for row in rows if is_member_row(row)]
    ordered = len(ids) == len(rows) and ids == sorted(set(ids))
    if not ordered or (ids and not 0 < ids[0] <= ids[-1] < next_member_id):
        raise InvalidArgument("raft: a configuration has malformed members")
    return Configuration(tuple(Member(*row) for row in rows), next_member_id, epoch)


def is_count(value: Any) -> bool:
    """True for an integer that is not negative (and no bool)."""
    return type(value) is int and value >= 0


def is_member_row(row: Any) -> bool:
    """True for the encoded form of a :class:`Member`."""
    return (
        isinstance(row, tuple)
        and len(row) == 3
        and is_count(row[0])
        and isinstance(row[1], bool)
        and isinstance(row[2], bytes)
        and len(row[2]) <= CONTEXT_BYTES_MAX
    )
