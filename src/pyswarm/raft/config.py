"""One member's settings, and how the times were chosen.

**Times.** The replica counts ticks; the driver decides how long one is, by default
``TICK_SECONDS`` = 50 ms. A leader sends heartbeats every 3 ticks (150 ms). A follower that hears
nothing for its *election timeout*, drawn anew each time from 12 up to 24 ticks (0.6-1.2 s),
campaigns. So after a crash of one leader of three

- the first of the two survivors notices after 0.6-1.2 s (0.8 s on average),
- two round trips and one fsync later it leads;
- if both notice within that moment their votes split, and the next try comes after 0.3-0.6 s.

That is under 2 s at the 99th percentile. The price of shorter timeouts are needless elections
when a host stalls: a leader that does nothing for 0.6 s (a long garbage collection, a busy loop)
loses its office. Where hosts are slow or far apart, raise ``election_timeout_ticks``: it should be
ten times the round trip and a few times the longest stall (dissertation, 9.2), and at least three
heartbeats, so that one lost heartbeat costs nothing.
"""

from __future__ import annotations

from typing import Any

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.raft.entry import MemberID

TICK_SECONDS = 0.05
"""The length of a tick that the defaults below assume."""
ENTRY_BYTES_MAX = 8 * 1024 * 1024
"""The largest command: an entry is sent in one message and sealed as one record, so it holds up
everything behind it."""


def _positive(config: RaftConfig, field: attrs.Attribute[Any], value: int) -> None:
    if value < 1:
        raise InvalidArgument(f"raft: {field.name} must be at least 1, not {value}")


def _number(default: int) -> Any:
    return attrs.field(default=default, validator=_positive)


@attrs.frozen(kw_only=True)
class RaftConfig:
    """Settings of one :class:`~pyswarm.raft.replica.Replica`; raises ``InvalidArgument``."""

    id: MemberID = attrs.field(validator=_positive)
    """This member's id."""
    election_timeout_ticks: int = _number(12)
    """The least election timeout; each one is drawn from here up to twice as much. The same on all
    members: leases and PreVote rely on it."""
    heartbeat_ticks: int = _number(3)
    """Ticks between a leader's heartbeats."""
    max_append_bytes: int = _number(256 * 1024)
    """Entries are gathered in one append up to this size (and always at least one entry)."""
    max_inflight_appends: int = _number(64)
    """Appends sent to one follower and not answered; together with the size above this bounds what
    a slow follower costs (dissertation, 10.2)."""
    max_uncommitted_bytes: int = _number(16 * 1024 * 1024)
    """Commands proposed and not committed; beyond that ``propose`` raises ``ResourceExhausted``."""
    max_inflight_chunks: int = _number(4)
    """Snapshot chunks sent to one follower and not answered."""
    max_pending_reads: int = _number(65_536)
    """Reads waiting for their index; beyond that ``read_index`` raises ``ResourceExhausted``."""
    pre_vote: bool = True
    """Ask whether an election could be won before raising the term (9.6)."""
    check_quorum: bool = True
    """A leader that has not heard from a majority for an election timeout steps down (6.2)."""
    lease_reads: bool = False
    """Answer reads without a round trip while a majority has answered a heartbeat sent less than
    ``lease_ticks`` ago (6.4.1). Only as right as the ticks are: it needs clocks that advance at the
    same rate within ``1 / 8``, and a driver that never sleeps through ticks."""

    def __attrs_post_init__(self) -> None:
        if self.election_timeout_ticks < 3 * self.heartbeat_ticks:
            raise InvalidArgument(
                f"raft: election_timeout_ticks {self.election_timeout_ticks} is under three times "
                f"heartbeat_ticks {self.heartbeat_ticks}",
                hint="a single lost heartbeat must not start an election",
            )
        if self.lease_reads and not self.check_quorum:
            raise InvalidArgument("raft: lease_reads needs check_quorum")

    @property
    def lease_ticks(self) -> int:
        """How long a leader may trust a majority's answer: an eighth, and one tick of rounding,
        less than the shortest time after which that majority could elect another."""
        return max(0, self.election_timeout_ticks - self.election_timeout_ticks // 8 - 2)


def check_command(data: object) -> bytes:
    """``data``, if it may become an entry's; raises ``InvalidArgument``. Whatever else got into a
    log could not be sent or written, and nothing behind it would ever be committed."""
    if type(data) is not bytes:
        raise InvalidArgument(f"raft: a command is bytes, not {type(data).__name__}")
    if len(data) > ENTRY_BYTES_MAX:
        raise InvalidArgument(f"raft: a proposal of {len(data)} bytes is over {ENTRY_BYTES_MAX}")
    return data
