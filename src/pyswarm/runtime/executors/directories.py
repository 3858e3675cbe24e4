"""Where a task's files are on the host.

``tasks/ID/work`` is its working directory and ``tasks/ID/logs`` its log, under the node's state
directory or a temporary one. Secrets and configs lie in memory (a tmpfs at ``/dev/shm``), in a
directory only the task's user may enter; where there is no such place they lie in one like it on
disk, and a warning says so.

What a node that was killed left, the next one clears away when it is made: a live node holds a lock
in each of its directories. In a state directory the logs and volumes stay.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pyswarm.agent.executor import TaskFile
from pyswarm.agent.files import SECRETS_ROOT
from pyswarm.runtime.executors.credentials import User, find_gid, find_uid
from pyswarm.runtime.executors.volumes import Volumes

logger = logging.getLogger("pyswarm.executor")

MEMORY_PLACE = Path("/dev/shm")
_PREFIX = "pyswarm-tasks-"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Directories:
    """All directories of one executor. Methods block on the disk, as making one does."""

    def __init__(self, state_dir: Path | None) -> None:
        self._state_dir = state_dir
        self._root: Path | None = None
        self._memory: Path | None = None
        self._locks: list[int] = []
        for place in (MEMORY_PLACE, Path(tempfile.gettempdir())):
            sweep(place)
        if state_dir is not None and state_dir.is_dir():
            self._root = self._opened(state_dir)

    @property
    def root(self) -> Path:
        if self._root is None and self._state_dir is None:
            self._root = self._locked(Path(tempfile.gettempdir()))
        elif self._root is None:
            assert self._state_dir is not None
            self._root = self._opened(self._state_dir)
        return self._root

    def _opened(self, root: Path) -> Path:
        """A state directory, cleared of what tasks left that ended with their node."""
        root.mkdir(parents=True, exist_ok=True)
        os.chmod(root, 0o711)  # tasks of other users must come through
        lock = os.open(root / "tasks.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)  # somebody else's tasks live here: nothing is cleared
            return root
        self._locks.append(lock)
        sweep(root)
        Volumes(root / "volumes").remove_all_anonymous()
        for task in (root / "tasks").glob("*"):
            for path in task.glob("*"):
                if path.name != "logs":
                    _remove(path)
            with suppress(OSError):  # it printed something
                (task / "logs").rmdir()
            with suppress(OSError):
                task.rmdir()
        return root

    def _locked(self, place: Path) -> Path:
        path, lock = locked_directory(place)
        self._locks.append(lock)
        return path

    def task(self, task_id: str) -> Path:
        assert _ID.fullmatch(task_id), task_id  # an id never leads elsewhere
        return self.root / "tasks" / task_id

    def logs(self, task_id: str) -> Path:
        return self.task(task_id) / "logs"

    def has(self, task_id: str) -> bool:
        return self.task(task_id).is_dir()

    def make(self, task_id: str, user: User) -> Path:
        """The task's directories; returns the one it works in."""
        (self.root / "tasks").mkdir(mode=0o711, exist_ok=True)
        self.logs(task_id).mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(self.task(task_id), 0o711)
        work = self.task(task_id) / "work"
        work.mkdir(mode=0o700, exist_ok=True)
        _give(work, user)
        return work

    def write_files(self, task_id: str, files: Iterable[TaskFile], user: User) -> dict[str, str]:
        """Secrets and configs as files; returns the variables that name their directories."""
        env: dict[str, str] = {}
        for file in files:
            top = self._files_of(task_id, user) / f"{file.kind}s"
            env[f"PYSWARM_{file.kind.upper()}S_DIR"] = str(top)
            path = top / relative(file)
            for directory in reversed([p for p in path.parents if p.is_relative_to(top)]):
                directory.mkdir(mode=0o755, exist_ok=True)
                _give(directory, user)
            path.unlink(missing_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as out:
                out.write(file.data)
                if os.geteuid() == 0:
                    os.fchown(fd, find_uid(file.uid), find_gid(file.gid))
                os.fchmod(fd, file.mode & 0o777)
        return env

    @property
    def volumes(self) -> Volumes:
        """The volumes of this node; without a state directory they go with the executor."""
        return Volumes(self.root / "volumes")

    def file(self, task_id: str, file: TaskFile) -> Path:
        """Where :meth:`write_files` wrote one."""
        assert self._memory is not None
        return self._memory / task_id / f"{file.kind}s" / relative(file)

    def memory(self, task_id: str, user: User) -> Path:
        """A place in memory that goes with the task."""
        return self._files_of(task_id, user)

    def secrets_dir(self, task_id: str) -> str:
        """The directory a supervisor must remove when the node cannot; "" where there is none."""
        path = self._memory / task_id if self._memory else None
        return str(path) if path and path.exists() else ""

    def remove(self, task_id: str) -> None:
        """Everything of this task."""
        self.remove_files(task_id)
        self.volumes.remove_anonymous(task_id)
        if self.has(task_id):
            shutil.rmtree(self.task(task_id), ignore_errors=True)

    def remove_files(self, task_id: str) -> None:
        """The secrets and configs of a task that does not run any more."""
        if self._memory is not None:
            shutil.rmtree(self._memory / task_id, ignore_errors=True)

    def close(self) -> None:
        """Remove what only lives as long as the node; with a state directory, logs stay."""
        if self._memory is not None:
            shutil.rmtree(self._memory, ignore_errors=True)
            self._memory = None
        if self._root is not None and self._state_dir is None:
            shutil.rmtree(self._root, ignore_errors=True)
        self._root = None
        while self._locks:
            os.close(self._locks.pop())

    def _files_of(self, task_id: str, user: User) -> Path:
        if self._memory is None:
            place = MEMORY_PLACE if is_memory(MEMORY_PLACE) else None
            if place is None:
                logger.warning(
                    "there is no tmpfs at %s: secrets of tasks are kept on disk, in a directory "
                    "that only their user may enter, under %s",
                    MEMORY_PLACE,
                    self.root,
                )
            self._memory = self._locked(place or self.root)
        path = self._memory / task_id
        path.mkdir(mode=0o700, exist_ok=True)
        _give(path, user)
        return path


def is_memory(place: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether what is written to ``place`` stays in memory, and may be written."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    kinds = [line.split()[2] for line in lines if line.split()[1:2] == [str(place)]]
    return kinds[-1:] in (["tmpfs"], ["ramfs"]) and os.access(place, os.W_OK)


def relative(file: TaskFile) -> str:
    """Where a file lies in its directory: without ``/run/secrets``, or without the first ``/``."""
    if file.kind == "secret" and file.path.startswith(SECRETS_ROOT + "/"):
        return file.path[len(SECRETS_ROOT) + 1 :]
    return file.path.lstrip("/")


def locked_directory(place: Path) -> tuple[Path, int]:
    """A new directory that anybody may clear away once this process has ended, and its lock.

    It gets the name of a live one when it is locked; until then others may take it for left behind,
    and then another one is made.
    """
    while True:
        new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=place))
        try:
            os.chmod(new, 0o711)
            lock = os.open(new / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return new.rename(new.with_name(new.name[1:])), lock
        except FileNotFoundError:
            os.close(lock)


def sweep(place: Path) -> None:
    """Remove the directories of nodes that did not live to do it: nobody holds their lock."""
    for path in (*place.glob(_PREFIX + "*"), *place.glob(f".{_PREFIX}*")):
        try:
            info = path.lstat()
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
                continue  # in a place where everybody may write
            lock = os.open(path / "lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            _sweep_without_lock(path)
            continue
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass
        finally:
            os.close(lock)


def _sweep_without_lock(path: Path) -> None:
    """One that was never locked, and is empty, or one that was swept by half."""
    try:
        path.rmdir()
    except OSError:
        if not (path / "lock").exists():
            shutil.rmtree(path, ignore_errors=True)


def may_enter(path: Path, user: User) -> bool:
    """Whether a user gets to a directory, as far as the modes of those above it say."""
    if user.uid <= 0:
        return True
    for directory in path.parents:
        info = directory.stat()
        if info.st_uid == user.uid:
            bit = stat.S_IXUSR
        else:
            is_ours = info.st_gid in (user.gid, *user.groups)
            bit = stat.S_IXGRP if is_ours else stat.S_IXOTH
        if not info.st_mode & bit:
            return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _give(path: Path, user: User) -> None:
    if user.uid >= 0:
        os.chown(path, user.uid, user.gid)
