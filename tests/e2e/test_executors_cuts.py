"""Nothing is left of a task whose node was killed, wherever it was in preparing and starting it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CUTS = Path(__file__).with_name("executor_cuts.py")
STEPS_MIN = 15
"""So that a hook that sees nothing is no proof."""


@pytest.mark.parametrize(("whose", "state_dir"), [("node", True), ("node", False), ("below", True)])
def test_killed_between_any_two_steps(tmp_path: Path, whose: str, state_dir: bool) -> None:
    temporary, own = tmp_path / "temporary", tmp_path / "own"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, str(CUTS), whose, *([str(own)] if state_dir else [])],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= STEPS_MIN
