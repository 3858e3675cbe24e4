"""A file system that dies at a chosen operation, and what a disk may show afterwards.

Every operation is done on a real directory, and beside it is kept what is *durable*: the contents
of a file as of its last sync, and the names of a directory as of the directory's. After the cut
nothing works any more, and :meth:`CrashFiles.survive` lays down a directory as a machine that lost
power may find it: the un-synced part dropped, kept, or torn in the middle.
"""

from __future__ import annotations

import os
from pathlib import Path

from pyswarm.runtime.storage.files import SystemFiles


class QuietFiles(SystemFiles):
    """Real files that are not synced: for lives at whose end nobody pulls the plug."""

    def write(self, fd: int, data: bytes, offset: int, *, sync: bool) -> None:
        super().write(fd, data, offset, sync=False)

    def sync(self, fd: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


class PowerLost(BaseException):
    """The machine is gone. Not an ``Exception``: nobody handles it."""


class CrashFiles(SystemFiles):
    """``cut``: the number of the operation (from 0) that does not happen any more."""

    def __init__(self, cut: int = -1) -> None:
        self.cut = cut
        self.count = 0
        self.log: list[str] = []
        self.path_by_fd: dict[int, int] = {}  # fd → inode
        self.live: dict[int, bytearray] = {}  # inode → contents, as seen by the process
        self.durable: dict[int, bytes] = {}  # inode → contents, as synced
        self.names: dict[Path, int] = {}  # as seen by the process
        self.durable_names: dict[Path, int] = {}
        self.next_inode = 1

    def step(self, what: str) -> None:
        if self.cut >= 0 and self.count >= self.cut:
            raise PowerLost(what)
        self.count += 1
        self.log.append(what)

    def create(self, path: Path) -> int:
        self.step(f"create {path.name}")
        fd = super().create(path)
        inode, self.next_inode = self.next_inode, self.next_inode + 1
        self.path_by_fd[fd] = inode
        self.names[path] = inode
        self.live[inode] = bytearray()
        self.durable[inode] = b""
        return fd

    def open(self, path: Path) -> int:
        self.step(f"open {path.name}")
        fd = super().open(path)
        self.path_by_fd[fd] = self.names[path]
        return fd

    def close(self, fd: int) -> None:
        self.path_by_fd.pop(fd)
        super().close(fd)

    def allocate(self, fd: int, size: int) -> None:
        self.step("allocate")
        super().allocate(fd, size)
        live = self.live[self.path_by_fd[fd]]
        live.extend(bytes(max(0, size - len(live))))

    def write(self, fd: int, data: bytes, offset: int, *, sync: bool) -> None:
        self.step("write")
        super().write(fd, data, offset, sync=False)
        live = self.live[self.path_by_fd[fd]]
        live.extend(bytes(max(0, offset - len(live))))
        live[offset : offset + len(data)] = data
        if sync:
            self.sync(fd)

    def sync(self, fd: int) -> None:
        self.step("sync")
        inode = self.path_by_fd[fd]
        self.durable[inode] = bytes(self.live[inode])

    def truncate(self, fd: int, size: int) -> None:
        self.step("truncate")
        super().truncate(fd, size)
        live = self.live[self.path_by_fd[fd]]
        del live[size:]
        live.extend(bytes(size - len(live)))

    def rename(self, source: Path, target: Path) -> None:
        self.step(f"rename {target.name}")
        super().rename(source, target)
        self.names[target] = self.names.pop(source)

    def unlink(self, path: Path) -> None:
        if path in self.names:
            self.step(f"unlink {path.name}")
        super().unlink(path)
        del self.names[path]

    def sync_directory(self, path: Path) -> None:
        self.step("sync directory")
        for name in [name for name in self.durable_names if name.parent == path]:
            del self.durable_names[name]
        for name, inode in self.names.items():
            if name.parent == path:
                self.durable_names[name] = inode

    def survive(self, root: Path, target: Path, how: str) -> None:
        """Lay down under ``target`` what is left of ``root``.

        ``how``: "dropped" (nothing that was not synced), "kept" (all of it), "torn" (names as
        synced, contents half-way between what was synced and what was written).
        """
        for fd in self.path_by_fd:
            os.close(fd)
        self.path_by_fd.clear()
        names = self.names if how == "kept" else self.durable_names
        for path, inode in names.items():
            place = target / path.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self.contents(inode, how))

    def contents(self, inode: int, how: str) -> bytes:
        live, durable = bytes(self.live[inode]), self.durable[inode]
        if how == "dropped":
            return durable
        if how == "kept":
            return live
        length = max(len(live), len(durable))
        pair = zip(live.ljust(length, b"\0"), durable.ljust(length, b"\0"), strict=True)
        changed = [place for place, (new, old) in enumerate(pair) if new != old]
        if not changed:
            return live
        middle = changed[len(changed) // 2]  # the first half of what changed got there
        return live[:middle].ljust(middle, b"\0") + durable[middle:]
