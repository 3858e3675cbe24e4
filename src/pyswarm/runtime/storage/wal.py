"""The log on disk: a row of segments and a manifest that names them.

``manifest`` says which segments count (first and last sequence number) and whose log it is. It is
replaced atomically and is the root of everything: a segment counts once the manifest says so, and
is unlinked only after the manifest no longer does. So each crash leaves either the row before or
the row after, plus files that count for nothing and are cleared away.

Nothing is changed while reading. The first write after opening cuts the torn tail (if there is
one) and begins a new segment: no file is ever continued by a later run.

All of this runs on the disk's own thread once the log is open.
"""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgpack

from pyswarm.raft.entry import Entry, HardState
from pyswarm.raft.records import (
    FORMAT,
    HEADER_BYTES,
    SEGMENT,
    FileHeader,
    LogState,
    NewerFormat,
    RecordCodec,
    SnapshotMark,
    damaged,
    decode_header,
    decode_log_record,
    encode_entries,
    encode_hard_state,
    encode_mark,
    encode_state,
)
from pyswarm.runtime.storage.errors import MissingFile, OtherNode, WriteFailed, disk_errors
from pyswarm.runtime.storage.files import Files, remove_file, replace_file
from pyswarm.runtime.storage.keys import KeyRing, codec_of, new_codec
from pyswarm.runtime.storage.protocol import Batch, Identity

SEGMENT_BYTES = 16 * 1024 * 1024
"""Preallocated size. A roll costs about a millisecond, every 50,000 small entries; what a snapshot
frees comes back in pieces of this size."""
MANIFEST = "manifest"
MANIFEST_MAGIC = b"PYSWMMAN"
_NAME = re.compile(r"([0-9a-f]{16})\.wal\Z")


class Segment(NamedTuple):
    """One file of the row."""

    sequence: int
    first_index: int
    key_id: int


class Terms:
    """The term of each index from ``first`` to ``last``, as runs: terms never decrease. The runs
    are replaced and never changed: each commit takes a copy, and few begin a term."""

    __slots__ = ("first", "last", "last_term", "starts", "terms")

    def __init__(self, last: int = 0, term: int = 0) -> None:
        self.reset(last, term)

    def reset(self, last: int, term: int) -> None:
        """Nothing is known but the term at ``last``."""
        self.first = self.last = last
        self.last_term = term
        self.starts: tuple[int, ...] = (last,)
        self.terms: tuple[int, ...] = (term,)

    def copy(self) -> Terms:
        twin = Terms.__new__(Terms)
        twin.first, twin.last, twin.last_term = self.first, self.last, self.last_term
        twin.starts, twin.terms = self.starts, self.terms
        return twin

    def at(self, index: int) -> int | None:
        if not self.first <= index <= self.last:
            return None
        return self.terms[bisect_right(self.starts, index) - 1]

    def cut(self, last: int) -> None:
        """Forget what lies behind ``last``."""
        if last < self.first:
            self.reset(last, 0)
        elif last < self.last:
            keep = bisect_right(self.starts, last)
            self.starts, self.terms = self.starts[:keep], self.terms[:keep]
            self.last, self.last_term = last, self.terms[-1]

    def extend(self, entries: Sequence[Entry]) -> None:
        """``entries`` replace whatever is known from the first one's index."""
        index = entries[0].index
        if index <= self.last:
            self.cut(index - 1)
        if entries[-1].term != self.last_term:
            for entry in entries:
                if entry.term != self.last_term:
                    self.last_term = entry.term
                    self.starts += (entry.index,)
                    self.terms += (entry.term,)
        self.last = entries[-1].index


class WriteAheadLog:
    """The segments in ``directory``. See the module's text; ``read`` comes first, and once."""

    def __init__(
        self,
        directory: Path,
        identity: Identity,
        ring: KeyRing | None,
        files: Files,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.directory = directory
        self.identity = identity
        self.ring = ring
        self.files = files
        self.segment_bytes = segment_bytes
        self.segments: list[Segment] = []
        self.next_sequence = 1
        self.hard_state = HardState()
        self.mark: SnapshotMark | None = None
        self.terms = Terms()
        self.entries: list[Entry] = []
        self.notes: list[str] = []
        self.torn: tuple[str, int] | None = None
        self.leftovers: list[str] = []
        self.has_manifest = False
        self.fd = -1
        self.codec: RecordCodec | None = None
        self.offset = 0
        self.group = 0

    # -- reading

    def read(self) -> None:
        """Fill ``hard_state``, ``mark`` and ``entries``; change nothing.

        Raises ``DamagedRecords``, ``MissingFile``, ``OtherNode``, ``NewerFormat`` and
        ``WrongDataKey``.
        """
        found = {
            int(match[1], 16): name
            for name in self.files.list(self.directory)
            if (match := _NAME.match(name))
        }
        first, last = self.read_manifest(bool(found))
        for sequence in range(first, last + 1):
            name = segment_name(sequence)
            if sequence not in found:
                raise MissingFile(name)
            self.read_segment(name, sequence, is_last=sequence == last)
        self.leftovers = [name for number, name in found.items() if not first <= number <= last]
        self.notes += [f"{name} does not count and is removed" for name in self.leftovers]
        self.next_sequence = last + 1

    def read_manifest(self, has_segments: bool) -> tuple[int, int]:
        """(first, last) segment that counts."""
        try:
            data = self.files.read(self.directory / MANIFEST)
        except FileNotFoundError:
            if has_segments:
                raise MissingFile(MANIFEST) from None
            return 1, 0
        number = int.from_bytes(data[8:10], "little")
        if data[:8] == MANIFEST_MAGIC and number > FORMAT:
            raise NewerFormat(
                f"{MANIFEST} is in format {number}; this version reads up to {FORMAT}"
            )
        if data[:8] != MANIFEST_MAGIC or crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
            raise damaged(MANIFEST, 0, "it does not check")
        cluster, member, first, last = msgpack.unpackb(data[10:-4])
        self.check_identity(MANIFEST, cluster, member)
        self.has_manifest = True
        return first, last

    def check_identity(self, name: str, cluster: str, member: str) -> None:
        """Raises ``OtherNode`` if the file ``name`` is not ours."""
        found = Identity(cluster, member)
        if found != self.identity:
            raise OtherNode(name, str(found), str(self.identity))

    def read_segment(self, name: str, sequence: int, is_last: bool) -> None:
        """Replay one segment."""
        data = self.files.read(self.directory / name)
        header = decode_header(data, SEGMENT, name)
        self.check_identity(name, header.cluster.decode(), header.member.decode())
        if header.sequence != sequence:
            raise damaged(name, 0, f"it is segment {header.sequence}")
        scan = codec_of(self.ring, header, name).scan(data, name)
        if scan.torn and not is_last:
            raise damaged(name, scan.end, scan.torn)
        if scan.torn:
            self.torn = (name, scan.end)
            self.notes.append(f"{name}: {scan.torn} at byte {scan.end} is cut")
        if not scan.records:
            raise damaged(name, HEADER_BYTES, "it does not begin with a state")
        for number, record in enumerate(scan.records):
            said = decode_log_record(record, name)
            if isinstance(said, LogState) != (number == 0):
                raise damaged(name, record.offset, "a state is out of place")
            self.replay(said, name, record.offset)
        self.segments.append(Segment(sequence, header.first_index, header.key_id))

    def replay(
        self, said: LogState | HardState | SnapshotMark | list[Entry], name: str, offset: int
    ) -> None:
        """Take one record in."""
        if isinstance(said, HardState):
            self.hard_state = said
        elif isinstance(said, LogState):
            self.replay_state(said, name, offset)
        elif isinstance(said, SnapshotMark):
            self.mark = said
            if not said.keeps_log:
                self.entries.clear()
                self.terms.reset(said.snapshot_index, said.snapshot_term)
        else:
            first = said[0].index
            if first > self.terms.last + 1:
                raise damaged(name, offset, f"entries from {self.terms.last + 1} are missing")
            self.terms.extend(said)
            if self.entries:
                del self.entries[max(0, first - self.entries[0].index) :]
            self.entries += said

    def replay_state(self, state: LogState, name: str, offset: int) -> None:
        """A segment's beginning: in the first of the row all we know; later on it must agree."""
        self.hard_state = state.hard_state
        if state.snapshot_index:
            self.mark = SnapshotMark(state.snapshot_index, state.snapshot_term, True)
        if not self.segments:
            self.terms.reset(state.last_index, state.last_term)
            return
        # A group whose sync failed may lie whole in the segment before: it does not count.
        if state.last_index > self.terms.last:
            raise damaged(name, offset, f"entries from {self.terms.last + 1} are missing")
        self.terms.cut(state.last_index)
        if self.entries:
            del self.entries[max(0, state.last_index + 1 - self.entries[0].index) :]

    # -- writing

    def write(self, batches: Sequence[Batch]) -> None:
        """Write and sync ``batches`` as one group; their snapshots are saved already.

        Raises ``DiskFull`` and ``WriteFailed``; then nothing of them counts.
        """
        undo = (self.hard_state, self.mark, self.terms)
        self.terms = self.terms.copy()
        try:
            records = self.gather(batches)
            if records:
                with disk_errors("the log"):
                    self.write_group(records, undo)
        except BaseException:
            self.hard_state, self.mark, self.terms = undo
            self.close()
            raise

    def gather(self, batches: Sequence[Batch]) -> list[tuple[int, bytes]]:
        """The records of a group. Hard states collapse into the last one, which goes first; entries
        of neighbouring batches are sealed together."""
        records: list[tuple[int, bytes]] = []
        run: list[Entry] = []
        hard_state: HardState | None = None
        for batch in batches:
            if batch.hard_state is not None:
                hard_state = batch.hard_state
            if batch.snapshot is not None:
                if run:
                    records += encode_entries(run)
                    run = []
                records.append(self.mark_snapshot(batch.snapshot.index, batch.snapshot.term))
            if batch.entries:
                if run and batch.entries[0].index != run[-1].index + 1:
                    records += encode_entries(run)
                    run = []
                self.follow(batch.entries)
                run += batch.entries
        if run:
            records += encode_entries(run)
        if hard_state is not None and hard_state != self.hard_state:
            self.hard_state = hard_state
            records.insert(0, encode_hard_state(hard_state))
        return records

    def follow(self, entries: Sequence[Entry]) -> None:
        """Keep account of ``entries``; a gap means that the driver went on after an error."""
        if entries[0].index > self.terms.last + 1:
            raise WriteFailed(
                f"cannot write the log: it ends at {self.terms.last}, and the next entry is "
                f"{entries[0].index}"
            )
        self.terms.extend(entries)

    def mark_snapshot(self, index: int, term: int) -> tuple[int, bytes]:
        """The record that makes the snapshot count."""
        keeps = self.terms.at(index) == term
        self.mark = SnapshotMark(index, term, keeps)
        if not keeps:
            self.terms.reset(index, term)
        return encode_mark(self.mark)

    def write_group(
        self, records: list[tuple[int, bytes]], before: tuple[HardState, SnapshotMark | None, Terms]
    ) -> None:
        size = sum([len(body) for _, body in records]) + 64 * len(records)
        full = self.offset + size > self.segment_bytes and self.group > 1
        if self.codec is None or full:
            self.begin_segment(*before)
        assert self.codec is not None
        data = self.codec.encode_group(records, self.offset, self.group + 1)
        self.files.write(self.fd, data, self.offset, sync=True)
        self.offset += len(data)
        self.group += 1

    def has_room(self, size: int) -> bool:
        """True if ``size`` bytes go into the current segment: nothing else has to be done first.
        While the disk's thread is idle, for whoever asks."""
        return self.codec is not None and self.offset + size <= self.segment_bytes

    def begin_segment(self, hard_state: HardState, mark: SnapshotMark | None, terms: Terms) -> None:
        """A new file, which counts from the moment the manifest names it."""
        self.prepare_directory()
        sequence = self.next_sequence
        path = self.directory / segment_name(sequence)
        header = FileHeader(
            SEGMENT,
            sequence,
            terms.last + 1,
            self.identity.cluster.encode(),
            self.identity.member.encode(),
        )
        codec = new_codec(self.ring, header)
        snapshot = (mark.snapshot_index, mark.snapshot_term) if mark else (0, 0)
        state = LogState(hard_state, *snapshot, terms.last, terms.last_term)
        group = codec.encode_group([encode_state(state)], HEADER_BYTES, 1)
        fd = self.files.create(path)
        try:
            self.files.allocate(fd, self.segment_bytes)
            self.files.write(fd, codec.header.encode() + group, 0, sync=False)
            self.files.sync(fd)
            self.files.sync_directory(self.directory)
            # If the manifest fails half-way it may name this segment already: so from here on it is
            # part of the row (as one that says nothing), and its number is taken.
            self.segments.append(Segment(sequence, terms.last + 1, codec.header.key_id))
            self.next_sequence = sequence + 1
            self.write_manifest(self.segments[0].sequence, sequence)
        except BaseException:
            self.release(fd, HEADER_BYTES + len(group))
            raise
        self.close()
        self.fd, self.codec = fd, codec
        self.offset, self.group = HEADER_BYTES + len(group), 1

    def prepare_directory(self) -> None:
        """What the first write of a run does before anything else."""
        if self.torn is not None:
            name, end = self.torn
            fd = self.files.open(self.directory / name)
            try:
                self.files.truncate(fd, end)
                self.files.sync(fd)
            finally:
                self.files.close(fd)
            self.torn = None
        if not self.has_manifest:
            self.files.make_directory(self.directory)
            self.write_manifest(1, 0)
            self.has_manifest = True
        for name in self.leftovers:
            remove_file(self.files, self.directory / name)
        self.leftovers = []

    def write_manifest(self, first: int, last: int) -> None:
        row = (self.identity.cluster, self.identity.member, first, last)
        data = MANIFEST_MAGIC + FORMAT.to_bytes(2, "little") + msgpack.packb(row)
        crc = crc32(data).to_bytes(4, "little")
        replace_file(self.files, self.directory / MANIFEST, data + crc)

    def release(self, fd: int, end: int) -> None:
        """Close a segment and give back what was reserved behind its end, as far as possible."""
        with contextlib.suppress(OSError):
            self.files.truncate(fd, end)
        with contextlib.suppress(OSError):
            self.files.close(fd)

    def close(self) -> None:
        """End the current segment. Also after a failed write: its nonces may be used up, and a
        group that was not synced may lie there whole. The next write begins another segment, which
        says where the log really ends."""
        if self.codec is not None:
            self.release(self.fd, self.offset)
            self.codec, self.fd = None, -1

    def roll(self) -> None:
        """Go on in a new segment (under the current data key)."""
        with disk_errors("the log"):
            self.begin_segment(self.hard_state, self.mark, self.terms)

    def drop(self, index: int) -> None:
        """Remove the segments that a snapshot at ``index`` stands for."""
        keep = 0
        while keep + 1 < len(self.segments) and self.segments[keep + 1].first_index <= index + 1:
            keep += 1
        if keep:
            with disk_errors("the log"):
                self.write_manifest(self.segments[keep].sequence, self.segments[-1].sequence)
                gone, self.segments = self.segments[:keep], self.segments[keep:]
                for segment in gone:
                    remove_file(self.files, self.directory / segment_name(segment.sequence))
                self.files.sync_directory(self.directory)


def segment_name(sequence: int) -> str:
    """``0000000000000001.wal`` …"""
    return f"{sequence:016x}.wal"
