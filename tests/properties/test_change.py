"""The add and remove forms against sets and dicts; durations against a sum of their parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.errors import InvalidArgument, SwarmError
from pyswarm.model import Healthcheck, ServiceSpec, parse_duration, service_spec
from pyswarm.model.change import ChangeForms, apply_forms, split_forms
from pyswarm.model.parse import parse_healthcheck, parse_reference

FEW = settings(max_examples=60, deadline=None)
NAMES = st.sampled_from("abcde")
VALUES = st.dictionaries(NAMES, st.sampled_from(("", "1", "x=y")), max_size=4)


def variables(spec: ServiceSpec) -> dict[str, str]:
    assert spec.task.container is not None
    return dict(item.partition("=")[::2] for item in spec.task.container.env)


@FEW
@given(VALUES, st.sets(NAMES), VALUES)
def test_pairs_are_dicts(before: dict[str, str], removed: set[str], added: dict[str, str]) -> None:
    """Environment and labels change as a dict does; contradictions change nothing."""
    spec = service_spec("s", env=before, labels=before)
    possible = removed <= set(before) and not removed & set(added)
    after = {key: before[key] for key in before if key not in removed} | added
    forms: dict[str, Any] = {
        "env_rm": sorted(removed), "env_add": added,
        "label_rm": sorted(removed), "label_add": added,
    }  # fmt: skip
    if not possible:
        with pytest.raises(SwarmError):
            apply_forms(spec, forms)
        return
    changed = apply_forms(spec, forms)
    assert variables(changed) == after
    assert dict(changed.labels) == after
    assert list(variables(changed))[: len(before.keys() - removed)] == [
        key for key in before if key not in removed
    ], "what stays keeps its place"


@FEW
@given(st.lists(NAMES, unique=True), st.sets(NAMES), st.lists(NAMES, unique=True))
def test_texts_are_ordered_sets(before: list[str], removed: set[str], added: list[str]) -> None:
    spec = service_spec("s", constraints=before)
    if not removed <= set(before) or removed & set(added):
        with pytest.raises(SwarmError):
            apply_forms(spec, {"constraint_rm": sorted(removed), "constraint_add": added})
        return
    changed = apply_forms(spec, {"constraint_rm": sorted(removed), "constraint_add": added})
    kept = [text for text in before if text not in removed]
    assert list(changed.task.placement.constraints) == kept + [t for t in added if t not in kept]


@FEW
@given(VALUES, VALUES)
def test_what_was_added_can_be_removed_again(before: dict[str, str], added: dict[str, str]) -> None:
    new = {key: text for key, text in added.items() if key not in before}
    spec = service_spec("s", env=before)
    assert apply_forms(apply_forms(spec, {"env_add": new}), {"env_rm": list(new)}) == spec


ANYTHING = st.recursive(
    st.none() | st.integers(-5, 70_000) | st.text(max_size=12) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@settings(max_examples=250, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(ChangeForms.__annotations__)), ANYTHING, max_size=2))
def test_nonsense_is_a_typed_error(forms: dict[str, Any]) -> None:
    spec = service_spec("s", env={"a": "1"}, ports=[80], mounts=["a:/a"])
    try:
        changed = apply_forms(spec, split_forms(forms)[1])
    except SwarmError:
        return
    assert isinstance(changed, ServiceSpec)


PARTS = st.lists(
    st.tuples(st.integers(0, 999), st.sampled_from(("h", "m", "s", "ms", "us", "ns"))),
    min_size=1,
    max_size=4,
)
UNITS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@settings(max_examples=150, deadline=None)
@given(PARTS, st.booleans())
def test_durations_add_up(parts: list[tuple[int, str]], negative: bool) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    total = sum(number * UNITS[unit] for number, unit in parts)
    assert parse_duration(text) == pytest.approx(total, abs=1e-9)
    assert parse_duration(f"-{text}" if negative else f"+{text}") == pytest.approx(
        -total if negative else total, abs=1e-9
    )


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="0123456789.hmsnuµ+- d", max_size=10))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except InvalidArgument:
        return
    assert isinstance(seconds, float)
    assert any(sign.isdigit() for sign in text)


@FEW
@given(ANYTHING)
def test_any_health_check_is_one_or_refused(check: Any) -> None:
    try:
        assert isinstance(parse_healthcheck(check), Healthcheck)
    except SwarmError:
        pass


@FEW
@given(st.text(alphabet="abm=,01x osourcetargetmode", max_size=30))
def test_any_reference_is_one_or_refused(text: str) -> None:
    try:
        fields = parse_reference(text)
    except InvalidArgument:
        return
    assert fields["source"]
