"""Directories that are whole or not there: made beside their name, and given it at the end.

What a process that was killed leaves (``TARGET.xxxxxxxx.part``) goes when the same target is made
the next time. Only what is proved to be left over is removed: in each part lies a file that its
maker has locked (``flock``), and the kernel lets go of a lock when its process ends, however that
is. A directory that looks like a part and has no such file is somebody else's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

from pyswarm.errors import AlreadyExists
from pyswarm.runtime.storage.errors import disk_errors
from pyswarm.runtime.storage.files import SystemFiles

SUFFIX = ".part"
MARK = ".making"
"""The file that the maker of a part has locked. It goes when the part has its name."""


@contextlib.contextmanager
def made(target: Path, what: str) -> Iterator[Path]:
    """A directory beside ``target`` that takes its name at the end, or goes. Raises
    ``AlreadyExists``, ``DiskFull`` and ``WriteFailed``."""
    check_free(target)
    files = SystemFiles()
    with disk_errors(what):
        files.make_directory(target.parent)
        remove_stale(target)
        path, lock = _begun(target)
    try:
        yield path
        with disk_errors(what):
            _rename(path, target)
            (target / MARK).unlink()
            files.sync_directory(target.parent)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def check_free(path: Path) -> None:
    """Nothing is ever written over. Raises ``AlreadyExists``."""
    if os.path.lexists(path):
        raise AlreadyExists(f"{path} exists already")


def remove_stale(target: Path) -> None:
    """Remove the parts of ``target`` whose makers have ended; what cannot be removed stays."""
    is_part = re.compile(re.escape(target.name) + r"\.[^./]+" + re.escape(SUFFIX)).fullmatch
    for name in filter(is_part, os.listdir(target.parent)):
        path = target.parent / name
        with contextlib.suppress(OSError):
            if not stat.S_ISDIR(path.lstat().st_mode):
                continue
            lock = os.open(path / MARK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _begun(target: Path) -> tuple[Path, int]:
    """A part of a name of its own: others may make the same target, or have something there. And
    its lock; one that was taken for stale before it was locked is made again."""
    while True:
        path = Path(mkdtemp(SUFFIX, target.name + ".", target.parent))
        lock = -1
        try:
            lock = os.open(path / MARK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            if _is_held(lock):
                return path, lock
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            if lock >= 0:
                os.close(lock)
            raise
        os.close(lock)


def _is_held(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a filesystem without locks: nobody there can take a part for stale
    return os.fstat(lock).st_nlink > 0


def _rename(path: Path, target: Path) -> None:
    """Unless somebody else was faster."""
    try:
        path.rename(target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            check_free(target)
        raise
