"""A secret's or config's payload, from wherever it is: bytes, text, a file, something to read.

No more is read than shows that it is too much, so a file of any size does no harm. What was read is
never shown, nor is anything else that was handed in by mistake.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable
from typing import Any, Protocol

import trio

from pyswarm.errors import InvalidArgument
from pyswarm.secretstore import Kind
from pyswarm.secretstore.rules import DATA_BYTES_LIMIT


class Reader(Protocol):
    """An open file, a pipe, a stream: bytes (or text) until there are none."""

    def read(self, size: int, /) -> bytes | str | Awaitable[bytes | str]:
        """At most ``size`` bytes; nothing at the end."""
        ...


Source = bytes | bytearray | memoryview | str | os.PathLike[str] | Reader
"""Text stands for itself (UTF-8); a file is named by a ``pathlib.Path``."""


async def read_payload(kind: Kind, source: Source) -> bytes:
    """The payload. Raises ``InvalidArgument`` for what is none, and for a file that cannot be read;
    whatever a reader raises comes through."""
    if isinstance(source, str):
        return source.encode()
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, os.PathLike):
        return await trio.to_thread.run_sync(_read_file, kind, os.fspath(source))
    if callable(getattr(source, "read", None)):
        return await _read_all(kind, source)
    raise InvalidArgument(
        f"{kind} data must be bytes, text, a path or something to read, not {type(source).__name__}"
    )


def _read_file(kind: Kind, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(DATA_BYTES_LIMIT)
    except OSError as error:
        raise InvalidArgument(f"{kind} data cannot be read from {path}: {error.strerror}") from None
    except ValueError as error:  # a NUL byte
        raise InvalidArgument(f"{kind} data cannot be read from {path!r}: {error}") from None


async def _read_all(kind: Kind, reader: Any) -> bytes:
    """Read in pieces, in a thread unless the reader is asynchronous."""
    data, limit = b"", DATA_BYTES_LIMIT
    while len(data) < limit:
        piece = await _read_piece(reader, limit - len(data))
        if isinstance(piece, str):
            piece = piece.encode()
        if not isinstance(piece, (bytes, bytearray)):
            raise InvalidArgument(f"{kind} data must be read as bytes or text")
        if not piece:
            break
        data += piece
    return data


async def _read_piece(reader: Any, size: int) -> Any:
    if inspect.iscoroutinefunction(reader.read):
        return await reader.read(size)
    piece = await trio.to_thread.run_sync(reader.read, size)
    return await piece if inspect.isawaitable(piece) else piece
