"""The placements recorded from a real swarm. Equal nodes tie at random there: counts are sorted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyswarm.scheduler import parse_plan, plan_to_dict

GOLDEN = Path(__file__).parents[2] / "golden" / "placements.json"
CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_recorded_placement(case: dict[str, Any]) -> None:
    answer = plan_to_dict(parse_plan(case["input"], case["name"]).run())
    recorded = case["recorded"]
    assert sorted(answer["counts"]["sut"].values()) == sorted(recorded["counts"].values())
    pending = {entry["reason"]: entry["count"] for entry in answer["pending"]}
    assert pending == recorded["pending"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_same_nodes_where_no_tie_is_possible(case: dict[str, Any]) -> None:
    """Nodes that the recording left empty for a reason are empty here too."""
    answer = plan_to_dict(parse_plan(case["input"], case["name"]).run())
    counts, recorded = answer["counts"]["sut"], case["recorded"]["counts"]
    if min(recorded.values()) == 0 and sum(recorded.values()) >= len(recorded):
        assert [n for n in counts if not counts[n]] == [n for n in recorded if not recorded[n]]
