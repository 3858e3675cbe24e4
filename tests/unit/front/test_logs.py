"""Logs of a service as a reader gets them: what is missing is told at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trio

from pyswarm.agent import LogLine
from pyswarm.api.messages import Response
from pyswarm.errors import NotFound, SwarmError, Unavailable, Unimplemented
from pyswarm.machine import Because
from pyswarm.model import LogDriver, Node, NodeState, Task, TaskSpec, TaskState
from pyswarm.runtime.engine import Engine
from pyswarm.runtime.front.logdesk import Put, Wish
from pyswarm.runtime.front.logs import INCOMPLETE, LogOptions, read_logs
from pyswarm.runtime.http import Streaming
from pyswarm.store import Store
from unit.api.test_recorded_errors import INIT, hosted

JSON = {"content-type": "application/json"}
NOBODY = Unavailable("the node does not answer")


class Desk:
    """Each task wrote its id, on a node that answers or not."""

    def __init__(self, broken: Mapping[str, SwarmError]) -> None:
        self.broken = broken
        self.asked: list[str] = []

    async def fetch(self, node_id: str, addr: str, wish: Wish, put: Put) -> None:
        self.asked.append(wish.task_id)
        if problem := self.broken.get(node_id):
            raise problem
        await put((LogLine("stdout", 1.0, wish.task_id.encode()),))


def task(id: str, node: str, state: TaskState = TaskState.RUNNING, driver: str = "") -> Task:
    log = LogDriver(driver) if driver else None
    return Task(id, "s", TaskSpec(), slot=1, node_id=node, state=state, log_driver=log)


async def read(
    desk: Desk, tasks: Iterable[Task], task_id: str = "", **options: Any
) -> tuple[list[str], SwarmError | None]:
    """The lines, and the error at the end."""
    store = Store()
    tx = store.begin(1, 1.0)
    for id, state in (("up", NodeState.READY), ("mute", NodeState.READY), ("down", NodeState.DOWN)):
        tx.create(Node(id=id, state=state), Because("test"))
    store.install(tx)

    async def done() -> None:
        await trio.lowlevel.checkpoint()

    async def run(function: Any) -> Any:
        return await function()

    calls = count()

    def which(_: Any) -> Iterable[Task]:
        if next(calls):
            raise NotFound("the service was removed")
        return tasks

    lines: list[str] = []
    async with trio.open_nursery() as nursery:
        node = SimpleNamespace(store=store, barrier=done, wait_changed=done)
        node.clock = SimpleNamespace(realtime=lambda: 9.0)
        loop = SimpleNamespace(run=run, soon=lambda function: function())
        member: Any = SimpleNamespace(
            node=node, desk=desk, nursery=nursery, loop=loop, check_alive=lambda: None
        )
        wish: LogOptions = {**options}  # type: ignore[typeddict-item]
        try:
            async for line in read_logs(member, which, wish, task_id=task_id):
                lines.append(line.text)
        except SwarmError as error:
            return sorted(lines), error
        finally:
            nursery.cancel_scope.cancel()
    return sorted(lines), None


async def test_lines_of_nodes_that_are_away_are_missed_at_the_end() -> None:
    desk = Desk({"mute": NOBODY})
    where = {"a": "up", "b": "down", "c": "mute", "d": "gone", "e": "down"}
    lines, error = await read(desk, [task(id, node) for id, node in where.items()])
    assert lines == ["a"]
    assert isinstance(error, Unavailable)
    reasons = [f"node {id} is not available" for id in ("down", "gone", "mute")]
    assert sorted(error.details["reasons"]) == reasons, "each node once"
    assert error.message == INCOMPLETE + ", ".join(error.details["reasons"])
    assert sorted(desk.asked) == ["a", "c"], "nobody asks a node that is down"


async def test_what_is_missing_of_one_task() -> None:
    lines, error = await read(Desk({}), [task("a", "down")], "a")
    assert (lines, str(error)) == ([], INCOMPLETE + "node down is not available")
    lines, error = await read(Desk({}), [task("a", "", TaskState.PENDING)], "a")
    assert (lines, str(error)) == ([], INCOMPLETE + "task a has not been scheduled")
    lines, error = await read(Desk({}), [task("a", "", TaskState.PENDING)])
    assert (lines, error) == ([], None), "a service's has written nothing yet"


async def test_a_log_driver_that_keeps_nothing() -> None:
    text = "configured logging driver does not support reading"
    lines, error = await read(Desk({}), [task("a", "up"), task("b", "up", driver="none")])
    assert (lines, str(error)) == (["a"], f"{INCOMPLETE}task b: {text}")
    lines, error = await read(Desk({}), [task("b", "up", driver="none")], "b")
    assert isinstance(error, Unimplemented)
    assert (lines, error.message) == ([], text)


async def test_who_follows_a_service_gets_what_there_is() -> None:
    tasks = [task("a", "up"), task("b", "down"), task("c", "up", driver="none")]
    assert await read(Desk({}), tasks, follow=True) == (["a"], None)
    _, error = await read(Desk({}), [task("b", "down")], "b", follow=True)
    assert isinstance(error, Unavailable), "of one task that is all"


async def test_a_client_of_the_engine_api_is_told_in_the_stream(tmp_path: Path) -> None:
    async with hosted(tmp_path) as host:
        await host.init(INIT)
        engine = Engine(host)
        template = {
            "ContainerSpec": {"Image": "x"},
            "Placement": {"Constraints": ["node.role==worker"]},
        }
        body = json.dumps({"Name": "web", "TaskTemplate": template}).encode()
        made = await engine.respond("POST", "/services/create", JSON, body)
        assert isinstance(made, Response) and made.status == 201
        listed = await engine.respond("GET", "/tasks", {}, b"")
        assert isinstance(listed, Response)
        [waiting] = json.loads(listed.body)
        said = await engine.respond("GET", f"/tasks/{waiting['ID']}/logs?stdout=1", {}, b"")
        assert isinstance(said, Streaming)
        parts = [said.head.encode(item) async for item in said.items]
        service = await engine.respond("GET", "/services/web/logs?stdout=1", {}, b"")
        assert isinstance(service, Streaming)
        assert [item async for item in service.items] == []
    reason = f"{INCOMPLETE}task {waiting['ID']} has not been scheduled"
    text = f"Error grabbing logs: rpc error: code = Unknown desc = {reason}\n".encode()
    assert parts == [b"\3\0\0\0" + len(text).to_bytes(4, "big") + text]
