"""Each line of the threat tables names tests, and those exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "security.md"
NAME = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[str]:
    """The rows of all tables, without their heads."""
    found = []
    for table in re.findall(r"```\{list-table\}\n(.*?)```", PAGE.read_text(), re.DOTALL):
        found += re.split(r"^\* - ", table, flags=re.MULTILINE)[2:]
    return found


def test_every_line_names_tests_that_exist() -> None:
    assert len(rows()) >= 15
    for row in rows():
        names = NAME.findall(row)
        assert names, f"no test for: {row.splitlines()[0]}"
        for path, name in names:
            tree = ast.parse((REPOSITORY / path).read_text())
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            defined = {one.name for one in tree.body if isinstance(one, functions)}
            assert name in defined, f"{path} has no {name}"


def test_all_that_can_be_stolen_is_there() -> None:
    text = " ".join(row.splitlines()[0] for row in rows())
    for thing in ("worker", "manager", "token", "backup", "disk", "unlock key"):
        assert thing in text
