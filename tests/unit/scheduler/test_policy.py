"""What managers place by: named or given, and refused at once where it cannot work."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm import Cluster
from pyswarm.errors import InvalidArgument
from pyswarm.scheduler import STRATEGIES, BinPack
from pyswarm.scheduler.filters import ReadyFilter
from pyswarm.scheduler.policy import scheduler_maker


class Newest:
    name = "newest"

    def score(self, node: Any, group: Any) -> tuple[float, ...]:
        return (-node.index,)


def test_each_scheduler_is_a_new_one() -> None:
    own = Newest()
    make = scheduler_maker(own, [ReadyFilter()])  # type: ignore[arg-type]
    assert make() is not make()
    assert make().strategy is own and [one.name for one in make().filters] == ["ready"]
    assert scheduler_maker("binpack")().strategy is STRATEGIES["binpack"]
    assert scheduler_maker()().spreads


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"strategy": "chaos"}, "strategy: 'chaos' is not one of spread, binpack"),
        ({"strategy": object()}, "it lacks score, name"),
        ({"strategy": BinPack}, "a class, not an object"),
        ({"filters": [Newest()]}, "it lacks check, explain, missing"),
    ],
)
def test_what_cannot_place_is_refused_before_anything_runs(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        Cluster.init(**options)
