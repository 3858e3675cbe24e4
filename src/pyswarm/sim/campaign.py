"""Many seeds, one after the other: the figures of a campaign."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from pyswarm.sim.simulation import History, Simulation


def run(
    *,
    seeds: int,
    first: int = 0,
    managers: int = 3,
    workers: int = 5,
    seconds: float = 60.0,
    workload: str = "mixed",
    on_history: Callable[[History], None] | None = None,
) -> dict[str, Any]:
    """Run ``seeds`` histories of ``seconds`` virtual seconds under faults, from seed ``first`` on.

    The summary: ``seeds``, ``violations`` (each with ``seed``, ``invariant``, ``message``),
    ``virtual_s``, ``faults`` (how often each kind happened) and ``digest``, of all histories: the
    same on every machine. ``on_history`` hears of each as it ends.
    """
    digest = hashlib.sha256()
    violations: list[dict[str, Any]] = []
    faults: dict[str, int] = {}
    virtual_s = 0.0
    for seed in range(first, first + seeds):
        history = Simulation(seed, managers=managers, workers=workers, workload=workload).run(
            seconds
        )
        digest.update(history.digest.encode())
        virtual_s += history.virtual_s
        for kind, number in history.faults.items():
            faults[kind] = faults.get(kind, 0) + number
        violations.extend(
            {"seed": seed, "invariant": one.invariant, "message": str(one)}
            for one in history.violations
        )
        if on_history is not None:
            on_history(history)
    return {
        "seeds": seeds,
        "violations": violations,
        "virtual_s": round(virtual_s, 3),
        "faults": dict(sorted(faults.items())),
        "digest": digest.hexdigest(),
    }
