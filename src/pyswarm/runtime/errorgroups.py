"""Exceptions out of nurseries.

A nursery puts whatever goes wrong in it into a group, also when it is one exception. Whoever called
a function opened no nursery, cannot know that there is one inside, and expects no group: neither
who wrote ``async with Cluster.init(...)`` nor a caller that tells errors apart by their class.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def plain_errors() -> Iterator[None]:
    """Let an exception that is alone in its group out as itself; several stay a group."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaf: Any = group
        while isinstance(leaf, BaseExceptionGroup) and len(leaf.exceptions) == 1:
            leaf = leaf.exceptions[0]
        if isinstance(leaf, BaseExceptionGroup):
            raise
        context = leaf.__context__
        try:
            raise leaf
        finally:
            leaf.__context__ = context
