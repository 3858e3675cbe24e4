"""The examples of the pages about the front door run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("embedding", "testing", "logging", "operations")
EXAMPLES = [
    (page, text)
    for page in PAGES
    for text in re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.S)
]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example(number: int) -> None:
    page, text = EXAMPLES[number]
    exec(compile(text, str(DOCS / f"{page}.md"), "exec"), {"__name__": "example"})


def test_the_list_of_events_is_whole() -> None:
    """Every event that the code names is on the page, and none else."""
    source = Path(__file__).parents[2] / "src" / "pyswarm"
    named = set()
    for path in (*source.glob("node/*.py"), *source.glob("runtime/*.py")):
        text = path.read_text()
        named |= set(re.findall(r"\b(?:out|_out)\.observe\(\s*\"([a-z.]+)\"", text))
        named |= set(re.findall(r"Observed\(\"([a-z.]+)\"", text))
    where = ("runtime/*.py", "runtime/daemon/*.py", "runtime/front/*.py")
    for path in (path for pattern in where for path in source.glob(pattern)):
        said = r"(?:log_event\(\s*[a-z._\"]+,|say\()\s*\"([a-z._]+)\""
        named |= set(re.findall(said, path.read_text()))
    page = (DOCS / "logging.md").read_text()
    listed = set(re.findall(r"`((?:[a-z]+)\.(?:[a-z]+))`", page.split("The executors log")[0]))
    assert named == listed - {"pyswarm.node", "cluster.events"}
