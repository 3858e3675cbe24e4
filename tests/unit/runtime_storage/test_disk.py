"""A node's disk in a directory: what it remembers, and the two orders it keeps."""

from __future__ import annotations

import errno
import os
import shutil

import attrs
import pytest
import trio
from storage_helpers import entries, entry, snapshot

from pyswarm.agent import SavedTask
from pyswarm.model import (
    ContainerSpec,
    Identity,
    SecretReference,
    Task,
    TaskSpec,
    TaskState,
    TaskStatus,
)
from pyswarm.model.session import ManagerAddress
from pyswarm.model.states import Role
from pyswarm.node import NodeRecord
from pyswarm.node.record import RECORD
from pyswarm.raft import HardState, Ready
from pyswarm.runtime.disk import Disk, open_disk
from pyswarm.runtime.storage import DiskFull, FileDirectory, MissingFile, OtherNode, ReadFailed
from pyswarm.runtime.storage.directory import hold
from pyswarm.secretstore import UnlockKey

ME = NodeRecord(
    Identity("node1", Role.MANAGER, "swarm1"),
    "host:2377",
    member_id=3,
    epoch=8,
    managers=(ManagerAddress("node2", "other:2377"),),
)


def ready(number: int, *log, term: int = 0, snap=None) -> Ready:
    hard_state = HardState(term, None, 8) if term else None
    return Ready(number, hard_state, tuple(log), snap)


async def persisted(disk: Disk, *readies: Ready) -> list[BaseException | None]:
    answers: list[BaseException | None] = []
    ended = trio.Event()

    def done(error: BaseException | None) -> None:
        answers.append(error)
        if len(answers) == len(readies):
            ended.set()

    for one in readies:
        disk.persist(one, done)
    await ended.wait()
    return answers


def new_disk(path) -> Disk:
    disk, found = open_disk(path)
    assert found.record is None
    disk.belongs_to(ME.identity)
    disk.save(RECORD, ME.to_bytes())
    return disk


async def test_a_new_directory(tmp_path) -> None:
    disk, found = open_disk(tmp_path)
    assert (found.record, found.log, found.tasks, disk.notes) == (None, None, {}, ())
    await disk.aclose()


async def test_a_manager_remembers(tmp_path) -> None:
    disk = new_disk(tmp_path)
    await persisted(disk, ready(1, *entries(1, 4), term=2), ready(2, snap=snapshot(2)))
    await disk.aclose()
    disk, found = open_disk(tmp_path)
    assert found.record == ME and found.log is not None
    assert (found.log.member_id, found.log.hard_state) == (3, HardState(2, None, 8))
    assert found.log.snapshot == snapshot(2) and found.log.entries == entries(3, 4)
    assert await persisted(disk, ready(1, entry(5))) == [None]
    await disk.aclose()


async def test_a_seat_that_was_never_written_to_keeps_its_epoch(tmp_path) -> None:
    disk = new_disk(tmp_path)
    await disk.aclose()
    disk, found = open_disk(tmp_path)
    log = found.log
    assert log is not None and log.hard_state == HardState(0, None, 8)
    await disk.aclose()


async def test_tasks_are_kept_sealed_and_forgotten(tmp_path) -> None:
    spec = TaskSpec(
        container=ContainerSpec(
            "image", secrets=(SecretReference("s", "name"),), env=("A=hunter2",)
        )
    )
    task = Task("t1", "service", spec, slot=3, desired_state=TaskState.RUNNING)
    status = TaskStatus(TaskState.RUNNING, "started", at=5.0, pid=17)
    disk = new_disk(tmp_path)
    disk.save_task("t1", task, status)
    disk.save_task("t2", attrs.evolve(task, id="t2"), status)
    disk.save_task("t2", None, None)
    await disk.directory.state.flush()
    await disk.aclose()
    assert b"hunter2" not in (tmp_path / "state").read_bytes()
    disk, found = open_disk(tmp_path)
    assert found.tasks == {"t1": SavedTask(task, status)}
    await disk.aclose()


async def test_a_seat_given_up(tmp_path) -> None:
    disk = new_disk(tmp_path)
    await persisted(disk, ready(1, *entries(1, 4), term=2))
    disk.drop_log()
    disk.save(RECORD, attrs.evolve(ME, member_id=0).to_bytes())
    disk.save(RECORD, attrs.evolve(ME, member_id=9).to_bytes())  # and taken anew
    assert await persisted(disk, ready(1, entry(1, 7), term=7)) == [None]
    await disk.aclose()
    disk, found = open_disk(tmp_path)
    log = found.log
    assert log is not None and log.member_id == 9 and log.entries == (entry(1, 7),)
    await disk.aclose()


async def test_a_log_left_over_does_not_count(tmp_path) -> None:
    disk = new_disk(tmp_path)
    await persisted(disk, ready(1, *entries(1, 4), term=2))
    disk.save(RECORD, attrs.evolve(ME, member_id=0).to_bytes())  # and the node dies here
    await disk.aclose()
    disk, found = open_disk(tmp_path)
    assert found.log is None
    disk.save(RECORD, attrs.evolve(ME, member_id=9).to_bytes())
    await persisted(disk, ready(1, entry(1, 7), term=7))
    await disk.aclose()
    disk, found = open_disk(tmp_path)
    assert found.log is not None and found.log.entries == (entry(1, 7),)
    await disk.aclose()


async def test_state_that_is_missing(tmp_path) -> None:
    disk = new_disk(tmp_path)
    await persisted(disk, ready(1, *entries(1, 4), term=2))
    await disk.aclose()
    (tmp_path / "state").unlink()
    with pytest.raises(MissingFile, match="state is missing"):
        open_disk(tmp_path)
    FileDirectory.open(tmp_path).close()


async def test_who_cannot_read_a_record_holds_on_to_nothing(tmp_path) -> None:
    disk = new_disk(tmp_path)
    disk.save("task/t1", b"\xc1")  # no MessagePack at all
    await disk.aclose()
    with pytest.raises(ValueError):  # a bug wrote that
        open_disk(tmp_path)
    FileDirectory.open(tmp_path).close()


async def test_a_log_that_is_missing_is_not_taken_for_one_that_was_never_written(tmp_path) -> None:
    disk = new_disk(tmp_path)
    await persisted(disk, ready(1, *entries(1, 4), term=2))
    await disk.aclose()
    shutil.rmtree(tmp_path / "raft")
    before = (tmp_path / "state").read_bytes()
    with pytest.raises(MissingFile, match="raft is missing"):
        open_disk(tmp_path)
    assert (tmp_path / "state").read_bytes() == before and not (tmp_path / "raft").exists()
    FileDirectory.open(tmp_path).close()


@pytest.mark.parametrize("name", ["keys", "state", "raft/manifest", "raft/0000000000000001.wal"])
async def test_what_cannot_be_read_is_said(tmp_path, name) -> None:
    disk = new_disk(tmp_path)
    await persisted(disk, ready(1, *entries(1, 4), term=2))
    await disk.aclose()
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(ReadFailed, match=f"cannot read .*/{name}: Is a directory"):
        open_disk(tmp_path)
    os.close(hold(tmp_path / "lock"))  # nobody holds on to it


async def test_torn_ends_are_noted(tmp_path) -> None:
    disk = new_disk(tmp_path)
    await persisted(disk, ready(1, *entries(1, 4), term=2))
    disk.save("task/t1", b"x" * 100)
    await disk.aclose()
    for name in ("state", "raft/0000000000000001.wal"):
        os.truncate(tmp_path / name, (tmp_path / name).stat().st_size - 7)
    disk, _ = open_disk(tmp_path)
    assert [note.split(":")[0] for note in disk.notes] == ["state", "0000000000000001.wal"]
    await disk.aclose()


async def test_the_log_of_another_node(tmp_path) -> None:
    disk = new_disk(tmp_path)
    await persisted(disk, ready(1, *entries(1, 4), term=2))
    disk.save(
        RECORD, attrs.evolve(ME, identity=Identity("node7", Role.MANAGER, "swarm1")).to_bytes()
    )
    await disk.aclose()
    with pytest.raises(OtherNode, match="node node1 of swarm swarm1"):
        open_disk(tmp_path)
    FileDirectory.open(tmp_path).close()


async def test_nothing_counts_behind_a_ready_that_was_refused(tmp_path, monkeypatch) -> None:
    disk = new_disk(tmp_path)
    await persisted(disk, ready(1, *entries(1, 2), term=2))
    files = disk.directory._files  # type: ignore[attr-defined]

    def full(*args, **kwargs) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", full)
        (error,) = await persisted(disk, ready(2, entry(3)))
        assert isinstance(error, DiskFull)
    (error,) = await persisted(disk, ready(3, term=5))  # there is room again, but 2 comes first
    assert isinstance(error, DiskFull)
    assert await persisted(disk, ready(2, entry(3)), ready(3, term=5)) == [None, None]
    await disk.aclose()
    disk, found = open_disk(tmp_path)
    log = found.log
    assert log is not None and log.entries == entries(1, 3) and log.hard_state.term == 5
    await disk.aclose()


async def test_the_log_waits_for_the_nodes_record(tmp_path, monkeypatch) -> None:
    """A vote that is on disk while the seat it was given from is not would be given again."""
    disk = new_disk(tmp_path)
    await persisted(disk, ready(1, *entries(1, 2), term=2))
    state = disk.directory.state._files  # type: ignore[attr-defined]
    moved = attrs.evolve(ME, member_id=9)

    def full(*args, **kwargs) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(state, "write", full)
        patch.setattr(state, "create", full)
        disk.save(RECORD, moved.to_bytes())
        with pytest.raises(DiskFull):
            await disk.directory.state.flush()
    # There is room for the log from here on, but not for the record.
    write = disk.directory.state._write  # type: ignore[attr-defined]
    disk.directory.state._write = full  # type: ignore[attr-defined]
    errors = await persisted(disk, ready(2, entry(3)), ready(3, term=5))
    assert all(isinstance(error, DiskFull) for error in errors)
    disk.directory.state._write = write  # type: ignore[attr-defined]
    (error,) = await persisted(disk, ready(3, term=5))
    assert isinstance(error, DiskFull), "2 comes first"
    answers = await persisted(disk, ready(2, entry(3)), ready(3, term=5), ready(4, entry(4, 5)))
    assert answers == [None, None, None]
    await disk.aclose()
    disk, found = open_disk(tmp_path)
    assert found.record == moved
    assert found.log is not None and found.log.entries[-1].index == 4
    await disk.aclose()


async def test_a_node_that_left_leaves_open_keys(tmp_path) -> None:
    disk = new_disk(tmp_path)
    await persisted(disk, ready(1, *entries(1, 2), term=2))
    assert await disk.wrap_keys(UnlockKey(b"k" * 32), 50) is True
    assert FileDirectory.is_locked(tmp_path)
    await disk.forget()
    await disk.aclose()
    assert not FileDirectory.is_locked(tmp_path)
    disk, found = open_disk(tmp_path)
    assert found.record is None
    disk.belongs_to(ME.identity)
    assert await disk.wrap_keys(UnlockKey(b"l" * 32), 2) is False, "there is no log yet"
    assert FileDirectory.is_locked(tmp_path), "an older swarm's news does not count"
    await disk.aclose()
