"""What an import costs: each in fresh processes, the median of several runs.

    python benchmarks/import_time.py [--json] [--runs N]

The interpreter's own start is measured in the same run and taken off. The bytecode is warm: one run
of each goes before those that count. `docker` (docker-py) stands beside ours where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from time import perf_counter

RUNS = 15
OURS = ("pyswarm", "pyswarm.model", "pyswarm.ipam", "pyswarm.scheduler", "pyswarm.raft")
OURS += ("pyswarm.sim", "pyswarm.cluster", "pyswarm.cli")
PEERS = ("docker",)
# What a fresh clone does, even where the shell says otherwise: compiled modules are kept.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def seconds(code: str) -> float:
    """The wall time of one fresh interpreter that runs ``code``."""
    started = perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)
    return perf_counter() - started


def installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package above it is not there
        return False


def measure(runs: int) -> list[dict[str, object]]:
    """Rows; the runs of all imports are interleaved, so that a slow moment slows all alike."""
    names = [name for name in (*OURS, *PEERS) if installed(name)]
    codes = {"": "pass"} | {name: f"import {name}" for name in names}
    for code in codes.values():
        seconds(code)
    times: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(runs):
        for name, code in codes.items():
            times[name].append(seconds(code))
    start = statistics.median(times[""])
    workload = f"fresh processes, warm bytecode, median of {runs}, interpreter start taken off"
    rows: list[dict[str, object]] = [
        {
            "what": "interpreter start",
            "value": round(start * 1000, 1),
            "unit": "ms",
            "workload": f"python -c pass, median of {runs}",
        }
    ]
    for name in names:
        cost = max(0.0, statistics.median(times[name]) - start)
        row = {"what": f"import {name}", "value": round(cost * 1000, 1), "unit": "ms"}
        rows.append({**row, "workload": workload})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    rows = measure(arguments.runs)
    if not arguments.json:
        for row in rows:
            print(f"{row['what']:28} {row['value']:>8} {row['unit']}")
    print(json.dumps({"benchmark": "import_time", "python": sys.version.split()[0], "rows": rows}))


if __name__ == "__main__":
    main()
