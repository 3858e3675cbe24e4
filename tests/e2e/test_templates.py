"""Placeholders from the request to the running task, on a whole node."""

from __future__ import annotations

import pytest
import trio

from pyswarm.agent import TaskContext
from pyswarm.errors import InvalidArgument
from pyswarm.runtime.executors import CallableExecutor
from swarms import WAIT_S, one_node, until


def executor(seen: list[TaskContext]) -> CallableExecutor:
    async def keep(task: TaskContext) -> None:
        seen.append(task)
        await trio.sleep_forever()

    return CallableExecutor({"keep": keep}, own_thread=False)


async def test_a_task_sees_what_the_placeholders_stand_for() -> None:
    seen: list[TaskContext] = []
    async with one_node(executor=executor(seen)) as cluster:
        await cluster.secrets.create("password", b"hunter2")
        text = 'user={{env "USER"}} password={{secret "db/pw"}} host={{.Node.Hostname}}'
        await cluster.configs.create("app", text, templating="golang")
        service = await cluster.services.create(
            name="web",
            image="keep",
            env=["USER=root", "WHO={{.Service.Name}}.{{.Task.Slot}}"],
            hostname="{{.Service.Name}}-{{.Task.Slot}}",
            secrets=["source=password,target=db/pw"],
            configs=["app"],
        )
        await service.wait_converged(timeout=WAIT_S)
        (task,) = seen
        assert (task.env["WHO"], task.container.hostname) == ("web.1", "web-1")
        hostname = cluster.node.value.description.hostname
        assert task.configs["app"] == f"user=root password=hunter2 host={hostname}".encode()
        await service.refresh()
        assert service.value.spec.task.container.hostname == "{{.Service.Name}}-{{.Task.Slot}}"


async def test_bad_templates_are_refused_when_they_come() -> None:
    async with one_node() as cluster:
        with pytest.raises(InvalidArgument) as caught:
            await cluster.services.create(name="web", image="sleeper", hostname="{{.Nope}}")
        assert str(caught.value) == (
            'expanding hostname failed: template: expansion:1:2: executing "expansion" at '
            "<.Nope>: can't evaluate field Nope in type *template.Context"
        )
        service = await cluster.services.create(name="web", image="sleeper")
        with pytest.raises(InvalidArgument, match="expanding env failed: expanding env"):
            await service.update(env=["A={{"])
        with pytest.raises(InvalidArgument, match="unclosed action"):
            await cluster.configs.create("app", "{{", templating="golang")


async def test_what_fails_on_the_node_rejects_the_task() -> None:
    async with one_node() as cluster:
        config = await cluster.configs.create("app", '{{secret "x"}}', templating="golang")
        other = await cluster.configs.create("other", "plain", templating="nosuch")
        for name, wanted in (
            ("app", f"failed to expand templated config {config.id}: template: expansion:1:2: "),
            ("other", f"failed to expand templated config {other.id}: unrecognized template type"),
        ):
            service = await cluster.services.create(name=name, image="sleeper", configs=[name])

            async def rejected(name: str = name, wanted: str = wanted) -> bool:
                tasks = await cluster.tasks.list(service=name)
                return any(str(t.state) == "rejected" and wanted in t.err for t in tasks)

            await until(rejected)
            await service.remove()
