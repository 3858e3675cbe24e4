"""Volumes of a node: directories that outlive the tasks and services that use them.

``volumes/NAME/data`` holds what tasks write, ``volumes/NAME/volume.json`` what the volume was made
with. A volume is made when a task first names it, with its labels; it goes when somebody removes
it. One without a name belongs to its task and goes with it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import attrs

from pyswarm.agent.executor import TaskRejected
from pyswarm.errors import FailedPrecondition, InvalidArgument, NotFound
from pyswarm.model.specs import VolumeOptions

FORMAT = 1
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}")
_ANONYMOUS = re.compile(r"(.*)\.\d+\.anonymous")


@attrs.frozen
class Volume:
    """One volume; ``path`` is where its contents are on the host."""

    name: str
    path: str
    labels: Mapping[str, str]
    driver: str = "local"
    created_at: float = 0.0
    """Seconds since the epoch."""


class Volumes:
    """The volumes under one directory. Methods block on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def ensure(self, name: str, options: VolumeOptions | None) -> Path:
        """The directory of a volume, made if it is missing. Raises :class:`TaskRejected`."""
        options = options or VolumeOptions()
        if len(name) < 2:
            raise TaskRejected(
                f"create {name}: volume name is too short, names should be at least two "
                "alphanumeric characters"
            )
        if not _NAME.fullmatch(name):
            raise TaskRejected(
                f'create {name}: "{name}" includes invalid characters for a local volume name, '
                'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host '
                "directory, use absolute path"
            )
        if options.driver not in ("", "local"):
            raise TaskRejected(
                f'error looking up volume plugin {options.driver}: plugin "{options.driver}" '
                "not found"
            )
        for key in options.driver_options:
            raise TaskRejected(f'create {name}: invalid option: "{key}"')
        data = self._root / name / "data"
        if not data.is_dir():
            data.parent.mkdir(parents=True, exist_ok=True)
            os.chmod(self._root, 0o711)
            os.chmod(data.parent, 0o711)
            about = {"format": FORMAT, "labels": dict(options.labels)}
            (data.parent / "volume.json").write_text(json.dumps(about), encoding="utf-8")
            data.mkdir()  # last: with it the volume is there
        return self._below(name, data, options.subpath)

    def _below(self, name: str, data: Path, subpath: str) -> Path:
        if not subpath:
            return data
        path = (data / subpath.lstrip("/")).resolve()
        if not path.is_relative_to(data.resolve()) or not path.exists():
            raise TaskRejected(f"cannot access path {subpath} in volume {name}: no such directory")
        return path

    def all(self) -> list[Volume]:
        """All of them, by name."""
        if not self._root.is_dir():
            return []
        names = sorted(path.name for path in self._root.iterdir() if (path / "data").is_dir())
        return [self._volume(name) for name in names]

    def _volume(self, name: str) -> Volume:
        place = self._root / name
        try:
            created = (place / "volume.json").stat().st_mtime
        except OSError:
            created = 0.0
        return Volume(name, str(place / "data"), self._labels(name), created_at=created)

    def _labels(self, name: str) -> dict[str, str]:
        try:
            about = json.loads((self._root / name / "volume.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if about.get("format") != FORMAT:
            raise FailedPrecondition(f"volume {name} is of another version: {about.get('format')}")
        return {str(key): str(value) for key, value in about.get("labels", {}).items()}

    def remove(self, name: str, in_use: Iterable[str] = ()) -> None:
        """Raises ``NotFound``, and ``FailedPrecondition`` for one that a task uses."""
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f"invalid volume name: {name}")
        if not (self._root / name).is_dir():
            raise NotFound(f"get {name}: no such volume")
        if name in in_use:
            raise FailedPrecondition(f"remove {name}: volume is in use")
        shutil.rmtree(self._root / name)

    def prune(self, in_use: Iterable[str] = ()) -> list[str]:
        """Remove every volume that no task uses; their names."""
        used = frozenset(in_use)
        gone = [volume.name for volume in self.all() if volume.name not in used]
        for name in gone:
            shutil.rmtree(self._root / name)
        return gone

    def remove_anonymous(self, task_id: str) -> None:
        """What a task's mounts without a name left."""
        self._remove_anonymous(lambda owner: owner == task_id)

    def remove_all_anonymous(self) -> None:
        """The same of every task: none of them lives."""
        self._remove_anonymous(lambda _: True)

    def _remove_anonymous(self, of: Callable[[str], bool]) -> None:
        for path in self._root.iterdir() if self._root.is_dir() else ():
            found = _ANONYMOUS.fullmatch(path.name)
            if found and of(found[1]):
                shutil.rmtree(path, ignore_errors=True)


def anonymous(task_id: str, number: int) -> str:
    """The name of a volume without one."""
    return f"{task_id}.{number}.anonymous"
