"""Random histories against a naive model: groups, restarts, stops without an end."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from storage_crash_files import QuietFiles
from storage_helpers import Log, entry, snapshot
from test_log_crash import Model

from pyswarm.raft import HardState
from pyswarm.runtime.storage import Batch, MemoryStorage

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 6), st.integers(0, 900), st.booleans()),
        st.tuples(st.just("vote"), st.integers(0, 5)),
        st.tuples(st.just("own snapshot"), st.integers(0, 9)),
        st.tuples(st.just("received snapshot"), st.integers(1, 30), st.integers(0, 3)),
        st.tuples(st.just("restart"), st.booleans()),
    ),
    max_size=40,
)


class History:
    """Turns random steps into batches that a replica could give."""

    def __init__(self) -> None:
        self.model = Model()
        self.term = 1
        self.committed = 0

    @property
    def base(self) -> int:
        return self.model.snapshot.index if self.model.snapshot else 0

    @property
    def last(self) -> int:
        return max(self.model.log, default=self.base)

    def batch(self, step: tuple) -> Batch | None:
        kind, *rest = step
        if kind == "append":
            back, size, replaces = rest
            first = self.last + 1
            if replaces:  # a new leader's entries in place of an uncommitted tail
                self.term += 1
                first = max(self.base + 1, self.last + 1 - back)
            log = [entry(first + n, self.term, bytes([n]) * size) for n in range(back + 1)]
            return Batch(None, log, None)
        if kind == "vote":
            self.term += 1
            return Batch(HardState(self.term, rest[0] or None, 4))
        if kind == "own snapshot":
            index = max(self.base + 1, self.last - rest[0])
            held = self.model.log.get(index)
            return Batch(snapshot=snapshot(index, held.term)) if held else None
        if kind == "received snapshot":
            ahead, newer = rest
            self.term += newer
            index = self.base + ahead
            return Batch(HardState(self.term), (), snapshot(index, self.term, (b"r" * 99,)))
        return None


@given(steps=STEPS, sealed=st.booleans(), together=st.integers(1, 4))
@settings(max_examples=60)
def test_what_is_there_is_what_was_written(steps, sealed, together) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        history, memory = History(), MemoryStorage(lambda job: job())
        log = Log(root, sealed=sealed, files=QuietFiles(), segment_bytes=1500)
        waiting: list[Batch] = []
        for step in [*steps, ("restart", True)]:
            batch = history.batch(step)
            if batch is not None:
                history.model.apply(batch)
                memory.submit(batch, lambda error: None)
                waiting.append(batch)
            if waiting and (len(waiting) == together or step[0] == "restart"):
                log.put(*waiting)
                waiting = []
            if step[0] == "restart":
                if step[1]:
                    log.close()
                log = Log(root, sealed=sealed, files=QuietFiles(), segment_bytes=1500)
                assert history.model.matches(log.recovered)
                assert history.model.matches(memory.load())
        log.close()
