"""A snapshot: the state machine's whole state at one index, in chunks.

It stands for all entries up to ``index`` (dissertation, chapter 5). The state is a tuple of byte
chunks, so that it travels and is written in pieces: no message is ever larger than one chunk, and
heartbeats go between them. There is no limit to the number of chunks.

An application with a large state encodes it slice by slice, so that nothing waits long for it.
:class:`SlicePacker` makes chunks of slices of any size, and :func:`unpack_slices` gives them back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.raft.configuration import Configuration

SNAPSHOT_CHUNK_BYTES_MAX = 256 * 1024
"""A chunk is sent as one message and sealed as one record; at 1 Gbit/s it takes 2 ms, a fraction
of a heartbeat's interval."""

_LENGTH = struct.Struct(">I")


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


class SlicePacker:
    """Slices of an application's state, framed by their length and cut into chunks."""

    __slots__ = ("_chunks", "_rest")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._rest = bytearray()

    def add(self, data: bytes) -> None:
        """One more slice, of less than 4 GiB."""
        rest, size = self._rest, SNAPSHOT_CHUNK_BYTES_MAX
        rest += _LENGTH.pack(len(data))
        rest += data
        while len(rest) >= size:
            self._chunks.append(bytes(rest[:size]))
            del rest[:size]

    def chunks(self) -> tuple[bytes, ...]:
        """All there are; nothing is added afterwards."""
        rest = (bytes(self._rest),) if self._rest else ()
        return (*self._chunks, *rest)


def unpack_slices(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The slices that a :class:`SlicePacker` was given; ``InvalidArgument`` if some are missing."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while len(rest) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(rest)
            end = _LENGTH.size + size
            if len(rest) < end:
                break
            yield bytes(rest[_LENGTH.size : end])
            del rest[:end]
    if rest:
        raise InvalidArgument("snapshot ends in the middle of a slice")
