"""When to ask for the next certificate.

A node renews at a random whole minute between 50 % and 80 % of its certificate's validity, so
that a swarm created at once does not renew at once. When that fails, or the certificate has run out
already, it tries again after exponentially longer, random pauses. All times are in seconds.
"""

from __future__ import annotations

from pyswarm.env import Rng
from pyswarm.errors import InvalidArgument

NODE_EXPIRY_S = 90 * 24 * 3600.0
NODE_EXPIRY_MIN_S = 3600.0
"""Below this a renewal could not keep up with a manager that is away for a moment."""
BACKDATE_S = 3600.0
"""Certificates begin this long before they are made: clocks differ."""
RENEW_FROM, RENEW_UNTIL = 0.5, 0.8
RETRY_BASE_S = 5.0
RETRY_FACTOR_S = 5.0
RETRY_MAX_S = 3600.0
FORCED_RENEWAL_DELAY_S = 0.5
"""A changed role is asked for after this pause, so that the managers know of it."""
FORCED_RETRY_MAX_S = 5.0


def check_expiry(expiry_s: float) -> None:
    """What an operator may ask for as the validity of node certificates.

    Raises:
        InvalidArgument: less than an hour.
    """
    if expiry_s < NODE_EXPIRY_MIN_S:
        raise InvalidArgument("minimum certificate expiry time is: 1h0m0s")


def renewal_time(not_before: float, not_after: float, rng: Rng) -> float:
    """The moment (seconds since the epoch) to renew a certificate of this validity.

    It may lie in the past: then renew now.
    """
    minutes = (not_after - not_before) / 60
    low, high = int(minutes * RENEW_FROM), int(minutes * RENEW_UNTIL)
    chosen = low + rng.below(high - low) if high > low else low
    return not_before + 60.0 * chosen


class Renewal:
    """When one node asks for its next certificate: the plan, and the patience after failures.

    Times are seconds since the epoch. *Forced* is a renewal that does not wait for its time: the
    node's role has changed, or somebody asks for it.
    """

    def __init__(self, rng: Rng) -> None:
        self.failures = 0
        """Since the last certificate."""
        self.at = 0.0
        """When it is time."""
        self._rng = rng
        self._pause_until = 0.0

    def issued(self, not_before: float, not_after: float) -> None:
        """The node has a certificate of this validity."""
        self.at = renewal_time(not_before, not_after, self._rng)
        self.failures = 0
        self._pause_until = 0.0

    def is_due(self, now: float, *, forced: bool) -> bool:
        """Whether to ask now."""
        return now >= self._pause_until and (forced or now >= self.at)

    def failed(self, now: float, *, forced: bool) -> None:
        """Nobody gave one: wait a while. A forced renewal is tried again sooner: a node whose role
        changed is not heard in the new one until it has proved it."""
        self.failures += 1
        longest = FORCED_RETRY_MAX_S if forced else RETRY_MAX_S
        self._pause_until = now + min(retry_delay(self.failures, self._rng), longest)


def retry_delay(failures: int, rng: Rng) -> float:
    """Seconds to wait after so many failures in a row: random up to 10, 15, 25, 45 … 3600."""
    if failures <= 0:
        return 0.0
    longest = RETRY_BASE_S + RETRY_FACTOR_S * 2.0 ** min(failures - 1, 30)
    return rng.uniform(0.0, min(longest, RETRY_MAX_S))
