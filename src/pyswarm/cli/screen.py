"""What the demonstration shows: a line an event, and a live table where the terminal can.

Without rich, or when the output is piped, everything is plain lines. The table is drawn by a task
of the same loop: no thread is started.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import trio

from pyswarm.errors import Compacted, SwarmError
from pyswarm.model import Task, TaskState

REFRESH_S = 0.25
"""How often the live table is drawn."""

BAR_CELLS = 20
"""How wide a bar of characters is."""

SHOWN = (
    TaskState.RUNNING,
    TaskState.COMPLETE,
    TaskState.SHUTDOWN,
    TaskState.FAILED,
    TaskState.REJECTED,
)
"""The states of tasks that get a line; the steps between would be noise here."""


class Screen:
    """Lines on standard output, with the seconds since the start before them."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._live = _live_table()
        self._step: Any = None

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    def step(self, number: int, title: str) -> None:
        """A new chapter of the story."""
        self._print("")
        self._print(f"[{self.seconds:5.1f}] {number}. {title}")

    def say(self, text: str) -> None:
        """What was done, or seen."""
        for line in text.splitlines():
            self._print(f"[{self.seconds:5.1f}]    {line}")

    def event(self, text: str) -> None:
        """What happened by itself."""
        self._print(f"[{self.seconds:5.1f}]      · {text}")

    def _print(self, line: str) -> None:
        if self._live is None:
            print(line, flush=True)
        else:
            self._live.console.print(line, markup=False, highlight=False)

    def shown(self) -> AbstractContextManager[Any]:
        """The live table is there within this block."""
        return nullcontext() if self._live is None else self._live

    async def redraw(self, cluster: Any) -> None:
        """Draw the table again and again; returns at once where there is none."""
        while self._live is not None:
            with suppress(SwarmError):  # no leader just now: the table stays as it was
                table = await _table(cluster)
                shown = table if self._step is None else _with_bar(table, self._step)
                self._live.update(shown, refresh=True)
            await trio.sleep(REFRESH_S)

    async def watch(self, service: Any) -> None:
        """The progress of a service's update, as a bar, until it has ended."""
        said = ""
        async for step in service.update_progress():
            self._step = step
            if str(step) != said and (self._live is None or step.is_last):
                said = str(step)
                self.say(f"{bar(step.fraction)} {said}")
        self._step = None

    async def follow(self, cluster: Any) -> None:
        """A line for each event worth one, until cancelled."""
        names = {node.id: node.name for node in await cluster.nodes.list()}
        async for event in _events(cluster):
            if event.kind == "node" and event.new is not None:
                names[event.id] = event.new.hostname
            line = _sentence(event, names)
            if line:
                self.event(line)


async def _events(cluster: Any) -> AsyncIterator[Any]:
    """All events, also after the store was replaced by a snapshot."""
    version: int | None = None
    while True:
        try:
            async for event in cluster.events(version):
                version = event.version
                yield event
            return
        except Compacted:
            version = None


def _sentence(event: Any, names: dict[str, str]) -> str:
    """One line for people, or nothing."""
    old, new = event.old, event.new
    if event.kind == "task":
        return _task_sentence(old, new, names)
    if event.kind == "node" and new is not None and (old is None or old.state is not new.state):
        message = f" ({new.message})" if new.message else ""
        return f"node {new.hostname} is {new.state}{message}"
    if event.kind == "service" and new is not None:
        status = new.update_status
        if status is not None and (old is None or old.update_status != status):
            return f"service {new.spec.name}: {status.message}"
    return ""


def _task_sentence(old: Task | None, new: Task | None, names: dict[str, str]) -> str:
    if new is None or (old is not None and old.state is new.state and old.err == new.err):
        return ""
    label = f"{new.service_name}.{new.slot or names.get(new.node_id, new.node_id)}"
    if new.state is TaskState.PENDING and new.err:
        return f"task {label} waits: {new.err}"
    if new.state not in SHOWN:
        return ""
    where = names.get(new.node_id, new.node_id)
    pid = f", pid {new.pid}" if new.pid and new.state is TaskState.RUNNING else ""
    err = f": {new.err}" if new.err else ""
    return f"task {label} is {new.state} on {where}{pid}{err}"


def bar(fraction: float) -> str:
    """A bar of characters: ``[######..............]``."""
    done = round(BAR_CELLS * max(0.0, min(fraction, 1.0)))
    return f"[{'#' * done}{'.' * (BAR_CELLS - done)}]"


def _with_bar(table: Any, step: Any) -> Any:
    """The live table with the progress of an update below it."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.progress_bar import ProgressBar

    progress = ProgressBar(total=1.0, completed=step.fraction, width=2 * BAR_CELLS)
    return Group(table, Columns([progress, str(step)]))


def _live_table() -> Any:
    """Rich's live display, where rich is installed and the output is a terminal."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        return None
    return Live(console=Console(), auto_refresh=False, transient=True)


async def _table(cluster: Any) -> Any:
    """Nodes, and the tasks that run on them."""
    from rich.table import Table

    running: dict[str, list[str]] = {}
    for task in await cluster.tasks.running():
        name = f"{task.service_name}.{task.slot}" if task.slot else task.service_name
        running.setdefault(task.node_id, []).append(name)
    table = Table("node", "role", "state", "availability", "running tasks")
    for node in await cluster.nodes.list():
        names = " ".join(running.get(node.id, ()))
        table.add_row(node.name, str(node.role), str(node.state), str(node.availability), names)
    return table
