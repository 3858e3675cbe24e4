"""Request records: what was already done, so that a retry never applies twice.

Each is written in the entry of its request and kept for ten minutes of cluster time, at most
65,536 of them. They are created in order of time and never updated, so the oldest come first in
their table and expiring them never looks at the others.
"""

from __future__ import annotations

from pyswarm.machine import Because
from pyswarm.model.objects import RequestRecord
from pyswarm.store.transaction import Transaction

REQUEST_SECONDS = 600.0
"""How long a request id is remembered: longer than any caller retries."""

REQUESTS_MAX = 65_536
"""Records kept at most: some 20 MB."""

EXPIRED_PER_TURN_MAX = 1024
"""Records removed by one call, so that a burst that expires at once does not fill a turn."""

_because = Because("request-expired")


def expire_requests(tx: Transaction, now: float) -> int:
    """Delete the records that are too old or too many; how many were deleted.

    A call deletes at most :data:`EXPIRED_PER_TURN_MAX`, and looks at no record beyond the first
    that stays.
    """
    surplus = tx.count("request") - REQUESTS_MAX
    expired: list[str] = []
    for record in tx.oldest_requests():
        if len(expired) >= EXPIRED_PER_TURN_MAX or not _is_due(record, now, len(expired) < surplus):
            break
        expired.append(record.id)
    for id in expired:
        tx.delete("request", id, _because)
    return len(expired)


def _is_due(record: RequestRecord, now: float, is_surplus: bool) -> bool:
    return is_surplus or now - record.created_at >= REQUEST_SECONDS
