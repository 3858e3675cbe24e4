"""Frames on the control socket: four bytes of length, then a msgpack array.

The first frame each way is a greeting, ``["pyswarm-control", version, …]``. Then the client asks
and the daemon answers, each question with a number of its own::

    client                                        daemon
    [CALL, n, target, verb, self, args, kwargs]   [DONE, n, value, self, about] | [FAIL, n, error]
    [CANCEL, n]
    [OPEN, n, target, verb, self, args, kwargs]   [DONE, n, …]                  | [FAIL, n, error]
    [TAKE, n]                                     [DONE, n, items or None]      | [FAIL, n, error]
    [CLOSE, n]

A stream's items are sent when they are asked for (``TAKE``): a slow reader holds up itself alone.
A frame that is too large, late or no array ends the connection: there is nothing to talk about.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, Protocol

import msgpack
import trio

MAGIC = "pyswarm-control"
VERSION = 1

HEAD = struct.Struct(">I")

QUESTION_BYTES_MAX = 4 * 1024 * 1024
"""What a daemon reads at once: a spec or a secret is far smaller."""

ANSWER_BYTES_MAX = 1024 * 1024 * 1024
"""What a client reads at once: the list of a few million tasks."""

FRAME_S = 30.0
"""How long a frame may take, once it has begun, and an answer to be taken."""

GREETING_S = 10.0
"""How long the other end may take to greet."""

CHUNK_BYTES = 64 * 1024


class Op(IntEnum):
    """What a frame is."""

    CALL = 1
    CANCEL = 2
    OPEN = 3
    TAKE = 4
    CLOSE = 5
    DONE = 6
    FAIL = 7


class BadFrame(Exception):
    """The other end sent what is no frame of this version."""


class ByteStream(Protocol):
    """What frames go over."""

    async def receive_some(self, max_bytes: int, /) -> bytes | bytearray: ...

    async def send_all(self, data: bytes, /) -> None: ...

    async def aclose(self) -> None: ...


class Frames:
    """Frames over a stream. One reader, one writer at a time."""

    def __init__(self, stream: ByteStream, *, bytes_max: int) -> None:
        self._stream = stream
        self._bytes_max = bytes_max
        self.size = 0
        """Of the frame that was read last, in bytes."""
        self._buffer = bytearray()

    async def read(self) -> list[Any] | None:
        """The next frame; None at the end. Raises ``BadFrame``, ``trio.BrokenResourceError``."""
        if not self._buffer and not await self._more():
            return None
        with trio.move_on_after(FRAME_S):
            head = await self._take(HEAD.size)
            (size,) = HEAD.unpack(head)
            self.size = size
            if size > self._bytes_max:
                raise BadFrame(f"a frame of {size} bytes; at most {self._bytes_max} are read")
            return _unpacked(await self._take(size))
        raise BadFrame(f"a frame took more than {FRAME_S:g} s")

    async def write(self, frame: list[Any]) -> None:
        """Send; raises ``trio.BrokenResourceError``, also when nobody takes it in time."""
        data = msgpack.packb(frame)
        with trio.move_on_after(FRAME_S) as waiting:
            await self._stream.send_all(HEAD.pack(len(data)) + data)
        if waiting.cancelled_caught:
            raise trio.BrokenResourceError(f"nobody took a frame within {FRAME_S:g} s")

    async def aclose(self) -> None:
        """Hang up."""
        with trio.CancelScope() as scope:
            scope.cancel()  # at once, whatever is under way
            await self._stream.aclose()

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not await self._more():
                raise BadFrame("the connection ended within a frame")
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _more(self) -> bool:
        data = await self._stream.receive_some(CHUNK_BYTES)
        self._buffer += data
        return bool(data)


def _unpacked(data: bytes) -> list[Any]:
    try:
        frame = msgpack.unpackb(data, strict_map_key=False)
    except Exception as problem:
        raise BadFrame(f"no msgpack: {type(problem).__name__}") from None
    if not isinstance(frame, list) or not frame:
        raise BadFrame("a frame is an array")
    return frame
