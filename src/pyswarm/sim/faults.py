"""What goes wrong in a history: quantities with units, and how a seed draws them.

``Faults`` is what one history may suffer. ``Faults.drawn(rng)`` gives each history its own mixture,
calm ones among them, so that a campaign covers combinations nobody would think of.
"""

from __future__ import annotations

import attrs

from pyswarm.env import Rng
from pyswarm.sim.disk import DiskFaults
from pyswarm.sim.executor import ExecutorFaults
from pyswarm.sim.network import NetworkFaults


@attrs.frozen(kw_only=True)
class Faults:
    """Mean times between events are per swarm, in virtual seconds; 0 = never."""

    network: NetworkFaults = NetworkFaults()
    disk: DiskFaults = DiskFaults()
    executor: ExecutorFaults = ExecutorFaults()
    crash_every_s: float = 0.0
    """A node loses power …"""
    down_max_s: float = 8.0
    """… and starts again within this time."""
    partition_every_s: float = 0.0
    partition_max_s: float = 6.0
    one_way: float = 0.3
    """Share of partitions that cut one direction only."""
    disk_full_every_s: float = 0.0
    """A disk fills up …"""
    disk_full_max_s: float = 8.0
    """… and has room again within this time."""
    all_full: float = 0.2
    """Share of the times when the disks of all managers fill up at once."""
    log_entries: int = 0
    """The log is cut after so many, and followers that lag need a snapshot; 0: after the usual."""
    kill_every_s: float = 0.0
    """A running task is killed from outside."""
    clock_skew_max_s: float = 2.0
    """Wall clocks of hosts differ by up to this, either way."""

    @classmethod
    def none(cls) -> Faults:
        """Nothing goes wrong."""
        return cls(clock_skew_max_s=0.0)

    @classmethod
    def drawn(cls, rng: Rng) -> Faults:
        """A mixture of its own for one history."""

        def often(most: float, least: float, share: float) -> float:
            return rng.uniform(least, most) if rng.chance(share) else 0.0

        return cls(
            network=NetworkFaults(
                loss=rng.choice((0.0, 0.0, 0.005, 0.02, 0.1)),
                duplication=rng.choice((0.0, 0.01, 0.1)),
                slow=rng.choice((0.0, 0.01, 0.1)),
            ),
            disk=DiskFaults(stall=rng.choice((0.0, 0.0, 0.02))),
            executor=ExecutorFaults(
                rejects=rng.choice((0.0, 0.0, 0.05)),
                fails_to_start=rng.choice((0.0, 0.0, 0.05)),
                mean_life_s=rng.choice((0.0, 0.0, 30.0)),
            ),
            crash_every_s=often(30.0, 5.0, 0.7),
            partition_every_s=often(30.0, 6.0, 0.6),
            kill_every_s=often(10.0, 1.0, 0.5),
            disk_full_every_s=often(30.0, 5.0, 0.5),
            log_entries=rng.choice((0, 20, 60)),
        )
