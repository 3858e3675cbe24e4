"""Changing the membership, one member at a time (dissertation, chapter 4).

A change is an entry that holds the whole new configuration; it is in effect on each member once it
is in that member's log. It is refused

- until an entry of the leader's own term is committed: without that rule two changes that began
  under different leaders can both believe in a majority (the flaw of single-server changes that
  Ongaro reported in 2015);
- while an earlier change is not committed;
- for a learner that has not caught up, and for any change after which the voters in touch would
  be no majority.
"""

from __future__ import annotations

from pyswarm.errors import FailedPrecondition, Unavailable
from pyswarm.raft.configuration import (
    AddMember,
    DemoteMember,
    MembershipChange,
    PromoteMember,
    RemoveMember,
    changed,
    encode_configuration,
)
from pyswarm.raft.entry import EntryKind, MemberID
from pyswarm.raft.leadership import active_members, append, not_leader
from pyswarm.raft.progress import Progress
from pyswarm.raft.role import Role
from pyswarm.raft.state import State


def propose_membership(s: State, change: MembershipChange) -> int:
    """Appends the change; see ``Replica.propose_membership``."""
    check_open(s)
    if isinstance(change, DemoteMember) or (isinstance(change, RemoveMember) and not change.force):
        check_quorum_without(s, change)
    if isinstance(change, AddMember) and change.voter:
        check_quorum_beside(s)
    if isinstance(change, PromoteMember):
        check_caught_up(s, change.id)
    configuration = changed(s.configuration, change)
    index = append(s, EntryKind.MEMBERSHIP, encode_configuration(configuration))
    s.refresh_members()
    refresh_progress(s)
    return index


def check_open(s: State) -> None:
    """Raises unless a change may begin now."""
    if s.role is not Role.LEADER:
        raise not_leader(s)
    if s.transferee is not None:
        raise Unavailable("raft: leadership is being transferred", hint="retry")
    if s.log.commit_index < s.noop_index:
        raise Unavailable("raft: the new leader is not ready yet", hint="retry")
    if s.log.configuration_index > s.log.commit_index:
        raise FailedPrecondition(
            "raft: another membership change is in progress", hint="retry when it is committed"
        )


def check_quorum_without(s: State, change: RemoveMember | DemoteMember) -> None:
    """Raises if the change would leave the cluster without a majority in touch."""
    id = change.id
    member = s.configuration.get(id)
    if member is None or not member.voter or s.configuration.voters == (id,):
        return
    if not s.configuration.keeps_quorum_without(id, active_members(s)):
        verb = "remov" if isinstance(change, RemoveMember) else "demot"
        raise FailedPrecondition(
            f"raft: member cannot be {verb}ed, because {verb}ing it may result in loss of quorum",
            hint="bring another manager back first",
        )


def check_quorum_beside(s: State) -> None:
    """Raises if nothing could be committed before a new voter has started and caught up. A cluster
    of one has no choice."""
    voters = s.configuration.voters
    active = [id for id in active_members(s) if id in voters]
    if len(voters) > 1 and len(active) < (len(voters) + 1) // 2 + 1:
        raise FailedPrecondition(
            "raft: a voter cannot be added, because adding it may result in loss of quorum",
            hint="add it as a learner, and promote it when it has caught up",
        )


def check_caught_up(s: State, id: MemberID) -> None:
    """Raises if a learner is behind: as a voter it would hold up every commit (4.2.1)."""
    progress = s.progress.get(id)
    member = s.configuration.get(id)
    if progress is None or member is None or member.voter:
        return
    if not progress.caught_up:
        raise FailedPrecondition(
            f"raft: member {id} has not caught up with the log yet", hint="retry"
        )


def refresh_progress(s: State) -> None:
    """Begins to feed new members, stops feeding removed ones."""
    for id in [id for id in s.progress if id not in s.configuration]:
        del s.progress[id]
        if s.transferee == id:
            s.transferee = None
    for id in s.configuration.ids:
        if id != s.id and id not in s.progress:
            s.progress[id] = Progress(id, s.log.last_index, s.now)
