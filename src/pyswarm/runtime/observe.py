"""What a running node lets its host see: structured log events, and numbers.

Every event goes to the standard logger ``pyswarm.node``, its name and fields in the message and as
``extra`` (``event``, ``node``, ``fields``), so it obeys whatever logging the host has set up.
The list of events is in docs/logging.md. An :class:`Observer` gets the same and counts or times
what it likes; the default one keeps plain numbers that ``cluster.status()`` shows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

logger = logging.getLogger("pyswarm.node")

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


class Observer(Protocol):
    """Something that wants to know: metrics, traces. Called on the node's loop; must not wait."""

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """Something happened (the names are in docs/logging.md)."""
        ...

    def count(self, name: str, value: float = 1.0) -> None:
        """A counter grew by ``value``."""
        ...

    def observe(self, name: str, value: float) -> None:
        """A measured value, in the unit the name ends with (``_s``, ``_bytes``)."""
        ...


class Shielded:
    """An observer of the host's, between whose mistakes and the node this stands: what it raises is
    logged, with its traceback the first time, and the node goes on."""

    def __init__(self, observer: Observer, node: str) -> None:
        self._observer = observer
        self._node = node
        self._has_failed = False

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        self._tell("event", name, fields)

    def count(self, name: str, value: float = 1.0) -> None:
        self._tell("count", name, value)

    def observe(self, name: str, value: float) -> None:
        self._tell("observe", name, value)

    def _tell(self, method: str, *told: object) -> None:
        try:
            getattr(self._observer, method)(*told)
        except Exception as error:
            level, exc = ("debug", None) if self._has_failed else ("error", error)
            self._has_failed = True
            fields = {"method": method, "error": repr(error), "exc": exc}
            log_event(self._node, "observer.failed", level, fields)


class Counters:
    """The default observer: counters, and count and sum of measured values."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        self.count(f"events.{name}")

    def count(self, name: str, value: float = 1.0) -> None:
        self.values[name] = self.values.get(name, 0.0) + value

    def observe(self, name: str, value: float) -> None:
        self.count(f"{name}.count")
        self.count(f"{name}.sum", value)


def log_event(node: str, event: str, level: str, fields: Mapping[str, Any]) -> None:
    """One event to the standard logger."""
    number = _LEVELS[level]
    if logger.isEnabledFor(number):
        plain = {key: value for key, value in fields.items() if key != "exc"}
        text = " ".join(f"{key}={value}" for key, value in plain.items())
        logger.log(
            number,
            "%s node=%s %s",
            event,
            node,
            text,
            exc_info=fields.get("exc"),
            extra={"event": event, "node": node, "fields": plain},
        )
