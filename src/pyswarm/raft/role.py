"""The four roles of a member, and which may follow which (dissertation, figure 3.3 and 9.6).

::

                     times out: asks            majority says yes      majority of votes
        FOLLOWER ----------------> PRE_CANDIDATE ------------> CANDIDATE ------------> LEADER
           ^                            |                          |                     |
           +----------------------------+--------------------------+---------------------+
             hears of a leader or of a higher term, is refused, loses contact with a majority

A candidate or pre-candidate whose election stays undecided starts another one.
"""

from __future__ import annotations

from enum import Enum


class Role(Enum):
    """What a member does in the current term."""

    FOLLOWER = "follower"
    """Answers leaders and candidates. Learners and removed members are always followers."""
    PRE_CANDIDATE = "pre-candidate"
    """Asks whether an election could be won, without disturbing anyone (9.6)."""
    CANDIDATE = "candidate"
    """Has raised its term and asks for votes (3.4)."""
    LEADER = "leader"
    """At most one a term (election safety). The only one that appends."""


NEXT_ROLES: dict[Role, tuple[Role, ...]] = {
    Role.FOLLOWER: (Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE),
    Role.PRE_CANDIDATE: (Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE),
    Role.CANDIDATE: (Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER),
    Role.LEADER: (Role.FOLLOWER,),
}
"""The transitions that exist; any other is an assertion."""
