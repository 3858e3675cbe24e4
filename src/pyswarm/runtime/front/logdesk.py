"""Lines that tasks wrote, brought from node to node.

A manager that wants the log of a task on another node asks that node for it, batch by batch
(``LogsWanted``, numbered); the node waits a little for lines and answers each question once
(``LogsGiven``), the same answer to the same question. So nothing is pushed at anyone who does not
take it, a lost message costs a repeated question, and a reader that goes away is forgotten. These
messages are the runtimes' own: the machines do not see them. Only managers are answered.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import attrs
import trio

from pyswarm.agent import LogLine, TaskGone
from pyswarm.env import system_entropy
from pyswarm.errors import SwarmError, Unavailable, from_wire
from pyswarm.runtime.node import RunningNode

BATCH_LINES_MAX = 256
"""Lines a message: some ten kilobytes, and a reader who has enough stops soon."""

POLL_S = 5.0
"""How long a node waits for lines before it answers that there are none yet."""

ANSWER_S = POLL_S + 5.0
"""A question not answered by then was lost, or the node is gone."""

ASKED_MAX = 3
"""How often one question is put before the node counts as gone."""

IDLE_S = 30.0
"""A node that is not asked on for so long stops reading for that reader."""

STREAMS_MAX = 256
"""Readers a node serves at once; each holds a log open."""

Lines = tuple[LogLine, ...]
Put = Callable[[Lines], Awaitable[None]]


@attrs.frozen
class Wish:
    """Which lines of a task are wanted."""

    task_id: str
    since: float = 0.0
    follow: bool = False
    tail: int | None = None
    """Of the streams together, as Docker counts."""
    stdout: bool = True
    stderr: bool = True

    def takes(self, line: LogLine) -> bool:
        """Whether the line is of a stream that is wanted."""
        return self.stderr if line.stream == "stderr" else self.stdout


@attrs.frozen
class LogsWanted:
    """Reader: the next lines, please. ``stream`` names the reading, ``question`` counts from 1."""

    stream: int
    question: int
    wish: Wish


@attrs.frozen
class LogsEnough:
    """Reader: no more of this."""

    stream: int


@attrs.frozen
class LogsGiven:
    """Node: what there is; ``ended``: these are the last; ``error``: why (wire form)."""

    stream: int
    question: int
    lines: Lines = attrs.field(default=(), repr=False)
    ended: bool = False
    error: dict[str, Any] | None = None


class LogDesk:
    """A node's place for logs: gives those of its own tasks, fetches those of other nodes."""

    def __init__(self, node: RunningNode, nursery: trio.Nursery) -> None:
        self._node = node
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self._serving: dict[tuple[str, int], trio.MemorySendChannel[LogsWanted]] = {}
        self._reading: dict[int, tuple[str, trio.MemorySendChannel[LogsGiven]]] = {}
        """Stream → the node that was asked, and whoever waits for its answers."""
        # Not from 1: a node that starts again at its old address must not hear old streams.
        self._streams = itertools.count(int.from_bytes(system_entropy(6), "big"))
        for kind in (LogsWanted, LogsEnough, LogsGiven):
            node.taps[kind] = self._hear

    def _hear(self, identity: Any, addr: str, message: Any) -> None:
        """A message of another node's desk; comes in any thread."""
        if identity is None or identity.swarm_id != self._node.machine.identity.swarm_id:
            return
        if not isinstance(message, LogsGiven) and not identity.is_manager:
            return
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._take, identity.node_id, addr, message)

    def _take(self, sender: str, addr: str, message: LogsWanted | LogsEnough | LogsGiven) -> None:
        if isinstance(message, LogsGiven):
            asked_of, reader = self._reading.get(message.stream, ("", None))
            if reader is not None and asked_of == sender:
                with suppress(trio.WouldBlock):
                    reader.send_nowait(message)
            return
        key = (addr, message.stream)
        asked = self._serving.get(key)
        if isinstance(message, LogsEnough):
            if asked is not None:
                asked.close()
        elif asked is not None:
            with suppress(trio.WouldBlock, trio.ClosedResourceError):
                asked.send_nowait(message)
        elif len(self._serving) < STREAMS_MAX and not self._nursery.cancel_scope.cancel_called:
            self._serving[key], questions = trio.open_memory_channel[LogsWanted](2)
            self._serving[key].send_nowait(message)
            self._nursery.start_soon(self._serve, key, message.wish, questions)

    # -- giving

    async def _serve(
        self,
        key: tuple[str, int],
        wish: Wish,
        questions: trio.MemoryReceiveChannel[LogsWanted],
    ) -> None:
        answer = LogsGiven(key[1], 0)
        try:
            async with self._batches(wish) as batches:
                while not answer.ended:
                    asked = await _next(questions)
                    if asked is None:
                        return
                    if asked.question != answer.question:
                        answer = await _answer(batches, asked)
                    self._node.send(key[0], answer)
        finally:
            del self._serving[key]

    @asynccontextmanager
    async def _batches(self, wish: Wish) -> AsyncIterator[_Batches]:
        """What this node's executor has of a task, in batches."""
        send, receive = trio.open_memory_channel[LogLine](BATCH_LINES_MAX)
        batches = _Batches(receive)
        executor = self._node.bridge.executor

        async def pump() -> None:
            lines = executor.logs(
                wish.task_id, since=wish.since, follow=wish.follow, tail=wish.tail
            )
            async with send:
                try:
                    async with aclosing(lines) as open_lines:
                        async for line in open_lines:
                            if wish.takes(line):
                                await send.send(line)
                except TaskGone:
                    pass  # nothing was written, or all of it is gone: the log is empty
                except SwarmError as problem:
                    batches.error = problem

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump)
            yield batches
            nursery.cancel_scope.cancel()

    # -- fetching

    async def fetch(self, node_id: str, addr: str, wish: Wish, put: Put) -> None:
        """``await put(lines)`` for every batch, from this node or from the one at ``addr``.

        Raises ``Unavailable`` when that node does not answer, and what its executor raised.
        """
        if node_id == self._node.machine.node_id:
            async with self._batches(wish) as batches:
                while (lines := await batches.take()) is not None:
                    await put(lines)
            if batches.error is not None:
                raise batches.error
            return
        stream = next(self._streams)
        send, answers = trio.open_memory_channel[LogsGiven](2)
        self._reading[stream] = node_id, send
        try:
            for question in itertools.count(1):
                wanted = LogsWanted(stream, question, wish)
                given = await self._question(node_id, addr, wanted, answers)
                if given.lines:
                    await put(given.lines)
                if given.error is not None:
                    raise from_wire(given.error)
                if given.ended:
                    return
        finally:
            del self._reading[stream]
            self._node.send(addr, LogsEnough(stream), node_id)

    async def _question(
        self,
        node_id: str,
        addr: str,
        wanted: LogsWanted,
        answers: trio.MemoryReceiveChannel[LogsGiven],
    ) -> LogsGiven:
        for _ in range(ASKED_MAX):
            if not self._node.send(addr, wanted, node_id):
                break
            with trio.move_on_after(ANSWER_S):
                while True:
                    given = await answers.receive()
                    if given.question == wanted.question:
                        return given
        raise Unavailable(f"the node at {addr} does not answer: its logs cannot be read")


class _Batches:
    """Lines of one task, gathered while nobody asks."""

    def __init__(self, receive: trio.MemoryReceiveChannel[LogLine]) -> None:
        self._receive = receive
        self.error: SwarmError | None = None
        """At the end: what the executor raised."""

    async def take(self) -> Lines | None:
        """What is there, at least one line; None at the end."""
        try:
            lines = [await self._receive.receive()]
        except trio.EndOfChannel:
            return None
        while len(lines) < BATCH_LINES_MAX:
            try:
                lines.append(self._receive.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        return tuple(lines)


async def _next(questions: trio.MemoryReceiveChannel[LogsWanted]) -> LogsWanted | None:
    """The reader's next question; None when it has enough, or is gone."""
    with trio.move_on_after(IDLE_S), suppress(trio.EndOfChannel):
        return await questions.receive()
    return None


async def _answer(batches: _Batches, asked: LogsWanted) -> LogsGiven:
    """The answer to one question: lines, or that there are none yet, or that it is over."""
    with trio.move_on_after(POLL_S):
        lines = await batches.take()
        if lines is not None:
            return LogsGiven(asked.stream, asked.question, lines)
        error = batches.error.to_wire() if batches.error is not None else None
        return LogsGiven(asked.stream, asked.question, (), True, error)
    return LogsGiven(asked.stream, asked.question)
