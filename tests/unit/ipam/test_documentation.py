"""The examples of docs/ipam.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "ipam.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


@pytest.mark.parametrize("number", range(2))
def test_example(number: int) -> None:
    exec(compile(EXAMPLES[number], str(PAGE), "exec"), {})
