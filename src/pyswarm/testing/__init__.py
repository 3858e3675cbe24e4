"""For other people's tests: swarms in a process, an executor conformance kit, a pytest plugin.

``LocalSwarm`` is a whole swarm in memory; ``executors`` puts an executor of your own through its
paces; ``plugin`` is what pytest loads. ``raft_sim`` and ``linearizable`` are for tests of the log.
"""

from __future__ import annotations

from .local import LocalSwarm as LocalSwarm

__all__ = ["LocalSwarm"]
