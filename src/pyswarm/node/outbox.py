"""Where the parts of a node put their effects, in order."""

from __future__ import annotations

from typing import Any

from pyswarm.errors import SwarmError
from pyswarm.machine import Effect
from pyswarm.node.effects import Observed, Reply, SendTo


class Outbox:
    """The effects of the step under way. Messages to this very node never leave it."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.effects: list[Effect] = []
        self.to_self: list[Any] = []

    def add(self, effect: Effect) -> None:
        """Any effect."""
        self.effects.append(effect)

    def send(self, node_id: str, addr: str, message: Any) -> None:
        """A message to a node, this one included."""
        if node_id == self.node_id:
            self.to_self.append(message)
        else:
            self.effects.append(SendTo(node_id, addr, message))

    def reply(self, token: int, value: Any = None, error: SwarmError | None = None) -> None:
        """Answer a local caller."""
        self.effects.append(Reply(token, value, error))

    def observe(self, event: str, level: str = "info", **fields: Any) -> None:
        """Something for the log and the metrics."""
        self.effects.append(Observed(event, fields, level))

    def take(self) -> list[Effect]:
        """All effects so far; the box is empty again."""
        effects, self.effects = self.effects, []
        return effects
