"""What holds where a spec does not say: Swarm's defaults. Times are seconds."""

from __future__ import annotations

from pyswarm.model.specs import RestartPolicy, UpdateConfig

RESTART_DELAY = 5.0
STOP_GRACE_PERIOD = 10.0
UPDATE_MONITOR = 30.0  # the reference's updater; inspection shows 5 s
ROLLBACK_MONITOR = 5.0
OLD_TASK_TIMEOUT = 60.0  # how long a starting task waits for the one it replaces to stop
TASK_HISTORY = 5  # tasks kept of each slot
DATA_PATH_PORT = 4789
HEARTBEAT_PERIOD = 5.0

RESTART = RestartPolicy(delay=RESTART_DELAY)
UPDATE = UpdateConfig(monitor=UPDATE_MONITOR)
ROLLBACK = UpdateConfig(monitor=ROLLBACK_MONITOR)


def restart_delay(policy: RestartPolicy | None) -> float:
    """Seconds from a task's end to its successor's start."""
    return RESTART_DELAY if policy is None or policy.delay is None else policy.delay


def stop_grace_period(period: float | None) -> float:
    """Seconds from the stop signal to the kill."""
    return STOP_GRACE_PERIOD if period is None else period


def heartbeat_period(period: float) -> float:
    """Seconds between two words of an agent; 0 counts as not said."""
    return period or HEARTBEAT_PERIOD


def monitor(config: UpdateConfig | None, *, rollback: bool = False) -> float:
    """Seconds that an updated task is watched for a failure; 0 counts as not said."""
    if config is not None and config.monitor:
        return config.monitor
    return ROLLBACK_MONITOR if rollback else UPDATE_MONITOR
