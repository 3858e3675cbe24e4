"""Which manager to turn to: a weighted choice that remembers how it went.

Good experience adds, bad experience subtracts, half of the past counts (exponential smoothing), and
no manager is ever quite out of the question, so one that comes back is found again.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from pyswarm.env import Rng
from pyswarm.model.session import ManagerAddress

GOOD, BAD = 10.0, -10.0
SMOOTHING = 0.5
WEIGHT_MAX = 256.0
BIAS = 0.001
"""All four are Swarm's."""


class Remotes:
    """The managers an agent knows, by address."""

    __slots__ = ("_managers", "_weights")

    def __init__(self) -> None:
        self._managers: dict[str, ManagerAddress] = {}
        self._weights: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._managers)

    def add(self, managers: Iterable[ManagerAddress]) -> None:
        """Learn of more managers; those known stay."""
        for manager in managers:
            self._managers[manager.addr] = manager
            self._weights.setdefault(manager.addr, 0.0)

    def replace(self, managers: Iterable[ManagerAddress]) -> None:
        """Take over the swarm's own list; who is not on it is no manager any more."""
        self._managers = {manager.addr: manager for manager in managers}
        self._weights = {addr: self._weights.get(addr, 0.0) for addr in self._managers}

    def observe(self, addr: str, weight: float) -> None:
        """Remember how it went with one manager (:data:`GOOD` or :data:`BAD`)."""
        if addr in self._weights:
            smoothed = SMOOTHING * weight + (1 - SMOOTHING) * self._weights[addr]
            self._weights[addr] = max(-WEIGHT_MAX, min(WEIGHT_MAX, smoothed))

    def get(self, addr: str) -> ManagerAddress:
        """The manager at ``addr``, known or not."""
        return self._managers.get(addr) or ManagerAddress("", addr)

    def choose(self, rng: Rng, without: Container[str] = ()) -> ManagerAddress | None:
        """One of those that are not at an address in ``without``, the better ones more often; None
        if there is none."""
        shares = {
            addr: max(0.0, weight) + BIAS
            for addr, weight in self._weights.items()
            if addr not in without
        }
        point = rng.random() * sum(shares.values())
        last = None
        for addr, share in shares.items():
            last = self._managers[addr]
            point -= share
            if point < 0:
                break
        return last
