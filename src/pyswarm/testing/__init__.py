"""For other people's tests: swarms in a process, an executor conformance kit, a pytest plugin.

``LocalSwarm`` is a whole swarm in memory; ``executors`` puts an executor of your own through its
paces; ``plugin`` is what pytest loads by itself. The others are for tests of the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .local import LocalSwarm as LocalSwarm

__all__ = ["LocalSwarm"]


def __getattr__(name: str) -> object:
    """``LocalSwarm`` brings the whole runtime: it is loaded when it is used, since pytest loads
    this package wherever pyswarm is installed."""
    if name == "LocalSwarm":
        from .local import LocalSwarm

        return LocalSwarm
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
