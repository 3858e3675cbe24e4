"""What a :class:`~pyswarm.runtime.raftnode.RaftNode` counts, for dashboards."""

from __future__ import annotations

from math import inf

import attrs

from pyswarm.raft.status import Status
from pyswarm.runtime.storage.disk import BUCKET_SECONDS, SyncTimes


@attrs.frozen
class Histogram:
    """Durations by size; ``counts[i]`` are those under ``bounds[i]`` seconds and not under the
    bound before. The last bound is infinite."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    seconds: float
    """The sum of all."""

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """The bound under which ``share`` (0 to 1) of them lie; 0.0 if there were none."""
        left = share * self.count
        for bound, count in zip(self.bounds, self.counts, strict=True):
            left -= count
            if left <= 0 and self.count:
                return bound
        return 0.0


@attrs.frozen
class RaftMetrics:
    """One member at one moment. Counts begin with its start."""

    status: Status
    """Term, role, commit, applied, elections, and on a leader each follower's lag."""
    syncs: Histogram | None
    """How long the disk took for each group of writes, its sync included; None without a disk."""
    proposals: int
    """Made here, and applied."""
    snapshots_taken: int
    snapshots_installed: int
    """Received from a leader."""


def histogram_of(times: SyncTimes) -> Histogram:
    """What the disk's thread has measured, as it stands."""
    return Histogram((*BUCKET_SECONDS, inf), tuple(times.buckets), times.seconds)
