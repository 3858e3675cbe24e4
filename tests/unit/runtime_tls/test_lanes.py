"""What leaves first: however much waits, a heartbeat waits for the fragment that is under way."""

from __future__ import annotations

import pytest

from pyswarm.runtime.tls.frames import (
    FRAGMENT_BYTES_MAX,
    PULSE_BYTES_MAX,
    QUEUE_BYTES_MAX,
    FrameReader,
    SendQueue,
)
from pyswarm.runtime.tls.wire import MESSAGE_BYTES_MAX, Lane


@pytest.mark.parametrize("busy", [Lane.BULK, Lane.COMMON, Lane.LOG])
def test_a_heartbeat_goes_next(busy: Lane) -> None:
    queue = SendQueue()
    assert queue.put(busy, b"x" * MESSAGE_BYTES_MAX)
    reader = FrameReader()
    for number in range(50):
        heard = reader.feed(queue.next_fragment())
        assert heard == []
        assert queue.put(Lane.PULSE, b"beat %d" % number)
        assert reader.feed(queue.next_fragment()) == [b"beat %d" % number]


def test_what_waits_is_bounded_and_what_is_under_way_goes_on() -> None:
    """A peer that takes nothing costs so much memory; a heartbeat has room all the same."""
    queue = SendQueue()
    taken = 0
    while queue.put(Lane.BULK, b"x" * 1_000_000):
        taken += 1
    assert taken * 1_000_000 <= QUEUE_BYTES_MAX < (taken + 1) * 1_000_000
    assert not queue.put(Lane.LOG, b"x" * 1_000_000)
    beats = 0
    while queue.put(Lane.PULSE, b"x" * 100_000):
        beats += 1
    assert queue.waiting_bytes <= QUEUE_BYTES_MAX + PULSE_BYTES_MAX
    assert beats >= 10
    reader, whole = FrameReader(), 0
    while fragment := queue.next_fragment():
        assert len(fragment) <= FRAGMENT_BYTES_MAX + 12
        whole += len(reader.feed(fragment))
    assert whole == taken + beats
    assert queue.waiting_bytes == 0
