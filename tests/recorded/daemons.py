"""The recording's nodes as daemon processes of ours, each with a loopback address of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

START_S = 60.0
STOP_S = 30.0

SLEEPERS = ("nginx", "redis", "mysql", "wordpress")
IMAGES = ("busybox=", *(f"{name}=sleep infinity" for name in SLEEPERS))
"""What services run; the recorded image of busybox had no command of its own."""

LABELLED = "12345"

SIZES = {
    "500k-1": 511_999,
    "500k": 512_000,
    "500k+1": 512_001,
    "500000": 500_000,
    "1M-1": 1_023_999,
    "1M": 1_024_000,
    "1M+1": 1_024_001,
    "empty": 0,
}


STACK = """\
version: "3.8"
services:
  db:
    image: busybox:latest
    command: sleep 1000
    networks: [default]
    secrets: [db_root_password, db_password]
    deploy: {replicas: 2, placement: {max_replicas_per_node: 2}}
  wordpress:
    image: nginx:latest
    build: .
    container_name: wp
    networks: [default, front]
    ports: ["8000:80"]
    secrets: [db_password]
    configs: [site]
    deploy: {mode: global}
networks: {front: {}}
secrets: {db_password: {file: ./site.conf}, db_root_password: {file: ./site.conf}}
configs: {site: {file: ./site.conf}}
"""
"""Written after what the recording says of its own."""


class Daemons:
    """One process a node, started when the node is first asked."""

    def __init__(self, folder: Path, images: tuple[str, ...] = ()) -> None:
        self.images = images
        """Those of a registry."""
        self.folder = folder
        """Holds ``files/``, which commands name, and each node's socket and state."""
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        files(folder / "files")
        programs(folder / "bin")

    def socket(self, node: str) -> Path:
        """Where ``node`` serves the Engine API; it runs from now on."""
        if node not in self._running:
            self.start(node)
        return self.folder / f"{node}.sock"

    def start(self, node: str) -> None:
        """Start the node's process, in the directory it had before."""
        path, number = self.folder / f"{node}.sock", node[1:]
        command = [sys.executable, "-m", "pyswarm", "daemon", "-H", f"unix://{path}"]
        command += ["--state-dir", str(self.folder / node), "--hostname", f"node-{number}"]
        if number in LABELLED:
            storage = "ssd" if number in "123" else "hdd"
            command += ["--label", f"engine.zone=z{number}", "--label", f"storage={storage}"]
        for image in (*IMAGES, *self.images):
            command += ["--image", image]
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        with (self.folder / f"{node}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._running[node] = process
        deadline = time.monotonic() + START_S
        while not _answers(path):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / f"{node}.log").read_text())
            time.sleep(0.05)

    def kill(self, node: str) -> None:
        """SIGKILL."""
        process = self._running.pop(node, None)
        if process is not None:
            process.kill()
            process.wait()

    def pause(self, node: str) -> None:
        """SIGSTOP."""
        self._running[node].send_signal(signal.SIGSTOP)

    def resume(self, node: str) -> None:
        """SIGCONT."""
        self._running[node].send_signal(signal.SIGCONT)

    def stop(self, node: str) -> None:
        """SIGTERM, and wait."""
        process = self._running.pop(node, None)
        if process is not None:
            process.terminate()
            _wait(process)

    def wipe(self, node: str) -> None:
        """Stopped, with nothing on its disk any more."""
        self.stop(node)
        shutil.rmtree(self.folder / node, ignore_errors=True)

    def save(self, node: str) -> None:
        """Stopped, and a copy of its disk kept."""
        self.stop(node)
        shutil.rmtree(self.folder / f"{node}.saved", ignore_errors=True)
        shutil.copytree(self.folder / node, self.folder / f"{node}.saved", ignore=_sockets)

    def restore(self, node: str) -> None:
        """Stopped, with the disk as it was kept."""
        self.wipe(node)
        shutil.copytree(self.folder / f"{node}.saved", self.folder / node)

    def stop_all(self) -> None:
        """All of them, gracefully."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            _wait(process)
        self._running.clear()


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".sock")]


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def files(folder: Path) -> None:
    """The files that the recorded commands name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in SIZES.items():
        (folder / name).write_bytes(b"x" * size)
    (folder / "bin").write_bytes(bytes(range(256)))
    (folder / "site.conf").write_text("This is a config\n")
    (folder / "tmplcfg").write_text('{{ .Service.Name }} {{ env "A" }}\n')
    (folder / "stack.yml").write_text(STACK)


def programs(folder: Path) -> None:
    """Programs of the recorded images that a host may not have, or that want a terminal."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("top", "ping"):
        path = folder / name
        path.write_text("#!/bin/sh\nexec sleep 100000\n")
        path.chmod(0o755)
