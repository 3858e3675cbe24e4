"""The backlog against a set that is sorted whenever it is asked."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.orchestrator.backlog import Backlog

STEPS = st.one_of(
    st.tuples(st.just("add"), st.lists(st.integers(0, 300), max_size=60)),
    st.tuples(st.just("discard"), st.lists(st.integers(0, 300), max_size=60)),
    st.tuples(st.just("pop"), st.lists(st.just(0), max_size=20)),
    st.tuples(st.just("first"), st.just([0])),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_it_is_a_sorted_set(steps: list[tuple[str, list[int]]]) -> None:
    backlog: Backlog[int] = Backlog()
    model: set[int] = set()
    for what, keys in steps:
        if what == "add":
            backlog.update(keys)
            model.update(keys)
        for key in keys:
            if what == "discard":
                backlog.discard(key)
                model.discard(key)
            elif what == "pop":
                assert backlog.pop() == (min(model) if model else None)
                model.discard(min(model, default=-1))
            elif what == "first":
                assert backlog.first() == (min(model) if model else None)
        assert list(backlog) == sorted(model)
        assert len(backlog) == len(model)
        assert (7 in backlog) is (7 in model)


class Compared(int):
    """A number that counts how often it is compared."""

    count = 0

    def __lt__(self, other: int) -> bool:
        Compared.count += 1
        return int(self) < int(other)


def test_taking_a_few_does_not_look_at_the_rest() -> None:
    backlog: Backlog[int] = Backlog()
    backlog.update(Compared(number * 7919 % 10_007) for number in range(10_000))
    backlog.first()
    Compared.count = 0
    for turn in range(100):
        backlog.pop()
        backlog.add(Compared(20_000 + turn))
    assert Compared.count < 100 * 3 * 14, "some 14 levels, a few comparisons each"
