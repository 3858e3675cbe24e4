"""A host's states and verbs, with the sentences of the Engine (spec: api-cli A1, A4, A5)."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from pyswarm.agent import silence
from pyswarm.api import hosting
from pyswarm.api.hosting import HostState, InitSwarm, JoinSwarm
from pyswarm.ca import InvalidJoinToken, JoinToken, RootCA
from pyswarm.errors import AlreadyExists, InvalidArgument, SwarmError, Unavailable
from pyswarm.ipam import InvalidPool
from pyswarm.model import SwarmSpec
from pyswarm.runtime import MemoryNetwork, TlsNetwork, front
from pyswarm.runtime.daemon import Host, HostConfig, host, open_host
from pyswarm.runtime.front import founding
from pyswarm.runtime.storage import DirectoryInUse
from pyswarm.runtime.tls import joining
from pyswarm.secretstore import InvalidUnlockKey, UnlockKey
from swarms import WAIT_S, executor, until

INIT = InitSwarm(listen_addr="127.0.0.2:0")
"""Over TLS; a network in memory has no listening addresses."""


@asynccontextmanager
async def hosted(state_dir: Path, network: Any = None, **options: Any) -> AsyncIterator[Host]:
    config = HostConfig(
        state_dir=state_dir,
        executor=executor,
        network=network or MemoryNetwork(),
        name=state_dir.name,
        **options,
    )
    async with open_host(config) as one:
        yield one


def join(manager: Host, token: str, **options: Any) -> JoinSwarm:
    """How a host joins the swarm of ``manager``."""
    node = manager.node()
    assert node is not None
    options.setdefault("listen_addr", "127.0.0.3:0")
    return JoinSwarm(remote_addrs=(node.addr,), token=token, **options)


async def token_of(one: Host, role: str = "worker") -> str:
    return await front.join_token(one.member(), role)


def manages(one: Host) -> bool:
    """Whether the swarm can be asked there."""
    try:
        return one.member() is not None
    except hosting.NoManager:
        return False


async def refused(verb: Any, *arguments: Any, **options: Any) -> SwarmError:
    with pytest.raises(SwarmError) as caught:
        await verb(*arguments, **options)
    return caught.value


# -- outside a swarm


async def test_outside_a_swarm(tmp_path: Path) -> None:
    async with hosted(tmp_path / "a") as one:
        assert one.state() == hosting.HostStatus()
        with pytest.raises(hosting.NoManager) as caught:
            one.member()
        assert str(caught.value) == hosting.NEVER_JOINED
        assert isinstance(await refused(one.leave), hosting.NotInSwarm)
        assert str(await refused(one.unlock, "x")) == hosting.NEVER_JOINED
        assert one.describe().hostname == "a"


@pytest.mark.parametrize(
    ("changes", "cls", "words"),
    [
        ({"listen_addr": ""}, InvalidArgument, 'invalid ListenAddr "": invalid empty address'),
        ({"listen_addr": "127.0.0.1:x"}, InvalidArgument, "could not parse listen address"),
        ({"listen_addr": "nothing"}, InvalidArgument, "listen address must be an IP address"),
        ({"advertise_addr": "0.0.0.0"}, InvalidArgument, "advertise address must be a non-zero"),
        ({"data_path_addr": "0.0.0.0"}, InvalidArgument, "data path address must be a non-zero"),
        ({"data_path_addr": "127.0.0.1:1"}, InvalidArgument, "data path address must be"),
        ({"data_path_port": 80}, hosting.InvalidDataPathPort, "1024-49151\\) : 80"),
        ({"default_addr_pools": ("x",)}, InvalidPool, "x"),
        ({"availability": "x"}, InvalidArgument, 'invalid Availability: "x"'),
    ],
)
async def test_init_checks_first(
    tmp_path: Path, changes: dict[str, Any], cls: type[SwarmError], words: str
) -> None:
    async with hosted(tmp_path / "a", TlsNetwork()) as one:
        with pytest.raises(cls, match=words):
            await one.init(attrs.evolve(INIT, **changes))
        assert one.state().state is HostState.INACTIVE
        assert not (tmp_path / "a" / "state").exists()


@pytest.mark.parametrize(
    ("changes", "cls", "words"),
    [
        ({"listen_addr": ""}, InvalidArgument, "invalid empty address"),
        ({"remote_addrs": ()}, InvalidArgument, "at least 1 RemoteAddr is required to join"),
        ({"token": ""}, InvalidArgument, "A valid join token is necessary"),
        ({"token": "SWMTKN-1-x"}, InvalidJoinToken, "invalid join token"),
    ],
)
async def test_join_checks_first(
    tmp_path: Path, changes: dict[str, Any], cls: type[SwarmError], words: str
) -> None:
    wish = JoinSwarm(listen_addr="127.0.0.2:0", remote_addrs=("127.0.0.9:9",), token="x")
    async with hosted(tmp_path / "a", TlsNetwork()) as one:
        with pytest.raises(cls, match=words):
            await one.join(attrs.evolve(wish, **changes))
        assert one.state().state is HostState.INACTIVE


async def test_two_hosts_of_one_directory(tmp_path: Path) -> None:
    async with hosted(tmp_path / "a"):
        with pytest.raises(DirectoryInUse):
            async with hosted(tmp_path / "a"):
                pass


# -- a swarm of one


async def test_init_leave_and_init_again(tmp_path: Path) -> None:
    async with hosted(tmp_path / "a") as one:
        spec = SwarmSpec(labels={"a": "b"}, task_history_retention_limit=2)
        id = await one.init(attrs.evolve(INIT, spec=spec, data_path_port=7777, subnet_size=26))
        swarm = await front.swarm_object(one.member())
        assert (swarm.spec, swarm.data_path_port, swarm.subnet_size) == (spec, 7777, 26)
        state = one.state()
        assert (state.state, state.node_id, state.control_available) == (
            HostState.ACTIVE,
            id,
            True,
        )
        assert [manager.node_id for manager in state.remote_managers or ()] == [id]
        assert isinstance(await refused(one.init, INIT), hosting.AlreadyInSwarm)
        assert isinstance(await refused(one.unlock, "x"), hosting.NotLocked)
        message = str(await refused(one.leave))
        assert message.startswith("You are attempting to leave the swarm on a node that is part")
        assert message.endswith(
            "erases all current state of the swarm. Use `--force` to ignore this message. "
        )
        await one.leave(force=True)
        assert one.state() == hosting.HostStatus()
        assert await one.init(INIT) != id


async def test_it_goes_on_where_it_left_off(tmp_path: Path) -> None:
    async with hosted(tmp_path / "a", TlsNetwork()) as one:
        id = await one.init(INIT)
        addr = one.member().addr
        assert one.state().node_addr == "127.0.0.2"
    async with hosted(tmp_path / "a", TlsNetwork()) as one:
        await until(lambda: manages(one))
        assert (one.state().node_id, one.member().addr) == (id, addr)


async def test_an_address_that_is_taken(tmp_path: Path) -> None:
    """Nothing is left of the try."""
    async with (
        hosted(tmp_path / "a", TlsNetwork()) as one,
        hosted(tmp_path / "b", TlsNetwork()) as other,
    ):
        await one.init(INIT)
        taken = InitSwarm(listen_addr=one.member().addr)
        assert isinstance(await refused(other.init, taken), AlreadyExists)
        assert other.state().state is HostState.INACTIVE
        await other.init(INIT)


async def test_an_address_that_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that starts before its address is there says so, and tries again."""
    monkeypatch.setattr(host, "RESUME_S", 0.02)
    async with hosted(tmp_path / "a", TlsNetwork()) as one:
        await one.init(INIT)
        addr, port = one.member().addr.split(":")
    with socket.create_server((addr, int(port)), reuse_port=False) as other:
        async with hosted(tmp_path / "a", TlsNetwork()) as one:
            assert one.state().state is HostState.ERROR
            assert "address already in use" in one.state().error
            other.close()
            await until(lambda: manages(one))


async def test_locked(tmp_path: Path) -> None:
    async with hosted(tmp_path / "a") as one:
        id = await one.init(attrs.evolve(INIT, spec=SwarmSpec(autolock=True)))
        key = await front.unlock_key(one.member())
    async with hosted(tmp_path / "a") as one:
        state = one.state()
        assert (state.state, state.node_id, state.error) == (HostState.LOCKED, "", hosting.LOCKED)
        assert state.node_addr
        with pytest.raises(hosting.SwarmLocked):
            one.member()
        assert isinstance(await refused(one.init, INIT), hosting.AlreadyInSwarm)
        assert str(await refused(one.leave)) == hosting.LEAVING_LOCKED
        assert isinstance(await refused(one.unlock, "bogus"), InvalidUnlockKey)
        wrong = UnlockKey.generate().text
        assert isinstance(await refused(one.unlock, wrong), hosting.WrongKey)
        assert one.state().state is HostState.LOCKED
        await one.unlock(key)
        assert (one.state().state, one.state().node_id) == (HostState.ACTIVE, id)
    async with hosted(tmp_path / "a") as one:
        await one.leave(force=True)
        assert one.state() == hosting.HostStatus()
        await one.init(INIT)


async def test_a_damaged_disk_is_said_and_can_be_left(tmp_path: Path) -> None:
    async with hosted(tmp_path / "a") as one:
        await one.init(INIT)
    (tmp_path / "a" / "keys").unlink()
    async with hosted(tmp_path / "a") as one:
        assert one.state().state is HostState.ERROR
        assert "keys is missing" in one.state().error
        assert isinstance(await refused(one.leave), hosting.LeaveRefused)
        await one.leave(force=True)
        await one.init(INIT)


# -- several hosts


async def test_a_worker_joins_is_promoted_and_leaves(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with hosted(tmp_path / "a", network) as one, hosted(tmp_path / "b", network) as other:
        await one.init(INIT)
        await other.join(join(one, await token_of(one)))
        state = other.state()
        assert (state.state, state.control_available) == (HostState.ACTIVE, False)
        assert [manager.node_id for manager in state.remote_managers or ()] == [one.state().node_id]
        with pytest.raises(hosting.NoManager, match="Worker nodes can't be used"):
            other.member()
        worker = str(await refused(other.unlock, "x"))
        assert worker == hosting.WORKER
        nodes = front.Nodes(one.member())
        await (await nodes.get(state.node_id)).promote()
        await until(lambda: other.state().control_available)
        await until(lambda: len(one.state().remote_managers or ()) == 2)
        message = str(await refused(one.leave))
        assert "Removing this node leaves 1 managers out of 2. " in message
        assert message.endswith("Use `--force` to suppress this message.")
        await (await nodes.get(state.node_id)).demote()
        await until(lambda: not other.state().control_available)
        await other.leave()
        assert other.state() == hosting.HostStatus()


async def test_what_a_manager_that_leaves_is_warned_of(tmp_path: Path) -> None:
    """The sentences recorded of a real swarm, with three managers and with two of them left."""
    network = MemoryNetwork()
    begins = "You are attempting to leave the swarm on a node that is participating as a manager. "
    ends = (
        "The only way to restore a swarm that has lost consensus is to reinitialize it with "
        "`--force-new-cluster`. Use `--force` to suppress this message."
    )
    async with hosted(tmp_path / "a", network) as one, hosted(tmp_path / "b", network) as other:
        await one.init(INIT)
        token = await token_of(one, "manager")
        await other.join(join(one, token))
        async with hosted(tmp_path / "c", network) as third:
            await third.join(join(one, token))
            for manager in (one, other):
                assert str(await refused(manager.leave)) == begins + ends
        warning = begins + (
            "Removing this node leaves 1 managers out of 3. Without a Raft quorum your swarm will "
            "be inaccessible. "
        )

        async def is_warned() -> bool:
            return str(await refused(one.leave)) == warning + ends

        await until(is_warned)


async def test_a_removed_node_is_pending_until_it_leaves(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with hosted(tmp_path / "a", network) as one, hosted(tmp_path / "b", network) as other:
        await one.init(INIT)
        await other.join(join(one, await token_of(one)))
        joined = other.state()
        node = await front.Nodes(one.member()).get(joined.node_id)
        await node.remove(force=True)
        await until(lambda: other.state().state is HostState.PENDING)
        assert other.state() == attrs.evolve(joined, state=HostState.PENDING), "it knows who it was"
        await other.leave()
        await other.join(join(one, await token_of(one)))


async def test_a_refused_join_leaves_nothing(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with hosted(tmp_path / "a", network) as one, hosted(tmp_path / "b", network) as other:
        await one.init(INIT)
        wrong = str(JoinToken.parse(await token_of(one)).rotated())
        error = await refused(other.join, join(one, wrong))
        assert isinstance(error, InvalidArgument)
        assert other.state() == hosting.HostStatus()
        await other.join(join(one, await token_of(one)))


async def test_a_swarm_without_a_leader_takes_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so; the joiner is as it was."""
    monkeypatch.setattr(joining, "NO_LEADER_S", 0.1)
    async with (
        hosted(tmp_path / "a", TlsNetwork()) as one,
        hosted(tmp_path / "c", TlsNetwork()) as third,
    ):
        await one.init(INIT)
        token = await token_of(one)
        async with hosted(tmp_path / "b", TlsNetwork()) as other:
            await other.join(join(one, await token_of(one, "manager")))
        with pytest.raises(Unavailable, match="does not have a leader"):
            await third.join(join(one, token, listen_addr="127.0.0.4:0"))
        assert third.state() == hosting.HostStatus()


async def test_a_join_that_nobody_answers_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until somebody does; or until it is given up."""
    monkeypatch.setattr(host, "JOIN_WAIT_S", 0.05)
    monkeypatch.setattr(founding, "JOIN_ANSWER_S", 0.2)
    network = MemoryNetwork()
    async with hosted(tmp_path / "a", network) as one, hosted(tmp_path / "b", network) as other:
        token = str(JoinToken.generate(RootCA.create(0.0)))
        nobody = JoinSwarm(listen_addr="x", remote_addrs=("nobody",), token=token)
        error = await refused(other.join, nobody)
        assert isinstance(error, hosting.JoinContinues)
        assert other.state().state is HostState.PENDING
        assert isinstance(await refused(other.join, nobody), hosting.AlreadyInSwarm)
        await other.leave()
        assert other.state() == hosting.HostStatus()

        await one.init(INIT)
        addr = one.member().addr
        later = attrs.evolve(nobody, remote_addrs=(addr,), token=await token_of(one))
        network.cut(addr, "b")
        late = attrs.evolve(later, advertise_addr="b")
        assert isinstance(await refused(other.join, late), hosting.JoinContinues)
        network.heal()
        with trio.fail_after(WAIT_S):
            await until(lambda: other.state().state is HostState.ACTIVE)


async def test_a_session_that_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SAID_AFTER_SECONDS", 0.1)
    network = MemoryNetwork()
    async with hosted(tmp_path / "a", network) as one, hosted(tmp_path / "b", network) as other:
        await one.init(INIT)
        await other.join(join(one, await token_of(one), advertise_addr="b"))
        member = one.node()
        assert member is not None
    async with hosted(tmp_path / "b", network) as other:
        await until(lambda: f"(tried {member.addr})" in other.state().error)
        assert other.state().state is not HostState.ERROR, "its tasks run on"


async def test_a_cluster_begun_anew_by_force(tmp_path: Path) -> None:
    """One of two managers is lost: the other goes on alone, locked as it was."""
    network = MemoryNetwork()
    async with hosted(tmp_path / "a", network) as one:
        id = await one.init(attrs.evolve(INIT, spec=SwarmSpec(autolock=True)))
        token = await token_of(one, "manager")
        async with hosted(tmp_path / "b", network) as other:
            await other.join(join(one, token))
            await front.Services(one.member()).create("web", image="sleeper", replicas=0)
        message = str(await refused(one.leave))
        assert "managers out of 2" in message or message.endswith("suppress this message.")
        assert await one.init(attrs.evolve(INIT, force_new_cluster=True)) == id
        assert await token_of(one, "manager") == token
        assert [web.name for web in await front.Services(one.member()).list()] == ["web"]
    async with hosted(tmp_path / "a", network) as one:
        assert one.state().state is HostState.LOCKED


async def test_begun_anew_under_the_key_of_the_disk(tmp_path: Path) -> None:
    """A manager without a quorum knows an older state of the swarm than its disk follows."""
    network = MemoryNetwork()
    async with hosted(tmp_path / "a", network) as one, hosted(tmp_path / "b", network) as other:
        await one.init(attrs.evolve(INIT, spec=SwarmSpec(autolock=True)))
        await other.join(join(one, await token_of(one, "manager")))
        key = await front.rotate_unlock_key(one.member())
    async with hosted(tmp_path / "a", network) as one:
        await one.unlock(key)
        await one.init(attrs.evolve(INIT, force_new_cluster=True))
        assert await front.unlock_key(one.member()) == key
    async with hosted(tmp_path / "a", network) as one:
        await one.unlock(key)
