"""The collector's tuning: frozen while it lasts, thawed seldom and never by a leader."""

from __future__ import annotations

import gc

import pytest
import trio
from trio.testing import MockClock

from pyswarm import CallableExecutor, Cluster
from pyswarm.runtime.collector import THAW_EVERY_S, keep_frozen


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the collector, in order."""
    asked: list[str] = []
    for name in ("collect", "freeze", "unfreeze"):
        monkeypatch.setattr(gc, name, lambda name=name: asked.append(name))
    return asked


@pytest.mark.parametrize("leads", [False, True])
def test_it_freezes_at_intervals_and_thaws_only_without_office(
    calls: list[str], leads: bool
) -> None:
    async def main() -> None:
        with trio.move_on_after(2.5 * THAW_EVERY_S):
            await keep_frozen(lambda: leads, every_s=600.0)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert calls[:4] == ["collect", "freeze"] * 2
    assert calls.count("freeze") == 15
    assert calls.count("unfreeze") == (1 if leads else 3), "the last one when it ends"
    assert calls[-1] == "unfreeze"


@pytest.mark.parametrize("tuned", [False, True])
def test_a_cluster_freezes_where_it_was_asked_to(tuned: bool) -> None:
    async def main() -> int:
        async with Cluster.init(executor=CallableExecutor({}), tune_gc=tuned):
            await trio.testing.wait_all_tasks_blocked(0.01)
            return gc.get_freeze_count()

    before = gc.get_freeze_count()
    assert (trio.run(main) > before) is tuned
    assert gc.get_freeze_count() == before
