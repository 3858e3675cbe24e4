"""Updates as people make them: by forms, with progress; rotation of secrets; drivers."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from pyswarm import blocking
from pyswarm.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from pyswarm.model import TaskState, UpdateState
from pyswarm.runtime.drivers import DriverRequest
from pyswarm.runtime.executors import CallableExecutor
from pyswarm.runtime.front import Converged, Failed
from pyswarm.testing import LocalSwarm
from swarms import IMAGES, WAIT_S, one_node, until

QUICK: dict[str, Any] = {"update_monitor": 0.2, "rollback_monitor": 0.2, "restart_delay": 0.1}


async def lines_of(service: Any) -> list[str]:
    """What the running tasks of a service have written, in order of slots."""
    found = []
    for task in sorted(await service.running(), key=lambda one: one.slot):
        found += [line.text async for line in task.logs()]
    return found


async def shows(service: Any, lines: list[str]) -> None:
    """Its tasks have written these lines; what has just started may still be about to."""

    async def seen() -> bool:
        return await lines_of(service) == lines

    with suppress(trio.TooSlowError):
        await until(seen)
    assert await lines_of(service) == lines


async def settled(service: Any) -> None:
    outcome = await service.wait_converged(timeout=WAIT_S)
    assert isinstance(outcome, Converged), outcome


# -- updates


async def test_forms_change_what_they_name() -> None:
    async with one_node() as cluster:
        net = await cluster.networks.create("back")
        web = await cluster.services.create(
            "web", image="sleeper", env={"A": "1"}, ports=["8080:80"], labels={"x": "1"}, **QUICK
        )
        await web.update(
            env_add={"B": "2"}, env_rm="A", publish_add="8081:81", label_add={"y": "2"},
            network_add="back", constraint_add="node.role==manager", args=["-v"],
        )  # fmt: skip
        spec = web.value.spec
        assert spec.task.container.env == ("B=2",)
        assert spec.task.container.args == ("-v",)
        assert [port.published_port for port in spec.endpoint.ports] == [8080, 8081]
        assert spec.task.networks[0].target == net.id
        assert spec.labels == {"x": "1", "y": "2"}
        await settled(web)
        await web.update(network_rm="back")
        assert web.value.spec.task.networks == ()
        before = web.value
        for changes, error in (
            ({"env_rm": "A"}, NotFound),
            ({"network_rm": "nowhere"}, NotFound),
            ({"env": {}, "env_add": {"C": "3"}}, InvalidArgument),
            ({"max_failure_ratio": 1.5}, InvalidArgument),
            ({"delay": -1}, InvalidArgument),
            ({"rollback_delay": "-1s"}, InvalidArgument),
            ({"secret_add": "nobody"}, NotFound),
        ):
            with pytest.raises(error):
                await web.update(**changes)
        assert await web.refresh() == before, "nothing half done"
        await web.remove()
        with pytest.raises(NotFound):
            await web.update(env_add="C=3")
        with pytest.raises(NotFound):
            await web.rollback()


async def test_rollback_without_a_previous_spec() -> None:
    async with one_node() as cluster:
        web = await cluster.services.create("web", image="sleeper")
        with pytest.raises(FailedPrecondition, match="does not have a previous spec"):
            await web.rollback()


async def test_progress_ends_with_the_outcome() -> None:
    async with one_node() as cluster:
        web = await cluster.services.create("web", image="sleeper", replicas=3, **QUICK)
        await settled(web)
        await web.update(env_add="A=1")
        with trio.fail_after(WAIT_S):
            steps = [step async for step in web.update_progress()]
        assert steps[-1].is_last
        assert isinstance(steps[-1].outcome, Converged)
        assert steps[-1].state is UpdateState.COMPLETED
        assert str(steps[-1]) == "verify: Service web converged"
        assert [step.done for step in steps] == sorted(step.done for step in steps)
        assert (steps[-1].done, steps[-1].total, steps[-1].fraction) == (3, 3, 1.0)
        assert any(str(step).startswith("overall progress: ") for step in steps)
        assert any(str(step).startswith("verify: Waiting 1 seconds") for step in steps)
        assert any(slot.name.startswith("web.") for step in steps for slot in step.slots)

        await web.update(image="failer")
        with trio.fail_after(WAIT_S):
            steps = [step async for step in web.update_progress()]
        assert isinstance(steps[-1].outcome, Failed)
        assert steps[-1].state is UpdateState.PAUSED
        assert str(steps[-1]).startswith("update paused due to failure or early termination of")
        assert steps[-1].failures == 1

        await web.rollback()
        with trio.fail_after(WAIT_S):
            steps = [step async for step in web.update_progress()]
        assert steps[-1].state is UpdateState.ROLLBACK_COMPLETED
        assert any(str(step).startswith("rolling back update: ") for step in steps)


async def test_force_spreads_tasks_anew() -> None:
    async with LocalSwarm(1, 2, images=IMAGES) as swarm:
        cluster = swarm.managers[0]
        nodes = await cluster.nodes.list()
        for node in nodes[1:]:
            await node.drain()
        web = await cluster.services.create("web", image="sleeper", replicas=3, **QUICK)
        await settled(web)
        for node in nodes[1:]:
            await node.activate()
        await web.update(force=True, parallelism=0)
        await settled(web)
        assert len({task.node_id for task in await web.running()}) == 3


# -- payloads


async def test_payloads_come_from_anywhere(tmp_path: Path) -> None:
    class Slow:
        def __init__(self, data: bytes) -> None:
            self._file = io.BytesIO(data)

        async def read(self, size: int) -> bytes:
            await trio.lowlevel.checkpoint()
            return self._file.read(min(size, 3))

    file = tmp_path / "payload"
    file.write_bytes(b"\0from a file\xff")
    async with one_node() as cluster:
        configs = cluster.configs
        for name, source, expected in (
            ("bytes", b"\0\xff", b"\0\xff"),
            ("text", "grün", "grün".encode()),
            ("file", file, b"\0from a file\xff"),
            ("reader", io.BytesIO(b"from a reader"), b"from a reader"),
            ("text-reader", io.StringIO("grün"), "grün".encode()),
            ("slow", Slow(b"from a slow reader"), b"from a slow reader"),
        ):
            assert await (await configs.create(name, source)).data() == expected
        for number, wrong in enumerate(
            (b"", "", io.BytesIO(b"x" * 512_000), tmp_path / "none", tmp_path, 7, None)
        ):
            with pytest.raises(InvalidArgument) as caught:
                await cluster.secrets.create(f"wrong-{number}", wrong)  # type: ignore[arg-type]
            assert "xxx" not in str(caught.value)
        await cluster.secrets.create("large", io.BytesIO(b"x" * 511_999))
        with pytest.raises(AlreadyExists, match="secret LARGE already exists"):
            await cluster.secrets.create("LARGE", b"x")


async def test_a_secret_twice_under_one_target() -> None:
    async with one_node() as cluster:
        for name in ("a", "b"):
            await cluster.secrets.create(name, name)
        web = await cluster.services.create("web", image="reader", secrets=["a"], **QUICK)
        with pytest.raises(InvalidArgument, match="have a conflicting target: 'a'"):
            await web.update(secret_add={"source": "b", "target": "a"})
        await web.update(secret_rm="a", secret_add={"source": "b", "target": "a"})
        await settled(web)
        await shows(web, ["/run/secrets/a=b"])


async def test_rotation_moves_every_service_and_removes_the_old_version() -> None:
    async with one_node() as cluster:
        old = await cluster.secrets.create("key", "one", labels={"team": "x"})
        await cluster.configs.create("app.conf", "mode=1")
        web = await cluster.services.create(
            "web", image="reader", replicas=2, secrets=["key"], configs=["app.conf"], **QUICK
        )
        db = await cluster.services.create(
            "db", image="reader", secrets=[{"source": "key", "target": "/etc/key.pem"}], **QUICK
        )
        for service in (web, db):
            await settled(service)
        new = await cluster.secrets.rotate("key", b"two", timeout=WAIT_S)
        assert (new.name, new.spec.labels) == ("key_v2", {"team": "x"})
        assert [secret.name for secret in await cluster.secrets.list()] == ["key_v2"]
        await shows(web, ["/app.conf=mode=1", "/run/secrets/key=two"] * 2)
        await shows(db, ["/etc/key.pem=two"])
        with pytest.raises(NotFound):
            await old.refresh()
        third = await cluster.secrets.rotate("key", "three", timeout=WAIT_S)
        assert third.name == "key_v3", "by the first version's name"
        await shows(db, ["/etc/key.pem=three"])
        await cluster.configs.rotate("app.conf", "mode=2", timeout=WAIT_S)
        assert [config.name for config in await cluster.configs.list()] == ["app.conf_v2"]
        await shows(web, ["/app.conf=mode=2", "/run/secrets/key=three"] * 2)
        with pytest.raises(InvalidArgument, match=r"config not found: app\.conf"):
            await web.rollback()  # what it would go back to is gone
        with pytest.raises(InvalidArgument):
            await cluster.secrets.rotate("key_v3", "")
        with pytest.raises(NotFound):
            await cluster.secrets.rotate("nobody", "x")
        assert [secret.name for secret in await cluster.secrets.list()] == ["key_v3"]


async def test_a_rotation_that_fails_keeps_the_old_version() -> None:
    async with one_node() as cluster:
        await cluster.secrets.create("key", "good")

        async def picky(task: Any) -> None:
            if task.secrets[next(iter(task.secrets))] != b"good":
                raise ValueError("this key is bad")
            await trio.sleep_forever()

        cluster._member.node.bridge.executor.register("picky", picky)
        options = {**QUICK, "update_monitor": 5, "update_failure_action": "rollback"}
        web = await cluster.services.create("web", image="picky", secrets=["key"], **options)
        await settled(web)
        with pytest.raises(FailedPrecondition, match="key_v2 was not taken by every service"):
            await cluster.secrets.rotate("key", "bad", timeout=WAIT_S)
        assert [one.name for one in await cluster.secrets.list()] == ["key", "key_v2"]
        await settled(web)
        [ref] = web.value.spec.task.container.secrets
        assert ref.secret_name == "key"
        await web.update(constraint_add="node.labels.none==1")  # cannot be placed
        with pytest.raises(FailedPrecondition, match="no suitable node"):
            await cluster.secrets.rotate("key", "good", timeout=WAIT_S)
        await web.update(constraint_rm="node.labels.none==1")
        await settled(web)
        await web.refresh()
        [ref] = web.value.spec.task.container.secrets
        assert ref.secret_name == "key_v3", "where the rotation that was blocked left it"
        last = await cluster.secrets.rotate("key", "good", timeout=WAIT_S)
        await web.refresh()
        [ref] = web.value.spec.task.container.secrets
        assert ref.secret_name == last.name == "key_v4"
        assert [one.name for one in await cluster.secrets.list()] == ["key_v2", "key_v4"]


# -- drivers


async def test_drivers_bring_payloads_when_tasks_need_them() -> None:
    asked: list[DriverRequest] = []

    async def vault(request: DriverRequest) -> bytes:
        asked.append(request)
        await trio.lowlevel.checkpoint()
        return f"{request.name} for {request.service_name}".encode()

    def plain(request: DriverRequest) -> str:
        return request.options["text"]

    def broken(request: DriverRequest) -> str:
        raise OSError("the password is 1234")

    async with LocalSwarm(1, 1, images=IMAGES) as swarm:
        cluster = swarm.managers[0]
        with pytest.raises(NotFound, match='plugin "vault" not found'):
            await cluster.secrets.create("key", driver="vault")
        cluster.secrets.register_driver("vault", vault)
        cluster.secrets.register_driver("plain", plain)
        cluster.secrets.register_driver("broken", broken)
        await cluster.secrets.create("key", driver="vault", labels={"team": "x"})
        await cluster.configs.create("conf", driver="plain", driver_options={"text": "a=1"})
        await cluster.secrets.create("bad", driver="broken")
        with pytest.raises(InvalidArgument):
            await cluster.secrets.create("both", b"x", driver="vault")
        web = await cluster.services.create(
            "web", image="reader", mode="global", secrets=["key"], configs=["conf"], **QUICK
        )
        await settled(web)
        await shows(web, ["/conf=a=1", "/run/secrets/key=key for web"] * 2)
        assert len(asked) == 2
        assert {request.node_id for request in asked} == {
            node.id for node in await cluster.nodes.list()
        }
        assert asked[0].labels == {"team": "x"}
        assert asked[0].image == "reader"

        bad = await cluster.services.create(
            "bad", image="reader", secrets=["bad"], restart_condition="none"
        )

        async def rejected() -> bool:
            tasks = await bad.tasks()
            return bool(tasks) and tasks[0].state is TaskState.REJECTED

        await until(rejected)
        [task] = await bad.tasks()
        assert task.err == "secret bad: driver broken failed: OSError"
        assert await web.running(), "nobody else is held up"
        with pytest.raises(InvalidArgument, match="a driver brings secret key"):
            await cluster.secrets.rotate("key", "x")


# -- health


async def test_an_update_waits_for_health_and_goes_back_without_it() -> None:
    async def healthy(task: Any) -> bool:
        await trio.lowlevel.checkpoint()
        return "ILL=1" not in task.container.env

    executor = CallableExecutor({"sleeper": IMAGES["sleeper"]}, checks={"healthy": healthy})
    async with one_node(executor=executor) as cluster:
        web = await cluster.services.create(
            "web", image="sleeper", replicas=2,
            healthcheck={"test": ["CMD", "healthy"], "interval": "20ms", "retries": 2},
            update_failure_action="rollback", stop_grace_period=1, **QUICK,
        )  # fmt: skip
        await settled(web)
        assert all(task.value.takes_traffic for task in await web.running())
        await web.update(env_add="ILL=1", order="start-first")
        with trio.fail_after(WAIT_S):
            steps = [step async for step in web.update_progress()]
        assert isinstance(steps[-1].outcome, Failed)
        assert str(steps[-1]).startswith("the update was undone: ")
        assert len(await web.running()) == 2, "start-first: the healthy ones never stopped"
        web = await cluster.services.get("web")
        await settled(web)
        assert web.value.spec.task.container.env == ()
        errors = {task.err for task in await web.tasks() if task.state is TaskState.FAILED}
        assert errors == {"task: non-zero exit (137): dockerexec: unhealthy container"}


def test_the_blocking_front_door_has_all_of_it() -> None:
    with blocking.Cluster.init(executor=CallableExecutor(IMAGES)) as cluster:
        cluster.secrets.create("key", io.BytesIO(b"one"))
        web = cluster.services.create("web", image="reader", secrets=["key"], **QUICK)
        web.update(env_add={"A": "1"}, force=True)
        steps = [str(step) for step in web.update_progress()]
        assert steps[-1] == "verify: Service web converged"
        assert cluster.secrets.rotate("key", "two", timeout=WAIT_S).name == "key_v2"
        assert web.wait_converged(timeout=WAIT_S)
