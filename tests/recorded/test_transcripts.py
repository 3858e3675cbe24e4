"""Recorded calls of the real CLI against daemons of ours: those that need no waiting.

All of them: ``PYTHONPATH=tests python -m recorded`` (docs/contributing.md).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorded.daemons import Daemons
from recorded.differences import KNOWN
from recorded.player import Player, records
from recorded.script import WORKER

PATIENCE_S = 20.0

PLAYED = {
    "n1": ((0, 24), (100, 109), (145, 146), (488, 570), (575, 582)),
    "n4": ((225, 241), (243, 245)),
    "n5": ((82, 99), (110, 120)),
    "n7": ((747, 763), (802, 813)),
}
"""A node outside a swarm, its first swarm, its tokens; configs and secrets; a
worker; networks; settings, and the last manager."""

JOIN = {225: f"n4 docker swarm join --token {WORKER} 10.99.0.11:2377"}
"""The recorded one went through another manager."""


def cli_version() -> str:
    """The version of the CLI here, "" without one."""
    if shutil.which("docker") is None:
        return ""
    command = ["docker", "version", "--format", "{{.Client.Version}}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


pytestmark = pytest.mark.skipif(
    not cli_version().startswith("28."), reason="the calls were recorded with docker 28"
)


@pytest.fixture
def player() -> Iterator[Player]:
    folder = Path(tempfile.mkdtemp(prefix="pyswarm-"))  # a short path: sockets' are
    daemons = Daemons(folder)
    try:
        yield Player(daemons, patience_s=PATIENCE_S)
    finally:
        daemons.stop_all()
        shutil.rmtree(folder)


def test_recorded_calls(player: Player) -> None:
    differing = []
    for record in records():
        ranges = PLAYED.get(record.node, ())
        if not any(first <= record.number <= last for first, last in ranges):
            continue
        if record.number in JOIN:
            player.do(JOIN[record.number])
        is_known = record.number in KNOWN
        outcome = player.play(record, patience_s=0.0 if is_known else None)
        if not outcome.agrees and not is_known:
            differing.append(outcome.show())
    assert not differing, "\n".join(differing)
