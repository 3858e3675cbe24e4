"""The example of docs/engine-api.md runs as it stands; its tables say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from pyswarm.api import gojson, routes, versions
from pyswarm.runtime import http

TEXT = (Path(__file__).parents[3] / "docs" / "engine-api.md").read_text(encoding="utf-8")


def test_the_example() -> None:
    [example] = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(compile(example, "docs/engine-api.md", "exec"), {"__name__": "example"})


def test_its_numbers_are_ours() -> None:
    assert f"{http.HEAD_BYTES_MAX // 1024} KiB, and {http.HEAD_TIMEOUT_S:g} s" in TEXT
    assert f"| {http.BODY_BYTES_MAX // 2**20} MiB, and {http.BODY_TIMEOUT_S:g} s; " in TEXT
    assert f"{http.BODIES_BYTES_MAX // 2**20} MiB of all requests" in TEXT
    assert f"| {gojson.DEPTH_MAX}, {gojson.DIGITS_MAX} |" in TEXT
    assert f"| query parameters | {routes.QUERY_FIELDS_MAX} |" in TEXT
    assert f"item of a stream | {http.SEND_TIMEOUT_S:g} s" in TEXT
    assert f"between two requests | {http.IDLE_TIMEOUT_S:g} s" in TEXT
    assert f"| connections | {http.CONNECTIONS_MAX:,} |" in TEXT
    text = versions.version_text
    first, last = text(versions.MIN_VERSION), text(versions.MAX_VERSION)
    assert f"API versions {first} to {last} are spoken" in TEXT
