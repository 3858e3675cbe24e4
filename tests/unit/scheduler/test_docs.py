"""The examples of the documentation do what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyswarm.testing import placement

DOCS = Path(__file__).parents[3] / "docs"


def blocks(page: str, kind: str = "python") -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_the_scheduler(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, Any] = {}
    for block in blocks("scheduler.md"):
        exec(block, scope)
    out = capsys.readouterr().out
    assert "{'node-1': 2, 'node-2': 1}" in out
    assert "{'big': 0, 'small': 2}" in out


def test_testing_placement_is_a_test_file_that_passes(tmp_path: Path) -> None:
    """In a pytest of its own, as its readers have it: the fixtures come by the entry point."""
    (tmp_path / "test_placement.py").write_text("\n".join(blocks("testing-placement.md")))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "11 passed" in done.stdout, done.stdout + done.stderr


def test_the_failure_that_is_shown() -> None:
    (shown,) = blocks("testing-placement.md", "text")
    racks = [
        node
        for rack in (1, 2, 3)
        for node in placement.nodes(2, f"rack{rack}", labels={"rack": rack}, cpus=4, memory="8g")
    ]
    preferences = ["spread=node.labels.rack"]
    web = placement.service("web", replicas=6, reserve_cpu=1, preferences=preferences)
    database = placement.service("database", replicas=5, reserve_memory="6g")
    fleet = placement.fleet(racks, [web, database]).settled().lose(rack=1).settled().lose(rack=2)
    with pytest.raises(AssertionError) as caught:
        placement.assert_pending(fleet, "database", 0)
    assert f"AssertionError: {caught.value}\n" == shown
