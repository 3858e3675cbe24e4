"""What a container uses, in the shape that ``docker stats`` reads.

A percentage needs two samples: the client divides what the container used between them by what the
whole host did. What nothing here counts (traffic, disks, caches) is left out or null, as in Docker
where the kernel does not tell.
"""

from __future__ import annotations

from typing import Any

from pyswarm.api.containerview import NO_CONTAINER
from pyswarm.api.facts import Facts
from pyswarm.api.local import Container, Sample
from pyswarm.api.rendering import ZERO_TIME, nanoseconds, time_text

_BLOCKS = (
    *("io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive"),
    *("io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive"),
    *("io_time_recursive", "sectors_recursive"),
)


def shown_usage(
    one: Container, facts: Facts, before: Sample | None, now: Sample | None
) -> dict[str, Any]:
    """One answer. Without ``now`` the container does not run: all is zero."""
    spec = one.task.spec
    limit = spec.resources.limits.memory_bytes or facts.memory
    pids = spec.resources.limits.pids or (spec.container or NO_CONTAINER).pids_limit
    processes = (
        {} if now is None else {"current": now.processes, **({"limit": pids} if pids else {})}
    )
    memory = {} if now is None else {"usage": now.memory_bytes, "stats": {}, "limit": limit}
    return {
        "read": ZERO_TIME if now is None else time_text(now.at),
        "preread": ZERO_TIME if before is None else time_text(before.at),
        "pids_stats": processes,
        "blkio_stats": dict.fromkeys(_BLOCKS),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now, facts),
        "precpu_stats": _cpu(before, facts),
        "memory_stats": memory,
        "name": "/" + one.task.name,
        "id": one.id,
    }


def _cpu(sample: Sample | None, facts: Facts) -> dict[str, Any]:
    used = 0 if sample is None else nanoseconds(sample.cpu_seconds)
    host = {}
    if sample is not None:
        host = {
            "system_cpu_usage": nanoseconds(sample.host_cpu_seconds),
            "online_cpus": facts.cpus,
        }
    return {
        "cpu_usage": {"total_usage": used, "usage_in_kernelmode": 0, "usage_in_usermode": used},
        **host,
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }
