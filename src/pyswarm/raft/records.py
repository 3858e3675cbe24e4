"""How a member's log, snapshots and small state lie on disk: the format, without any file.

A file is a **header** of 256 bytes and **records** one after the other::

    header  magic, format, sequence, first index, key id, salt, key check, cluster, member ... crc
    record  | length 4 | marker 2 | type 1 | flags 1 | key id 4 | group 4 | header crc 4 | body ...
                                                                     behind the body: sealed tag 16
                                                                                    unsealed crc 4

Behind the last record there are zeros (the file is preallocated) or nothing. A log is a row of such
files, its *segments*; a segment begins with a STATE record that repeats what older segments said
(hard state, snapshot, end of the log), so that those can be dropped.

**Seals.** With a data key, bodies are AES-GCM ciphertexts. Each file has a random salt and by it a
key of its own, and the nonce of a record is its offset in the file. A file is only ever appended
to, and after a restart it is continued in a new one; so no nonce is used twice, and a record that
is moved, repeated or taken from another file does not open. The header of the record is
authenticated with it. Without a data key the CRC-32 of header and body stands in for the tag.

**Torn or damaged.** What waits for the disk is written as one *group* and synced once; the groups
of a file are numbered, and the last record of each is flagged. A crash can tear the group that was
being written, which nobody was promised, and no other: the next group begins after the sync of the
one before. So when a record does not check, the group it belongs to is known from the record before
it, and if a sound record of a later group follows, the bad one had been synced: then it is damage,
not a torn tail. A tail is cut only in the last segment; everywhere else it is damage, too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Protocol
from zlib import crc32

import attrs
import msgpack

from pyswarm.errors import FailedPrecondition
from pyswarm.raft.configuration import decode_configuration, encode_configuration
from pyswarm.raft.entry import Entry, EntryKind, HardState
from pyswarm.raft.snapshot import Snapshot

FORMAT = 1
"""The format written. A file of a higher one is refused by name."""
HEADER_BYTES = 256
RECORD_BODY_BYTES_MAX = 1024 * 1024
"""Entries are gathered in one record up to here (a larger entry has one of its own): what one seal
covers is read and checked as one."""
SEAL_TAG_BYTES = 16
IDENTITY_BYTES_MAX = 64
"""Cluster and member names in the header; a swarm's ids are 25 characters."""
SALT_BYTES = 16
KEY_CHECK_BYTES = 16

_MARKER = 0x7253
_MARKER_BYTES = b"Sr"  # the marker as it lies in the file
_HEADER = struct.Struct("<8sHHQQI16s16s64s64s")
_RECORD = struct.Struct("<IHBBII")  # the CRC-32 of these 16 bytes follows
_CRC = struct.Struct("<I")
_RECORD_BYTES = _RECORD.size + _CRC.size
_NONCE = struct.Struct("<QI")
_LAST_OF_GROUP = 1


class RecordType(IntEnum):
    """What a record says."""

    STATE = 1
    HARD_STATE = 2
    ENTRIES = 3
    SNAPSHOT_MARK = 4
    SNAPSHOT_META = 5
    SNAPSHOT_CHUNK = 6
    SNAPSHOT_END = 7
    BLOBS = 8


class FileKind(bytes):
    """The magic a file begins with."""

    __slots__ = ()


SEGMENT = FileKind(b"PYSWMLOG")
SNAPSHOT = FileKind(b"PYSWMSNP")
JOURNAL = FileKind(b"PYSWMSTA")


class DamagedRecords(FailedPrecondition):
    """What was written and synced cannot be read: the disk, or somebody, changed it."""


class NewerFormat(FailedPrecondition):
    """The file was written by a later version of pyswarm."""


class Seal(Protocol):
    """Authenticated encryption with the key of one file."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """Ciphertext and 16 bytes of tag."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes | None:
        """The data; None if it does not check."""
        ...


@attrs.frozen
class FileHeader:
    """The first 256 bytes of a file."""

    kind: FileKind
    sequence: int
    """Segment and journal: counts up by one. Snapshot: its term."""
    first_index: int
    """Segment: one after the log's last index when it was begun. Snapshot: its index."""
    cluster: bytes
    member: bytes
    key_id: int = 0
    """0: not sealed."""
    salt: bytes = bytes(SALT_BYTES)
    key_check: bytes = attrs.field(default=bytes(KEY_CHECK_BYTES), repr=False)
    """Tells a wrong key from damage."""

    def encode(self) -> bytes:
        """The 256 bytes."""
        assert max(len(self.cluster), len(self.member)) <= IDENTITY_BYTES_MAX
        assert len(self.salt) == SALT_BYTES and len(self.key_check) == KEY_CHECK_BYTES
        fields = _HEADER.pack(
            self.kind,
            FORMAT,
            0,
            self.sequence,
            self.first_index,
            self.key_id,
            self.salt,
            self.key_check,
            self.cluster,
            self.member,
        ).ljust(HEADER_BYTES - _CRC.size, b"\0")
        return fields + _CRC.pack(crc32(fields))

    @property
    def checksum_start(self) -> int:
        """Record headers' CRCs start from here, so that no record of another file looks right."""
        return crc32(self.salt + self.sequence.to_bytes(8, "little"))


def decode_header(data: bytes, kind: FileKind, name: str) -> FileHeader:
    """The header of the file called ``name``. Raises ``DamagedRecords`` and ``NewerFormat``."""
    head = data[: HEADER_BYTES - _CRC.size]
    if data[:8] == kind and len(data) >= 10:
        number = int.from_bytes(data[8:10], "little")
        if number > FORMAT:
            raise NewerFormat(
                f"{name} is in format {number}; this version reads up to {FORMAT}",
                hint="start the version of pyswarm that wrote it, or a later one",
                details={"file": name, "format": number},
            )
    whole = len(data) >= HEADER_BYTES
    if not whole or data[:8] != kind or _CRC.unpack_from(data, len(head))[0] != crc32(head):
        raise damaged(name, 0, "its header does not check")
    fields = _HEADER.unpack_from(data)
    _, number, _, sequence, first_index, key_id, salt, key_check, cluster, member = fields
    if number != FORMAT:
        raise damaged(name, 0, f"it is in format {number}")
    names = (cluster.rstrip(b"\0"), member.rstrip(b"\0"))
    return FileHeader(kind, sequence, first_index, *names, key_id, salt, key_check)


def damaged(name: str, offset: int, what: str) -> DamagedRecords:
    """The error for damage in the file called ``name``."""
    return DamagedRecords(
        f"{name} is damaged at byte {offset}: {what}",
        hint="nothing was changed; restore the directory from a backup, or remove this manager "
        "from the swarm and join it anew",
        details={"file": name, "offset": offset},
    )


class Record(NamedTuple):
    """One record as read."""

    type: int
    body: bytes
    offset: int
    group: int
    last: bool


class Scan(NamedTuple):
    """What a file holds."""

    records: list[Record]
    """Those of whole groups."""
    end: int
    """One after the last of them."""
    torn: str
    """Empty, or what lies there: a torn write."""


class RecordCodec:
    """Writes and reads the records of one file."""

    __slots__ = ("header", "seal", "start", "tail")

    def __init__(self, header: FileHeader, seal: Seal | None) -> None:
        assert (seal is None) == (header.key_id == 0)
        self.header = header
        self.seal = seal
        self.start = header.checksum_start
        self.tail = _CRC.size if seal is None else SEAL_TAG_BYTES

    def encode_group(
        self, records: Sequence[tuple[int, bytes]], offset: int, group: int, *, last: bool = True
    ) -> bytes:
        """(type, body) pairs as bytes to be written at ``offset`` and synced together.

        ``last`` False: more of the group follows in another call.
        """
        assert records and offset >= HEADER_BYTES and group > 0
        parts: list[bytes] = []
        final = len(records) - 1
        for number, (type, body) in enumerate(records):
            flags = _LAST_OF_GROUP if last and number == final else 0
            head = _RECORD.pack(len(body), _MARKER, type, flags, self.header.key_id, group)
            parts.append(head)
            parts.append(_CRC.pack(crc32(head, self.start)))
            if self.seal is None:
                parts.append(body)
                parts.append(_CRC.pack(crc32(body, crc32(head, offset & 0xFFFFFFFF))))
            else:
                parts.append(self.seal.encrypt(_NONCE.pack(offset, 0), body, head))
            offset += _RECORD_BYTES + len(body) + self.tail
        return b"".join(parts)

    def read_head(self, data: bytes, offset: int) -> tuple[int, ...] | None:
        """The fields of the record header at ``offset``, or None if there is none."""
        if offset + _RECORD_BYTES > len(data):
            return None
        fields = _RECORD.unpack_from(data, offset)
        if fields[1] != _MARKER or fields[4] != self.header.key_id:
            return None
        check = crc32(data[offset : offset + _RECORD.size], self.start)
        return fields if _CRC.unpack_from(data, offset + _RECORD.size)[0] == check else None

    def read(self, data: bytes, offset: int) -> Record | None:
        """The sound record at ``offset``, or None."""
        fields = self.read_head(data, offset)
        if fields is None:
            return None
        length, _, type, flags, _, group = fields
        head = data[offset : offset + _RECORD.size]
        begin = offset + _RECORD_BYTES
        end = begin + length
        if end + self.tail > len(data):
            return None
        body: bytes | None
        if self.seal is None:
            body = data[begin:end]
            check = crc32(body, crc32(head, offset & 0xFFFFFFFF))
            if _CRC.unpack_from(data, end)[0] != check:
                return None
        else:
            sealed = data[begin : end + self.tail]
            body = self.seal.decrypt(_NONCE.pack(offset, 0), sealed, head)
            if body is None:
                return None
        return Record(type, body, offset, group, bool(flags & _LAST_OF_GROUP))

    def after(self, record: Record) -> int:
        """The offset behind ``record``."""
        return record.offset + _RECORD_BYTES + len(record.body) + self.tail

    def scan(self, data: bytes, name: str) -> Scan:
        """All records of a file (``data`` is the whole of it, header included).

        Raises ``DamagedRecords`` if a record that had been synced does not check.
        """
        records: list[Record] = []
        offset = end = HEADER_BYTES
        group = whole = 0  # whole: how many records lie before ``end``
        complete = True
        while (record := self.read(data, offset)) is not None:
            expected = group + 1 if complete else group
            if record.group != expected:
                raise damaged(name, offset, f"group {record.group} in place of {expected}")
            records.append(record)
            group, complete = record.group, record.last
            offset = self.after(record)
            if complete:
                end, whole = offset, len(records)
        lost_group = group + 1 if complete else group
        blank = is_blank(data, offset)
        if not blank and self.has_later_group(data, offset, lost_group):
            raise damaged(name, offset, "a record does not check and later ones do")
        del records[whole:]
        return Scan(records, end, "" if blank and complete else "an incomplete group of records")

    def has_later_group(self, data: bytes, offset: int, group: int) -> bool:
        """True if a sound record of a group after ``group`` lies behind ``offset``, or the header
        of one at ``offset`` itself."""
        if (head := self.read_head(data, offset)) is not None and head[5] > group:
            return True
        position = data.find(_MARKER_BYTES, offset + 4)
        while position >= 0:
            record = self.read(data, position - 4)
            if record is not None and record.group > group:
                return True
            position = data.find(_MARKER_BYTES, position + 1)
        return False


def is_blank(data: bytes, offset: int) -> bool:
    """True if only zeros lie at and behind ``offset``."""
    if data[offset : offset + _RECORD_BYTES].strip(b"\0"):
        return False
    return not data[offset:].strip(b"\0")


# -- bodies


class LogState(NamedTuple):
    """The STATE record: what a segment begins with, so that none before it is needed."""

    hard_state: HardState
    snapshot_index: int
    snapshot_term: int
    last_index: int
    last_term: int


class SnapshotMark(NamedTuple):
    """A snapshot was saved. ``keeps_log``: the entries behind it stay; else the log is empty."""

    snapshot_index: int
    snapshot_term: int
    keeps_log: bool


def encode_hard_state(state: HardState) -> tuple[int, bytes]:
    """A HARD_STATE record."""
    return RecordType.HARD_STATE, msgpack.packb((state.term, state.vote, state.epoch))


def encode_entries(entries: Sequence[Entry]) -> list[tuple[int, bytes]]:
    """ENTRIES records, each up to ``RECORD_BODY_BYTES_MAX`` (at least one entry)."""
    size = sum([len(entry.data) for entry in entries])
    if size <= RECORD_BODY_BYTES_MAX:
        return [(RecordType.ENTRIES, msgpack.packb(entries))]
    runs: list[list[Entry]] = [[]]
    room = RECORD_BODY_BYTES_MAX
    for entry in entries:
        room -= len(entry.data)
        if room < 0 and runs[-1]:
            runs.append([])
            room = RECORD_BODY_BYTES_MAX - len(entry.data)
        runs[-1].append(entry)
    return [(RecordType.ENTRIES, msgpack.packb(run)) for run in runs]


def encode_mark(mark: SnapshotMark) -> tuple[int, bytes]:
    """A SNAPSHOT_MARK record."""
    return RecordType.SNAPSHOT_MARK, msgpack.packb(mark)


def encode_state(state: LogState) -> tuple[int, bytes]:
    """A STATE record."""
    hard = (state.hard_state.term, state.hard_state.vote, state.hard_state.epoch)
    return RecordType.STATE, msgpack.packb((hard, *state[1:]))


def decode_log_record(
    record: Record, name: str
) -> LogState | HardState | SnapshotMark | list[Entry]:
    """What a record of a segment says. Raises ``DamagedRecords``."""
    try:
        form: Any = msgpack.unpackb(record.body, use_list=False)
        if record.type == RecordType.ENTRIES:
            kinds = _KINDS
            return [Entry(index, term, kinds[kind], data) for index, term, kind, data in form]
        if record.type == RecordType.HARD_STATE:
            return HardState(*form)
        if record.type == RecordType.SNAPSHOT_MARK:
            return SnapshotMark(*form)
        if record.type == RecordType.STATE:
            return LogState(HardState(*form[0]), *form[1:])
    except (ValueError, TypeError, IndexError, KeyError, msgpack.UnpackException) as error:
        raise damaged(name, record.offset, "a record is malformed") from error
    raise damaged(name, record.offset, f"a record of unknown type {record.type}")


_KINDS = tuple(EntryKind)
assert [int(kind) for kind in _KINDS] == list(range(len(_KINDS)))


def snapshot_records(snapshot: Snapshot) -> Iterator[tuple[int, bytes]]:
    """The records of a snapshot's file, to be written in order: one group."""
    configuration = encode_configuration(snapshot.configuration)
    meta = (snapshot.index, snapshot.term, len(snapshot.chunks), configuration)
    yield RecordType.SNAPSHOT_META, msgpack.packb(meta)
    running = 0
    for chunk in snapshot.chunks:
        running = crc32(chunk, running)
        yield RecordType.SNAPSHOT_CHUNK, chunk
    yield RecordType.SNAPSHOT_END, msgpack.packb((len(snapshot.chunks), running))


def decode_snapshot(records: Iterable[Record], name: str) -> Snapshot:
    """The inverse of :func:`snapshot_records`. Raises ``DamagedRecords``."""
    rows = list(records)
    try:
        first, *middle, last = rows
        index, term, count, configuration = msgpack.unpackb(first.body, use_list=False)
        end = msgpack.unpackb(last.body, use_list=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise damaged(name, HEADER_BYTES, "it is not whole") from error
    chunks = tuple(record.body for record in middle)
    running = 0
    for chunk in chunks:
        running = crc32(chunk, running)
    types = [record.type for record in rows]
    expected = [RecordType.SNAPSHOT_META, *[RecordType.SNAPSHOT_CHUNK] * count]
    if types != [*expected, RecordType.SNAPSHOT_END] or end != (count, running):
        raise damaged(name, HEADER_BYTES, "it is not whole")
    return Snapshot(index, term, decode_configuration(configuration), chunks)
