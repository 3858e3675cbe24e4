"""JSON and YAML 1.2's core schema (yaml.org/spec/1.2.2, chapter 10.3)."""

from __future__ import annotations

import pytest

from pyswarm.cli.document import load_document
from pyswarm.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ("a: 22:22\nb: on\nc: 010", {"a": "22:22", "b": "on", "c": 10}),
        ("a: 1.5\nb: 1e3\nc: -2\nd: .5", {"a": 1.5, "b": 1000.0, "c": -2, "d": 0.5}),
        ("a: ~\nb:\nc: null\nd: False", {"a": None, "b": None, "c": None, "d": False}),
        ("a: 512M\nb: 2026-01-01\nc: '5'", {"a": "512M", "b": "2026-01-01", "c": "5"}),
        ("x: &x {a: 1}\ny: {<<: *x, b: 2}", {"x": {"a": 1}, "y": {"a": 1, "b": 2}}),
    ],
)
def test_documents(text: str, value: object) -> None:
    found = load_document(text, "file.yaml")
    assert found == value
    assert repr(found) == repr(value)  # 1 is not 1.0, and not True


@pytest.mark.parametrize(
    ("where", "text", "message"),
    [
        ("plan.json", "{", "plan.json: not JSON: "),
        ("plan.yaml", "a: [1", "plan.yaml: neither JSON nor YAML: line 1, column 6: "),
        ("plan.json", "[" * 100_000, "plan.json: nested too deeply"),
        ("plan.yaml", "a: " + "[" * 3000, "plan.yaml: nested too deeply"),
        ("plan.json", "9" * 5000, "plan.json: not JSON: Exceeds the limit"),
        ("plan.yaml", "a: " + "9" * 5000, "plan.yaml: Exceeds the limit"),
        ("plan.json", '{"a": 1, "a": 2}', "plan.json: not JSON: key 'a' is there twice"),
        ("plan.yaml", b"\xff\xfe", "plan.yaml: not text in UTF-8: 'utf-8' codec can't decode"),
        ("-", "a: !!python/name:os.system x", "-: neither JSON nor YAML: line 1, column 4: "),
    ],
)
def test_what_is_malformed_is_refused_with_the_place(
    where: str, text: str | bytes, message: str
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        load_document(text, where)
    assert str(refusal.value).startswith(message)
