"""What must hold in every history of a Raft cluster (dissertation, figure 3.2).

One object watches all members: it is shown every Ready and every change of role, and raises
:class:`Violation`.
"""

from __future__ import annotations

from pyswarm.raft import Entry, EntryKind, MemberID, Ready, Replica, Role


class Violation(AssertionError):
    """A property does not hold."""


class Checkers:
    """Remembers what was seen; each ``check_*`` is one property."""

    def __init__(self) -> None:
        self.leader_of: dict[int, MemberID] = {}
        self.entry_of: dict[tuple[int, int], tuple[int, EntryKind, bytes]] = {}
        self.applied: dict[int, tuple[int, bytes]] = {}
        self.committed: dict[int, tuple[int, int]] = {}
        """Index to (its term, the term of a leader that knew it committed)."""

    def check_role(self, replica: Replica) -> None:
        """Election safety: one leader a term at most."""
        if replica.role is Role.LEADER:
            first = self.leader_of.setdefault(replica.term, replica.id)
            if first != replica.id:
                raise Violation(f"members {first} and {replica.id} both lead term {replica.term}")

    def check_complete(self, replica: Replica) -> None:
        """Leader completeness: a new leader has what was committed in earlier terms."""
        first = replica.status().first_index
        for index, (term, committed_in) in self.committed.items():
            if committed_in >= replica.term or index < first:
                continue
            entry = replica.entry(index)
            if entry is None or entry.term != term:
                raise Violation(f"leader {replica.id} of term {replica.term} lacks entry {index}")

    def check_entries(self, replica: Replica, ready: Ready) -> None:
        """Log matching: what an entry is, and what precedes it, follows from index and term."""
        for entry in ready.entries:
            before = replica.entry(entry.index - 1)
            if before is None:
                continue
            fact = (before.term, entry.kind, entry.data)
            if self.entry_of.setdefault((entry.index, entry.term), fact) != fact:
                raise Violation(f"two entries {entry.index} of term {entry.term}")
        if replica.role is Role.LEADER:
            for entry in ready.committed:
                self.committed.setdefault(entry.index, (entry.term, replica.term))

    def check_applied(self, id: MemberID, applied: int, entry: Entry) -> None:
        """State machine safety: the same entry everywhere, in order, without gaps."""
        if entry.index != applied + 1:
            raise Violation(f"member {id} applies {entry.index} after {applied}")
        fact = (entry.term, entry.data)
        if self.applied.setdefault(entry.index, fact) != fact:
            raise Violation(f"member {id} applies another entry at {entry.index}")
