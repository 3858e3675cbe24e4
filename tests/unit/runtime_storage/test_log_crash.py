"""Power is lost at each write, sync, rename and unlink of a history, in turn. What was acknowledged
is there afterwards, whatever the disk kept of the rest; and the member goes on from there."""

from __future__ import annotations

from pathlib import Path

import pytest
from storage_crash_files import CrashFiles, PowerLost, QuietFiles
from storage_helpers import IDENTITY, Log, batch, entries, entry, snapshot

from pyswarm.env import Rng
from pyswarm.raft import Entry, HardState, Snapshot
from pyswarm.runtime.storage import Batch, DiskThread, FileStorage, KeyRing, Recovered
from pyswarm.runtime.storage.statefile import StateFile
from pyswarm.secretstore import UnlockKey

HOWS = ["dropped", "kept", "torn"]
SEGMENT_BYTES = 2048

HISTORY: list[list[Batch]] = [
    [batch(*entries(1, 3), term=1)],
    [batch(entry(4)), batch(entry(5, 1, b"x" * 700)), batch(entry(6, 1, b"y" * 700))],
    [batch(*entries(5, 7, 2), term=2)],  # replaces a tail
    [batch(entry(8, 2, b"z" * 1500))],
    [batch(entry(9, 2, b"z" * 1500))],
    [batch(snap=snapshot(6, 2))],  # its own
    [batch(*entries(10, 12, 2))],
    [batch(*entries(21, 23, 4), snap=snapshot(20, 3, (b"a" * 900, b"b" * 900)), term=4)],
    [batch(entry(24, 4)), batch(snap=snapshot(23, 4)), batch(term=5)],
    [batch(*entries(25, 26, 5))],
]


class Model:
    """What a log should hold, naively."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.snapshot: Snapshot | None = None
        self.log: dict[int, Entry] = {}

    def apply(self, item: Batch) -> None:
        if item.snapshot is not None:
            held = self.log.get(item.snapshot.index)
            keeps = held is not None and held.term == item.snapshot.term
            self.log = {i: e for i, e in self.log.items() if keeps and i > item.snapshot.index}
            self.snapshot = item.snapshot
        if item.hard_state is not None:
            self.hard_state = item.hard_state
        for new in item.entries:
            self.log = {i: e for i, e in self.log.items() if i < new.index}
            self.log[new.index] = new

    def matches(self, found: Recovered) -> bool:
        mine = (self.hard_state, self.snapshot, tuple(self.log.values()))
        return mine == (found.hard_state, found.snapshot, found.entries)


def model_after(groups: int) -> Model:
    model = Model()
    for group in HISTORY[:groups]:
        for item in group:
            model.apply(item)
    return model


def run(log: Log, first: int = 0) -> int:
    """Write the history; how many groups were acknowledged before the power was lost."""
    done = first
    try:
        for group in HISTORY[first:]:
            log.put(*group)
            done += 1
        log.close()
    except PowerLost:
        pass
    return done


def operations(root: Path) -> int:
    files = CrashFiles()
    assert run(Log(root, files=files, segment_bytes=SEGMENT_BYTES)) == len(HISTORY)
    kinds = {step.split()[0] for step in files.log}
    assert {"create", "write", "sync", "rename", "unlink", "truncate", "allocate"} <= kinds
    return files.count


@pytest.mark.parametrize("how", HOWS)
def test_every_operation_cut_in_turn(tmp_path, how) -> None:
    total = operations(tmp_path / "whole")
    assert total > 80
    for cut in range(total):
        root, after = tmp_path / f"{cut}", tmp_path / f"{cut}-after"
        files = CrashFiles(cut)
        acknowledged = 0
        try:
            acknowledged = run(Log(root, files=files, segment_bytes=SEGMENT_BYTES))
        except PowerLost:
            pass  # while the keys were made
        after.mkdir()
        files.survive(root, after, how)
        if not (after / "keys").exists():
            assert acknowledged == 0
            continue
        check_and_go_on(after, acknowledged, cut)


def check_and_go_on(root: Path, acknowledged: int, cut: int) -> None:
    log = Log(root, files=QuietFiles(), segment_bytes=SEGMENT_BYTES)
    found = log.recovered
    # The group that was under way may be there whole; nothing between, since it was one group.
    groups = next(
        (n for n in (acknowledged, acknowledged + 1) if model_after(n).matches(found)), None
    )
    assert groups is not None, f"cut {cut}: {acknowledged} groups were acknowledged, found {found}"
    assert run(log, groups) == len(HISTORY)
    again = Log(root, segment_bytes=SEGMENT_BYTES)
    assert model_after(len(HISTORY)).matches(again.recovered), cut
    assert not [p.name for p in root.rglob("*.tmp") if p.parent.name == "raft"]
    again.close()


@pytest.mark.parametrize("how", HOWS)
def test_two_crashes_in_a_row(tmp_path, how) -> None:
    """The second while the first is being recovered from."""
    total = operations(tmp_path / "whole")
    for cut in range(20, total, 11):
        root, after = tmp_path / f"{cut}", tmp_path / f"{cut}-after"
        files = CrashFiles(cut)
        first = run(Log(root, files=files, segment_bytes=SEGMENT_BYTES))
        after.mkdir()
        files.survive(root, after, how)
        for second in range(6):
            files, twice = twin(after)
            files.cut = second
            log = Log(after, files=files, segment_bytes=SEGMENT_BYTES)
            start = next(n for n in (first, first + 1) if model_after(n).matches(log.recovered))
            done = run(log, start)
            target = tmp_path / f"{cut}-{second}"
            target.mkdir()
            files.survive(after, target, how)
            check_and_go_on(target, done, cut)
            restore(after, twice)


def twin(root: Path) -> tuple[CrashFiles, dict[Path, bytes]]:
    """A crash file system that knows what lies in ``root`` (all of it durable)."""
    files = CrashFiles()
    contents = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    for path, data in contents.items():
        inode, files.next_inode = files.next_inode, files.next_inode + 1
        files.names[path] = files.durable_names[path] = inode
        files.live[inode], files.durable[inode] = bytearray(data), data
    return files, contents


def restore(root: Path, contents: dict[Path, bytes]) -> None:
    for path in root.rglob("*"):
        if path.is_file() and path not in contents:
            path.unlink()
    for path, data in contents.items():
        path.write_bytes(data)


KEK = UnlockKey(b"k" * 32)


class Locking:
    """A member that goes from open to locked, step by step, as ``FileDirectory.rewrap`` does."""

    def __init__(self, root: Path, files: CrashFiles, ring: KeyRing) -> None:
        disk = DiskThread(lambda job: job())
        self.ring = ring
        self.state = StateFile(root / "state", ring, disk, files=files)
        self.log = FileStorage(
            root / "raft", IDENTITY, ring, disk, files=files, segment_bytes=SEGMENT_BYTES
        )
        self.found = self.log.load()

    def lock(self) -> None:
        assert self.ring.rewrap(KEK, 7)
        self.log.roll()

    def leave_old_keys(self, index: int) -> None:
        """What is left to do when the ring has two keys, in this life or the next."""
        if self.state.key_id != self.ring.current_id:
            self.state.rewrite()
        assert self.log.write([batch(entry(index), snap=None)]) is None
        assert self.log.write([batch(snap=snapshot(index))]) is None
        self.log.tidy()
        self.ring.forget({self.state.key_id} | self.log.data_keys_in_use())

    def close(self) -> None:
        self.state.close_blocking()
        self.log.close_blocking()


@pytest.mark.parametrize("how", HOWS)
def test_locking_and_a_new_data_key_cut_in_turn(tmp_path, how) -> None:
    """Nothing acknowledged is lost, and the next life ends what this one began: the data key that
    lay there in clear is in no file any more."""

    def life(root: Path, files: CrashFiles) -> int:
        stage = 0
        try:
            ring = KeyRing.create(root / "keys", files, entropy=Rng(1).bytes)
            member = Locking(root, files, ring)
            assert member.state.write([{"node": b"me"}]) is None
            assert member.log.write([batch(*entries(1, 5), term=1)]) is None
            stage = 1
            member.lock()
            stage = 2
            member.leave_old_keys(6)
            assert ring.ids == (2,)
            stage = 3
            member.close()
        except PowerLost:
            pass
        return stage

    probe = CrashFiles()
    (tmp_path / "whole").mkdir()
    assert life(tmp_path / "whole", probe) == 3
    in_clear = Rng(1).bytes(32)
    unfinished = 0
    for cut in range(5, probe.count):
        root, after = tmp_path / f"{cut}", tmp_path / f"{cut}-after"
        root.mkdir()
        after.mkdir()
        files = CrashFiles(cut)
        stage = life(root, files)
        files.survive(root, after, how)
        ring = KeyRing.load(after / "keys", QuietFiles(), kek=KEK, entropy=Rng(2).bytes)
        assert ring.locked or stage < 2
        member = Locking(after, QuietFiles(), ring)
        found = member.found
        last = found.entries[-1].index if found.entries else 0
        last = max(last, found.snapshot.index if found.snapshot else 0)
        assert last >= (0, 5, 5, 6)[stage], (cut, stage)
        if not ring.locked:
            continue
        assert member.state.load("node") == b"me"
        unfinished += len(ring.ids) > 1
        member.leave_old_keys(last + 1)
        assert ring.ids == (2,), (cut, ring.ids)
        member.close()
        for path in after.rglob("*"):
            assert path.is_dir() or in_clear not in path.read_bytes(), (cut, path)
        again = KeyRing.load(after / "keys", QuietFiles(), kek=KEK)
        assert Locking(after, QuietFiles(), again).found.snapshot == snapshot(last + 1)
    assert unfinished > 10, "most cuts are between the new key and the end"


@pytest.mark.parametrize("how", HOWS)
def test_small_state_cut_in_turn(tmp_path, how) -> None:
    changes: list[dict[str, bytes | None]] = [
        {"identity": b"me"},
        {"tasks/1": b"a", "tasks/2": b"b"},
        {"tasks/1": b"c"},
        {"tasks/2": None, "tasks/3": b"d" * 500},
        {"identity": b"me again"},
    ]

    def life(root: Path, files: CrashFiles) -> int:
        ring = KeyRing.create(root / "keys", files, entropy=Rng(1).bytes)
        done = 0
        try:
            state = StateFile(root / "state", ring, DiskThread(), files=files)
            for change in changes:
                assert state.write([change]) is None
                done += 1
            state.rewrite()
            state.close_blocking()
        except PowerLost:
            pass
        return done

    def expected(count: int) -> dict[str, bytes]:
        blobs: dict[str, bytes] = {}
        for change in changes[:count]:
            for name, data in change.items():
                blobs.pop(name, None) if data is None else blobs.update({name: data})
        return blobs

    probe = CrashFiles()
    (tmp_path / "whole").mkdir()
    assert life(tmp_path / "whole", probe) == len(changes)
    for cut in range(5, probe.count):
        root, after = tmp_path / f"{cut}", tmp_path / f"{cut}-after"
        root.mkdir()
        after.mkdir()
        files = CrashFiles(cut)
        done = life(root, files)
        files.survive(root, after, how)
        ring = KeyRing.load(after / "keys", CrashFiles())
        state = StateFile(after / "state", ring, DiskThread(), files=QuietFiles())
        found = {name: state.load(name) for name in state.names()}
        assert found in (expected(done), expected(done + 1)), cut
        assert state.write([{"more": b"1"}]) is None
        state.close_blocking()
        assert StateFile(after / "state", ring, DiskThread()).load("more") == b"1"
