"""Backups as files: a backup is a state directory of a manager, and a note with its checksums.

A *hot* backup is written anew from a running manager's memory: one snapshot of the store, the few
entries behind it, the node's small state, and keys of its own, wrapped by the swarm's unlock key
while autolock is on. A *cold* one is a copy of the directory of a stopped manager. Either way
``backup.json``, written last, names every file with its size and SHA-256, and ends with one of its
own; a directory without it is no backup (yet).

All of this blocks: a running node calls it in a thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from pyswarm.errors import FailedPrecondition
from pyswarm.node import NodeRecord
from pyswarm.node.record import RECORD
from pyswarm.raft import Entry, HardState, Snapshot
from pyswarm.runtime.parts import made
from pyswarm.runtime.storage import Batch, FileDirectory, Identity, NewerFormat
from pyswarm.runtime.storage.directory import hold
from pyswarm.runtime.storage.errors import disk_errors
from pyswarm.runtime.storage.files import SystemFiles, replace_file
from pyswarm.runtime.tls.keyfiles import files_of
from pyswarm.secretstore import UnlockKey

NOTE = "backup.json"
FORMAT = 2
"""In the first one the note had no checksum of its own."""
LOCK = "lock"
PIECE_BYTES = 1024 * 1024
"""Files are read for their checksum in pieces of this size."""


class NotABackup(FailedPrecondition):
    """The directory is no backup, or one that was never finished."""


class DamagedBackup(FailedPrecondition):
    """A file of the backup is missing, or is not what it was."""


@attrs.frozen(kw_only=True)
class Backup:
    """What a backup says of itself."""

    path: Path
    version: int
    """The last entry that is surely in it; 0 for a copy of a stopped manager's directory, which
    has all that the manager had."""
    taken_at: float
    """Seconds since the epoch."""
    node_id: str
    swarm_id: str
    locked: bool
    """Whether it takes the unlock key of its time to open it."""
    files: Mapping[str, tuple[int, str]] = attrs.field(repr=False)
    """Size and SHA-256 of each file, by its name within the directory."""

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(size for size, _ in self.files.values())


@attrs.frozen
class Image:
    """What a running manager knew at one moment."""

    record: NodeRecord
    hard_state: HardState
    snapshot: Snapshot | None
    """None: nothing was settled yet, as far as this manager knew."""
    entries: tuple[Entry, ...]
    blobs: Mapping[str, bytes] = attrs.field(repr=False)
    """The node's small state."""
    unlock_key: UnlockKey | None
    unlock_key_version: int
    """Of the swarm object that says so; what the entries said before it does not count."""


def write_image(image: Image, target: Path, now: float) -> Backup:
    """A hot backup at ``target``. Raises ``AlreadyExists``, ``DiskFull`` and ``WriteFailed``."""
    with made(target, "the backup") as path:
        directory = FileDirectory.open(
            path,
            unlock_key=image.unlock_key,
            unlock_key_version=image.unlock_key_version,
            deliver=lambda job: job(),
        )
        try:
            blobs = {**image.blobs, RECORD: image.record.to_bytes()}
            _check(directory.state.write([blobs]))
            identity = image.record.identity
            log = directory.log(Identity(identity.swarm_id, identity.node_id))
            log.start_empty()
            _check(log.write([Batch(image.hard_state, image.entries, image.snapshot)]))
        finally:
            directory.close()
        index = image.snapshot.index if image.snapshot is not None else 0
        return _noted(path, target, image.record, index, now)


def copy_stopped(state_dir: Path, target: Path, now: float) -> Backup:
    """A backup of the stopped manager whose directory this is; no key is needed.

    Raises ``FailedPrecondition`` if there is no node in it, ``DirectoryInUse`` while it runs,
    ``AlreadyExists``, ``DiskFull`` and ``WriteFailed``.
    """
    if not (state_dir / "raft" / "manifest").exists():
        raise FailedPrecondition(f"{state_dir} holds no manager")
    lock = hold(state_dir / LOCK)
    try:
        with made(target, "the backup") as path, disk_errors("the backup"):
            copy_files(state_dir, path)
            return _noted(path, target, None, 0, now)
    finally:
        os.close(lock)


def verify(path: Path) -> Backup:
    """The backup at ``path``, every file of it checked.

    Raises ``NotABackup``, ``DamagedBackup`` and ``NewerFormat``.
    """
    backup = read_note(path)
    for name, (size, digest) in backup.files.items():
        file = path / name
        if not file.is_file():
            raise DamagedBackup(f"{name} is missing in the backup", details={"file": name})
        if (file.stat().st_size, _digest(file)) != (size, digest):
            raise DamagedBackup(f"{name} is damaged in the backup", details={"file": name})
    return backup


def read_note(path: Path) -> Backup:
    """What the backup at ``path`` says of itself, its other files unchecked. Raises
    ``NotABackup``, ``DamagedBackup`` and ``NewerFormat``."""
    try:
        form: dict[str, Any] = json.loads((path / NOTE).read_bytes())
        if form["format"] > FORMAT:
            raise NewerFormat(
                f"the backup is in format {form['format']}; this version reads up to {FORMAT}"
            )
        said = form.pop("sha256", None)
        if (said is not None or form["format"] > 1) and said != _checksum(form):
            raise DamagedBackup(f"{NOTE} is damaged in the backup", details={"file": NOTE})
        return Backup(
            path=path,
            version=form["version"],
            taken_at=form["taken_at"],
            node_id=form["node_id"],
            swarm_id=form["swarm_id"],
            locked=form["locked"],
            files={name: (size, digest) for name, (size, digest) in form["files"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise NotABackup(
            f"{path} is not a whole backup", hint="`pyswarm backup` and cluster.backup() make one"
        ) from problem


def copy_files(source: Path, target: Path) -> None:
    """Copy what a state directory is made of, synced; neither its lock nor a backup's note."""
    files = SystemFiles()
    for path in _parts(source):
        place = target / path.relative_to(source)
        files.make_directory(place.parent)
        with path.open("rb") as reader:
            fd = files.create(place)
            with os.fdopen(fd, "wb") as writer:
                shutil.copyfileobj(reader, writer, PIECE_BYTES)
                writer.flush()
                os.fsync(writer.fileno())
        files.sync_directory(place.parent)


def _parts(directory: Path) -> list[Path]:
    """The keys, the small state, the log, the certificate; nothing else that lies there (tasks'
    directories)."""
    names = [directory / "keys", directory / "state", *sorted((directory / "raft").glob("*"))]
    names += files_of(directory)
    return [path for path in names if path.is_file() and path.suffix != ".tmp"]


def _noted(path: Path, target: Path, record: NodeRecord | None, version: int, now: float) -> Backup:
    """Write the note, the last of a backup's files."""
    with disk_errors("the backup"):
        (path / LOCK).unlink(missing_ok=True)
        backup = Backup(
            path=target,
            version=version,
            taken_at=now,
            node_id=record.identity.node_id if record else "",
            swarm_id=record.identity.swarm_id if record else "",
            locked=FileDirectory.is_locked(path),
            files={
                str(part.relative_to(path)): (part.stat().st_size, _digest(part))
                for part in _parts(path)
            },
        )
        form = {"format": FORMAT, **attrs.asdict(backup, recurse=False)}
        del form["path"]
        form["sha256"] = _checksum(form)
        text = json.dumps(form, indent=2)
        replace_file(SystemFiles(), path / NOTE, text.encode())
    return backup


def _checksum(form: Mapping[str, Any]) -> str:
    """Of what the note says."""
    return hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def _check(error: BaseException | None) -> None:
    if error is not None:
        raise error
