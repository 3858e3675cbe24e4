"""What the function of a request is handed beside the transaction and the request itself."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from pyswarm.env import Rng
from pyswarm.orchestrator.allocate import Allocator
from pyswarm.orchestrator.leases import Leases


@attrs.frozen
class Context:
    """Where requests draw from: ids from ``rng``, subnets and ports from ``leases``."""

    rng: Rng
    leases: Leases

    @classmethod
    def beside(cls, reconcilers: Iterable[object], rng: Rng) -> Context:
        """With the leases that the allocator among these keeps up with every turn."""
        allocator = next(one for one in reconcilers if isinstance(one, Allocator))
        return cls(rng, allocator.leases)
