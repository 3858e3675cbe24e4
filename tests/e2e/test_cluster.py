"""One node: every noun and verb of the front door, on a running swarm."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from pyswarm import Cluster, ProcessExecutor
from pyswarm.errors import (
    Compacted,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from pyswarm.model import (
    Availability,
    ContainerSpec,
    NodeState,
    Replicated,
    Role,
    ServiceSpec,
    TaskSpec,
    TaskState,
    UpdateState,
)
from pyswarm.node.whatif import AddService, ChangeService, Drain, Lose, Remove, Scale
from pyswarm.runtime import MemoryNetwork
from pyswarm.runtime.executors import CallableExecutor
from pyswarm.runtime.front import Blocked, Converged, Failed
from pyswarm.runtime.storage import MemoryDirectory
from swarms import WAIT_S, executor, one_node, until


def spec(name: str, image: str = "sleeper", replicas: int = 1, **container: Any) -> ServiceSpec:
    task = TaskSpec(container=ContainerSpec(image, **container))
    return ServiceSpec(name, task, Replicated(replicas))


async def converged(service: Any) -> Converged:
    outcome = await service.wait_converged(timeout=WAIT_S)
    assert isinstance(outcome, Converged), outcome
    return outcome


# -- services


async def test_the_life_of_a_service() -> None:
    """Created, found, scaled, updated, rolled back, applied, removed."""
    async with one_node() as cluster:
        web = await cluster.services.create(spec("web", replicas=3))
        assert (web.name, web.spec.mode.replicas) == ("web", 3)
        outcome = await converged(web)
        assert [task.slot for task in outcome.tasks] == [1, 2, 3]

        for reference in ("web", web.id, web.id[:10]):
            assert await cluster.services.get(reference) == web
        assert await cluster.services.list(name="we") == [web]
        assert await cluster.services.list(name="db") == []

        await web.scale(1)
        assert len((await converged(web)).tasks) == 1
        assert len(await web.running()) == 1

        await web.update(env=["MODE=fast"], parallelism=2, monitor=0.2)
        assert web.value.spec.update.parallelism == 2
        assert web.value.spec.task.container.image == "sleeper"
        [task] = (await converged(web)).tasks
        assert task.spec.container is not None
        assert task.spec.container.env == ("MODE=fast",)

        await web.rollback()
        [task] = (await converged(web)).tasks
        assert task.spec.container is not None
        assert task.spec.container.env == ()

        again = await cluster.services.apply(spec("web", replicas=2))
        assert again == web
        assert len((await converged(again)).tasks) == 2
        version = again.value.version
        assert (await cluster.services.apply(spec("web", replicas=2))).value.version == version
        assert (await cluster.services.apply("db", image="sleeper")).name == "db"

        await web.remove()
        with pytest.raises(NotFound, match="service web not found"):
            await cluster.services.get("web")
        assert await cluster.check() == []


async def test_an_update_waits_for_its_monitor_period_if_asked() -> None:
    """Converged while the update is still watched; with ``monitored``, once it is completed."""
    async with one_node() as cluster:
        watched = await cluster.services.create("watched", image="sleeper", update_monitor=3600)
        web = await cluster.services.create("web", image="sleeper", update_monitor=0.3)
        for service in (watched, web):
            await converged(service)
            await service.force_update()
            await converged(service)
        assert watched.value.update_status.state is UpdateState.UPDATING
        with pytest.raises(DeadlineExceeded):
            await watched.wait_converged(timeout=0.1, monitored=True)
        outcome = await web.wait_converged(timeout=WAIT_S, monitored=True)
        assert isinstance(outcome, Converged)
        assert web.value.update_status.state is UpdateState.COMPLETED


async def test_an_update_that_fails_is_paused_or_rolled_back() -> None:
    """Both are typed outcomes with the reason."""
    async with one_node() as cluster:
        web = await cluster.services.create(
            "web", image="sleeper", update_monitor=0.2, restart_delay=0.05, rollback_monitor=0.1
        )
        await converged(web)
        await web.update(image="failer")
        outcome = await web.wait_converged(timeout=WAIT_S, monitored=True)
        assert isinstance(outcome, Failed)
        assert "update paused" in outcome.reason
        await web.update(image="sleeper", failure_action="rollback")
        await converged(web)
        await web.update(image="failer")
        outcome = await web.wait_converged(timeout=WAIT_S, monitored=True)
        assert isinstance(outcome, Failed)
        assert "the update was undone: rollback" in outcome.reason
        assert web.value.spec.task.container.image == "sleeper"


async def test_blocked_says_why_and_goes_on() -> None:
    """No node fits: the outcome has Swarm's sentence and the rejections; a label lets it run."""
    async with one_node() as cluster:
        db = await cluster.services.create(
            "db", image="sleeper", constraints=["node.labels.disk==ssd"]
        )
        outcome = await db.wait_converged(timeout=WAIT_S)
        assert isinstance(outcome, Blocked)
        sentence = "no suitable node (scheduling constraints not satisfied on 1 node)"
        assert outcome.reason == sentence
        [explanation] = outcome.explanations
        [rejected] = explanation.rejections["constraints"]
        assert rejected.node == "node-1"
        assert "node.labels.disk" in rejected.missing

        [task] = await db.tasks()
        assert (await task.explain()).reason == sentence
        assert [one.reason for one in await db.explain()] == [sentence]
        progress = await db.progress()
        assert (progress.wanted, progress.done, progress.waiting) == (1, 0, (sentence,))

        await cluster.node.label(disk="ssd")
        await converged(db)
        placed = await cluster.explain("db")
        assert placed[0].node == "node-1"
        assert placed[0].ranking[0].chosen


async def test_a_service_that_never_stays_up_is_late() -> None:
    """It restarts for ever, so only time ends the wait; the error says what is missing."""
    async with one_node() as cluster:
        bad = await cluster.services.create("bad", image="nowhere", restart_delay=0.05)
        with pytest.raises(DeadlineExceeded, match=r"not converge within 0\.3 s: 0 of 1 tasks"):
            await bad.wait_converged(timeout=0.3)


async def test_jobs_converge_when_they_are_done() -> None:
    async with one_node() as cluster:
        job = await cluster.services.create(
            "job", image="finisher", mode="replicated-job", replicas=3, max_concurrent=2
        )
        outcome = await converged(job)
        assert [task.state for task in outcome.tasks] == [TaskState.COMPLETE] * 3
        everywhere = await cluster.services.create("each", image="finisher", mode="global-job")
        assert len((await converged(everywhere)).tasks) == 1
        lost = await cluster.services.create(
            "lost", image="failer", mode="replicated-job", restart_condition="none"
        )
        assert isinstance(await lost.wait_converged(timeout=WAIT_S), Failed)


async def test_logs_are_read_to_the_end_or_followed() -> None:
    """The lines of a service's tasks, and of a task until it ends."""
    async with one_node() as cluster:
        web = await cluster.services.create("web", image="sleeper", replicas=2)
        tasks = (await converged(web)).tasks
        lines = [line async for line in web.logs()]
        assert sorted(line.text for line in lines) == sorted(f"hello from {t.name}" for t in tasks)
        assert {line.node_id for line in lines} == {cluster.node_id}

        job = await cluster.services.create("job", image="finisher", mode="replicated-job")
        await converged(job)
        [task] = await job.tasks()
        assert [line.text async for line in task.logs(follow=True)] == ["done"]

        async for line in web.logs(follow=True):
            if line.task_id not in {task.id for task in tasks}:
                break  # the log of a task that was made while we read
            await web.scale(3)


# -- secrets, configs, networks


async def test_secrets_and_configs_become_files() -> None:
    """Named in the service, seen by its tasks alone, sealed in the store."""
    async with one_node() as cluster:
        secret = await cluster.secrets.create("password", "hunter2", labels={"a": "b"})
        config = await cluster.configs.create("motd", b"welcome")
        assert await config.data() == b"welcome"
        web = await cluster.services.create(
            "web", image="reader", secrets=["password"], configs=[config]
        )
        await converged(web)
        assert [line.text async for line in web.logs()] == [
            "/motd=welcome",
            "/run/secrets/password=hunter2",
        ]
        await secret.update(labels={"c": "d"})
        assert secret.value.spec.labels == {"c": "d"}
        stored = (await cluster.secrets.get("password")).value
        assert stored.payload is not None
        assert b"hunter2" not in stored.payload.ciphertext
        assert not hasattr(secret, "data")


async def test_networks_come_out_of_the_pools() -> None:
    """As the guide counts them; a subnet of one's own is taken as it is."""
    pools = ("10.20.0.0/16", "10.30.0.0/16")
    async with one_node(default_addr_pools=pools, subnet_size=26) as cluster:
        one = await cluster.networks.create("net1")
        two = await cluster.networks.create("net2", attachable=True)
        assert (one.subnets, two.subnets) == (("10.20.0.0/26",), ("10.20.0.64/26",))
        assert two.value.spec.attachable
        ingress = await cluster.networks.get("ingress")
        assert ingress.subnets == ("10.30.255.192/26",)
        own = await cluster.networks.create("own", subnet="192.168.7.0/24", gateway="192.168.7.254")
        assert own.value.ipam[0].gateway == "192.168.7.254"
        swarm = await cluster.swarm()
        assert swarm.default_addr_pools == pools
        web = await cluster.services.create("web", image="sleeper", networks=["net1"])
        [task] = (await converged(web)).tasks
        assert task.networks[0].addresses[0].startswith("10.20.0.")


# -- the swarm as a whole


async def test_events_resume_and_hide_secrets() -> None:
    """From the first change on; resumed after one they go on with the next; no key is shown."""
    async with one_node() as cluster:
        web = await cluster.services.create("web", image="sleeper")
        await converged(web)
        await cluster.secrets.create("s", "hunter2")
        seen = []
        async for event in cluster.events(after=0):
            seen.append(event)
            if event.kind == "secret":
                break
        kinds = [event.kind for event in seen]
        assert {"swarm", "node", "network", "service", "task", "secret"} == set(kinds)
        task_states = [str(e.new.state) for e in seen if e.kind == "task"]
        assert task_states[0] == "assigned"
        assert task_states[-1] == "running"
        found = next(event for event in seen if event.kind == "swarm")
        assert found.new.root_ca.key == b""
        assert found.new.sealing_keys == ()
        assert found.new.root_ca.worker_token == ""
        assert seen[-1].new.payload is None
        service = next(event for event in seen if event.kind == "service")
        assert (service.action, service.name, service.is_last) == ("create", "web", False)

        last = next(event for event in seen if event.is_last)
        rest = [event for event in seen if event.version > last.version]
        again = []
        async for event in cluster.events(after=last.version):
            again.append(event)
            if len(again) == len(rest):
                break
        assert [str(event) for event in again] == [str(event) for event in rest]

        stream = cluster.events(kinds=["service"])
        await web.remove()
        async for event in stream:
            assert event.action == "remove"
            break
        else:
            pytest.fail("no event")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Any:
    """Whatever a test starts has ended when it ends."""
    yield
    assert [thread.name for thread in threading.enumerate() if "pyswarm" in thread.name] == []


async def test_status_check_and_settings() -> None:
    async with one_node(labels={"zone": "a"}) as cluster:
        await cluster.services.create("web", image="sleeper", replicas=2)
        status = await cluster.status()
        assert status.is_leader
        assert (status.role, status.leader_id) == (Role.MANAGER, cluster.node_id)
        assert status.nodes == {"ready": 1}
        assert status.services == 1
        assert sum(status.tasks.values()) == 2
        assert [manager.reachability for manager in status.managers] == ["reachable"]
        assert cluster.node.description.engine_labels["zone"] == "a"
        assert cluster.node.name == "node-1"

        swarm = await cluster.update(task_history_retention_limit=2, snapshot_interval=100)
        assert swarm.spec.task_history_retention_limit == 2
        assert swarm.spec.raft.snapshot_interval == 100
        assert swarm.spec.heartbeat_period == 5.0
        assert swarm.root_ca.key == b""
        assert (await cluster.join_token("manager")).startswith("SWMTKN-1-")
        assert await cluster.join_token(Role.MANAGER) == await cluster.join_token("manager")


async def test_what_if_changes_nothing() -> None:
    """A turn that is decided and dropped, for each kind of change."""
    async with one_node() as cluster:
        web = await cluster.services.create("web", image="sleeper", replicas=2)
        await converged(web)
        version = (await cluster.status()).version

        drained = await cluster.plan(Drain("node-1"))
        assert len(drained.stopped) == 2
        assert len(drained.unmet) == 2
        assert drained.unmet[0].reason == "no suitable node (1 node not available for new tasks)"
        assert drained.unmet[0].rejections["ready"][0].node == "node-1"
        lost = await cluster.plan(Lose("node-1"))
        assert len(lost.unmet) == 2

        added = await cluster.plan(AddService(spec("db", replicas=3)))
        assert added.placement.counts("db") == {"node-1": 3}
        assert not added.unmet
        scaled = await cluster.plan(Scale("web", 5))
        assert scaled.placement.counts("web") == {"node-1": 5}
        assert len(scaled.placement.assignments) == 3
        both = await cluster.plan([Scale("web", 0), AddService(spec("db"))])
        assert (len(both.stopped), len(both.placement.assignments)) == (2, 1)
        removed = await cluster.plan(Remove("web"))
        assert len(removed.stopped) == 2
        changed = await cluster.plan(ChangeService(spec("web", "reader", replicas=2)))
        assert any(change.kind == "service" for change in changed.changes)
        assert "tasks stop" in str(drained)

        assert (await cluster.status()).version == version
        assert [service.name for service in await cluster.services.list()] == ["web"]
        assert cluster.node.availability is Availability.ACTIVE


async def test_a_reader_that_asks_for_lost_history_is_told() -> None:
    async with one_node() as cluster:
        cluster._member.node.store._history.changes_max = 10
        for number in range(12):
            await cluster.configs.create(f"c{number}", b"x")
        with pytest.raises(Compacted):
            async for _ in cluster.events(after=1):
                pytest.fail("it is gone")


# -- starting again, leaving, stopping


@pytest.mark.parametrize("kind", ["directory", "memory"])
async def test_a_node_starts_again_from_its_state(kind: str, tmp_path: Path) -> None:
    """What was committed is there; its tasks run again; it is no second founder."""
    state: Any = MemoryDirectory() if kind == "memory" else tmp_path / "node"
    async with one_node(state_dir=state) as cluster:
        node_id = cluster.node_id
        web = await cluster.services.create("web", image="sleeper", restart_delay=0.05)
        await cluster.secrets.create("password", "hunter2")
        await converged(web)
    with pytest.raises(FailedPrecondition, match="already part of a swarm"):
        async with one_node(state_dir=state):
            pytest.fail("it was founded twice")
    async with Cluster.open(state, executor=executor(), name="node-1") as cluster:
        await cluster.wait_ready(timeout=WAIT_S)
        assert cluster.node_id == node_id
        assert [secret.name for secret in await cluster.secrets.list()] == ["password"]
        await converged(await cluster.services.get("web"))
    if kind == "directory":
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or b"hunter2" not in path.read_bytes()


async def test_open_or_init(tmp_path: Path) -> None:
    """The first time it founds, then it opens."""
    ids = []
    for _ in range(2):
        async with Cluster.open_or_init(tmp_path, executor=executor()) as cluster:
            await cluster.wait_ready(timeout=WAIT_S)
            ids.append((cluster.node_id, (await cluster.swarm()).id))
    assert ids[0] == ids[1]
    with pytest.raises(FailedPrecondition, match="holds no node"):
        async with Cluster.open(tmp_path / "empty", executor=executor()):
            pytest.fail("there is nothing")


async def test_the_last_manager_leaves_by_force(tmp_path: Path) -> None:
    """Then its directory is empty: a new swarm can be founded there."""
    async with one_node(state_dir=tmp_path) as cluster:
        swarm_id = (await cluster.swarm()).id
        with pytest.raises(FailedPrecondition, match="Removing the last manager erases"):
            await cluster.leave()
        await cluster.leave(force=True)
        assert await cluster.wait_stopped() == "left"
        with pytest.raises(Unavailable):
            await cluster.services.list()
    async with one_node(state_dir=tmp_path) as cluster:
        assert (await cluster.swarm()).id != swarm_id


async def test_own_thread() -> None:
    """The node lives in a loop of its own; everything works across, cancelling included."""
    async with one_node(own_thread=True, executor=CallableExecutor()) as cluster:
        assert "pyswarm node" in [thread.name for thread in threading.enumerate()]
        web = await cluster.services.create("web", image="nowhere", replicas=2)
        with pytest.raises(NotFound):
            await cluster.services.get("nope")
        with trio.move_on_after(0.1) as scope:
            await web.wait_converged()
        assert scope.cancelled_caught
        async for event in cluster.events(after=0):
            if event.kind == "task":
                break
        assert (await cluster.status()).is_leader
        await cluster.node.drain()
        assert (await cluster.nodes.get("self")).availability is Availability.DRAIN


async def test_an_error_in_the_block_comes_out_as_itself() -> None:
    """No group around it, with a thread or without; and the node has stopped."""
    for own_thread in (False, True):
        network = MemoryNetwork()
        with pytest.raises(ZeroDivisionError):
            async with one_node(network=network, own_thread=own_thread):
                raise ZeroDivisionError
        assert network.addrs == ()


async def test_cancelling_ends_everything_within_its_grace(tmp_path: Path) -> None:
    """The scope around a cluster is cancelled: its processes end, the asked ones gently."""
    marks = tmp_path / "marks"
    program = (
        "import pathlib, signal, sys, time\n"
        f"path = pathlib.Path({str(marks)!r})\n"
        "def end(*_):\n    path.write_text('ended well'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "path.write_text('up')\n"
        "time.sleep(600)\n"
    )
    with trio.CancelScope() as scope:
        async with Cluster.init(executor=ProcessExecutor(tmp_path / "tasks")) as cluster:
            web = await cluster.services.create("web", command=[sys.executable, "-c", program])
            [task] = (await converged(web)).tasks
            await until(lambda: marks.exists() and marks.read_text() == "up")
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert marks.read_text() == "ended well"
    assert not Path(f"/proc/{task.pid}").exists()


async def test_a_late_loop_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever blocks the loop for longer than half an election timeout reads why that is bad."""
    import time

    async with one_node() as cluster:
        time.sleep(0.5)  # noqa: ASYNC251 (this is what nobody should do)
        await until(lambda: any("loop.late" in str(record.__dict__) for record in caplog.records))
        assert cluster.node.state is NodeState.READY
