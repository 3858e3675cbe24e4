"""A node's small state: named blobs in one journal, sealed under the node's data key.

Its identity and what its agent must remember of each task. A file a blob would cost a file, two
syncs and a rename each; so all of them are in memory, and changes are appended to the journal
``state``: everything that waits goes into one record and one sync, the last value of a name alone.
When the journal has grown to several times what it holds it is written anew (temporary file, sync,
rename, directory sync). The same happens with the first change after a start: a file is never
continued by a later run (see ``raft/records.py`` on nonces).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import trio

from pyswarm.errors import SwarmError
from pyswarm.raft.records import (
    HEADER_BYTES,
    JOURNAL,
    FileHeader,
    RecordCodec,
    RecordType,
    damaged,
    decode_header,
)
from pyswarm.runtime.storage.disk import DiskThread
from pyswarm.runtime.storage.errors import WriteFailed, disk_errors
from pyswarm.runtime.storage.files import Files, SystemFiles
from pyswarm.runtime.storage.keys import KeyRing, codec_of, new_codec
from pyswarm.runtime.storage.protocol import Done

COMPACT_FACTOR = 4
COMPACT_SLACK_BYTES = 1024 * 1024
"""The journal is written anew beyond this factor times what it holds, plus this much."""
REWRITE_RECORD_BYTES = 1024 * 1024
"""A whole journal is written in records of this size."""


class StateFile:
    """The journal at ``path``: see :class:`~.protocol.BlobStorage`.

    Opening reads it and changes nothing. Raises ``DamagedRecords``, ``NewerFormat`` and
    ``WrongDataKey``.
    """

    def __init__(
        self, path: Path, ring: KeyRing | None, disk: DiskThread, *, files: Files | None = None
    ) -> None:
        self.path = path
        self.ring = ring
        self.disk = disk
        self.notes: list[str] = []
        self._files = files or SystemFiles()
        self._blobs: dict[str, bytes] = {}  # loop's side: the latest, on disk or not
        self._names: list[str] = []
        self._written: dict[str, bytes] = {}  # thread's side: what is on disk
        self._live_bytes = 0
        self._generation = 0
        self._codec: RecordCodec | None = None
        self._fd = -1
        self._offset = 0
        self._group = 0
        self._key_id = 0
        self._is_behind = False  # a write failed: the disk lacks something
        self._read()
        self._blobs = dict(self._written)
        self._names = sorted(self._blobs)

    def _read(self) -> None:
        try:
            data = self._files.read(self.path)
        except FileNotFoundError:
            return
        name = self.path.name
        header = decode_header(data, JOURNAL, name)
        scan = codec_of(self.ring, header, name).scan(data, name)
        if scan.torn:
            self.notes.append(f"{name}: {scan.torn} at byte {scan.end} is cut")
        for record in scan.records:
            if record.type != RecordType.BLOBS:
                raise damaged(name, record.offset, f"a record of unknown type {record.type}")
            for key, blob in msgpack.unpackb(record.body, use_list=False):
                self._account(key, blob)
        self._generation = header.sequence
        self._key_id = header.key_id

    # -- on the loop

    def load(self, name: str) -> bytes | None:
        """See :class:`~.protocol.BlobStorage`."""
        return self._blobs.get(name)

    def names(self, prefix: str = "") -> list[str]:
        """See :class:`~.protocol.BlobStorage`."""
        begin = bisect_left(self._names, prefix)
        end = begin
        while end < len(self._names) and self._names[end].startswith(prefix):
            end += 1
        return self._names[begin:end]

    def save(self, name: str, data: bytes, done: Done | None = None) -> None:
        """See :class:`~.protocol.BlobStorage`."""
        self.update({name: data}, done, in_order="/" not in name)

    def delete(self, name: str, done: Done | None = None) -> None:
        """See :class:`~.protocol.BlobStorage`."""
        self.update({name: None}, done, in_order="/" not in name)

    def update(
        self,
        changes: Mapping[str, bytes | None],
        done: Done | None = None,
        *,
        in_order: bool = False,
    ) -> None:
        """Save and delete (None) several names at once: on disk all of them are there, or none.

        ``in_order``: and before anything that is submitted to the disk's thread afterwards, a log's
        batches included; else they may overtake it, since each writer forms groups of its own.
        """
        for name, data in changes.items():
            if data is None:
                if self._blobs.pop(name, None) is not None:
                    del self._names[bisect_left(self._names, name)]
            else:
                if name not in self._blobs:
                    insort(self._names, name)
                self._blobs[name] = data
        if in_order:
            self.disk.run(partial(self._write_alone, dict(changes)), done)
        else:
            self.disk.submit(self, dict(changes), done)

    def _write_alone(self, changes: dict[str, bytes | None]) -> None:
        error = self.write([changes])
        if error is not None:
            raise error

    async def flush(self) -> None:
        """See :class:`~.protocol.BlobStorage`."""
        answered = trio.Event()
        errors: list[BaseException] = []

        def done(error: BaseException | None) -> None:
            if error is not None:
                errors.append(error)
            answered.set()

        self.disk.submit(self, {}, done)
        await answered.wait()
        if errors:
            raise errors[0]

    def close_blocking(self) -> None:
        """Close the file, once the disk's thread has ended."""
        self._release()

    # -- on the disk's thread

    @property
    def key_id(self) -> int:
        """The data key that the file needs."""
        return self._key_id

    def write(self, items: list[dict[str, Any]]) -> BaseException | None:
        """One group: the last value of each name. After an error the file is written anew with the
        next change, and what failed is written then."""
        changes: dict[str, bytes | None] = {}
        for item in items:
            for name, data in item.items():
                changes.pop(name, None)
                changes[name] = data
        for name, blob in changes.items():
            self._account(name, blob)
        try:
            with disk_errors("the node's state"):
                self._write(changes)
        except Exception as error:
            self._release()
            self._is_behind = True
            if isinstance(error, SwarmError):
                return error
            broken = WriteFailed(f"cannot write the node's state: {error}", outcome="unknown")
            broken.__cause__ = error
            return broken
        self._is_behind = False
        return None

    def _write(self, changes: dict[str, bytes | None]) -> None:
        limit = COMPACT_FACTOR * self._live_bytes + COMPACT_SLACK_BYTES
        if self._codec is None:
            if changes or self._is_behind:
                self._rewrite()
        elif changes and self._offset > limit:
            self._rewrite()
        elif changes:
            body = msgpack.packb(list(changes.items()))
            data = self._codec.encode_group(
                [(RecordType.BLOBS, body)], self._offset, self._group + 1
            )
            self._files.write(self._fd, data, self._offset, sync=True)
            self._offset += len(data)
            self._group += 1

    def rewrite(self) -> None:
        """Write all of it anew, under the current data key."""
        if self._written or self._codec is not None:
            with disk_errors("the node's state"):
                self._rewrite()

    def _rewrite(self) -> None:
        """A new file with all there is, in the place of the old one."""
        files = self._files
        files.make_directory(self.path.parent)
        codec = new_codec(self.ring, FileHeader(JOURNAL, self._generation + 1, 0, b"", b""))
        data = codec.encode_group(self._bodies(), HEADER_BYTES, 1)
        temporary = self.path.with_name(self.path.name + ".tmp")
        fd = files.create(temporary)
        try:
            files.write(fd, codec.header.encode() + data, 0, sync=False)
            files.sync(fd)
            files.rename(temporary, self.path)
            files.sync_directory(self.path.parent)
        except BaseException:
            files.close(fd)
            raise
        self._release()
        self._fd, self._codec = fd, codec
        self._offset, self._group = HEADER_BYTES + len(data), 1
        self._generation += 1
        self._key_id = codec.header.key_id

    def _bodies(self) -> list[tuple[int, bytes]]:
        """All blobs as records; at least one, since a group is never empty."""
        runs: list[list[tuple[str, bytes]]] = [[]]
        size = 0
        for item in self._written.items():
            if size > REWRITE_RECORD_BYTES:
                runs.append([])
                size = 0
            runs[-1].append(item)
            size += len(item[1])
        return [(RecordType.BLOBS, msgpack.packb(run)) for run in runs]

    def _account(self, name: str, blob: bytes | None) -> None:
        before = self._written.pop(name, None)
        if before is not None:
            self._live_bytes -= len(before)
        if blob is not None:
            self._written[name] = blob
            self._live_bytes += len(blob)

    def _release(self) -> None:
        if self._codec is not None:
            fd, self._fd, self._codec = self._fd, -1, None
            self._files.close(fd)
