"""An executor belongs to one node, which closes it at its end.

Two nodes would take each other's tasks away, and whoever is left with an executor that the other
closed rejects every task it is given. So who hands one executor to a second node is told at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyswarm.errors import InvalidArgument

_OWN = "each node needs an executor of its own"

_in_use: list[Any] = []
"""By identity: an executor need not be hashable. There are as many as nodes in this process."""


def check_free(executor: Any) -> None:
    """Raises ``InvalidArgument`` for an executor that another node has, or had and closed."""
    if any(executor is one for one in _in_use):
        raise InvalidArgument(f"{executor!r} runs the tasks of another node", hint=_OWN)
    if getattr(executor, "is_closed", False):
        raise InvalidArgument(f"{executor!r} was closed with the node that it ran for", hint=_OWN)


@contextmanager
def belonging(executor: Any) -> Iterator[None]:
    """This block's alone. Raises what :func:`check_free` raises."""
    check_free(executor)
    _in_use.append(executor)
    try:
        yield
    finally:
        del _in_use[next(i for i, one in enumerate(_in_use) if one is executor)]
