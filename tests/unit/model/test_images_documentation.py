"""The example of docs/images.md runs."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_example_runs() -> None:
    text = (Path(__file__).parents[3] / "docs" / "images.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(example, "docs/images.md", "exec"), {})
