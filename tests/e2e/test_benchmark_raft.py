"""The Raft benchmark is one command that runs; what it measured is nobody's promise here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

COMMAND = Path(__file__).parents[2] / "benchmarks" / "raft.py"


def test_one_command_gives_rows(tmp_path: Path) -> None:
    options = ["--inflight", "1", "8", "--seconds", "0.1", "--dir", str(tmp_path), "--json"]
    systems = ["--systems", "disk", "round-trip", "floor", "pyswarm"]
    ended = subprocess.run(
        [sys.executable, str(COMMAND), *systems, *options],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    (line,) = ended.stdout.splitlines()
    found = json.loads(line)
    assert found["missing"] == []
    assert [(row["system"], row["inflight"]) for row in found["rows"]] == [
        ("disk", 1),
        ("round-trip", 1),
        ("floor", 1),
        ("floor", 8),
        ("pyswarm", 1),
        ("pyswarm", 8),
    ]
    for row in found["rows"]:
        assert row["value"] > 0 and 0 < row["p50_ms"] <= row["p99_ms"]
    assert {row["unit"] for row in found["rows"][2:]} == {"commits/s"}
    assert set(found["ratios"]["pyswarm/floor"]) == {"1", "8"}
    assert not list(tmp_path.iterdir())  # nothing is left behind
