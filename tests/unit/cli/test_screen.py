"""The progress of an update as a bar: characters where the output is piped, rich in a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest

from pyswarm.cli import screen as module
from pyswarm.cli.screen import Screen, bar
from pyswarm.runtime.front.convergence import Converged
from pyswarm.runtime.front.updating import UpdateStep


class Service:
    """Has the steps of one update."""

    def __init__(self, *steps: UpdateStep) -> None:
        self._steps = steps

    async def update_progress(self) -> Any:
        for step in self._steps:
            yield step


def steps() -> tuple[UpdateStep, ...]:
    over = Converged(None, ())  # type: ignore[arg-type]
    return (
        UpdateStep(0, 4, None, "overall progress: 0 out of 4 tasks"),
        UpdateStep(2, 4, None, "overall progress: 2 out of 4 tasks", slots=()),
        UpdateStep(2, 4, None, "overall progress: 2 out of 4 tasks", failures=1),
        UpdateStep(4, 4, None, "verify: Service web converged", outcome=over),
    )


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0.0, "." * 20), (0.5, "#" * 10 + "." * 10), (1.0, "#" * 20), (7.0, "#" * 20)],
)
def test_bars(fraction: float, expected: str) -> None:
    assert bar(fraction) == f"[{expected}]"


async def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    await Screen().watch(Service(*steps()))
    lines = [line.partition("]    ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "[....................] overall progress: 0 out of 4 tasks",
        "[##########..........] overall progress: 2 out of 4 tasks",
        "[####################] verify: Service web converged",
    ]


def test_rich_draws_it_below_the_table() -> None:
    console = pytest.importorskip("rich.console")
    table = pytest.importorskip("rich.table").Table("node")
    table.add_row("node-1")
    out = io.StringIO()
    console.Console(file=out, width=120).print(module._with_bar(table, steps()[1]))
    assert "node-1" in out.getvalue()
    assert "overall progress: 2 out of 4 tasks" in out.getvalue()
    assert "━" in out.getvalue()
