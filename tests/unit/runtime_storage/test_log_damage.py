"""A torn tail is cut and noted. Everything else stops with its own error, and changes nothing."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from storage_helpers import Log, batch, entries, entry, snapshot

from pyswarm.runtime.storage import (
    DamagedRecords,
    Identity,
    MissingFile,
    NewerFormat,
    OtherNode,
    WrongDataKey,
)


@pytest.fixture(params=[True, False], ids=["sealed", "unsealed"])
def sealed(request) -> bool:
    return request.param


def fingerprint(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def stops(root: Path, error: type[Exception], **options) -> Exception:
    before = fingerprint(root)
    with pytest.raises(error) as caught:
        Log(root, **options)
    assert fingerprint(root) == before
    return caught.value


def three_groups(root: Path, sealed: bool) -> tuple[Path, list[int]]:
    """A log of three groups in one segment; where each group ends."""
    log = Log(root, sealed=sealed)
    ends = []
    for number in range(3):
        first = number * 3 + 1
        log.put(batch(*entries(first, first + 1)), batch(entry(first + 2), term=number + 1))
        ends.append(log.storage._wal.offset)
    log.close()
    return next((root / "raft").glob("*.wal")), ends


def test_every_cut_of_the_last_group_is_a_torn_tail(tmp_path, sealed) -> None:
    path, ends = three_groups(tmp_path, sealed)
    whole = path.read_bytes()
    for size in range(ends[1] + 1, ends[2]):
        path.write_bytes(whole[:size] + bytes(50 if size % 2 else 0))
        before = fingerprint(tmp_path)
        log = Log(tmp_path, sealed=sealed)
        assert log.recovered.entries == entries(1, 6), size
        assert len(log.recovered.notes) == 1 and path.name in log.recovered.notes[0]
        log.close()
        assert fingerprint(tmp_path) == before, "reading changes nothing"


def test_the_log_goes_on_after_a_torn_tail(tmp_path, sealed) -> None:
    path, ends = three_groups(tmp_path, sealed)
    os.truncate(path, ends[2] - 5)
    log = Log(tmp_path, sealed=sealed)
    log.put(batch(*entries(7, 8, 9), term=9))
    log.close()
    assert path.stat().st_size == ends[1]
    log = Log(tmp_path, sealed=sealed)
    assert log.recovered.entries == entries(1, 6) + entries(7, 8, 9)
    assert log.recovered.notes == ()
    log.close()


def test_a_flipped_bit_in_an_earlier_group_is_damage(tmp_path, sealed) -> None:
    path, ends = three_groups(tmp_path, sealed)
    whole = path.read_bytes()
    for place in (*range(300), *range(300, ends[1], 3)):
        flipped = bytearray(whole)
        flipped[place] ^= 0x10
        path.write_bytes(flipped)
        stops(tmp_path, (DamagedRecords, NewerFormat, WrongDataKey), sealed=sealed)


def test_a_flipped_bit_in_the_last_group_never_brings_other_entries(tmp_path, sealed) -> None:
    path, ends = three_groups(tmp_path, sealed)
    whole = path.read_bytes()
    for place in range(ends[1], ends[2]):
        flipped = bytearray(whole)
        flipped[place] ^= 0x01
        path.write_bytes(flipped)
        log = Log(tmp_path, sealed=sealed)
        assert log.recovered.entries == entries(1, 6), place
        log.close()


def test_damage_in_an_earlier_segment(tmp_path, sealed) -> None:
    for life in range(3):
        log = Log(tmp_path, sealed=sealed)
        log.put(batch(entry(life + 1), term=life + 1))
        log.close()
    first = min((tmp_path / "raft").glob("*.wal"))
    whole = first.read_bytes()
    first.write_bytes(whole[:-3])
    error = stops(tmp_path, DamagedRecords, sealed=sealed)
    assert first.name in str(error)
    first.write_bytes(whole + b"rubbish")
    stops(tmp_path, DamagedRecords, sealed=sealed)


def test_records_moved_within_the_file(tmp_path, sealed) -> None:
    path, ends = three_groups(tmp_path, sealed)
    whole = path.read_bytes()
    path.write_bytes(whole[: ends[0]] + whole[ends[1] :])
    stops(tmp_path, DamagedRecords, sealed=sealed)


@pytest.mark.parametrize("which", ["first", "middle", "last", "manifest"])
def test_a_missing_file(tmp_path, sealed, which) -> None:
    for life in range(3):
        log = Log(tmp_path, sealed=sealed)
        log.put(batch(entry(life + 1), term=life + 1))
        log.close()
    segments = sorted((tmp_path / "raft").glob("*.wal"))
    paths = dict(zip(("first", "middle", "last"), segments, strict=True))
    path = paths.get(which, tmp_path / "raft" / "manifest")
    path.unlink()
    error = stops(tmp_path, MissingFile, sealed=sealed)
    assert str(error) == f"{path.name} is missing"


def test_snapshots_missing_and_damaged(tmp_path, sealed) -> None:
    log = Log(tmp_path, sealed=sealed)
    log.put(batch(*entries(1, 5), term=1), batch(snap=snapshot(3, 1, (b"a" * 100, b"b" * 100))))
    log.close()
    path = next((tmp_path / "raft").glob("*.snap"))
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        stops(tmp_path, (DamagedRecords, NewerFormat, WrongDataKey), sealed=sealed)
        path.write_bytes(whole[:place])
        stops(tmp_path, DamagedRecords, sealed=sealed)
    path.unlink()
    stops(tmp_path, MissingFile, sealed=sealed)


def test_another_node_and_another_swarm(tmp_path, sealed) -> None:
    three_groups(tmp_path, sealed)
    for identity in (Identity("swarm1", "node2"), Identity("swarm2", "node1")):
        error = stops(tmp_path, OtherNode, sealed=sealed, identity=identity)
        assert "node node1 of swarm swarm1" in str(error)


def test_a_segment_of_another_node(tmp_path, sealed) -> None:
    three_groups(tmp_path / "a", sealed)
    log = Log(tmp_path / "b", sealed=sealed, identity=Identity("swarm1", "node2"))
    log.put(batch(entry(1), term=1))
    log.close()
    name = "0000000000000001.wal"
    (tmp_path / "a/raft" / name).write_bytes((tmp_path / "b/raft" / name).read_bytes())
    stops(tmp_path / "a", OtherNode, sealed=sealed)


def test_a_newer_format(tmp_path, sealed) -> None:
    path, _ = three_groups(tmp_path, sealed)
    for file in (path, tmp_path / "raft" / "manifest"):
        whole = file.read_bytes()
        file.write_bytes(whole[:8] + b"\x02\x00" + whole[10:])
        error = stops(tmp_path, NewerFormat, sealed=sealed)
        assert "is in format 2; this version reads up to 1" in str(error)
        file.write_bytes(whole)


def test_the_keys_of_another_directory(tmp_path) -> None:
    three_groups(tmp_path / "a", True)
    Log(tmp_path / "b", seed=2).close()
    (tmp_path / "a/keys").write_bytes((tmp_path / "b/keys").read_bytes())
    error = stops(tmp_path / "a", WrongDataKey)
    assert "data key 1" in str(error)


def test_sealed_but_no_ring(tmp_path) -> None:
    three_groups(tmp_path, True)
    stops(tmp_path, WrongDataKey, sealed=False)


def test_a_segment_that_does_not_count_is_cleared_away(tmp_path, sealed) -> None:
    path, _ = three_groups(tmp_path, sealed)
    stray = path.with_name("0000000000000002.wal")
    stray.write_bytes(b"half a header")
    log = Log(tmp_path, sealed=sealed)
    assert log.recovered.entries == entries(1, 9)
    assert stray.exists() and stray.name in log.recovered.notes[0]
    log.put(batch(entry(10)))
    log.close()
    assert Log(tmp_path, sealed=sealed).recovered.entries == entries(1, 10)
