"""Those who wait for a :class:`~pyswarm.runtime.raftnode.RaftNode`, and what they may be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from pyswarm.errors import Unavailable
from pyswarm.raft import Entry, Ready
from pyswarm.runtime.waiter import Waiter

RECENT_RESULTS = 4096
"""Results of applied entries that are kept for proposals whose index is not known here yet."""

Results: TypeAlias = dict[int, tuple[int, Any, BaseException | None]]
"""By index: the entry's term, and what applying it gave or raised."""


def tell_readers(waiting: Mapping[int, Waiter], ready: Ready) -> None:
    """Those whose reads are done, or cannot be."""
    for number, _ in ready.reads:
        if (waiter := waiting.get(number)) is not None:
            waiter.answer(None)
    for number in ready.aborted_reads:
        if (waiter := waiting.get(number)) is not None:
            waiter.answer(None, Unavailable("raft: the leader changed"))


def expire(waiting: Mapping[int, Waiter], now: float) -> None:
    """Those who have waited long enough."""
    for waiter in waiting.values():
        if waiter.deadline <= now:
            waiter.answer(None, too_late())


def lost() -> Unavailable:
    """The fate of a proposal is not known here."""
    return Unavailable(
        "raft: the leader was lost before the proposal was committed",
        hint="it may still be applied: propose again only what may be applied twice",
        outcome="unknown",
    )


def too_late() -> Unavailable:
    """The caller's time is over."""
    return Unavailable("raft: no answer in time", outcome="unknown")


def stopped(**how: Any) -> Unavailable:
    """Nobody drives this member any more: its owner left, or the others removed it."""
    return Unavailable("raft: this member has stopped", **how)


def displaced() -> Unavailable:
    """The proposal is certainly not applied."""
    return Unavailable("raft: another leader's entry took the proposal's place")


def remember(recent: Results, entry: Entry, value: Any, error: BaseException | None) -> None:
    """It may be a proposal of this member's own, of which the leader's answer is on its way."""
    recent[entry.index] = (entry.term, value, error)
    if len(recent) > RECENT_RESULTS:
        del recent[next(iter(recent))]


def outcome_of(term: int, result: tuple[int, Any, BaseException | None]) -> Any:
    """What applying gave, if the entry is the one of ``term`` and no other at its index."""
    applied_term, value, error = result
    if applied_term != term:
        raise displaced()
    if error is not None:
        raise error
    return value
