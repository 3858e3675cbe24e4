"""The examples of the documentation do what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("page", ["scheduler.md", "testing-placement.md"])
def test_examples(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        exec(block, scope)
    tests = [name for name in scope if name.startswith("test_")]
    for name in tests:
        scope[name]()
    if page == "scheduler.md":
        assert "{'node-1': 2, 'node-2': 1}" in capsys.readouterr().out
    else:
        assert len(tests) == 3
