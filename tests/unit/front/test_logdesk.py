"""A node that gives lines to a reader elsewhere, and the reader goes away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pyswarm.agent import LogLine
from pyswarm.errors import InvalidArgument, SwarmError
from pyswarm.runtime.front.logdesk import (
    POLL_S,
    LogDesk,
    LogsEnough,
    LogsGiven,
    LogsWanted,
    Wish,
)

READER, READER_ADDR, STREAM = SimpleNamespace(swarm_id="s", is_manager=True, node_id="m"), "a", 7


class Node:
    """What a desk needs of its node: an executor whose one task wrote a line and goes on."""

    def __init__(self) -> None:
        self.taps: dict[type, Any] = {}
        self.machine = SimpleNamespace(identity=SimpleNamespace(swarm_id="s"), node_id="w")
        self.bridge = SimpleNamespace(executor=self)
        self.error: SwarmError | None = None
        self.open_logs = 0
        self.sent: list[Any] = []

    async def logs(self, task_id: str, **options: Any) -> AsyncIterator[LogLine]:
        self.open_logs += 1
        try:
            yield LogLine("stdout", 1.0, b"hello")
            if self.error is not None:
                raise self.error
            await trio.sleep_forever()
        finally:
            self.open_logs -= 1

    def send(self, addr: str, message: Any, node_id: str = "") -> bool:
        self.sent.append(message)
        return True

    def hear(self, message: Any) -> None:
        self.taps[type(message)](READER, READER_ADDR, message)


@pytest.mark.parametrize("answered", [1, 2])
def test_a_reader_that_has_enough_ends_its_stream_and_nothing_else(answered: int) -> None:
    """Between two questions, and while the node waits for lines."""

    async def main() -> None:
        node = Node()
        async with trio.open_nursery() as nursery:
            desk = LogDesk(node, nursery)  # type: ignore[arg-type]
            for question in range(1, answered + 1):
                node.hear(LogsWanted(STREAM, question, Wish("t", follow=True)))
                await trio.sleep(1)
            [given] = node.sent
            assert isinstance(given, LogsGiven)
            assert [line.data for line in given.lines] == [b"hello"]
            assert node.open_logs == 1
            node.hear(LogsEnough(STREAM))
            await trio.sleep(POLL_S)
            assert node.open_logs == 0
            node.hear(LogsWanted(STREAM + 1, 1, Wish("t")))
            await trio.sleep(1)
            assert node.sent[-1].stream == STREAM + 1, "the next reader is served"
            assert desk is not None
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_logs_that_cannot_be_read_are_an_error_of_their_reader_alone() -> None:
    """Of a task here as of one on another node."""
    node, taken = Node(), []
    node.error = InvalidArgument("the log driver cannot read")

    async def put(lines: Any) -> None:
        taken.extend(lines)

    async with trio.open_nursery() as nursery:
        desk = LogDesk(node, nursery)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="cannot read"):
            await desk.fetch("w", "", Wish("t"), put)
        assert [line.data for line in taken] == [b"hello"]
        for question in (1, 2):
            node.hear(LogsWanted(STREAM, question, Wish("t")))
            await wait_all_tasks_blocked()
        assert node.sent[-1].ended
        assert node.sent[-1].error["message"] == "the log driver cannot read"
