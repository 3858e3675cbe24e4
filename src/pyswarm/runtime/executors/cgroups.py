"""Limits that hold for all processes of a task together: CPU time, memory, number of processes.

Control groups of version 2 where their controllers are, else of version 1, under ``pyswarm/`` in
the hierarchy of each controller. A task's groups are made before it starts and named by the process
id of its node and its own id. The task's supervisor removes them when the task has ended, also when
the node was killed; what a supervisor that was killed itself left behind, the next node removes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from pyswarm.agent.executor import TaskRejected
from pyswarm.model.resources import NANO, ResourceRequirements

ROOT = Path("/sys/fs/cgroup")
PARENT = "pyswarm"
PERIOD_US = 100_000
"""The kernel's own period of CPU time."""
QUOTA_MIN_US = 1_000
"""The least the kernel takes."""

ATTEMPTS = 100
"""To make a group: each is lost only to a node that ends at that moment."""

CONTROLLERS = ("cpu", "memory", "pids")


@attrs.frozen
class Cgroups:
    """Where groups can be made: ``version`` 1 or 2, or 0 for nowhere."""

    version: int
    root: Path = ROOT

    @classmethod
    def find(cls, root: Path = ROOT) -> Cgroups:
        """What this host has, for this process."""
        with suppress(OSError):
            controllers = (root / "cgroup.controllers").read_text(encoding="ascii").split()
            if all(name in controllers for name in CONTROLLERS) and cls._delegate(root):
                return cls(2, root)
        if all((root / name / "cgroup.procs").exists() for name in CONTROLLERS):
            try:
                for name in CONTROLLERS:
                    (root / name / PARENT).mkdir(exist_ok=True)
                return cls(1, root)
            except OSError:
                pass
        return cls(0, root)

    @staticmethod
    def _delegate(root: Path) -> bool:
        """Have groups below ours use the controllers; False where somebody is in the way."""
        wanted = " ".join(f"+{name}" for name in CONTROLLERS)
        try:
            (root / "cgroup.subtree_control").write_text(wanted, encoding="ascii")
            (root / PARENT).mkdir(exist_ok=True)
            (root / PARENT / "cgroup.subtree_control").write_text(wanted, encoding="ascii")
        except OSError:
            return False
        return True

    def make(self, task_id: str, wanted: ResourceRequirements) -> tuple[str, ...]:
        """Groups for a task with these limits; their directories, none where it has no limit.

        Raises :class:`TaskRejected` for a limit the kernel does not take.
        """
        values = self._values(wanted)
        made: list[str] = []
        name = f"{os.getpid()}.{task_id}"
        try:
            for controller, files in values.items():
                directory = self._make(controller, name)
                made.append(str(directory))
                for file, value in files.items():
                    _write(directory / file, value)
        except OSError as error:
            self.remove(made)
            raise TaskRejected(f"a limit cannot be set: {error}") from error
        return tuple(dict.fromkeys(made))

    def _make(self, controller: str, name: str) -> Path:
        """A group, whose parent another node here may be taking away at the same time."""
        top = self.root / PARENT if self.version == 2 else self.root / controller / PARENT
        directory = top / name
        for _ in range(ATTEMPTS):
            with suppress(FileNotFoundError):
                directory.mkdir(parents=True, exist_ok=True)
                break
        if self.version == 2:
            self._delegate(self.root)  # after that: with a group in it, the parent stays
        return directory

    def _values(self, wanted: ResourceRequirements) -> dict[str, dict[str, str]]:
        limits = wanted.limits
        values: dict[str, dict[str, str]] = {}
        if limits.nano_cpus:
            quota = max(QUOTA_MIN_US, limits.nano_cpus * PERIOD_US // NANO)
            values["cpu"] = (
                {"cpu.max": f"{quota} {PERIOD_US}"}
                if self.version == 2
                else {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota)}
            )
        if limits.memory_bytes:
            values["memory"] = self._memory(limits.memory_bytes, wanted)
        if limits.pids:
            values["pids"] = {"pids.max": str(limits.pids)}
        return values

    def _memory(self, memory: int, wanted: ResourceRequirements) -> dict[str, str]:
        """Swap as Docker has it: as much again as memory where nothing is said, -1 for no end."""
        swap = memory if wanted.swap_bytes is None else wanted.swap_bytes
        files: dict[str, str] = {}
        if self.version == 2:
            files["memory.max"] = str(memory)
            files["?memory.swap.max"] = "max" if swap < 0 else str(swap)
            return files
        files["memory.limit_in_bytes"] = str(memory)
        files["?memory.memsw.limit_in_bytes"] = "-1" if swap < 0 else str(memory + swap)
        if wanted.memory_swappiness is not None and wanted.memory_swappiness >= 0:
            files["?memory.swappiness"] = str(wanted.memory_swappiness)
        return files

    @staticmethod
    def remove(directories: Sequence[str]) -> None:
        """Remove groups without processes."""
        for directory in directories:
            with suppress(OSError):
                os.rmdir(directory)

    def _tops(self) -> list[Path]:
        if self.version == 1:
            return [self.root / name / PARENT for name in CONTROLLERS]
        return [self.root / PARENT] if self.version else []

    def close(self) -> None:
        """Remove the groups above the tasks' own, if no other node here has tasks in them."""
        self.remove([str(top) for top in self._tops()])

    def sweep(self) -> None:
        """Remove what nodes that are gone could not: groups of no process id that is alive."""
        for top in self._tops():
            for directory in top.glob("*.*"):
                pid = directory.name.partition(".")[0]
                if pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
                    with suppress(OSError):
                        directory.rmdir()


def _write(path: Path, value: str) -> None:
    """A file whose name begins with ``?`` may be missing: a kernel without swap accounting."""
    if path.name.startswith("?"):
        with suppress(OSError):
            path.with_name(path.name[1:]).write_text(value, encoding="ascii")
        return
    path.write_text(value, encoding="ascii")
