"""A turn: the leader decides, many callers' requests become ONE log entry, and settles.

*Decide* runs the waiting work as functions of the store, each in a savepoint, then the reconcilers
over what changed until nobody writes any more. *Settle* comes when the entry is committed: the
overlay is installed and everyone gets an answer. Nothing is visible in between: readers see settled
state only, and a turn that never commits was never there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import attrs

from pyswarm.env import Rng
from pyswarm.errors import Internal, SwarmError, from_wire
from pyswarm.machine import Because
from pyswarm.model import RequestRecord
from pyswarm.store import Change, Store, Transaction

UNWATCHED = frozenset({"request", "secret", "config"})
"""Kinds that follow from requests alone: no reconciler looks at them, and no node hears of them."""

ROUNDS_MAX = 32
"""Reconcilers that write without end are broken: a cascade of the swarm's rules needs under ten."""

TURN_BYTES_MAX = 1024 * 1024
"""Payload bytes admitted to one turn: an entry is sent, sealed and synced in one piece, and delays
everything behind it. A single larger request gets a turn to itself."""


class Reconciling(Protocol):
    """A reconciler as the turn sees it."""

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None: ...

    def wake_at(self) -> float | None: ...


@attrs.define
class Work:
    """Something to be done in a turn: a function of the store, and whom to tell."""

    run: Callable[[Transaction], Any]
    done: Callable[[Any, SwarmError | None], None]
    request_id: str = ""
    """Not empty: a retry with the same id gets the recorded outcome instead of a second run."""
    size: int = 0
    """Payload bytes it will add to the entry."""


@attrs.frozen
class Answer:
    work: Work
    value: Any
    error: SwarmError | None


@attrs.define
class Turn:
    """A decided turn on its way through the log."""

    tx: Transaction
    answers: list[Answer]
    asked: bool
    """Whether reconcilers had to be asked."""

    @property
    def version(self) -> int:
        """The index its entry must commit under."""
        return self.tx.version


def decide(
    store: Store,
    version: int,
    now: float,
    works: Iterable[Work],
    reconcilers: Sequence[tuple[Reconciling, Rng]],
    *,
    due: bool = True,
) -> Turn:
    """Run ``works`` and then the reconcilers to a fixed point, on one open transaction. Unless one
    of them may be ``due``, they need not be asked about what none of them looks at.

    Raises ``Internal`` if there is no fixed point; what a reconciler raises goes through. In both
    cases the transaction is simply dropped.
    """
    tx = store.begin(version, now)
    answers = [_run(tx, work) for work in works]
    asked = due or _is_watched(tx.changes_since(0))
    if asked:
        reconcile(tx, now, reconcilers)
    return Turn(tx, answers, asked)


def reconcile(tx: Transaction, now: float, reconcilers: Sequence[tuple[Reconciling, Rng]]) -> None:
    """Show every reconciler what it has not seen, until a whole round writes nothing."""
    seen = [0] * len(reconcilers)
    for round_ in range(ROUNDS_MAX):
        before = tx.mark()
        for place, (reconciler, rng) in enumerate(reconcilers):
            start = seen[place]
            mark = seen[place] = tx.mark()
            changed = tx.changes_since(start) if mark != start else []
            if not _is_watched(changed) and (round_ or not _is_due(reconciler, now)):
                continue
            reconciler.reconcile(tx, changed, now, rng)
        if tx.mark() == before and all(mark == before for mark in seen):
            return
    raise Internal(f"reconcilers found no fixed point in {ROUNDS_MAX} rounds")


def _is_watched(changed: Iterable[Change]) -> bool:
    for change in changed:  # noqa: SIM110 (in every turn: quicker than a generator)
        if change[0] not in UNWATCHED:
            return True
    return False


def _is_due(reconciler: Reconciling, now: float) -> bool:
    at = reconciler.wake_at()
    return at is not None and at <= now


def _run(tx: Transaction, work: Work) -> Answer:
    """One request in its savepoint: a refused one leaves nothing but its record."""
    if work.request_id and (record := tx.get("request", work.request_id)) is not None:
        return _recorded(tx, work, record)
    savepoint = tx.savepoint()
    value, error = None, None
    try:
        value = work.run(tx)
    except SwarmError as refused:
        tx.rollback(savepoint)
        error = refused
    except Exception as bug:
        # Of one request: it leaves nothing, not even its record, and harms nobody else's.
        tx.rollback(savepoint)
        return Answer(work, None, internal(bug))
    if work.request_id:
        _record(tx, work.request_id, value, error)
    return Answer(work, value, error)


def _record(tx: Transaction, request_id: str, value: Any, error: SwarmError | None) -> None:
    written: tuple[tuple[str, str, int], ...] = ()
    if value is not None:
        written = ((kind_of(value), value.id, value.version),)
    wire = error.to_wire() if error is not None else None
    tx.create(
        RequestRecord(id=request_id, written=written, error=wire), Because("request", (request_id,))
    )


def _recorded(tx: Transaction, work: Work, record: Any) -> Answer:
    """The outcome of the first try, as far as it is remembered: objects as they are by now."""
    if record.error is not None:
        return Answer(work, None, from_wire(record.error))
    for kind, id, _ in record.written:
        return Answer(work, tx.get(kind, id), None)
    return Answer(work, None, None)


def kind_of(value: Any) -> str:
    """The kind of an object of the store."""
    return type(value).__name__.lower()


def internal(problem: Exception) -> SwarmError:
    """An exception of our own, for a caller: nothing of the request was applied."""
    if isinstance(problem, Internal):
        return problem
    error = Internal(
        f"{type(problem).__name__}: {problem}",
        hint="please report it, with the log",
        details={"outcome": "not_applied"},
    )
    error.__cause__ = problem
    return error
