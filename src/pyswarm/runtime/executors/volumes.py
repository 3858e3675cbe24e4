"""Volumes of a node: directories that outlive the tasks and services that use them.

``volumes/NAME/data`` holds what tasks write, ``volumes/NAME/volume.json`` what the volume was made
with: labels, and options of the driver ``local`` (:mod:`.volumeoptions`), with which its tasks find
something mounted there instead (:mod:`.volumemounts`). A volume is made when a task first names it;
one that is there stays as it is, whatever else is said of it, as with Docker. It goes when somebody
removes it. One without a name belongs to its task and goes with it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from pyswarm.agent.executor import TaskRejected
from pyswarm.errors import FailedPrecondition, InvalidArgument, NotFound
from pyswarm.model.specs import VolumeOptions
from pyswarm.runtime.executors.volumeoptions import problem_of

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
    options: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Of the driver; they may hold the password of a file server."""


class Volumes:
    """The volumes under one directory. Methods block on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def ensure(self, name: str, options: VolumeOptions | None) -> Volume:
        """A volume, made if it is missing. Raises :class:`TaskRejected`."""
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
        if not (self._root / name / "data").is_dir():
            if problem := problem_of(options.driver_options):
                raise TaskRejected(f"create {name}: {problem}")
            self._make(name, options)
        return self.get(name)

    def _make(self, name: str, options: VolumeOptions) -> None:
        data = self._root / name / "data"
        data.parent.mkdir(parents=True, exist_ok=True)
        os.chmod(self._root, 0o711)
        os.chmod(data.parent, 0o711)
        about = {"format": FORMAT, "labels": dict(options.labels)}
        if options.driver_options:
            about["options"] = dict(options.driver_options)
        with open(data.parent / "volume.json", "w", encoding="utf-8") as file:
            os.chmod(file.fileno(), 0o600)  # before the options are in it
            file.write(json.dumps(about))
            file.flush()
            os.fsync(file.fileno())  # a volume never comes back without its options
        data.mkdir()  # last: with it the volume is there

    @staticmethod
    def below(volume: Volume, subpath: str) -> Path:
        """A directory in a volume, which cannot be outside of it. Raises :class:`TaskRejected`."""
        data = Path(volume.path)
        if not subpath:
            return data
        path = (data / subpath.lstrip("/")).resolve()
        if not path.is_relative_to(data.resolve()) or not path.exists():
            where = f"cannot access path {subpath} in volume {volume.name}"
            raise TaskRejected(f"{where}: no such directory")
        return path

    def all(self) -> list[Volume]:
        """All of them, by name."""
        if not self._root.is_dir():
            return []
        names = sorted(path.name for path in self._root.iterdir() if (path / "data").is_dir())
        return [self.get(name) for name in names]

    def get(self, name: str) -> Volume:
        """One that is there."""
        place = self._root / name
        try:
            created = (place / "volume.json").stat().st_mtime
        except OSError:
            created = 0.0
        about = self._about(name)
        labels, options = (
            {str(key): str(value) for key, value in about.get(what, {}).items()}
            for what in ("labels", "options")
        )
        path = str(place / "data")
        return Volume(name, path, labels, created_at=created, options=options)

    def _about(self, name: str) -> dict[str, Any]:
        try:
            about: Any = json.loads((self._root / name / "volume.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if about.get("format") != FORMAT:
            raise FailedPrecondition(f"volume {name} is of another version: {about.get('format')}")
        found: dict[str, Any] = about
        return found

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
