"""What a commit costs: three members as processes on loopback, beside other people's Raft.

    python benchmarks/raft.py [--json] [--systems pyswarm etcd ...] [--inflight 1 64 ...]
                              [--seconds S] [--dir DIR]

The workload: proposals of 256 bytes made on the leader, N of them always in flight; each counts
when the leader has applied it. pyswarm runs as in production: mutual TLS 1.3 (certificates made
for the run), a sealed log, every commit synced to the disk by a majority. Beside it, in the same
run:

- ``pyswarm-idle``: what three members use when nobody proposes anything;
- ``pyswarm-long-log``: 64 in flight again and again on one group: does p99 grow with what was
  committed before?
- ``disk``: append 256 bytes to a preallocated file and ``fdatasync``, again and again;
  ``disk-x3``: the same while two other processes do so, as three members on one disk do;
- ``round-trip``: 256 bytes to another process on another core and back, over the same TLS;
- ``floor``: a replicated log without Raft, which is what a Python process can do with this TLS,
  these seals and these syncs (``benchmarks/raft_floor.py``);
- ``etcd`` of the Debian package ``etcd-server``, with TLS, driven over gRPC (a process of its
  own, whose CPU is not counted);
- ``pysyncobj`` (the extra ``bench``): every proposal sent at once, as its fastest answer to a
  single caller; ``pysyncobj-tuned``: batches, both periods 5 ms. Each with its journal, which it
  does not sync, and in memory (``-memory``). It has no TLS here.

What is not installed is left out, and said. CPU is microseconds a commit: the leader's process,
and all three. Collector pauses (``gc_ms``: the longest) are within the figures;
what was imported is frozen, as a daemon does. The machine's
other work disturbs every line alike, so believe the ratios. All files are in a directory that is
removed, all addresses 127.0.0.1, each measurement is bounded in seconds and in requests, and what
is started here is ended here. The last line is one JSON object with ``rows``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import raft_etcd
import raft_measure
from raft_processes import Members, Unavailable

INFLIGHT = (1, 16, 64, 256, 1024)
BYTES = 256
REQUESTS_MAX = 400_000
"""Of one measurement, whatever its time: keeps logs and memory small."""
IDLE_SECONDS = 10.0
LONG_LOG_ROUNDS = 6
HERE = Path(__file__).parent


def python_system(script: str, name: str, **options: Any) -> Callable[..., list[dict[str, Any]]]:
    """A system whose members are processes of ``script``."""

    def run(directory: Path, inflight: list[int], seconds: float) -> list[dict[str, Any]]:
        with Members([sys.executable, str(HERE / script)], directory, options) as members:
            return [row(name, members.measure(n, seconds, REQUESTS_MAX, BYTES)) for n in inflight]

    return run


def row(system: str, measured: dict[str, Any]) -> dict[str, Any]:
    return {"what": f"{BYTES}-byte proposals", "system": system, "unit": "commits/s", **measured}


def etcd(directory: Path, inflight: list[int], seconds: float) -> list[dict[str, Any]]:
    with raft_etcd.Etcd(directory) as members:
        return [row("etcd", members.measure(n, seconds, REQUESTS_MAX, BYTES)) for n in inflight]


def idle(directory: Path, inflight: list[int], seconds: float) -> list[dict[str, Any]]:
    """CPU of three members that have nothing to do."""
    with Members([sys.executable, str(HERE / "raft_pyswarm.py")], directory, {}) as members:
        members.measure(16, 0.5, REQUESTS_MAX, BYTES)
        spent = members.rest(max(seconds, IDLE_SECONDS))
    hour = 3600 * sum(spent) / max(seconds, IDLE_SECONDS)
    return [
        {
            "what": "three members with nothing to do, CPU of all",
            "system": "pyswarm-idle",
            "inflight": 0,
            "value": round(hour, 1),
            "unit": "CPU s/hour",
            "p50_ms": 0.0,
            "p99_ms": 0.0,
        }
    ]


def long_log(directory: Path, inflight: list[int], seconds: float) -> list[dict[str, Any]]:
    """The same work on one group whose log gets longer: snapshots and new segments included."""
    rows: list[dict[str, Any]] = []
    done = 0
    with Members([sys.executable, str(HERE / "raft_pyswarm.py")], directory, {}) as members:
        for _ in range(LONG_LOG_ROUNDS):
            measured = members.measure(64, seconds, REQUESTS_MAX, BYTES)
            what = f"{BYTES}-byte proposals after {done:,} others"
            rows.append(row("pyswarm-long-log", {**measured, "what": what, "log_entries": done}))
            done += round(measured["value"] * seconds)
    return rows


def disk(directory: Path, inflight: list[int], seconds: float) -> list[dict[str, Any]]:
    return [raft_measure.disk(directory, min(seconds, 2.0), BYTES)]


def shared_disk(directory: Path, inflight: list[int], seconds: float) -> list[dict[str, Any]]:
    return [raft_measure.disk(directory, min(seconds, 2.0), BYTES, writers=3)]


def round_trip(directory: Path, inflight: list[int], seconds: float) -> list[dict[str, Any]]:
    return [raft_measure.round_trip(directory, min(seconds, 1.0), BYTES)]


NOT_COMPARED = ("pyswarm-idle", "pyswarm-long-log", "disk", "disk-x3", "round-trip")
SYSTEMS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "disk": disk,
    "disk-x3": shared_disk,
    "round-trip": round_trip,
    "pyswarm": python_system("raft_pyswarm.py", "pyswarm"),
    "pyswarm-idle": idle,
    "pyswarm-long-log": long_log,
    "floor": python_system("raft_floor.py", "floor"),
    "etcd": etcd,
    "pysyncobj": python_system("raft_pysyncobj.py", "pysyncobj", journal=True, tuned=False),
    "pysyncobj-memory": python_system(
        "raft_pysyncobj.py", "pysyncobj-memory", journal=False, tuned=False
    ),
    "pysyncobj-tuned": python_system(
        "raft_pysyncobj.py", "pysyncobj-tuned", journal=True, tuned=True
    ),
    "pysyncobj-tuned-memory": python_system(
        "raft_pysyncobj.py", "pysyncobj-tuned-memory", journal=False, tuned=True
    ),
}


def measure(options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    missing: list[str] = []
    for system in options.systems:
        directory = Path(tempfile.mkdtemp(prefix=f"raft-{system}-", dir=options.dir))
        try:
            for one in SYSTEMS[system](directory, options.inflight, options.seconds):
                rows.append(one)
                show(one)
        except Unavailable as error:
            missing.append(f"{system}: {error}")
            print(f"{system:24} left out: {error}", flush=True)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    return rows, missing


def show(one: dict[str, Any]) -> None:
    cpu = (
        f"{one['cpu_leader_us']:7.1f}{one['cpu_all_us']:8.1f}" if "cpu_all_us" in one else " " * 15
    )
    gc = f"{one['gc_ms']:7.1f}" if "gc_ms" in one else ""
    print(
        f"{one['system']:24}{one['inflight']:6}{one['value']:10,.0f} {one['unit']:12}"
        f"{one['p50_ms']:8.2f}{one['p99_ms']:8.2f} {cpu}{gc}",
        flush=True,
    )


def ratios(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """pyswarm against the others, by number in flight; and a single proposal against its parts."""
    value = {(one["system"], one["inflight"]): one["value"] for one in rows}
    p50 = {(one["system"], one["inflight"]): one["p50_ms"] for one in rows}
    found: dict[str, Any] = {}
    for system, inflight in value:
        ours = value.get(("pyswarm", inflight))
        if ours and system not in ("pyswarm", *NOT_COMPARED):
            found.setdefault(f"pyswarm/{system}", {})[inflight] = round(
                ours / value[system, inflight], 2
            )
    for one in rows:
        if one["system"] == "pyswarm":
            grown = one["late_p99_ms"] / (one["early_p99_ms"] or 1.0)
            found.setdefault("p99 late in the log/early", {})[one["inflight"]] = round(grown, 2)
    long = [one["p99_ms"] for one in rows if one["system"] == "pyswarm-long-log"]
    if long:
        half = len(long) // 2
        grown = sum(long[half:]) / (len(long) - half) / (sum(long[:half]) / half)
        found["p99 of a long log/of a short one"] = round(grown, 2)
    trip, ours = (p50.get((name, 1)) for name in ("round-trip", "pyswarm"))
    for disk, name in (("disk", "fdatasync"), ("disk-x3", "fdatasync of three at once")):
        if trip and ours and (sync := p50.get((disk, 1))):
            found[f"single/({name}+round-trip)"] = round(ours / (sync + trip), 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="What a commit costs.")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--inflight", nargs="+", type=int, default=list(INFLIGHT))
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--dir", help="on the disk to be measured (default: the temporary one)")
    options = parser.parse_args()
    out = sys.stdout
    if options.json:
        sys.stdout = sys.stderr
    print(f"{'system':24}{'inflight':>6}{'':>10}  {'':12}{'p50 ms':>7}{'p99 ms':>8} "
          f"{'leader':>7}{'all µs':>8}{'gc ms':>7}")  # fmt: skip
    rows, missing = measure(options)
    compared = ratios(rows)
    for name, ratio in compared.items():
        print(f"{name:34} {ratio}")
    print(json.dumps({"rows": rows, "ratios": compared, "missing": missing}), file=out)


if __name__ == "__main__":
    main()
