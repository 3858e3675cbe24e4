"""Recording a node, and replaying it: every input with its time, and what came of it.

A node is a deterministic machine, so its configuration and its inputs are all there is to know:
replaying them gives the same effects, in a debugger, as often as one likes. Secrets in recordings
are sealed, as they are in the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from pyswarm.machine import Effect
from pyswarm.node import NodeConfig, NodeMachine


@attrs.define
class Recording:
    """One life of one node."""

    config: NodeConfig
    started_at: float
    inputs: list[tuple[float, Any]] = attrs.field(factory=list)
    effects: list[tuple[Effect, ...]] = attrs.field(factory=list)

    def add(self, now: float, input: Any, effects: Sequence[Effect]) -> None:
        """One more step."""
        self.inputs.append((now, input))
        self.effects.append(tuple(effects))


@attrs.frozen
class Difference:
    """Where a replay went another way."""

    step: int
    recorded: tuple[Effect, ...]
    replayed: tuple[Effect, ...]


def replay(recording: Recording) -> Iterator[Difference]:
    """Run a recording again; yields every step whose effects differ from the recorded ones.

    Effects are compared by value; exceptions among them by their text.
    """
    machine = NodeMachine(recording.config, recording.started_at)
    for step, (now, input) in enumerate(recording.inputs):
        replayed = tuple(machine.step(now, input))
        recorded = recording.effects[step]
        if replayed != recorded and repr(replayed) != repr(recorded):
            yield Difference(step, recorded, replayed)
