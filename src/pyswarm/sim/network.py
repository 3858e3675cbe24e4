"""The simulated network: every message has its own fate, drawn from the seed.

Quantities are physical: delays in seconds, chances per message. A partition splits the nodes into
two sides (or cuts one direction only); a clogged link holds its messages back for a while.
"""

from __future__ import annotations

import attrs

from pyswarm.env import Rng


@attrs.frozen(kw_only=True)
class NetworkFaults:
    """What may happen to a message."""

    delay_min_s: float = 0.0002
    delay_max_s: float = 0.005
    loss: float = 0.0
    """Chance that a message is lost."""
    duplication: float = 0.0
    """Chance that a message arrives twice."""
    slow: float = 0.0
    """Chance that a message takes up to ``slow_max_s``, so that others overtake it."""
    slow_max_s: float = 0.5


class SimulatedNetwork:
    """Decides when, and how often, a message arrives."""

    def __init__(self, faults: NetworkFaults, rng: Rng) -> None:
        self.faults = faults
        self._rng = rng
        self._cuts: dict[tuple[str, str], None] = {}
        self._last: dict[tuple[str, str], float] = {}
        self.counts: dict[str, int] = {"sent": 0, "lost": 0, "duplicated": 0, "cut": 0, "slow": 0}

    def arrivals(self, sender: str, to: str, now: float) -> list[float]:
        """Delays after which copies of a message arrive: none if it is lost."""
        self.counts["sent"] += 1
        if (sender, to) in self._cuts:
            self.counts["cut"] += 1
            return []
        faults, rng = self.faults, self._rng
        if faults.loss and rng.chance(faults.loss):
            self.counts["lost"] += 1
            return []
        delays = [self._delay(sender, to, now)]
        if faults.duplication and rng.chance(faults.duplication):
            self.counts["duplicated"] += 1
            delays.append(delays[0] + rng.uniform(0.0, faults.slow_max_s))
        return delays

    def _delay(self, sender: str, to: str, now: float) -> float:
        """A link keeps its messages in order, as a connection does; but for the slow ones."""
        faults, rng = self.faults, self._rng
        if faults.slow and rng.chance(faults.slow):
            self.counts["slow"] += 1
            return rng.uniform(faults.delay_min_s, faults.slow_max_s)
        arrives = now + rng.uniform(faults.delay_min_s, faults.delay_max_s)
        arrives = self._last[sender, to] = max(arrives, self._last.get((sender, to), 0.0))
        return arrives - now

    def cut(self, sender: str, to: str) -> None:
        """Lose everything one way from now on."""
        self._cuts[sender, to] = None

    def partition(self, one_side: list[str], other_side: list[str]) -> None:
        """Lose everything between two sides, both ways."""
        for one in one_side:
            for other in other_side:
                self.cut(one, other)
                self.cut(other, one)

    def heal(self) -> None:
        """Undo every cut."""
        self._cuts.clear()

    @property
    def is_cut(self) -> bool:
        """True while some link is cut."""
        return bool(self._cuts)
