"""The format of what lies on disk, without a disk."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.raft import Configuration, Entry, EntryKind, HardState, Member, Snapshot
from pyswarm.raft.records import (
    HEADER_BYTES,
    RECORD_BODY_BYTES_MAX,
    SEGMENT,
    SNAPSHOT,
    DamagedRecords,
    FileHeader,
    LogState,
    NewerFormat,
    Record,
    RecordCodec,
    RecordType,
    SnapshotMark,
    decode_header,
    decode_log_record,
    decode_snapshot,
    encode_entries,
    encode_hard_state,
    encode_mark,
    encode_state,
    snapshot_records,
)

HEADER = FileHeader(SEGMENT, 7, 41, b"swarm", b"node", salt=b"s" * 16)


class XorSeal:
    """A seal that shows what the codec hands to one: nonce and header are part of the tag."""

    def encrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        return bytes(byte ^ 0xA5 for byte in data) + self.tag(nonce, data, associated)

    def decrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes | None:
        plain = bytes(byte ^ 0xA5 for byte in data[:-16])
        return plain if data[-16:] == self.tag(nonce, plain, associated) else None

    def tag(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        import hashlib

        return hashlib.sha256(nonce + associated + data).digest()[:16]


def codec(sealed: bool = False) -> RecordCodec:
    if sealed:
        header = FileHeader(SEGMENT, 7, 41, b"swarm", b"node", key_id=3, salt=b"s" * 16)
        return RecordCodec(header, XorSeal())
    return RecordCodec(HEADER, None)


def file_of(made: RecordCodec, *groups: list[tuple[int, bytes]]) -> bytes:
    data = made.header.encode()
    for number, group in enumerate(groups, 1):
        data += made.encode_group(group, len(data), number)
    return data


def test_header_and_back() -> None:
    data = HEADER.encode()
    assert len(data) == HEADER_BYTES
    assert decode_header(data, SEGMENT, "f") == HEADER


def test_header_refusals() -> None:
    data = HEADER.encode()
    for place in (0, 12, 20, 60, 100, 150, 255):
        bad = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(DamagedRecords, match="f is damaged at byte 0"):
            decode_header(bad, SEGMENT, "f")
    with pytest.raises(DamagedRecords):
        decode_header(data, SNAPSHOT, "f")
    with pytest.raises(DamagedRecords):
        decode_header(data[:200], SEGMENT, "f")
    with pytest.raises(NewerFormat, match="f is in format 9; this version reads up to 1"):
        decode_header(data[:8] + b"\x09\x00" + data[10:], SEGMENT, "f")


@given(
    groups=st.lists(
        st.lists(st.tuples(st.integers(1, 8), st.binary(max_size=60)), min_size=1, max_size=4),
        max_size=5,
    ),
    sealed=st.booleans(),
    blank=st.integers(0, 100),
)
@settings(max_examples=60)
def test_groups_and_back(groups, sealed, blank) -> None:
    made = codec(sealed)
    data = file_of(made, *groups)
    scan = made.scan(data + bytes(blank), "f")
    written = [pair for group in groups for pair in group]
    assert [(record.type, record.body) for record in scan.records] == written
    assert (scan.end, scan.torn) == (len(data), "")


@given(cut=st.integers(0, 400), sealed=st.booleans(), tail=st.binary(max_size=30))
@settings(max_examples=150)
def test_any_cut_leaves_whole_groups(cut, sealed, tail) -> None:
    made = codec(sealed)
    groups = [[(1, b"a" * 20), (2, b"b")], [(2, b"c" * 30)], [(3, b"d"), (3, b"e" * 9), (3, b"")]]
    ends = [len(file_of(made, *groups[:count])) for count in range(4)]
    data = file_of(made, *groups)
    size = max(HEADER_BYTES, min(len(data), HEADER_BYTES + cut))
    scan = made.scan(data[:size] + tail, "f")
    count = max(count for count in range(4) if ends[count] <= size)
    assert scan.end == ends[count]
    assert [record.body for record in scan.records] == [b for g in groups[:count] for _, b in g]


def test_a_record_of_another_file_is_none_of_ours() -> None:
    ours = codec()
    theirs = RecordCodec(FileHeader(SEGMENT, 8, 41, b"swarm", b"node", salt=b"t" * 16), None)
    data = file_of(ours, [(1, b"x")])
    stray = theirs.encode_group([(1, b"y")], len(data), 2)
    scan = ours.scan(data + stray, "f")
    assert [record.body for record in scan.records] == [b"x"] and scan.torn


def test_a_command_that_looks_like_a_record_is_none() -> None:
    """A user's data may hold anything, a later group's record too: at its place it does not check,
    so a torn tail with it stays a torn tail."""
    made = codec()
    begin = file_of(made, [(1, b"x")])
    fake = made.encode_group([(1, b"y")], HEADER_BYTES, 99)
    torn = made.encode_group([(2, b"...." + fake + b"....")], len(begin), 2)[:-6]
    scan = made.scan(begin + torn, "f")
    assert scan.end == len(begin) and scan.torn


def read_back(pair: tuple[int, bytes]):
    return decode_log_record(Record(*pair, 256, 1, True), "f")


def test_bodies() -> None:
    state = HardState(5, None, 77)
    assert read_back(encode_hard_state(state)) == state
    assert read_back(encode_hard_state(HardState(5, 3))) == HardState(5, 3, 0)
    mark = SnapshotMark(9, 4, True)
    assert read_back(encode_mark(mark)) == mark
    whole = LogState(state, 9, 4, 12, 5)
    assert read_back(encode_state(whole)) == whole
    log = [Entry(1, 1, EntryKind.NOOP, b""), Entry(2, 1, EntryKind.NORMAL, b"\xff" * 9)]
    (pair,) = encode_entries(log)
    assert read_back(pair) == log and isinstance(read_back(pair)[0].kind, EntryKind)
    for type, body in ((2, b"\xc1"), (3, b"\x01"), (3, b"\x91\x94\x01\x01\x09\xa0"), (99, b"\xc0")):
        with pytest.raises(DamagedRecords):
            read_back((type, body))


def test_entries_are_gathered_up_to_a_size() -> None:
    half = RECORD_BODY_BYTES_MAX // 2
    sizes = [half, half, 1, 3 * half, 10, 10]
    log = [Entry(i, 1, EntryKind.NORMAL, bytes(size)) for i, size in enumerate(sizes, 1)]
    runs = [read_back(pair) for pair in encode_entries(log)]
    assert [len(run) for run in runs] == [2, 1, 1, 2]
    assert [entry for run in runs for entry in run] == log


def test_snapshots() -> None:
    members = Configuration((Member(1, context=b"a"), Member(4, False)), 5, 2)
    snapshot = Snapshot(10, 3, members, (b"one", b"two" * 100))
    records = [Record(type, body, 256, 1, False) for type, body in snapshot_records(snapshot)]
    assert decode_snapshot(records, "f") == snapshot
    empty = Snapshot(1, 1, Configuration())
    assert (
        decode_snapshot([Record(*p, 256, 1, False) for p in snapshot_records(empty)], "f") == empty
    )
    swapped = [records[0], records[2], records[1], records[3]]
    changed = [*records[:2], records[2]._replace(body=b"twx" * 100), records[3]]
    for bad in (
        [],
        records[:-1],
        records[1:],
        records[:1],
        swapped,
        changed,
        [*records, records[1]],
    ):
        with pytest.raises(DamagedRecords):
            decode_snapshot(bad, "f")
    assert records[0].type == RecordType.SNAPSHOT_META
