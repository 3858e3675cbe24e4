"""Snapshots of the store: taken slice by slice, cut into the log's chunks, put together again.

The store encodes at most 500 objects a slice, so that no turn waits long. Slices are framed by
their length, because Raft's chunks have a size limit of their own and cut anywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from pyswarm.errors import InvalidArgument
from pyswarm.raft import SNAPSHOT_CHUNK_BYTES_MAX
from pyswarm.store import Store

_LENGTH = struct.Struct(">I")


class SnapshotTaker:
    """A snapshot under way: call :meth:`step` until it is done."""

    def __init__(self, store: Store, index: int) -> None:
        self.index = index
        """The entry the snapshot stands for."""
        self._slices = iter(store.snapshot().chunks())
        self._chunks: list[bytes] = []
        self._rest = bytearray()

    def step(self) -> bool:
        """Encode one slice; True once all are done."""
        slice_ = next(self._slices, None)
        if slice_ is None:
            if self._rest:
                self._chunks.append(bytes(self._rest))
            return True
        self._rest += _LENGTH.pack(len(slice_)) + slice_
        while len(self._rest) >= SNAPSHOT_CHUNK_BYTES_MAX:
            self._chunks.append(bytes(self._rest[:SNAPSHOT_CHUNK_BYTES_MAX]))
            del self._rest[:SNAPSHOT_CHUNK_BYTES_MAX]
        return False

    @property
    def chunks(self) -> tuple[bytes, ...]:
        """All chunks, once it is done."""
        return tuple(self._chunks)


def slices(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The store's slices out of the log's chunks; ``InvalidArgument`` if some are missing."""
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


def restore(chunks: Iterable[bytes]) -> Store:
    """The store a snapshot holds."""
    return Store.restore(slices(chunks))
