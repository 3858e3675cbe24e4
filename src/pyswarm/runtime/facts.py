"""What this host is, read from the host: the answer to ``info``, swarm or not."""

from __future__ import annotations

import hashlib
import os
import platform
from base64 import b32encode
from pathlib import Path

import trio

from pyswarm.api.facts import Facts
from pyswarm.env import Clock
from pyswarm.model import NodeDescription

NANO = 1_000_000_000


def read_facts(description: NodeDescription, root_dir: Path, version: str, clock: Clock) -> Facts:
    """The host as it is now."""
    system = os.uname()
    release = _release()
    return Facts(
        engine_id=engine_id(system.nodename, root_dir),
        name=description.hostname,
        version=version,
        labels=tuple(f"{key}={text}" for key, text in description.engine_labels.items()),
        cpus=description.resources.nano_cpus // NANO,
        memory=description.resources.memory_bytes,
        kernel=system.release,
        operating_system=release.get("PRETTY_NAME", system.sysname),
        os_version=release.get("VERSION_ID", ""),
        architecture=system.machine,
        root_dir=str(root_dir),
        generic_resources=description.resources.generic,
        plugins=description.plugins,
        now=clock.realtime(),
        open_files=_open_files(),
        tasks=trio.lowlevel.current_statistics().tasks_living,
    )


def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def engine_id(host: str, root_dir: Path) -> str:
    """Docker's form of an engine's id: the same for a host and state directory."""
    text = b32encode(hashlib.sha256(f"{host}\0{root_dir}".encode()).digest()[:30]).decode()
    return ":".join(text[at : at + 4] for at in range(0, 48, 4))
