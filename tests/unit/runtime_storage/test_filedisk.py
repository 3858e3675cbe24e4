"""A node's disk in a directory: what it remembers, and the two orders it keeps."""

from __future__ import annotations

import errno

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
from pyswarm.runtime.filedisk import FileDisk
from pyswarm.runtime.storage import DiskFull, MissingFile, OtherNode

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


async def persisted(disk: FileDisk, *readies: Ready) -> list[BaseException | None]:
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


async def test_a_new_directory(tmp_path) -> None:
    disk = FileDisk.open(tmp_path)
    found = disk.load()
    assert (found.record, found.log, found.tasks, found.notes) == (None, None, {}, ())
    await disk.aclose()


async def test_a_manager_remembers(tmp_path) -> None:
    disk = FileDisk.open(tmp_path)
    disk.load()
    disk.save(RECORD, ME.to_bytes())
    await persisted(disk, ready(1, *entries(1, 4), term=2), ready(2, snap=snapshot(2)))
    await disk.aclose()
    disk = FileDisk.open(tmp_path)
    found = disk.load()
    assert found.record == ME and found.log is not None
    assert (found.log.member_id, found.log.hard_state) == (3, HardState(2, None, 8))
    assert found.log.snapshot == snapshot(2) and found.log.entries == entries(3, 4)
    assert await persisted(disk, ready(1, entry(5))) == [None]
    await disk.aclose()


async def test_a_seat_that_was_never_written_to_keeps_its_epoch(tmp_path) -> None:
    disk = FileDisk.open(tmp_path)
    disk.load()
    disk.save(RECORD, ME.to_bytes())
    await disk.aclose()
    disk = FileDisk.open(tmp_path)
    log = disk.load().log
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
    disk = FileDisk.open(tmp_path)
    disk.load()
    disk.save(RECORD, ME.to_bytes())
    disk.save_task("t1", task, status)
    disk.save_task("t2", attrs.evolve(task, id="t2"), status)
    disk.save_task("t2", None, None)
    await disk.directory.state.flush()
    await disk.aclose()
    assert b"hunter2" not in (tmp_path / "state").read_bytes()
    disk = FileDisk.open(tmp_path)
    assert disk.load().tasks == {"t1": SavedTask(task, status)}
    await disk.aclose()


async def test_a_seat_given_up(tmp_path) -> None:
    disk = FileDisk.open(tmp_path)
    disk.load()
    disk.save(RECORD, ME.to_bytes())
    await persisted(disk, ready(1, *entries(1, 4), term=2))
    disk.drop_log()
    disk.save(RECORD, attrs.evolve(ME, member_id=0).to_bytes())
    disk.save(RECORD, attrs.evolve(ME, member_id=9).to_bytes())  # and taken anew
    assert await persisted(disk, ready(1, entry(1, 7), term=7)) == [None]
    await disk.aclose()
    disk = FileDisk.open(tmp_path)
    log = disk.load().log
    assert log is not None and log.member_id == 9 and log.entries == (entry(1, 7),)
    await disk.aclose()


async def test_a_log_left_over_is_removed(tmp_path) -> None:
    disk = FileDisk.open(tmp_path)
    disk.load()
    disk.save(RECORD, ME.to_bytes())
    await persisted(disk, ready(1, *entries(1, 4), term=2))
    disk.save(RECORD, attrs.evolve(ME, member_id=0).to_bytes())  # and the node dies here
    await disk.aclose()
    disk = FileDisk.open(tmp_path)
    found = disk.load()
    assert found.log is None and len(found.notes) == 1
    await disk.aclose()
    assert not list((tmp_path / "raft").iterdir())


async def test_state_that_is_missing(tmp_path) -> None:
    disk = FileDisk.open(tmp_path)
    disk.load()
    disk.save(RECORD, ME.to_bytes())
    await persisted(disk, ready(1, *entries(1, 4), term=2))
    await disk.aclose()
    (tmp_path / "state").unlink()
    disk = FileDisk.open(tmp_path)
    with pytest.raises(MissingFile, match="state is missing"):
        disk.load()
    await disk.aclose()


async def test_the_log_of_another_node(tmp_path) -> None:
    disk = FileDisk.open(tmp_path)
    disk.load()
    disk.save(RECORD, ME.to_bytes())
    await persisted(disk, ready(1, *entries(1, 4), term=2))
    disk.save(
        RECORD, attrs.evolve(ME, identity=Identity("node7", Role.MANAGER, "swarm1")).to_bytes()
    )
    await disk.aclose()
    disk = FileDisk.open(tmp_path)
    with pytest.raises(OtherNode, match="node node1 of swarm swarm1"):
        disk.load()
    await disk.aclose()


async def test_nothing_counts_behind_a_ready_that_was_refused(tmp_path, monkeypatch) -> None:
    disk = FileDisk.open(tmp_path)
    disk.load()
    disk.save(RECORD, ME.to_bytes())
    await persisted(disk, ready(1, *entries(1, 2), term=2))
    files = disk.directory._files

    def full(*args, **kwargs) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", full)
        (error,) = await persisted(disk, ready(2, entry(3)))
        assert isinstance(error, DiskFull)
    (error,) = await persisted(disk, ready(3, term=5))  # there is room again, but 2 comes first
    assert error is not None and "Ready 2 was not written" in str(error)
    assert await persisted(disk, ready(2, entry(3)), ready(3, term=5)) == [None, None]
    await disk.aclose()
    disk = FileDisk.open(tmp_path)
    log = disk.load().log
    assert log is not None and log.entries == entries(1, 3) and log.hard_state.term == 5
    await disk.aclose()
