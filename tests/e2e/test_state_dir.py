"""State directories that cannot be used: each stops the start with its own error, and nothing on
the disk is changed by it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from pyswarm import Cluster
from pyswarm.errors import FailedPrecondition
from pyswarm.runtime import MemoryNetwork
from pyswarm.runtime.storage import (
    DamagedRecords,
    DirectoryInUse,
    MissingFile,
    NewerFormat,
    OtherNode,
    ReadFailed,
    WrongDataKey,
)
from pyswarm.testing import LocalSwarm
from swarms import IMAGES, WAIT_S, executor, one_node, until


def contents(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def first(state: Path, pattern: str) -> Path:
    return sorted((state / "raft").glob(pattern))[0]


def damage_segment(state: Path, other: Path) -> None:
    flip(first(state, "*.wal"), 300)


def damage_snapshot(state: Path, other: Path) -> None:
    flip(first(state, "*.snap"), 300)


def damage_keys(state: Path, other: Path) -> None:
    flip(state / "keys", 30)


def lose_snapshot(state: Path, other: Path) -> None:
    first(state, "*.snap").unlink()


def lose_segment(state: Path, other: Path) -> None:
    first(state, "*.wal").unlink()


def lose_manifest(state: Path, other: Path) -> None:
    (state / "raft" / "manifest").unlink()


def lose_log(state: Path, other: Path) -> None:
    shutil.rmtree(state / "raft")


def unreadable_segment(state: Path, other: Path) -> None:
    path = first(state, "*.wal")
    path.unlink()
    path.mkdir()


def lose_keys(state: Path, other: Path) -> None:
    (state / "keys").unlink()


def lose_state(state: Path, other: Path) -> None:
    (state / "state").unlink()


def newer_manifest(state: Path, other: Path) -> None:
    path = state / "raft" / "manifest"
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"\x09\x00" + data[10:])


def log_of_another(state: Path, other: Path) -> None:
    shutil.rmtree(state / "raft")
    shutil.copytree(other / "raft", state / "raft")


def keys_of_another(state: Path, other: Path) -> None:
    shutil.copy(other / "keys", state / "keys")


CASES: list[tuple[Callable[[Path, Path], None], type[Exception]]] = [
    (damage_segment, DamagedRecords),
    (damage_snapshot, DamagedRecords),
    (damage_keys, DamagedRecords),
    (lose_snapshot, MissingFile),
    (lose_segment, MissingFile),
    (lose_manifest, MissingFile),
    (lose_log, MissingFile),
    (unreadable_segment, ReadFailed),
    (lose_keys, MissingFile),
    (lose_state, MissingFile),
    (newer_manifest, NewerFormat),
    (log_of_another, OtherNode),
    (keys_of_another, WrongDataKey),
]


async def a_stopped_manager(path: Path) -> None:
    async with one_node(state_dir=path) as cluster:
        await cluster.update(snapshot_interval=5, log_entries_for_slow_followers=0)
        for number in range(8):
            await cluster.services.create(f"s{number}", image="sleeper", replicas=0)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The directories of two managers of different swarms, to be copied."""
    paths = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    for path in paths:
        trio.run(a_stopped_manager, path)
    return paths


@pytest.mark.parametrize(("harm", "error"), CASES, ids=[harm.__name__ for harm, _ in CASES])
async def test_refused_and_untouched(
    stopped: tuple[Path, Path],
    tmp_path: Path,
    harm: Callable[[Path, Path], None],
    error: type[Exception],
) -> None:
    state, other = tmp_path / "state", stopped[1]
    shutil.copytree(stopped[0], state)
    harm(state, other)
    before = contents(state)
    for force in (False, True):
        with pytest.raises(error) as caught:
            options = {"network": MemoryNetwork(), "executor": executor()}
            async with Cluster.open(state, force_new_cluster=force, **options):
                pass
        assert contents(state) == before
        assert "\n" not in str(caught.value)


async def test_a_torn_end_is_cut_and_said(stopped: tuple[Path, Path], tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(stopped[0], state)
    last = sorted((state / "raft").glob("*.wal"))[-1]
    with last.open("ab") as file:
        file.write(last.read_bytes()[-40:-7])  # a write that has not come to its end
    network = MemoryNetwork()
    async with Cluster.open(state, network=network, executor=executor()) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        assert (await cluster.status()).counters["events.disk.repaired"] == 1
    async with Cluster.open(state, network=network, executor=executor()) as cluster:
        assert "events.disk.repaired" not in (await cluster.status()).counters


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys, trio\n"
        "from pyswarm import Cluster\n"
        "from pyswarm.runtime.storage import DirectoryInUse\n"
        "async def main():\n"
        "    try:\n"
        "        async with Cluster.open(sys.argv[1]): pass\n"
        "    except DirectoryInUse as error: print(error)\n"
        "trio.run(main)\n"
    )
    async with one_node(state_dir=tmp_path) as cluster:
        with pytest.raises(DirectoryInUse):
            async with Cluster.open(tmp_path, network=MemoryNetwork()):
                pass
        command = [sys.executable, "-c", code, str(tmp_path)]
        other = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT)
        assert other.stdout.decode().endswith("is in use by another process\n")
        await cluster.services.create("web", image="sleeper")  # undisturbed
    options = {"network": MemoryNetwork(), "executor": executor()}
    async with Cluster.open(tmp_path, **options) as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        assert [one.name for one in await cluster.services.list()] == ["web"]


async def test_a_directory_without_a_node(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="holds no node"):
        async with Cluster.open(tmp_path / "none", network=MemoryNetwork()):
            pass
    assert not (tmp_path / "none").exists()
    async with one_node(state_dir=tmp_path / "none"):  # and may have one now
        pass
    with pytest.raises(FailedPrecondition, match="already part of a swarm"):
        async with one_node(state_dir=tmp_path / "none"):
            pass


async def test_what_a_manager_says_of_its_log(tmp_path: Path) -> None:
    images = {"sleeper": IMAGES["sleeper"]}
    async with LocalSwarm(3, 1, images=images, state_dir=tmp_path) as swarm:
        leader = await swarm.leader()
        await leader.update(snapshot_interval=10, log_entries_for_slow_followers=0)
        for number in range(15):
            await leader.services.create(f"s{number}", image="sleeper", replicas=0)

        async def has_a_snapshot() -> bool:
            found = (await leader.status()).log
            return found is not None and found.snapshots >= 1

        await until(has_a_snapshot)
        log = (await leader.status()).log
        assert log is not None and log.role == "leader" and log.disk_error == ""
        assert (log.voters, log.learners) == (3, 0)
        assert 0 < log.snapshot_index < log.first_index <= log.applied_index + 1
        assert log.applied_index <= log.commit_index <= log.last_index
        others = {node.node_id for node in swarm.managers if node is not leader}
        assert {one.node_id for one in log.followers} == others
        for one in log.followers:
            assert one.is_voter and one.state == "replicate" and one.reachability == "reachable"
            assert one.lag <= log.last_index and one.heard_ago_s is not None
        assert log.disk is not None and log.disk.count > 15
        assert 0 < log.disk.quantile(0.5) <= log.disk.quantile(1.0)
        follower = next(node for node in swarm.managers if node is not leader)
        log = (await follower.status()).log
        assert log is not None and log.role == "follower" and log.followers == ()
        assert (await swarm.workers[0].status()).log is None
        counters = (await leader.status()).counters
        assert counters["log.persist_s.count"] > 15
    async with one_node() as cluster:
        log = (await cluster.status()).log
        assert log is not None and log.disk is None and log.elections == 1


async def test_old_snapshots_are_kept_as_set(tmp_path: Path) -> None:
    async with one_node(state_dir=tmp_path) as cluster:
        await cluster.update(
            snapshot_interval=5, log_entries_for_slow_followers=0, keep_old_snapshots=2
        )
        for number in range(40):
            await cluster.services.create(f"s{number}", image="sleeper", replicas=0)

        async def some() -> bool:
            found = (await cluster.status()).log
            return found is not None and found.snapshots >= 4

        await until(some)
    assert len(list((tmp_path / "raft").glob("*.snap"))) == 3
