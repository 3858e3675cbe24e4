"""What can be said about the lines of a log that one wants, checked before anybody is asked."""

from __future__ import annotations

from datetime import UTC, datetime

from pyswarm.errors import InvalidArgument
from pyswarm.model import parse_duration
from pyswarm.runtime.front.logdesk import Wish

Since = float | str | datetime
"""Seconds since the epoch, a date and time (``2026-11-22T21:00Z``), or how long ago (``10m``)."""


def log_wish(
    task_id: str,
    *,
    now: float,
    follow: bool = False,
    tail: int | str | None = None,
    since: Since = 0.0,
    stdout: bool = True,
    stderr: bool = True,
) -> Wish:
    """The wish for a task's lines. Raises ``InvalidArgument``."""
    if not (stdout or stderr):
        raise InvalidArgument("you must choose at least one stream")
    return Wish(task_id, since_time(since, now), follow, tail_lines(tail), stdout, stderr)


def tail_lines(tail: int | str | None) -> int | None:
    """A number of lines; None (or ``"all"``) for all of them."""
    if tail is None or tail == "all":
        return None
    if isinstance(tail, str) and tail.isdecimal():
        tail = int(tail)
    if not isinstance(tail, int) or isinstance(tail, bool) or tail < 0:
        raise InvalidArgument(f'tail must be a number of lines or "all", not {tail!r}')
    return tail


def since_time(since: Since, now: float) -> float:
    """Seconds since the epoch."""
    if isinstance(since, datetime):
        return (since if since.tzinfo is not None else since.astimezone()).timestamp()
    if isinstance(since, str):
        return _since_text(since, now)
    return parse_duration(since)  # a number, and a finite one


def _since_text(text: str, now: float) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now - parse_duration(text)
        except InvalidArgument:
            raise InvalidArgument(
                f'invalid value for "since": {text!r}',
                hint='a date and time ("2026-11-22T21:00:00Z"), or how long ago ("10m")',
            ) from None
    return (when if when.tzinfo is not None else when.astimezone()).timestamp()


def rfc3339(time: float) -> str:
    """A time as Docker writes it before a line."""
    whole, nanoseconds = divmod(round(time * 1e9), 10**9)
    stamp = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{nanoseconds:09d}Z"
