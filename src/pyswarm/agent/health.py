"""Is a task healthy? The arithmetic of Docker's health check, without a clock or a process.

A check (*probe*) is made ``interval`` seconds after the start and again ``interval`` after each
answer; as long as the start period lasts and nothing has succeeded, ``start_interval`` takes the
place of ``interval``. Exit code 0 is a success. The task is STARTING until the first success; then
it is HEALTHY. ``retries`` failures in a row make it UNHEALTHY, for good: the task is replaced.
A failure within the start period does not count, unless a probe has succeeded before.

What a spec leaves at zero is Docker's: 30 s interval and timeout, 3 retries, no start period, 5 s
start interval. ``test`` is ``("CMD", argv…)``, ``("CMD-SHELL", text)``, ``("NONE",)``, or empty,
which leaves it to the image.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, runtime_checkable

from pyswarm.model.specs import ContainerSpec, Healthcheck

INTERVAL_SECONDS = 30.0
TIMEOUT_SECONDS = 30.0
RETRIES = 3
START_INTERVAL_SECONDS = 5.0

UNHEALTHY_CODE = 137
"""The exit code of a task that was ended for being unhealthy."""

UNHEALTHY_REASON = "dockerexec: unhealthy container"

CHECK_FORMS = ("CMD", "CMD-SHELL")


class HealthState(StrEnum):
    """What the probes so far say of a task."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@runtime_checkable
class Prober(Protocol):
    """An executor that can look after its tasks' health.

    One that cannot (or whose engine does it itself, inside ``start`` and ``wait``) leaves this out.
    """

    async def probe(self, task_id: str, /) -> int:
        """Run the task's health check once, in the task's own environment; its exit code.

        May be cancelled when it takes too long: what it started must end then.
        """
        ...


def healthcheck_of(container: ContainerSpec) -> Healthcheck | None:
    """The check to be made, or None where there is none."""
    check = container.healthcheck
    if check is None or not check.test or check.test[0] not in CHECK_FORMS:
        return None
    return check


def probe_command(check: Healthcheck) -> tuple[str, ...]:
    """The program of a check and its arguments."""
    form, *words = check.test
    return ("/bin/sh", "-c", *words) if form == "CMD-SHELL" else tuple(words)


class Health:
    """One task's health. Times are monotonic seconds; ``due`` is when the next probe begins."""

    __slots__ = (
        "_check",
        "_interval",
        "_start_interval",
        "_start_until",
        "due",
        "failures",
        "state",
    )

    def __init__(self, check: Healthcheck, now: float, *, healthy: bool = False) -> None:
        self._check = check
        self._interval = check.interval or INTERVAL_SECONDS
        self._start_interval = check.start_interval or START_INTERVAL_SECONDS
        self._start_until = now if healthy else now + check.start_period
        self.state = HealthState.HEALTHY if healthy else HealthState.STARTING
        self.failures = 0
        self.due = now + self._pause(now)

    @property
    def timeout(self) -> float:
        """Seconds after which a probe counts as failed."""
        return self._check.timeout or TIMEOUT_SECONDS

    def probed(self, now: float, code: int) -> HealthState:
        """A probe ended now, with this exit code (anything but 0: it failed, or took too long)."""
        if self.state is not HealthState.UNHEALTHY:
            if code == 0:
                self.state = HealthState.HEALTHY
                self.failures = 0
            elif self.state is HealthState.HEALTHY or now >= self._start_until:
                self.failures += 1
                if self.failures >= (self._check.retries or RETRIES):
                    self.state = HealthState.UNHEALTHY
        self.due = now + self._pause(now)
        return self.state

    def _pause(self, now: float) -> float:
        early = self.state is HealthState.STARTING and now < self._start_until
        return self._start_interval if early else self._interval
