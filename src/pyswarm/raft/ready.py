"""What a replica wants done: one batch of instructions to its driver.

The order is Raft's whole contract with the disk:

1. ``messages`` may leave at once, before anything below is done (a leader sends its entries to the
   followers while its own disk writes them: dissertation, 10.2.1).
2. Write to disk, in this order: ``snapshot``, ``hard_state``, ``entries``. Entries overwrite: the
   first one's index may be at or below the last index on disk; everything from there on is
   replaced. A snapshot whose (index, term) the log on disk holds leaves later entries in place;
   any other replaces the whole log. Then sync.
3. ``messages_after_sync`` leave once this Ready *and all before it* are on disk: votes and
   acknowledgements are promises, and a promise that is forgotten in a crash costs committed data.
4. ``Replica.advance(ready)``: in the order the Readys were taken.

Independently of the disk: load ``restore`` if given, apply ``committed`` in order, then answer
``reads``. Committed entries need not wait for this member's own disk: a majority has them.
Any number of Readys may be outstanding.
"""

from __future__ import annotations

from typing import Any

import attrs

from pyswarm.raft.entry import Entry, HardState
from pyswarm.raft.message import Message
from pyswarm.raft.snapshot import Snapshot


@attrs.frozen
class Ready:
    """Instructions; see the module's text for their order."""

    number: int
    """Counts the Readys of this replica, from 1."""
    hard_state: HardState | None = None
    """Given if it changed."""
    entries: tuple[Entry, ...] = ()
    """To be appended to the log on disk, replacing whatever it has from the first one's index."""
    snapshot: Snapshot | None = None
    """To be saved: received from a leader, or the application's own from ``compact``."""
    restore: Snapshot | None = None
    """The same snapshot, if it was received: the state machine must be replaced by it, before
    ``committed`` is applied."""
    messages: tuple[Message, ...] = ()
    """May leave at once."""
    messages_after_sync: tuple[Message, ...] = ()
    """May leave when this Ready and all before it are on disk."""
    committed: tuple[Entry, ...] = ()
    """To be applied, in order; contiguous from Ready to Ready (or from ``restore``)."""
    reads: tuple[tuple[Any, int], ...] = ()
    """(ctx, index) of reads that may be answered after applying ``committed``; index is the commit
    index at which they are linearizable."""
    aborted_reads: tuple[Any, ...] = ()
    """ctx of reads that will get no answer, since leadership changed: ask again."""
    removed: bool = False
    """This member learned that it is no member any more (said once)."""

    @property
    def must_sync(self) -> bool:
        """True if there is something to write."""
        return self.hard_state is not None or bool(self.entries) or self.snapshot is not None
