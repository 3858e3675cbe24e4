"""The control socket: verbs, values and errors as in the node's own process, and bad peers."""

from __future__ import annotations

import inspect
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from click.testing import CliRunner

from pyswarm import Cluster, Daemon, blocking
from pyswarm.api import hosting
from pyswarm.cli.commands import pyswarm
from pyswarm.cluster import AddService, Converged, Drain, Scale
from pyswarm.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from pyswarm.model import NodeState, ServiceSpec
from pyswarm.runtime import MemoryNetwork, TlsNetwork, front
from pyswarm.runtime.backup import Backup
from pyswarm.runtime.daemon import Host, HostConfig, control, open_host
from pyswarm.runtime.daemon.frames import (
    ANSWER_BYTES_MAX,
    HEAD,
    MAGIC,
    QUESTION_BYTES_MAX,
    VERSION,
    Frames,
    Op,
)
from pyswarm.runtime.daemon.process import notify
from pyswarm.runtime.daemon.verbs import COLLECTIONS, ELSEWHERE, HANDLES, STREAMS, verbs_of
from pyswarm.runtime.daemon.wire import Wire, decode_error, encode_error
from swarms import WAIT_S, executor, until


@asynccontextmanager
async def served(path: Path, network: Any = None) -> AsyncIterator[tuple[Host, str]]:
    """A host with its control socket, and the socket's address."""
    config = HostConfig(
        state_dir=path, executor=executor, network=network or MemoryNetwork(), name="a"
    )
    async with open_host(config) as host, control.serving(host, path / "control.sock", Cluster):
        yield host, f"unix://{path / 'control.sock'}"


@asynccontextmanager
async def a_swarm(path: Path) -> AsyncIterator[Cluster]:
    """A swarm of one daemon, seen from outside."""
    async with served(path) as (_, url), Daemon.connect(url) as daemon:
        await daemon.init()
        yield daemon.cluster


async def test_services_from_outside(tmp_path: Path) -> None:
    async with a_swarm(tmp_path) as cluster:
        web = await cluster.services.create("web", image="sleeper", replicas=2, labels={"a": "b"})
        assert isinstance(web, front.ServiceHandle)
        assert isinstance(await web.wait_converged(timeout=WAIT_S), Converged)
        assert len(await web.running()) == 2
        await web.scale(3)
        assert web.spec.mode.replicas == 3
        assert (await web.progress()).wanted == 3
        steps = [step async for step in web.update_progress()]
        assert steps[-1].is_last
        await web.update(env_add={"A": "1"}, label_rm=["a"])
        assert (web.spec.task.container.env, dict(web.spec.labels)) == (("A=1",), {})
        again = await cluster.services.get("web")
        assert again == web
        assert [one.name for one in await cluster.services.list(name="we")] == ["web"]
        with trio.fail_after(WAIT_S):
            lines = [line.text async for line in web.logs(tail=1)]
        assert lines and all("hello from web" in line for line in lines)
        task = (await web.running())[0]
        assert task.is_running and (await task.explain()).node == "a"
        assert len(await cluster.explain(web)) == 3
        await web.remove()
        with pytest.raises(NotFound, match="service"):
            await web.refresh()


async def test_long_lists_go_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ITEMS_MAX", 2)
    async with a_swarm(tmp_path) as cluster:
        for number in range(5):
            await cluster.services.create(f"web{number}", image="sleeper", replicas=0)
        listed = await cluster.services.list()
        assert sorted(web.name for web in listed) == [f"web{number}" for number in range(5)]
        await listed[0].scale(1)


async def test_errors_are_those_of_the_front(tmp_path: Path) -> None:
    async with a_swarm(tmp_path) as cluster:
        await cluster.services.create("web", image="sleeper")
        with pytest.raises(AlreadyExists):
            await cluster.services.create("web", image="sleeper")
        with pytest.raises(InvalidArgument, match="replicas"):
            await cluster.services.create("two", image="sleeper", replicas=-1)
        with pytest.raises(TypeError):
            await cluster.services.get()  # type: ignore[call-arg]
        with pytest.raises(InvalidArgument, match="cannot be sent to a daemon"):
            await cluster.services.get(print)  # type: ignore[arg-type]
        with pytest.raises(hosting.LeaveRefused, match="Removing the last manager"):
            await cluster.leave()


async def test_the_other_nouns(tmp_path: Path) -> None:
    async with a_swarm(tmp_path) as cluster:
        (tmp_path / "payload").write_bytes(b"from a file")
        secret = await cluster.secrets.create("s", b"x", labels={"k": "v"})
        assert (secret.spec.labels["k"], secret.payload) == ("v", None)
        config = await cluster.configs.create("c", tmp_path / "payload")
        assert await config.data() == b"from a file"
        newer = await cluster.configs.rotate("c", "v2", timeout=WAIT_S)
        assert await newer.data() == b"v2"
        network = await cluster.networks.create("net")
        assert network.subnets
        await network.remove()
        node = await cluster.nodes.get("self")
        await node.label(zone="b")
        assert (dict(node.labels), node.state) == ({"zone": "b"}, NodeState.READY)
        assert cluster.node == node and cluster.node_id == node.id
        assert cluster.is_manager and cluster.is_leader and cluster.addr
        assert await cluster.tasks.list() == []


async def test_the_swarm_as_a_whole(tmp_path: Path) -> None:
    async with a_swarm(tmp_path / "a") as cluster:
        status = await cluster.status()
        assert (status.node_id, status.is_leader) == (cluster.node_id, True)
        assert status.log is not None
        await cluster.wait_ready(timeout=WAIT_S)
        assert not (await cluster.swarm()).root_ca.key
        token = await cluster.join_token("manager")
        assert await cluster.rotate_join_token("manager") != token
        assert (await cluster.update(labels={"x": "y"})).spec.labels == {"x": "y"}
        assert await cluster.unlock_key() == ""
        assert await cluster.check() == []
        backup = await cluster.backup(tmp_path / "backup")
        assert isinstance(backup, Backup) and (tmp_path / "backup" / "backup.json").exists()


async def test_the_root_is_replaced(tmp_path: Path) -> None:
    """Its rotation is watched from outside; over TLS, since in memory nobody has a certificate."""
    async with served(tmp_path, TlsNetwork()) as (_, url), Daemon.connect(url) as daemon:
        await daemon.init(listen_addr="127.0.0.2:0")
        token = await daemon.cluster.join_token()
        rotation = await daemon.cluster.rotate_ca()
        with trio.fail_after(WAIT_S):
            seen = [progress async for progress in rotation]
            assert seen[-1].is_done and seen[-1].cert == rotation.cert
            assert (await rotation.wait(timeout=WAIT_S)).is_done
        assert (await daemon.cluster.ca_rotation()).is_done
        assert await daemon.cluster.join_token() != token


async def test_plans(tmp_path: Path) -> None:
    async with a_swarm(tmp_path) as cluster:
        web = await cluster.services.create("web", image="sleeper", replicas=2)
        await web.wait_converged(timeout=WAIT_S)
        more = await cluster.plan([Scale("web", 4)])
        assert more.placement.counts("web") == {"a": 4}
        assert len(more.placement.assignments) == 2 and "start" in str(more)
        nowhere = ServiceSpec(name="two", task=web.spec.task)
        both = await cluster.plan([Drain("a"), AddService(nowhere)])
        assert [task.reason for task in both.unmet] and len(both.stopped) == 2
        assert both.unmet[0].rejections


async def test_events(tmp_path: Path) -> None:
    """From the call on, resumable, and none is lost by a reader that looked away."""
    async with a_swarm(tmp_path) as cluster:
        events = cluster.events(kinds=["service"])
        await cluster.services.create("one", image="sleeper", replicas=0)
        first = await anext(events)
        assert (first.name, first.action) == ("one", "create")
        with trio.move_on_after(0.01):
            while True:
                await anext(events)
        await cluster.services.create("two", image="sleeper", replicas=0)
        with trio.fail_after(WAIT_S):
            while (await anext(events)).name != "two":
                pass
        again = cluster.events(first.position, kinds=["service"])
        with trio.fail_after(WAIT_S):
            while (await anext(again)).name != "two":
                pass
        await events.aclose()
        with pytest.raises(InvalidArgument, match="there are no events of"):
            await anext(cluster.events(kinds=["nothing"]))


async def test_a_daemon_outside_a_swarm(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, url):
        with pytest.raises(hosting.NoManager, match="is not a swarm manager"):
            async with Cluster.connect(url):
                pass
        async with Daemon.connect(url) as daemon:
            assert (await daemon.state()).state is hosting.HostState.INACTIVE
            with pytest.raises(hosting.NoManager):
                await daemon.cluster.services.list()
            with pytest.raises(hosting.NotInSwarm):
                await daemon.leave(force=True)
            with pytest.raises(hosting.NoManager):
                await daemon.unlock("x")
            id = await daemon.init(autolock=True)
            assert daemon.cluster.node_id == id
            assert (await daemon.cluster.unlock_key()).startswith("SWMKEY-1-")
            await daemon.cluster.leave(force=True)
            assert (await daemon.state()).state is hosting.HostState.INACTIVE


async def test_a_workers_daemon(tmp_path: Path) -> None:
    """It says how it is; of the swarm it knows nothing."""
    network = MemoryNetwork()
    async with (
        served(tmp_path / "a", network) as (_, first),
        served(tmp_path / "b", network) as (_, second),
        Daemon.connect(first) as one,
        Daemon.connect(second) as other,
    ):
        await one.init()
        await other.join(one.cluster.addr, await one.cluster.join_token())
        async with Cluster.connect(second) as worker:
            assert not (await worker.status()).is_leader and not worker.is_manager
            with pytest.raises(FailedPrecondition, match="Worker nodes can't be used"):
                await worker.services.list()
        await other.leave()


def test_blocking(tmp_path: Path) -> None:
    """The same for people who do not await, in another thread than the daemon."""

    async def main() -> None:
        async with served(tmp_path) as (_, url):
            await trio.to_thread.run_sync(use, url)

    def use(url: str) -> None:
        with blocking.Daemon.connect(url) as daemon:
            daemon.init()
            daemon.cluster.services.create("web", image="sleeper", replicas=1)
        with blocking.Cluster.connect(url) as cluster:
            assert [one.name for one in cluster.services.list()] == ["web"]
            with cluster.events(kinds=["service"]) as events:
                cluster.services.create("two", image="sleeper", replicas=0)
                assert next(events).name == "two"

    trio.run(main)


# -- what can be called


def test_every_public_method_is_a_verb_or_said_not_to_be() -> None:
    for cls in (Cluster, *COLLECTIONS.values(), *HANDLES.values()):
        verbs = verbs_of(cls)
        for name in dir(cls):
            found = getattr(cls, name)
            if name.startswith("_") or not callable(found) or isinstance(found, type):
                continue
            if getattr(found, "__self__", None) is cls:  # a class method is a way in
                continue
            if inspect.isasyncgenfunction(found):  # made of verbs
                continue
            assert name in verbs or name in ELSEWHERE, f"{cls.__name__}.{name}"
    assert all(
        any(name in verbs_of(cls) for cls in (Cluster, *HANDLES.values())) for name in STREAMS
    )


def test_an_error_travels_with_its_class() -> None:
    error = Unavailable("no", hint="later", details={"a": (1,)}, outcome="unknown")
    back = decode_error(msgpack.unpackb(msgpack.packb(encode_error(error))))
    assert isinstance(back, Unavailable)
    assert (str(back), back.hint, back.outcome, back.details["a"]) == (
        "no",
        "later",
        "unknown",
        [1],
    )
    unknown = decode_error({"code": "not_found", "class": "Internal", "message": "x"})
    assert type(unknown) is NotFound


@pytest.mark.parametrize(
    "garbage",
    [
        ["x", 1],
        [],
        ["v", "Host", []],
        ["m", "ServiceSpec", {99: 1}],
        ["m", "Nothing", {}],
        ["e", "TaskState", 12345],
        ["e", "ServiceSpec", 1],
        ["v", "Event", [1]],
        ["h", "nothing", None, []],
        ["l", 5],
        ["d", [[["l", []], 1]]],
    ],
)
def test_garbage_is_refused(garbage: Any) -> None:
    with pytest.raises(InvalidArgument):
        Wire(lambda kind, value: HANDLES[kind](None, value), trusted=False).decode(garbage)


def test_depth_is_limited() -> None:
    nested: Any = 1
    for _ in range(100):
        nested = ["l", [nested]]
    with pytest.raises(InvalidArgument, match="within each other"):
        Wire(lambda kind, value: None, trusted=False).decode(nested)


# -- bad peers


def frame(*content: Any) -> bytes:
    data = msgpack.packb(list(content))
    return HEAD.pack(len(data)) + bytes(data)


async def spoken(url: str, data: bytes) -> list[Any]:
    """Say ``data`` and hang up; all that the daemon answered."""
    stream = await trio.open_unix_socket(url.removeprefix("unix://"))
    answers = b""
    with trio.fail_after(WAIT_S):
        try:
            await stream.send_all(data)
            await stream.send_eof()
            while piece := await stream.receive_some(65536):
                answers += piece
        except trio.BrokenResourceError:
            pass
    await stream.aclose()
    found = []
    while answers:
        (size,) = HEAD.unpack(answers[:4])
        found.append(msgpack.unpackb(answers[4 : 4 + size], strict_map_key=False))
        answers = answers[4 + size :]
    return found


GREETING = frame(MAGIC, VERSION)


async def test_bad_peers(tmp_path: Path) -> None:
    """Each loses its own connection; the daemon goes on."""
    async with served(tmp_path) as (_, url):
        assert len(await spoken(url, GREETING)) == 1
        for bad in (
            b"GET / HTTP/1.1\r\n\r\n",
            frame(MAGIC, 99),
            GREETING + HEAD.pack(QUESTION_BYTES_MAX + 1),
            GREETING + HEAD.pack(3) + b"\xc1\xc1\xc1",
            GREETING + HEAD.pack(100) + b"x",
            GREETING + frame(77, 1),
            GREETING + frame(Op.CALL, "x"),
            GREETING + frame(Op.TAKE),
        ):
            assert len(await spoken(url, bad)) <= 1
        async with Daemon.connect(url) as daemon:
            await daemon.state()


async def test_a_stream_begins_before_later_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions that arrive together overtake each other, but none the beginning of a stream."""
    begun = []

    async def call(client: Any, *_: Any) -> list[Any]:
        begun.append(list(client._streams))
        return [None, None, None]

    watch = (Op.OPEN, 1, "cluster", "events", None, ["l", []], ["d", []])
    async with a_swarm(tmp_path):
        monkeypatch.setattr(control._Client, "_call", call)
        for _ in range(12):
            stream = await trio.open_unix_socket(str(tmp_path / "control.sock"))
            await stream.send_all(GREETING + frame(*watch) + frame(Op.CALL, 2, "cluster", "status"))
            answers = Frames(stream, bytes_max=ANSWER_BYTES_MAX)
            with trio.fail_after(WAIT_S):
                assert [await answers.read() for _ in range(3)]
            await stream.aclose()
    assert begun == 12 * [[1]]


async def test_calls_that_are_none(tmp_path: Path) -> None:
    async with a_swarm(tmp_path) as cluster:
        line: Any = cluster._member
        for target, verb in (
            ("cluster", "_enter"),
            ("cluster", "init"),
            ("services", "_apply"),
            ("services", "__class__"),
            ("secrets", "register_driver"),
            ("os", "system"),
            ("_member", "crash"),
            (5, None),
        ):
            with pytest.raises(InvalidArgument):
                await line.answer(line.ask(Op.CALL, target, verb, None, ["l", []], ["d", []]))
        with pytest.raises(Internal):  # a question without its parts
            await line.answer(line.ask(Op.CALL, "cluster"))


async def test_calls_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CALLS_MAX", 3)
    async with a_swarm(tmp_path) as cluster:
        streams = [cluster.events() for _ in range(3)]
        with pytest.raises(ResourceExhausted):
            await cluster.status()
        for stream in streams:
            await stream.aclose()

        async def is_free() -> bool:
            try:
                return bool(await cluster.status())
            except ResourceExhausted:
                return False

        await until(is_free)


async def test_a_client_that_gives_up_stops_its_call(tmp_path: Path) -> None:
    async with a_swarm(tmp_path) as cluster:
        web = await cluster.services.create("web", image="sleeper", constraints=["node.id==x"])
        with trio.move_on_after(0.05) as waiting:
            await cluster.wait_stopped()
        assert waiting.cancelled_caught
        assert (await web.progress()).done == 0


async def test_the_socket(tmp_path: Path) -> None:
    """For user and group; a stale one is replaced, a living one is not; gone at the end."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with served(tmp_path) as (host, url):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        with pytest.raises(AlreadyExists, match="cannot listen"):
            async with control.serving(host, path, Cluster):
                pass
        async with Daemon.connect(path):
            pass
    assert not path.exists()
    with pytest.raises(Unavailable, match="no daemon listens"):
        async with Daemon.connect(url):
            pass
    with pytest.raises(InvalidArgument, match="is reached at unix"):
        async with Daemon.connect("tcp://127.0.0.1:1"):
            pass
    path.write_text("")
    with pytest.raises(AlreadyExists):
        async with served(tmp_path):
            pass


# -- what a process adds


def test_a_running_daemon_is_backed_up_by_command(tmp_path: Path) -> None:
    """By its state directory or its socket; the daemon writes it."""

    async def main() -> None:
        async with served(tmp_path / "a") as (_, url), Daemon.connect(url) as daemon:
            await daemon.init()
            await trio.to_thread.run_sync(back_up)

    def back_up() -> None:
        for number, source in enumerate((tmp_path / "a", tmp_path / "a" / "control.sock")):
            target = tmp_path / f"backup-{number}"
            result = CliRunner().invoke(pyswarm, ["backup", str(source), str(target)])
            assert (result.exit_code, "files" in result.output) == (0, True), result.output
            assert (target / "backup.json").exists()

    trio.run(main)


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(path))
        notify("before anybody asked")
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        notify("READY=1")
        assert told.recv(100) == b"READY=1"
    notify("STOPPING=1")  # nobody is there any more: no harm
