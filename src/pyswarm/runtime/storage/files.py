"""The few things that storage asks of a file system.

One seam, so that tests can cut a history at each of them and decide what of the un-synced part is
left. ``write(..., sync=True)`` is one system call where Linux offers it (``RWF_DSYNC``): on a
preallocated file that is as good as a write and an ``fdatasync``, and gives the interpreter's lock
away once instead of twice.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Protocol

from pyswarm.errors import InvalidArgument

_DSYNC = getattr(os, "RWF_DSYNC", 0)


class Files(Protocol):
    """A file system. All may raise ``OSError``."""

    def create(self, path: Path) -> int:
        """A new, empty file (mode 0600; an old one of that name is replaced), open for writing."""
        ...

    def open(self, path: Path) -> int:
        """An existing file, open for writing."""
        ...

    def close(self, fd: int) -> None: ...

    def allocate(self, fd: int, size: int) -> None:
        """Reserve ``size`` bytes that read as zeros."""
        ...

    def write(self, fd: int, data: bytes, offset: int, *, sync: bool) -> None:
        """All of ``data`` at ``offset``; with ``sync`` it is on disk on return."""
        ...

    def sync(self, fd: int) -> None:
        """All that was written is on disk on return."""
        ...

    def truncate(self, fd: int, size: int) -> None: ...

    def rename(self, source: Path, target: Path) -> None: ...

    def unlink(self, path: Path) -> None: ...

    def sync_directory(self, path: Path) -> None:
        """Names created, renamed and removed in ``path`` are on disk on return."""
        ...

    def read(self, path: Path) -> bytes: ...

    def list(self, path: Path) -> list[str]:
        """Names in a directory, sorted; none if it does not exist."""
        ...

    def make_directory(self, path: Path) -> None:
        """``path`` and its parents (mode 0700), if they are not there."""
        ...


class SystemFiles:
    """The operating system's."""

    def create(self, path: Path) -> int:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def allocate(self, fd: int, size: int) -> None:
        os.posix_fallocate(fd, 0, size)

    def write(self, fd: int, data: bytes, offset: int, *, sync: bool) -> None:
        view = memoryview(data)
        while view:
            if sync and _DSYNC:
                written = os.pwritev(fd, [view], offset, _DSYNC)
            else:
                written = os.pwrite(fd, view, offset)
            view = view[written:]
            offset += written
        if sync and not _DSYNC:
            self.sync(fd)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def list(self, path: Path) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def checked_path(path: str | os.PathLike[str], what: str) -> Path:
    """A path as somebody gave it. Raises ``InvalidArgument`` for what can be none."""
    try:
        text = os.fspath(path)
    except TypeError:
        raise InvalidArgument(f"{what} is a path, not {type(path).__name__}") from None
    if not isinstance(text, str):
        raise InvalidArgument(f"{what} is a path of text, not of {type(text).__name__}")
    if not text or "\0" in text:
        raise InvalidArgument(f"{what}: a path is not empty, and has no NUL byte")
    return Path(text)


def replace_file(files: Files, path: Path, data: bytes) -> None:
    """``path`` holds ``data``, or what it held before, whatever happens on the way."""
    temporary = path.with_name(path.name + ".tmp")
    fd = files.create(temporary)
    try:
        files.write(fd, data, 0, sync=False)
        files.sync(fd)
    finally:
        files.close(fd)
    files.rename(temporary, path)
    files.sync_directory(path.parent)


def remove_file(files: Files, path: Path) -> None:
    """Unlink, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        files.unlink(path)
