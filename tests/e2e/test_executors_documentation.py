"""The examples of docs/executors.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

from pyswarm.agent.executor import STOP_GRACE_SECONDS
from pyswarm.runtime.executors.callable import LOG_LINES_MAX
from pyswarm.runtime.executors.honours import EXECUTORS, UNKNOWN_MOUNTS, Honour, names
from pyswarm.runtime.executors.logfiles import LOG_FILES_MAX, LOG_SIZE_BYTES_MAX
from pyswarm.runtime.executors.process import INHERITED

PAGE = Path(__file__).parents[2] / "docs" / "executors.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.S)


def table() -> str:
    """What the executors declare, as the page shows it."""
    heads = ["field", *(f"`{name}`" for name in EXECUTORS)]
    rows = []
    for name in names():
        rows.append([f"`{name}`", *(str(one[name]) for one in EXECUTORS.values())])
        if name == "mounts.type":
            rows += [
                [f"`{name}` `{kind}`", *(str(Honour.REFUSED) for _ in EXECUTORS)]
                for kind in UNKNOWN_MOUNTS
            ]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@pytest.mark.parametrize("number", range(4))
def test_example(number: int) -> None:
    names: dict[str, object] = {}
    exec(compile(EXAMPLES[number], str(PAGE), "exec"), names)
    executor = names.get("executor")
    if executor is not None:
        trio.run(executor.aclose)  # type: ignore[attr-defined]


def test_the_table_of_fields_is_what_the_executors_declare() -> None:
    (shown,) = re.findall(r"<!-- fields -->\n(.*?)\n<!-- end -->", TEXT, re.S)
    assert shown == table()


def test_its_numbers_are_ours() -> None:
    assert f"{LOG_SIZE_BYTES_MAX // 2**20} MiB × {LOG_FILES_MAX}" in TEXT
    assert f"({STOP_GRACE_SECONDS:.0f} s by default)" in TEXT
    assert f"{LOG_LINES_MAX:,} lines" in TEXT
    assert all(f"`{name}`" in TEXT for name in INHERITED)
