"""Messages in fragments, so that a large one never holds up a small one.

A connection carries fragments: eight bytes of header and at most 64 KiB of one message. Each lane
assembles one message at a time; the sender takes the next fragment from the first lane that has
any. So a heartbeat waits for one fragment, however large the snapshot is that is under way.

::

    version  lane  flags  reserved  length (4 bytes, big endian)  content
                   1 = first: its content begins with the length of the whole message (4 bytes)
                   2 = last

A length over the limit is refused when the header is there: nothing is set aside for it. What one
connection can hold is one message a lane.
"""

from __future__ import annotations

import struct
from collections import deque

from pyswarm.errors import InvalidArgument
from pyswarm.runtime.tls.wire import MESSAGE_BYTES_MAX, Lane

FRAME_VERSION = 1
FRAGMENT_BYTES_MAX = 64 * 1024
"""Content of one fragment: some 5 ms on a slow line of 100 Mbit/s."""

QUEUE_BYTES_MAX = MESSAGE_BYTES_MAX + 16 * 1024 * 1024
"""Waiting for one peer; beyond that messages are lost, as in any network."""

PULSE_BYTES_MAX = 1024 * 1024
"""Beyond that limit: heartbeats and votes, which are small, find room where all else is full."""

_HEADER = struct.Struct(">BBBxI")
_TOTAL = struct.Struct(">I")
_FIRST, _LAST = 1, 2
_LANES = len(Lane)


class FrameReader:
    """Bytes in, whole messages out. ``limit``: the largest message that is taken."""

    def __init__(self, limit: int = MESSAGE_BYTES_MAX) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._parts: list[bytearray | None] = [None] * _LANES
        self._totals = [0] * _LANES

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes; raises ``InvalidArgument`` on what is none."""
        self._buffer += data
        messages = []
        while (fragment := self._next_fragment()) is not None:
            message = self._take(*fragment)
            if message is not None:
                messages.append(message)
        return messages

    def _next_fragment(self) -> tuple[int, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < _HEADER.size:
            return None
        version, lane, flags, length = _HEADER.unpack_from(buffer)
        if version != FRAME_VERSION:
            raise InvalidArgument(f"a frame of version {version} is not understood")
        if lane >= _LANES or flags > _FIRST | _LAST or length > FRAGMENT_BYTES_MAX + _TOTAL.size:
            raise InvalidArgument("a frame is malformed")
        end = _HEADER.size + length
        if len(buffer) < end:
            return None
        content = bytes(buffer[_HEADER.size : end])
        del buffer[:end]
        return lane, flags, content

    def _take(self, lane: int, flags: int, content: bytes) -> bytes | None:
        part = self._parts[lane]
        if flags & _FIRST:
            if part is not None or len(content) < _TOTAL.size:
                raise InvalidArgument("a frame begins a message inside another one")
            (total,) = _TOTAL.unpack_from(content)
            if total > self.limit:
                raise InvalidArgument(f"a message of {total} bytes is over {self.limit}")
            part = self._parts[lane] = bytearray()
            self._totals[lane] = total
            content = content[_TOTAL.size :]
        if part is None or (not content and not flags & _LAST):
            raise InvalidArgument("a frame continues a message that never began")
        part += content
        if len(part) > self._totals[lane]:
            raise InvalidArgument("a message is longer than it said")
        if not flags & _LAST:
            return None
        if len(part) != self._totals[lane]:
            raise InvalidArgument("a message is shorter than it said")
        self._parts[lane] = None
        return bytes(part)


class SendQueue:
    """What waits for one connection, by lane."""

    def __init__(self, limit: int = QUEUE_BYTES_MAX) -> None:
        self.waiting_bytes = 0
        self._limit = limit
        self._lanes: list[deque[bytes]] = [deque() for _ in Lane]
        self._sent = [0] * _LANES
        """Of the first message of each lane: how much has left."""

    def __bool__(self) -> bool:
        return any(self._lanes)

    def put(self, lane: Lane, message: bytes) -> bool:
        """Queue a message; False if there is no room."""
        limit = self._limit + (PULSE_BYTES_MAX if lane is Lane.PULSE else 0)
        if self.waiting_bytes and self.waiting_bytes + len(message) > limit:
            return False
        self._lanes[lane].append(message)
        self.waiting_bytes += len(message)
        return True

    def next_fragment(self) -> bytes:
        """The fragment that leaves next; nothing if nothing waits."""
        for lane, messages in enumerate(self._lanes):
            if messages:
                return self._cut(lane, messages)
        return b""

    def _cut(self, lane: int, messages: deque[bytes]) -> bytes:
        message, start = messages[0], self._sent[lane]
        content = message[start : start + FRAGMENT_BYTES_MAX]
        end = start + len(content)
        flags = 0
        if start == 0:
            flags |= _FIRST
            content = _TOTAL.pack(len(message)) + content
        self._sent[lane] = end
        if end == len(message):
            flags |= _LAST
            messages.popleft()
            self._sent[lane] = 0
            self.waiting_bytes -= len(message)
        return _HEADER.pack(FRAME_VERSION, lane, flags, len(content)) + content

    def take_whole(self) -> list[tuple[Lane, bytes]]:
        """Take out every message of which nothing has left."""
        taken = []
        for lane, messages in enumerate(self._lanes):
            begun = messages.popleft() if messages and self._sent[lane] else None
            taken += [(Lane(lane), message) for message in messages]
            messages.clear()
            if begun is not None:
                messages.append(begun)
        self.waiting_bytes = sum(len(one) for lane in self._lanes for one in lane)
        return taken
