"""How much of a task's log is kept, from its log driver's options as Docker writes them."""

from __future__ import annotations

import re

from pyswarm.agent.executor import TaskRejected
from pyswarm.model.specs import LogDriver
from pyswarm.runtime.executors.logfiles import LOG_FILES_MAX, LOG_SIZE_BYTES_MAX

_DRIVERS = ("", "json-file", "local")
_SIZE = re.compile(r"(\d+)\s*([kmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def log_limits(driver: LogDriver | None) -> tuple[int, int]:
    """Bytes a file and number of files; (0, 0) keeps nothing.

    Raises :class:`TaskRejected` for a driver or a value that is not known. Options other than
    ``max-size`` and ``max-file`` change how a line is written elsewhere and are left alone.
    """
    if driver is None:
        return LOG_SIZE_BYTES_MAX, LOG_FILES_MAX
    if driver.name == "none":
        return 0, 0
    if driver.name not in _DRIVERS:
        raise TaskRejected(f"logger: no log driver named '{driver.name}' is registered")
    size, files = driver.options.get("max-size", ""), driver.options.get("max-file", "")
    return (
        _size(size) if size else LOG_SIZE_BYTES_MAX,
        _count(files) if files else LOG_FILES_MAX,
    )


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if text == "-1":
        return LOG_SIZE_BYTES_MAX
    if not found or not int(found[1]):
        raise TaskRejected(f"invalid size: '{text}'")
    return int(found[1]) * _UNITS[found[2].lower()]


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise TaskRejected(f"max-file must be a positive number: '{text}'")
    return int(text)
