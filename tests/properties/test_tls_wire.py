"""Whatever nodes say survives the wire; whatever is no message is refused by a typed error."""

from __future__ import annotations

from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.errors import InvalidArgument, NotFound, Unavailable
from pyswarm.model import (
    Identity,
    Node,
    NodeDescription,
    NodeSpec,
    Role,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
)
from pyswarm.model.objects import TaskStatus
from pyswarm.model.requests import CreateService, JoinNode, LeaveNode, RemoveTask, Request
from pyswarm.model.session import (
    Assignments,
    Dependency,
    Heartbeat,
    HeartbeatAnswer,
    ManagerAddress,
    OpenSession,
    Plain,
    ReportStatus,
    SessionChanged,
    SessionOpened,
    SessionRefused,
    StatusRecorded,
)
from pyswarm.node.messages import Farewell, ForwardReply, ForwardRequest, RaftPacket
from pyswarm.raft import Entry, EntryKind
from pyswarm.raft.message import AppendEntries, VoteRequest
from pyswarm.runtime.tls import frames, wire

word = st.text(max_size=12)
number = st.integers(0, 2**31)
managers = st.lists(st.builds(ManagerAddress, word, word), max_size=3).map(tuple)
identity = st.none() | st.builds(Identity, word, st.sampled_from(Role), word)
description = st.builds(
    NodeDescription, hostname=word, engine_labels=st.dictionaries(word, word, max_size=2)
)
node = st.builds(
    Node, st.just("n1"), spec=st.builds(NodeSpec), description=st.none() | description, addr=word
)
task = st.builds(Task, word, st.just("s1"), st.just(TaskSpec()), slot=number)
status = st.builds(TaskStatus, state=st.sampled_from(TaskState), message=word)
service = st.builds(Service, word, st.just(ServiceSpec("web", TaskSpec())))
body = st.one_of(
    st.builds(CreateService, st.just(ServiceSpec("web", TaskSpec()))),
    st.builds(LeaveNode, word, st.booleans()),
    st.builds(RemoveTask, word),
    st.builds(JoinNode, word, word, word, st.none() | description),
)
dependency = st.builds(
    Dependency, st.just("secret"), word, word, st.builds(Plain, st.binary(max_size=20))
)
entries = st.lists(st.binary(max_size=30), max_size=3).map(
    lambda all: tuple(Entry(6 + i, 2, EntryKind.NORMAL, data) for i, data in enumerate(all))
)
raft = st.one_of(
    st.builds(VoteRequest, number, number, number, number, number, number),
    st.builds(
        AppendEntries, number, number, st.just(3), number, st.just(5), st.just(2), entries, number
    ),
)
value = st.none() | node | service | task
MESSAGES = st.one_of(
    st.builds(RaftPacket, raft),
    st.builds(ForwardRequest, number, st.builds(Request, word, body, identity)),
    st.builds(ForwardReply, number, value),
    st.builds(Farewell, word, st.booleans()),
    st.builds(OpenSession, word, description),
    st.builds(Heartbeat, word),
    st.builds(ReportStatus, word, number, st.lists(st.tuples(word, status)).map(tuple)),
    st.builds(SessionOpened, word, st.floats(0, 100), node, managers),
    st.builds(SessionRefused, word, word, word, word),
    st.builds(HeartbeatAnswer, word, st.floats(0, 100), number),
    st.builds(SessionChanged, word, node, managers),
    st.builds(
        Assignments,
        word,
        number,
        st.booleans(),
        st.lists(task, max_size=2).map(tuple),
        st.lists(word, max_size=2).map(tuple),
        st.lists(dependency, max_size=2).map(tuple),
    ),
    st.builds(StatusRecorded, word, number),
)


@settings(max_examples=150, deadline=None)
@given(MESSAGES)
def test_a_message_arrives_as_it_was(message: Any) -> None:
    kind, found = wire.decode(wire.encode(message))
    assert kind.cls is type(message)
    assert found == message


@pytest.mark.parametrize("error", [NotFound("no such service", hint="look"), Unavailable("later")])
def test_an_error_keeps_its_class(error: Any) -> None:
    _, found = wire.decode(wire.encode(ForwardReply(7, error=error)))
    assert type(found.error) is type(error)
    assert found.error.to_wire() == error.to_wire()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        wire.decode(data)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | word
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(number | word, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([kind.number for kind in wire.kinds()]), plain)
def test_any_content_is_a_message_or_refused(number: int, content: Any) -> None:
    try:
        _, found = wire.decode(msgpack.packb((wire.WIRE_VERSION, number, content)))
    except InvalidArgument:
        return
    assert wire.decode(wire.encode(found))[1] == found or "nan" in repr(found)


@settings(max_examples=150, deadline=None)
@given(MESSAGES, st.data())
def test_a_message_with_a_flipped_byte_is_a_message_or_refused(message: Any, data: Any) -> None:
    raw = bytearray(wire.encode(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        wire.decode(bytes(raw))
    except InvalidArgument:
        pass


def test_another_version_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="version 9"):
        wire.decode(msgpack.packb((9, 13, {})))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(wire.Lane), st.integers(0, 200_000)), max_size=8),
    st.integers(1, 100_000),
)
def test_fragments_bring_whole_messages(sizes: list[tuple[wire.Lane, int]], step: int) -> None:
    """Cut anywhere, each lane's messages arrive whole and in order."""
    queue, reader = frames.SendQueue(), frames.FrameReader()
    sent: dict[wire.Lane, list[bytes]] = {lane: [] for lane in wire.Lane}
    for i, (lane, size) in enumerate(sizes):
        message = bytes([i, lane]) + b"x" * size
        sent[lane].append(message)
        assert queue.put(lane, message)
    stream = b""
    while fragment := queue.next_fragment():
        stream += fragment
    assert not queue
    assert queue.waiting_bytes == 0
    got: list[bytes] = []
    for start in range(0, len(stream), step):
        got += reader.feed(stream[start : start + step])
    for lane in wire.Lane:
        assert [one for one in got if one[1] == lane] == sent[lane]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    try:
        frames.FrameReader(1000).feed(data)
    except InvalidArgument:
        pass


def test_a_small_message_overtakes_a_large_one() -> None:
    queue, reader = frames.SendQueue(), frames.FrameReader()
    queue.put(wire.Lane.BULK, b"b" * 1_000_000)
    stream = queue.next_fragment()
    queue.put(wire.Lane.PULSE, b"beat")
    stream += queue.next_fragment()
    assert reader.feed(stream) == [b"beat"]


def test_an_oversized_message_is_refused_by_its_first_frame() -> None:
    queue = frames.SendQueue()
    queue.put(wire.Lane.COMMON, b"x" * 100_000)
    with pytest.raises(InvalidArgument, match="over 50000"):
        frames.FrameReader(50_000).feed(queue.next_fragment())


def test_a_full_queue_takes_nothing_more() -> None:
    queue = frames.SendQueue(limit=100)
    assert queue.put(wire.Lane.COMMON, b"x" * 90)
    assert not queue.put(wire.Lane.COMMON, b"x" * 20)
    assert queue.put(wire.Lane.PULSE, b"x" * 10)


def test_what_has_not_begun_can_be_taken_back() -> None:
    queue = frames.SendQueue()
    for i in range(3):
        queue.put(wire.Lane.COMMON, bytes([i]) * 100_000)
    queue.next_fragment()
    assert [message[0] for _, message in queue.take_whole()] == [1, 2]
    assert queue.waiting_bytes == 100_000


def test_every_message_says_who_may_send_it() -> None:
    assert {attrs.has(kind.cls) for kind in wire.kinds()} == {True}
    managers_only = {kind.cls for kind in wire.kinds() if kind.sender is wire.Sender.MANAGER}
    assert {RaftPacket, ForwardRequest, Assignments} <= managers_only
