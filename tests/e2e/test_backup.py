"""Backups: hot ones of a running manager, cold ones of a stopped one; what is made of them, and
what is refused."""

from __future__ import annotations

import errno
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from pyswarm import Cluster
from pyswarm.cli.commands import pyswarm as command
from pyswarm.errors import AlreadyExists, FailedPrecondition, InvalidArgument, Unavailable
from pyswarm.model import TaskState
from pyswarm.runtime import MemoryNetwork
from pyswarm.runtime.backup import DamagedBackup, NotABackup, verify
from pyswarm.runtime.daemon.host import HostConfig, open_host
from pyswarm.runtime.executors import ProcessExecutor
from pyswarm.runtime.front.backup import restore
from pyswarm.runtime.front.sources import read_payload
from pyswarm.runtime.parts import MARK
from pyswarm.runtime.storage import (
    DiskFull,
    FileDirectory,
    StorageLocked,
    WriteFailed,
    WrongUnlockKey,
)
from pyswarm.runtime.storage.files import SystemFiles
from pyswarm.secretstore import UnlockKey
from pyswarm.testing import LocalSwarm
from swarms import IMAGES, WAIT_S, executor, one_node, until


async def run(*arguments: object) -> tuple[int, str]:
    """The command line, in a thread: it has a loop of its own."""
    invoke = partial(CliRunner().invoke, command, [str(one) for one in arguments])
    result = await trio.to_thread.run_sync(invoke)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.mark.parametrize("autolock", [False, True], ids=["open", "locked"])
async def test_a_hot_backup_and_the_swarm_made_of_it(tmp_path: Path, autolock: bool) -> None:
    """The whole swarm burns; of one backup comes a swarm whose workers, secrets and tokens are
    those of before."""
    backup_dir, state_dir = tmp_path / "backup", tmp_path / "restored"
    async with LocalSwarm(3, 1, images=IMAGES, state_dir=tmp_path, heartbeat_period=5.0) as swarm:
        leader = await swarm.leader()
        key = ""
        if autolock:
            await leader.update(autolock=True)
            key = await leader.unlock_key()
        await leader.secrets.create("token", b"s3cret")
        web = await leader.services.create(
            "web", image="sleeper", replicas=3, constraints=["node.role==worker"]
        )
        await web.wait_converged(timeout=WAIT_S)
        tokens = [await leader.join_token(role) for role in ("worker", "manager")]
        follower = next(node for node in swarm.managers if node is not leader)
        made = await follower.backup(backup_dir)
        assert made.path == backup_dir and made.locked is autolock
        assert made.node_id == follower.node_id
        assert made.version >= (await web.refresh()).version
        assert verify(backup_dir) == made
        before = {task.id for task in await leader.tasks.list(service="web")}
        await leader.services.create("later", image="sleeper")  # not in the backup
        with pytest.raises(AlreadyExists):
            await follower.backup(backup_dir)
        with pytest.raises(FailedPrecondition, match="This node is not a swarm manager"):
            await swarm.workers[0].backup(tmp_path / "of-a-worker")
        secret = await leader.secrets.get("token")
        payload = await leader._member.read(lambda store: store.secret(secret.id).payload)
        for name, data in tree(backup_dir).items():
            assert b"s3cret" not in data, name
            if key:
                assert UnlockKey.parse(key).key not in data, name

        name = swarm.name_of(follower)
        for node in swarm.managers:
            await swarm.crash(node)
        unlock: tuple[str, ...] = ("--unlock-key", key) if autolock else ()
        code, output = await run("restore", backup_dir, state_dir, *unlock)
        assert code == 0, output
        assert follower.node_id in output
        assert verify(backup_dir) == made, "a backup is only read"
        swarm._states[name] = state_dir
        options = {"unlock_key": key} if autolock else {}
        again = await swarm.restart(name, **options)
        assert again.node_id == follower.node_id and again.is_leader
        assert [await again.join_token(role) for role in ("worker", "manager")] == tokens
        assert [one.name for one in await again.services.list()] == ["web"]
        assert await again._member.open_sealed(payload) == b"s3cret"
        worker = swarm.workers[0]
        await until(lambda: bool(worker._member.node.machine.agent.session_id))
        tasks = await again.tasks.list(service="web")
        assert {task.id for task in tasks} == before, "running tasks are kept"
        assert all(task.state is TaskState.RUNNING for task in tasks)
        managers = [node for node in await again.nodes.list() if node.role.name == "MANAGER"]
        assert [node.id for node in managers] == [again.node_id]
        assert not await again.check()


async def test_without_a_leader_only_what_is_known_here(tmp_path: Path) -> None:
    async with LocalSwarm(3, 0, images=IMAGES) as swarm:
        last = swarm.managers[-1]
        await last.services.create("web", image="sleeper", replicas=0)
        for node in swarm.managers[:2]:
            await swarm.crash(node)
        with pytest.raises(Unavailable):
            await last.backup(tmp_path / "backup")
        assert not (tmp_path / "backup").exists()
        await last.backup(tmp_path / "backup", stale=True)
    await restore(tmp_path / "backup", tmp_path / "restored")
    options = {"network": MemoryNetwork(), "executor": executor()}
    async with Cluster.open(tmp_path / "restored", **options) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        assert [one.name for one in await cluster.services.list()] == ["web"]


@pytest.mark.parametrize("snapshot", [False, True], ids=["log", "snapshot"])
async def test_without_a_quorum_the_key_is_the_disk_s(tmp_path: Path, snapshot: bool) -> None:
    """Started without a quorum, a manager knows an older state of its swarm than its log holds,
    maybe not even the swarm; what opens its disk opens its backup."""
    network = MemoryNetwork()

    def options(name: str) -> dict[str, Any]:
        return {"network": network, "executor": executor(), "state_dir": tmp_path / name}

    async with Cluster.init(autolock=not snapshot, **options("a")) as cluster:
        if snapshot:
            await cluster.update(autolock=True)  # takes one
            manager = cluster._member.node.machine.manager
            assert manager is not None
            await until(lambda: manager.snapshots.count > 0)
        token = await cluster.join_token("manager")
        async with Cluster.join(cluster.addr, token, **options("b")):
            await cluster.services.create("web", image="sleeper", replicas=0)
            key = await cluster.rotate_unlock_key()
    async with Cluster.open(**options("a"), unlock_key=key) as cluster:
        assert cluster._member.node.store.has_swarm is snapshot
        made = await cluster.backup(tmp_path / "backup", stale=True)
        assert made.locked
    await restore(tmp_path / "backup", tmp_path / "restored", unlock_key=UnlockKey.parse(key))
    async with Cluster.open(**options("restored"), unlock_key=key) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        assert [one.name for one in await cluster.services.list()] == ["web"]
        assert await cluster.unlock_key() == key


async def test_a_cold_backup(tmp_path: Path) -> None:
    state, target = tmp_path / "state", tmp_path / "backup"
    async with one_node(state_dir=state, autolock=True) as cluster:
        await cluster.services.create("web", image="sleeper")
        key = await cluster.unlock_key()
        code, output = await run("backup", state, target)
        assert code == 1 and "in use by another process" in output
    code, output = await run("backup", state, target, "--json")
    assert code == 0, output
    form = json.loads(output)
    assert form["locked"] is True and form["files"] == len(tree(target)) - 1
    code, output = await run("backup", state, target)
    assert code == 1 and "exists already" in output
    with pytest.raises(StorageLocked):
        await restore(target, tmp_path / "restored")
    with pytest.raises(WrongUnlockKey):
        await restore(target, tmp_path / "restored", unlock_key=UnlockKey(b"o" * 32))
    assert not (tmp_path / "restored").exists()
    await restore(target, tmp_path / "restored", unlock_key=UnlockKey.parse(key))
    with pytest.raises(AlreadyExists):
        await restore(target, tmp_path / "restored", unlock_key=UnlockKey.parse(key))


async def test_a_backup_is_not_opened_and_is_checked(tmp_path: Path) -> None:
    async with one_node(state_dir=tmp_path / "state") as cluster:
        await cluster.services.create("web", image="sleeper")
        await cluster.backup(tmp_path / "backup")
    with pytest.raises(FailedPrecondition, match="is a backup"):
        async with Cluster.open(tmp_path / "backup", network=MemoryNetwork()):
            pass
    whole = tree(tmp_path / "backup")
    assert {name.split("/")[0] for name in whole} == {"keys", "state", "raft", "backup.json"}
    for name in whole:
        if name == "backup.json":
            continue
        for damage in ("flip", "lose"):
            shutil.copytree(tmp_path / "backup", tmp_path / "copy")
            place = tmp_path / "copy" / name
            data = bytearray(place.read_bytes())
            data[len(data) // 2] ^= 1
            place.write_bytes(data) if damage == "flip" else place.unlink()
            with pytest.raises(DamagedBackup):
                await restore(tmp_path / "copy", tmp_path / "restored")
            assert not (tmp_path / "restored").exists()
            shutil.rmtree(tmp_path / "copy")
    note = tmp_path / "backup" / "backup.json"
    text = note.read_text()
    for one in ('"version": ', '"taken_at": ', '"node_id": "'):
        note.write_text(text.replace(one, one + "1"))
        with pytest.raises(DamagedBackup, match=r"backup.json is damaged"):
            await restore(tmp_path / "backup", tmp_path / "restored")
    old = {**json.loads(text), "format": 1}
    note.write_text(json.dumps(old))
    with pytest.raises(DamagedBackup, match=r"backup.json is damaged"):
        verify(tmp_path / "backup")
    del old["sha256"]  # as the first format was
    note.write_text(json.dumps(old))
    assert verify(tmp_path / "backup").node_id == old["node_id"]
    for form in ("{", "[]", '{"format": 1, "files": []}'):
        note.write_text(form)
        with pytest.raises(NotABackup):
            await restore(tmp_path / "backup", tmp_path / "restored")
    with pytest.raises(NotABackup):
        await restore(tmp_path, tmp_path / "restored")


async def test_what_lies_beside_a_backup_is_left_alone(tmp_path: Path) -> None:
    """Nor do several that are made at once of one name get into each other's way."""
    (tmp_path / "backup.part").mkdir()
    left = tmp_path / "backup.abcdefgh.part"
    left.mkdir()
    (left / MARK).write_bytes(b"")  # of a process that was killed
    (tmp_path / "link").symlink_to("nowhere")
    answers: list[object] = []
    async with one_node() as cluster:

        async def back_up() -> None:
            try:
                answers.append(await cluster.backup(tmp_path / "backup"))
            except AlreadyExists as error:
                answers.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(back_up)
        with pytest.raises(AlreadyExists):
            await cluster.backup(tmp_path / "link")
        with pytest.raises(WriteFailed, match="cannot write the backup: File name too long"):
            await cluster.backup(tmp_path / ("x" * 300))
        with pytest.raises(InvalidArgument, match="NUL byte"):
            await cluster.backup(f"{tmp_path}/back\0up")
    assert sorted(type(one).__name__ for one in answers) == ["AlreadyExists"] * 2 + ["Backup"]
    assert verify(tmp_path / "backup") in answers
    assert {path.name for path in tmp_path.iterdir()} == {"backup", "backup.part", "link"}


async def test_what_can_be_no_path(tmp_path: Path) -> None:
    """Refused before anything begins, by a typed error."""
    for wrong in (f"{tmp_path}/a\0b", "", b"bytes", 7):
        with pytest.raises(InvalidArgument, match="path"):
            await restore(tmp_path, wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="path"):
            Cluster.open(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="path"):
            Cluster.init(state_dir=wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="path"):
            FileDirectory.open(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="path"):
            async with open_host(HostConfig(state_dir=wrong)):  # type: ignore[arg-type]
                pass
    with pytest.raises(InvalidArgument, match="NUL byte"):
        ProcessExecutor("a\0b")
    with pytest.raises(InvalidArgument, match="NUL byte"):
        async with Cluster.connect("unix:///tmp/a\0b"):
            pass
    with pytest.raises(InvalidArgument, match="null byte"):
        await read_payload("secret", Path("a\0b"))
    assert list(tmp_path.iterdir()) == []


async def test_a_backup_that_finds_no_room_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_node() as cluster:
        await cluster.services.create("web", image="sleeper", replicas=0)

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        for operation in ("write", "sync", "rename"):
            with monkeypatch.context() as patch:
                patch.setattr(SystemFiles, operation, full)
                with pytest.raises(DiskFull):
                    await cluster.backup(tmp_path / "backup")
            assert not list(tmp_path.iterdir()), operation
        await cluster.backup(tmp_path / "backup")
        with monkeypatch.context() as patch:
            patch.setattr(SystemFiles, "sync", full)
            with pytest.raises(DiskFull):
                await restore(tmp_path / "backup", tmp_path / "restored")
        assert [path.name for path in tmp_path.iterdir()] == ["backup"]
        assert (tmp_path / "backup").stat().st_mode & 0o77 == 0, "for its owner alone"
        for path in (tmp_path / "backup").rglob("*"):
            assert path.stat().st_mode & 0o77 == 0, path


async def test_a_copied_directory_is_restored_too(tmp_path: Path) -> None:
    async with one_node(state_dir=tmp_path / "state") as cluster:
        await cluster.services.create("web", image="sleeper")
        node_id = cluster.node_id
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    assert await restore(tmp_path / "copy", tmp_path / "restored") == node_id
    options = {"network": MemoryNetwork(), "executor": executor()}
    async with Cluster.open(tmp_path / "restored", **options) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        assert [one.name for one in await cluster.services.list()] == ["web"]


async def test_turns_go_on_while_a_backup_is_taken(tmp_path: Path) -> None:
    """Commands are answered between the slices; the backup is of the moment it was asked for."""
    async with one_node() as cluster:
        networks = 40
        for number in range(networks):
            await cluster.services.create(f"s{number}", image="sleeper", replicas=50)
        versions = []

        async def go_on() -> None:
            while True:
                await cluster.services.create(f"more{len(versions)}", image="x", replicas=0)
                versions.append((await cluster.status()).version)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on)
            made = await cluster.backup(tmp_path / "backup")
            nursery.cancel_scope.cancel()
        assert len([one for one in versions if one > made.version]) >= 2
