"""What can be said about the lines of a log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.runtime.front.logdesk import Wish
from pyswarm.runtime.front.logs import TaskLine
from pyswarm.runtime.front.options import log_wish, rfc3339

NOW = 1_763_845_200.0  # 2025-11-22T21:00:00Z


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Wish("t")),
        ({"follow": True}, Wish("t", follow=True)),
        ({"tail": 5}, Wish("t", tail=5)),
        ({"tail": "5"}, Wish("t", tail=5)),
        ({"tail": "all"}, Wish("t")),
        ({"since": 12.5}, Wish("t", 12.5)),
        ({"since": "12.5"}, Wish("t", 12.5)),
        ({"since": "1m30s"}, Wish("t", NOW - 90)),
        ({"since": "2025-11-22T21:00:00Z"}, Wish("t", NOW)),
        ({"since": "2025-11-22T22:00:00+01:00"}, Wish("t", NOW)),
        ({"since": datetime(2025, 11, 22, 21, tzinfo=UTC)}, Wish("t", NOW)),
        ({"stderr": False}, Wish("t", stderr=False)),
    ],
)
def test_wishes(options: dict[str, Any], expected: Wish) -> None:
    assert log_wish("t", now=NOW, **options) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"stdout": False, "stderr": False},
        {"tail": -1},
        {"tail": "many"},
        {"tail": True},
        {"tail": 1.5},
        {"since": "yesterday"},
        {"since": float("nan")},
        {"since": None},
    ],
)
def test_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        log_wish("t", now=NOW, **options)


def test_lines_as_text() -> None:
    def line(**shown: bool) -> str:
        return str(TaskLine("t1", "web.1.t1", "n1", "stdout", NOW + 0.5, b"hello", "s1", **shown))

    assert line() == "hello"
    assert line(timestamps=True) == "2025-11-22T21:00:00.500000000Z hello"
    assert line(timestamps=True, details=True) == (
        "2025-11-22T21:00:00.500000000Z com.docker.swarm.node.id=n1,"
        "com.docker.swarm.service.id=s1,com.docker.swarm.task.id=t1 hello"
    )
    assert rfc3339(0.000000001) == "1970-01-01T00:00:00.000000001Z"
