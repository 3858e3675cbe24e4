"""The example of docs/services.md runs as it stands; its tables say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from pyswarm.agent.health import INTERVAL_SECONDS, RETRIES, START_INTERVAL_SECONDS, TIMEOUT_SECONDS
from pyswarm.model.change import FORMS
from pyswarm.model.defaults import RESTART_DELAY, ROLLBACK_MONITOR, TASK_HISTORY, UPDATE_MONITOR
from pyswarm.runtime.drivers import DRIVER_SECONDS_MAX

PAGE = Path(__file__).parents[2] / "docs" / "services.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_example() -> None:
    [example] = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(compile(example, str(PAGE), "exec"), {"__name__": "example"})


def test_its_numbers_are_ours() -> None:
    assert f"| monitor | {UPDATE_MONITOR:g} s; {ROLLBACK_MONITOR:g} s |" in TEXT
    assert f"`restart_delay` {RESTART_DELAY:g} s" in TEXT
    assert f"A slot keeps {TASK_HISTORY} tasks" in TEXT
    assert f"`interval` {INTERVAL_SECONDS:g} s, `timeout` {TIMEOUT_SECONDS:g} s" in TEXT
    assert f"`retries` {RETRIES}" in TEXT
    assert f"`start_interval` {START_INTERVAL_SECONDS:g} s" in TEXT
    assert DRIVER_SECONDS_MAX == 4.0
    assert "it has four seconds" in TEXT


def test_every_form_is_named() -> None:
    for name in FORMS:
        assert f"`{name}_…`" in TEXT or f"`{name}_add`" in TEXT, name
