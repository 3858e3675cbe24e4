"""The real docker CLI against daemons: calls, and waiting until an answer is the one wanted."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recorded.daemons import Daemons

PATIENCE_S = 60.0
HAS_CLI = shutil.which("docker") is not None
NEEDS_CLI = "there is no docker CLI here"


class Cli:
    """The CLI, talking to one daemon of several."""

    def __init__(self, daemons: Daemons) -> None:
        self.daemons = daemons
        self.folder = daemons.folder

    def environment(self, node: str) -> dict[str, str]:
        return {
            **os.environ,
            "DOCKER_HOST": f"unix://{self.daemons.socket(node)}",
            "DOCKER_CLI_HINTS": "false",
            "HOME": str(self.folder),
        }

    def try_(self, node: str, line: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """``docker LINE`` on ``node``, whatever comes of it."""
        return subprocess.run(
            ["sh", "-c", f"docker {line}"],
            cwd=self.folder,
            env=self.environment(node),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def __call__(self, node: str, line: str, stdin: str = "") -> str:
        """What it printed; it must succeed."""
        done = self.try_(node, line, stdin)
        assert done.returncode == 0, f"{node}: docker {line}: {done.stderr}"
        return done.stdout.strip()

    def until(self, node: str, line: str, wanted: Callable[[str], bool]) -> str:
        """Ask again until it succeeds with an answer that is ``wanted``."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = self.try_(node, line)
            if done.returncode == 0 and wanted(done.stdout.strip()):
                return done.stdout.strip()
            assert time.monotonic() < deadline, f"{node}: docker {line}: {done}"
            time.sleep(0.1)

    def refused(self, node: str, line: str, words: str) -> None:
        """Ask again until it fails with ``words``: a swarm takes a while to see that it is one no
        more."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = self.try_(node, line)
            if done.returncode == 1 and words in done.stderr:
                return
            assert time.monotonic() < deadline, f"{node}: docker {line}: {done}"
            time.sleep(0.1)

    def firmly(self, node: str, line: str) -> None:
        """Again until it succeeds: the CLI reads a version and writes what it made of it, and the
        swarm itself may be faster."""
        self.until(node, line, lambda text: True)

    def start(self, node: str, *words: str) -> subprocess.Popen[str]:
        """A call that goes on."""
        return subprocess.Popen(
            ["docker", *words],
            cwd=self.folder,
            env=self.environment(node),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextmanager
def opened() -> Iterator[Cli]:
    """Daemons that start when they are asked, in a folder with a short path (sockets' are)."""
    folder = Path(tempfile.mkdtemp(prefix="pyswarm-"))
    daemons = Daemons(folder)
    try:
        yield Cli(daemons)
    finally:
        daemons.stop_all()
        shutil.rmtree(folder)
