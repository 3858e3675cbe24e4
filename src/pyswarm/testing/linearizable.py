"""Is this history of a register linearizable?

Several clients read and write one register at the same time. Each operation has a beginning and,
if its outcome is known, an end. The history is linearizable if every operation can be given one
moment between its beginning and its end so that each read returns what was written last (Herlihy
and Wing, 1990). An operation of unknown outcome may have its moment at any later time, or never.

The search is Wing and Gong's with Lowe's memory: take any operation that began before every other
pending one ended, see whether it fits, go on; never visit the same (set taken, value) twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs


@attrs.frozen
class Operation:
    """One read or write as its client saw it."""

    kind: str
    """``"write"`` or ``"read"``."""
    value: object
    """What was written, or what the read returned."""
    begin: int
    end: int | None
    """None: the outcome is unknown. (Leave reads of unknown outcome out: they say nothing.)"""


def is_linearizable(history: Sequence[Operation], initial: object = None) -> bool:
    """True if ``history`` has a legal order."""
    operations = sorted(history, key=lambda operation: operation.begin)
    must = 0
    for position, operation in enumerate(operations):
        assert operation.kind in ("write", "read")
        if operation.end is not None:
            must |= 1 << position
    seen: set[tuple[int, object]] = set()
    stack: list[tuple[int, object]] = [(0, initial)]
    while stack:
        taken, value = stack.pop()
        if taken & must == must:
            return True
        if (taken, value) in seen:
            continue
        seen.add((taken, value))
        stack.extend(next_states(operations, taken, value))
    return False


def next_states(
    operations: Sequence[Operation], taken: int, value: object
) -> list[tuple[int, object]]:
    """What may happen next: each operation that begins before all pending ones have ended."""
    states: list[tuple[int, object]] = []
    first_end: int | None = None
    for position, operation in enumerate(operations):
        if taken >> position & 1:
            continue
        if first_end is not None and operation.begin > first_end:
            break
        if operation.end is not None and (first_end is None or operation.end < first_end):
            first_end = operation.end
    for position, operation in enumerate(operations):
        if first_end is not None and operation.begin > first_end:
            break
        if taken >> position & 1:
            continue
        if operation.kind == "write":
            states.append((taken | 1 << position, operation.value))
        elif operation.value == value:
            # A read that fits now changes nothing: it is always right to take it at once.
            return [(taken | 1 << position, value)]
    states.reverse()
    return states
