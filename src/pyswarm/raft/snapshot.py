"""A snapshot: the state machine's whole state at one index, in chunks.

It stands for all entries up to ``index`` (dissertation, chapter 5). The state is a tuple of byte
chunks, so that it travels and is written in pieces: no message is ever larger than one chunk, and
heartbeats go between them. There is no limit to the number of chunks.
"""

from __future__ import annotations

import attrs

from pyswarm.raft.configuration import Configuration

SNAPSHOT_CHUNK_BYTES_MAX = 256 * 1024
"""A chunk is sent as one message and sealed as one record; at 1 Gbit/s it takes 2 ms, a fraction
of a heartbeat's interval."""


@attrs.frozen
class Snapshot:
    """State at ``index``; replaces the log up to there."""

    index: int
    """The last entry it covers."""
    term: int
    """That entry's term."""
    configuration: Configuration
    """The latest configuration at ``index``."""
    chunks: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    """The application's state, each chunk at most ``SNAPSHOT_CHUNK_BYTES_MAX`` bytes."""

    @property
    def size(self) -> int:
        """Bytes of state in all chunks."""
        return sum(map(len, self.chunks))


def split_chunks(data: bytes, size: int = SNAPSHOT_CHUNK_BYTES_MAX) -> tuple[bytes, ...]:
    """``data`` cut into chunks of ``size`` bytes: for applications with a snapshot in one piece."""
    assert 0 < size <= SNAPSHOT_CHUNK_BYTES_MAX
    return tuple(data[start : start + size] for start in range(0, len(data), size))
