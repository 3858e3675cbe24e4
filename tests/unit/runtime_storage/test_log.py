"""The log on real files: what was written comes back, whatever came between."""

from __future__ import annotations

import pytest
from storage_helpers import IDENTITY, Answers, Log, batch, entries, entry, snapshot

from pyswarm.raft import Configuration, Entry, EntryKind, HardState
from pyswarm.raft.configuration import encode_configuration
from pyswarm.runtime.storage import Batch, DiskThread, FileStorage, Recovered


@pytest.fixture(params=[True, False], ids=["sealed", "unsealed"])
def sealed(request) -> bool:
    return request.param


def again(tmp_path, sealed=True, **options) -> Recovered:
    log = Log(tmp_path, sealed=sealed, **options)
    log.close()
    return log.recovered


def test_nothing_was_written(tmp_path, sealed) -> None:
    before = sorted(tmp_path.rglob("*"))
    log = Log(tmp_path, sealed=sealed)
    assert log.recovered.is_empty
    log.close()
    assert [p.name for p in tmp_path.rglob("*")] == (["keys"] if sealed else [])
    assert before == []


def test_what_was_written_comes_back(tmp_path, sealed) -> None:
    log = Log(tmp_path, sealed=sealed)
    configuration = encode_configuration(Configuration())
    log.put(Batch(HardState(3, 2, 9), (Entry(1, 3, EntryKind.MEMBERSHIP, configuration),)))
    log.put(Batch(entries=(Entry(2, 3, EntryKind.NOOP, b""), entry(3, 3, bytes(range(256))))))
    log.put(Batch(HardState(4, None, 9)))
    log.close()
    found = again(tmp_path, sealed)
    assert found.hard_state == HardState(4, None, 9)
    assert found.entries == (
        Entry(1, 3, EntryKind.MEMBERSHIP, configuration),
        Entry(2, 3, EntryKind.NOOP, b""),
        entry(3, 3, bytes(range(256))),
    )
    assert isinstance(found.entries[0].kind, EntryKind)
    assert found.notes == () and found.snapshot is None


def test_without_a_clean_end(tmp_path, sealed) -> None:
    log = Log(tmp_path, sealed=sealed)
    log.put(batch(*entries(1, 3), term=1))
    assert again(tmp_path, sealed).entries == entries(1, 3)


def test_later_entries_replace_those_from_their_index(tmp_path, sealed) -> None:
    log = Log(tmp_path, sealed=sealed)
    log.put(batch(*entries(1, 10), term=1))
    log.put(batch(*entries(4, 5, 2), term=2), batch(*entries(6, 6, 2)), batch(*entries(5, 5, 3)))
    log.close()
    expected = entries(1, 3) + entries(4, 4, 2) + entries(5, 5, 3)
    assert again(tmp_path, sealed).entries == expected


def test_many_lives_continue_one_log(tmp_path, sealed) -> None:
    for life in range(6):
        log = Log(tmp_path, sealed=sealed)
        assert log.recovered.entries == entries(1, life * 2)
        log.put(batch(*entries(life * 2 + 1, life * 2 + 2), term=life + 1))
        if life % 2:
            log.close()
    assert again(tmp_path, sealed).hard_state.term == 6


def test_segments_roll_and_a_snapshot_drops_them(tmp_path, sealed) -> None:
    log = Log(tmp_path, sealed=sealed, segment_bytes=4096)
    for index in range(1, 101):
        log.put(batch(entry(index, 1, b"x" * 200), term=1 if index == 1 else None))
    segments = list((tmp_path / "raft").glob("*.wal"))
    assert len(segments) >= 5
    log.put(batch(snap=snapshot(90)))
    left = list((tmp_path / "raft").glob("*.wal"))
    assert 1 <= len(left) <= 2
    log.put(batch(entry(101), snap=None))
    log.close()
    found = again(tmp_path, sealed)
    assert found.snapshot == snapshot(90) and found.hard_state == HardState(1)
    assert [e.index for e in found.entries] == list(range(91, 102))


def test_a_received_snapshot_replaces_a_log_that_differs(tmp_path, sealed) -> None:
    log = Log(tmp_path, sealed=sealed)
    log.put(batch(*entries(1, 10, 1), term=1))
    log.put(batch(*entries(21, 22, 5), snap=snapshot(20, 4), term=5))
    log.close()
    found = again(tmp_path, sealed)
    assert found.snapshot == snapshot(20, 4)
    assert found.entries == entries(21, 22, 5) and found.hard_state.term == 5


def test_a_snapshot_of_another_term_at_an_index_in_the_log(tmp_path, sealed) -> None:
    log = Log(tmp_path, sealed=sealed)
    log.put(batch(*entries(1, 10, 1), term=1))
    log.put(batch(snap=snapshot(5, 3), term=3))
    log.close()
    found = again(tmp_path, sealed)
    assert found.snapshot == snapshot(5, 3) and found.entries == ()


def test_own_snapshot_keeps_the_entries_behind_it(tmp_path, sealed) -> None:
    log = Log(tmp_path, sealed=sealed)
    log.put(batch(*entries(1, 5, 1), *entries(6, 10, 2), term=2))
    log.put(batch(snap=snapshot(7, 2)))
    log.close()
    found = again(tmp_path, sealed)
    assert found.snapshot == snapshot(7, 2) and found.entries == entries(8, 10, 2)


def test_the_mark_survives_the_segment_it_was_written_in(tmp_path, sealed) -> None:
    log = Log(tmp_path, sealed=sealed)
    log.put(batch(*entries(1, 5), term=1))
    log.put(batch(snap=snapshot(5)))
    log.close()
    for _ in range(3):  # each life begins a segment; the first can go with the next snapshot
        log = Log(tmp_path, sealed=sealed)
        log.put(batch(term=7))
        log.close()
    log = Log(tmp_path, sealed=sealed)
    assert log.recovered.snapshot == snapshot(5) and log.recovered.hard_state.term == 7
    log.put(batch(entry(6)), batch(snap=snapshot(6)))
    log.close()
    assert len(list((tmp_path / "raft").glob("*.wal"))) == 1
    assert len(list((tmp_path / "raft").glob("*.snap"))) == 1
    assert again(tmp_path, sealed).snapshot == snapshot(6)


def test_large_entries_and_snapshots(tmp_path, sealed) -> None:
    log = Log(tmp_path, sealed=sealed)
    big = [entry(index, 1, bytes([index]) * 700_000) for index in range(1, 6)]
    log.put(batch(*big, term=1))
    chunks = tuple(bytes([number]) * 262_144 for number in range(20))
    log.put(batch(snap=snapshot(3, 1, chunks)))
    log.close()
    found = again(tmp_path, sealed)
    assert found.entries == tuple(big[3:]) and found.snapshot == snapshot(3, 1, chunks)


def test_old_snapshots_are_kept_with_the_log_behind_them(tmp_path, sealed) -> None:
    answers = Answers()
    disk = DiskThread(lambda job: job())
    log = Log(tmp_path, sealed=sealed, segment_bytes=2048)
    log.storage.disk = disk

    def snapshots() -> list[int]:
        return [int(p.name[:16], 16) for p in sorted((tmp_path / "raft").glob("*.snap"))]

    sent = 0
    for last in (5, 10, 15, 20):
        for new in entries(last - 4, last):
            log.storage.submit(batch(entry(new.index, 1, b"x" * 900)), answers)
        log.storage.save_snapshot(snapshot(last), answers, keep_old=2)
        sent += 6
        answers.wait(sent)  # or the batch below would not find it on disk
        log.storage.submit(batch(snap=snapshot(last)), answers)
        sent += 1
    assert answers.wait(sent) == [None] * sent
    disk.close()
    assert snapshots() == [10, 15, 20]
    log.close()
    again = Log(tmp_path, sealed=sealed, segment_bytes=2048)
    assert again.recovered.snapshot == snapshot(20) and not again.recovered.entries
    oldest = again.storage._wal.segments[0].first_index
    assert 5 < oldest <= 11, "the log reaches back to the oldest that is kept"
    again.close()


def test_an_empty_snapshot(tmp_path, sealed) -> None:
    log = Log(tmp_path, sealed=sealed)
    log.put(batch(snap=snapshot(3, 1, ())))
    log.close()
    assert again(tmp_path, sealed).snapshot == snapshot(3, 1, ())


def test_nothing_of_the_contents_in_clear(tmp_path) -> None:
    log = Log(tmp_path)
    log.put(batch(entry(1, 1, b"hunter2" * 9), term=1))
    log.put(batch(snap=snapshot(1, 1, (b"hunter2" * 99,))))
    log.close()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes()
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o600


def test_through_the_thread_groups_form_and_answers_come_in_order(tmp_path) -> None:
    disk = DiskThread(lambda job: job())
    storage = FileStorage(tmp_path / "raft", IDENTITY, None, disk)
    storage.load()
    answers = Answers()
    order: list[int] = []
    for index in range(1, 301):
        storage.submit(batch(entry(index)), lambda error, index=index: order.append(index))
    storage.submit(batch(term=1), answers)
    assert answers.wait(1) == [None]
    assert order == list(range(1, 301))
    assert disk.times.groups < 300 and disk.times.items == 301
    saved = Answers()
    chunks = tuple(bytes([number]) * 262_144 for number in range(30))
    storage.save_snapshot(snapshot(200, 1, chunks), saved)
    storage.submit(batch(entry(301)), answers)
    assert answers.wait(2)[-1] is None
    assert saved.wait(1) == [None]
    storage.submit(batch(snap=snapshot(200, 1, chunks)), answers)
    answers.wait(3)
    disk.close()
    storage.close_blocking()
    again = FileStorage(tmp_path / "raft", IDENTITY, None, DiskThread())
    found = again.load()
    assert found.snapshot == snapshot(200, 1, chunks)
    assert [e.index for e in found.entries] == list(range(201, 302))


def test_a_segment_is_kept_while_one_entry_of_it_is_needed(tmp_path, sealed) -> None:
    """One to two entries a segment; a snapshot at every index in turn."""
    log = Log(tmp_path, sealed=sealed, segment_bytes=1400)
    for index in range(1, 13):
        log.put(batch(entry(index, 1, b"x" * 600), term=1 if index == 1 else None))
    for index in range(1, 13):
        log.put(batch(snap=snapshot(index)))
        log.close()
        log = Log(tmp_path, sealed=sealed, segment_bytes=1400)
        assert log.recovered.snapshot == snapshot(index)
        assert [e.index for e in log.recovered.entries] == list(range(index + 1, 13))
    log.close()
