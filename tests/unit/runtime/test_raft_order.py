"""In what order a member does what a leader's append asks of it: the leader waits for one part."""

from __future__ import annotations

from functools import partial
from math import nan
from typing import Any

import msgpack
import pytest
import trio
from trio.testing import MockClock

from pyswarm.errors import InvalidArgument
from pyswarm.raft import Entry, EntryKind
from pyswarm.raft.message import AppendEntries, AppendReply
from pyswarm.raft.wire import from_form, to_form
from pyswarm.runtime.raftgreeting import FRAME_VERSION
from pyswarm.runtime.raftnode import RaftNode, run_raft
from pyswarm.runtime.raftpeers import Frame
from pyswarm.runtime.rafttransport import Receive
from pyswarm.runtime.storage import MemoryStorage
from pyswarm.runtime.storage.protocol import Batch, Done

FOUNDERS = {1: "a", 2: "b", 3: "c"}


class Story:
    """A member's machine, disk and wire, which note what is done with them."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def apply(self, command: bytes) -> None:
        self.told.append("applied")

    def snapshot(self) -> bytes:
        return b""

    def restore(self, data: bytes) -> None:
        assert data == b""


class QuickDisk(MemoryStorage):
    """What is written is there before ``submit`` returns."""

    def __init__(self, story: Story) -> None:
        super().__init__()
        self.story = story

    def submit(self, batch: Batch, done: Done, *, prompt: bool = False) -> None:
        self._write(batch)
        if batch.entries:
            self.story.told.append("written")
        done(None)


class Wire:
    """Frames leave at ``flush``."""

    address = "a"

    def __init__(self, story: Story) -> None:
        self.story = story
        self.waiting: list[str] = []

    def send(self, address: str, frame: bytes) -> None:
        _, kind, content = msgpack.unpackb(frame, use_list=False)
        if kind == Frame.MESSAGE and isinstance(from_form(content), AppendReply):
            self.waiting.append("acknowledged")

    def flush(self) -> None:
        self.story.told += self.waiting
        self.waiting.clear()

    async def run(self, receive: Receive, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()


def frame(kind: Frame, content: Any) -> bytes:
    packed: bytes = msgpack.packb((FOUNDERS[2], kind, content))
    return packed


def test_a_follower_writes_then_acknowledges_then_applies() -> None:
    async def main() -> None:
        story = Story()
        wire, disk = Wire(story), QuickDisk(story)
        async with run_raft(RaftNode(story, disk, wire, id=1, founders=FOUNDERS)) as node:
            await trio.sleep(0.01)
            entry = Entry(2, 2, EntryKind.NORMAL, b"x")
            append = AppendEntries(1, 2, 2, node.replica.epoch, 1, 1, (entry,), 2)
            greeting = (FRAME_VERSION, False, 2, b"")
            story.told.clear()
            node.receive([frame(Frame.GREETING, greeting)])
            node.receive([frame(Frame.MESSAGE, to_form(append))])
            assert story.told == ["written", "acknowledged", "applied"]

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("timeout", [-1.0, nan])
async def test_what_is_no_timeout_is_refused(timeout: float) -> None:
    story = Story()
    async with run_raft(
        RaftNode(story, QuickDisk(story), Wire(story), id=1, founders=FOUNDERS)
    ) as node:
        for verb in (partial(node.propose, b"x"), partial(node.promote, 2), node.read):
            with pytest.raises(InvalidArgument, match="0 or more"):
                await verb(timeout=timeout)
