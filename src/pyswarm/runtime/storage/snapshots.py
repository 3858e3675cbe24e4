"""Snapshots on disk: a file each, named by index and term, that is there whole or not at all.

It is written under a temporary name, synced, and renamed. Which one counts is said by the log (its
last mark); the others are removed when the log no longer needs them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator
from pathlib import Path

from pyswarm.raft.records import (
    HEADER_BYTES,
    SNAPSHOT,
    FileHeader,
    damaged,
    decode_header,
    decode_snapshot,
    snapshot_records,
)
from pyswarm.raft.snapshot import Snapshot
from pyswarm.runtime.storage.errors import MissingFile, OtherNode, disk_errors
from pyswarm.runtime.storage.files import Files, remove_file
from pyswarm.runtime.storage.keys import KeyRing, codec_of, new_codec
from pyswarm.runtime.storage.protocol import Identity

SLICE_BYTES = 512 * 1024
"""A snapshot is written and synced in pieces of this size (2 ms, on a slow disk 10), so that the
log's groups can go between them."""
_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.snap(\.tmp)?\Z")


class SnapshotFiles:
    """The snapshots in ``directory``."""

    def __init__(
        self, directory: Path, identity: Identity, ring: KeyRing | None, files: Files
    ) -> None:
        self.directory = directory
        self.identity = identity
        self.ring = ring
        self.files = files

    def read(self, index: int, term: int) -> tuple[Snapshot, int]:
        """The snapshot, and the id of its data key.

        Raises ``MissingFile``, ``DamagedRecords``, ``OtherNode``, ``NewerFormat`` and
        ``WrongDataKey``.
        """
        name = snapshot_name(index, term)
        try:
            data = self.files.read(self.directory / name)
        except FileNotFoundError:
            raise MissingFile(name) from None
        header = decode_header(data, SNAPSHOT, name)
        found = Identity(header.cluster.decode(), header.member.decode())
        if found != self.identity:
            raise OtherNode(name, str(found), str(self.identity))
        scan = codec_of(self.ring, header, name).scan(data, name)
        if scan.torn:
            raise damaged(name, scan.end, scan.torn)
        snapshot = decode_snapshot(scan.records, name)
        if (snapshot.index, snapshot.term) != (index, term):
            raise damaged(name, HEADER_BYTES, "it is another snapshot")
        return snapshot, header.key_id

    def save(self, snapshot: Snapshot) -> int:
        """Write ``snapshot`` at once; the id of its data key."""
        slices = self.save_in_slices(snapshot)
        while True:
            try:
                next(slices)
            except StopIteration as end:
                return int(end.value)

    def save_in_slices(self, snapshot: Snapshot) -> Generator[None, None, int]:
        """Write ``snapshot``, one slice for each ``next``; returns the id of its data key.

        Raises ``DiskFull`` and ``WriteFailed``, and leaves nothing behind then.
        """
        path = self.directory / snapshot_name(snapshot.index, snapshot.term)
        temporary = path.with_name(path.name + ".tmp")
        with disk_errors("a snapshot"):
            self.files.make_directory(self.directory)
            fd = self.files.create(temporary)
            try:
                key_id = yield from self.write(fd, snapshot)
            except BaseException:
                with contextlib.suppress(OSError):
                    self.files.unlink(temporary)
                raise
            finally:
                self.files.close(fd)
            self.files.rename(temporary, path)
            self.files.sync_directory(self.directory)
        return key_id

    def write(self, fd: int, snapshot: Snapshot) -> Generator[None, None, int]:
        """Header and records, synced slice by slice."""
        header = FileHeader(
            SNAPSHOT,
            snapshot.term,
            snapshot.index,
            self.identity.cluster.encode(),
            self.identity.member.encode(),
        )
        codec = new_codec(self.ring, header)
        offset = HEADER_BYTES
        waiting: list[tuple[int, bytes]] = []
        size = 0
        self.files.write(fd, codec.header.encode(), 0, sync=False)
        for record in snapshot_records(snapshot):
            waiting.append(record)
            size += len(record[1])
            if size >= SLICE_BYTES:
                # One group of many parts: the last record below ends it.
                offset = self.put(fd, codec.encode_group(waiting, offset, 1, last=False), offset)
                waiting, size = [], 0
                yield
        assert waiting, "the end record comes last and is small"
        self.put(fd, codec.encode_group(waiting, offset, 1), offset)
        return codec.header.key_id

    def put(self, fd: int, data: bytes, offset: int) -> int:
        self.files.write(fd, data, offset, sync=False)
        self.files.sync(fd)
        return offset + len(data)

    def exists(self, index: int, term: int) -> bool:
        return snapshot_name(index, term) in self.files.list(self.directory)

    def before(self, index: int) -> list[tuple[int, int]]:
        """(index, term) of the snapshots before ``index``, in order."""
        found = []
        for name in self.files.list(self.directory):
            if _NAME.match(name) and not name.endswith(".tmp"):
                found.append((int(name[:16], 16), int(name[17:33], 16)))
        return [key for key in found if key[0] < index]

    def remove_older(self, index: int, term: int) -> None:
        """Remove the snapshots before this one, and what a crash left of them."""
        keep = snapshot_name(index, term)
        with disk_errors("a snapshot"):
            for name in self.files.list(self.directory):
                if _NAME.match(name) and name[:16] <= keep[:16] and name != keep:
                    remove_file(self.files, self.directory / name)


def snapshot_name(index: int, term: int) -> str:
    """``<index>-<term>.snap``, in hexadecimal."""
    return f"{index:016x}-{term:016x}.snap"
