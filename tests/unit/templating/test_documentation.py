"""The example and the numbers of docs/templating.md hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from pyswarm.templating import OUTPUT_MAX, STEPS_MAX
from pyswarm.templating.functions import BUILTINS, LAZY
from pyswarm.templating.parser import ACTIONS_MAX, BLOCKS_MAX, PARENS_MAX

TEXT = (Path(__file__).parents[3] / "docs" / "templating.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(compile(example, "docs/templating.md", "exec"), {})


def test_numbers_and_names() -> None:
    for number in (OUTPUT_MAX, STEPS_MAX, ACTIONS_MAX):
        assert f"{number:,}" in TEXT
    assert f"{BLOCKS_MAX} blocks and {PARENS_MAX} parentheses" in TEXT
    assert all(f"`{name}`" in TEXT or f"`{name} " in TEXT for name in (*BUILTINS, *LAZY))


def test_jinja2_is_loaded_with_the_first_template() -> None:
    code = (
        "import sys, pyswarm.templating as t\n"
        "t.expand('plain', {}); assert 'jinja2' not in sys.modules\n"
        "assert t.expand('{{.a}}', {'a': 1}) == '1' and 'jinja2' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
