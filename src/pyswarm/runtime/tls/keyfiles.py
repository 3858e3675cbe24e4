"""Where a node's key and certificate lie: PEM files that other tools can read.

::

    certificates/swarm-root-ca.crt      the root that this node trusts (0644)
    certificates/swarm-coming-ca.crt    the next one, while the root is being replaced
    certificates/roots-as-of            when the swarm said so: cluster time, and its version then
    certificates/swarm-node.crt         its certificate, with what leads from it to the root (0644)
    certificates/swarm-node.key         its key, PKCS#8 (0600)

While autolock is on a manager's key is an ``ENCRYPTED PRIVATE KEY`` whose pass phrase is the text
of the unlock key; the lines above it say which one (``kek-version``). The directory's data keys are
wrapped by the same unlock key, in a file of their own: so that a crash between the two leaves
nothing that neither key opens, the key under the new one is laid beside the other first, and takes
its place when the data keys have followed.

Key and certificate must fit each other. A new certificate is laid beside the former one, then the
key is written, then the certificate takes its place: whichever fits the key counts.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from pyswarm.ca.certificate import load_bundle
from pyswarm.ca.keys import lock_key, unlock_key
from pyswarm.errors import Unauthenticated
from pyswarm.raft.records import damaged
from pyswarm.runtime.storage import FileDirectory, MemoryDirectory, StateDirectory
from pyswarm.runtime.storage.errors import MissingFile, disk_errors, read_errors
from pyswarm.runtime.storage.files import SystemFiles, remove_file, replace_file
from pyswarm.runtime.tls.credentials import BLOB, Credentials, ForeignCertificate, fit
from pyswarm.secretstore import UnlockKey

DIRECTORY = "certificates"
ROOT, COMING, AS_OF = "swarm-root-ca.crt", "swarm-coming-ca.crt", "roots-as-of"
CERTIFICATE, NEXT_CERTIFICATE = "swarm-node.crt", ".swarm-node.crt"
KEY, NEXT_KEY = "swarm-node.key", ".swarm-node.key"
PUBLIC_MODE = 0o644
WHAT = "the node's certificate"
LAID_OPEN = "laid-open: yes"
"""Above a key that lay on the disk in clear before it was encrypted: it is to be replaced."""


class CertificateStore(Protocol):
    """What a node proves itself by, kept for its next life."""

    @property
    def was_laid_open(self) -> bool:
        """Whether the key lay in clear on a disk that is locked now: then there should be a new
        one."""
        ...

    def load(self) -> Credentials | None:
        """What is kept; None if there is nothing. Blocking."""
        ...

    def put(self, credentials: Credentials) -> None:
        """Keep these instead. Blocking, on disk when it returns."""
        ...

    async def save(self, credentials: Credentials) -> None:
        """The same without holding up the loop."""
        ...

    async def follow(self, kek: UnlockKey | None, rewrap: Callable[[], Awaitable[bool]]) -> bool:
        """While ``rewrap`` wraps the data keys by ``kek``, do so with the key; what it returns."""
        ...

    def forget(self) -> None:
        """Keep nothing. Blocking."""
        ...


def certificate_store(directory: StateDirectory) -> CertificateStore:
    """The one of this directory."""
    if isinstance(directory, FileDirectory):
        return CertificateFiles(directory)
    assert isinstance(directory, MemoryDirectory)
    return CertificateRecord(directory)


class CertificateRecord:
    """In the state of a directory in memory."""

    was_laid_open = False

    def __init__(self, directory: StateDirectory) -> None:
        self._state = directory.state

    def load(self) -> Credentials | None:
        blob = self._state.load(BLOB)
        return None if blob is None else Credentials.from_bytes(blob)

    def put(self, credentials: Credentials) -> None:
        self._state.save(BLOB, credentials.to_bytes())

    async def save(self, credentials: Credentials) -> None:
        self.put(credentials)

    async def follow(self, kek: UnlockKey | None, rewrap: Callable[[], Awaitable[bool]]) -> bool:
        return await rewrap()

    def forget(self) -> None:
        self._state.delete(BLOB)


class CertificateFiles:
    """In files: see the module's text."""

    def __init__(self, directory: FileDirectory) -> None:
        self.path = directory.path / DIRECTORY
        self.was_laid_open = False
        self._ring = directory.ring
        self._state = directory.state
        self._files = SystemFiles()
        self._lock = trio.Lock()
        self._key_pem = b""

    # -- reading

    def load(self) -> Credentials | None:
        """Raises ``MissingFile``, ``DamagedRecords``, ``InvalidCertificate``,
        ``ForeignCertificate``, ``ReadFailed``, ``DiskFull`` and ``WriteFailed``."""
        with read_errors():
            names = self._files.list(self.path)
            if KEY not in names:
                return self._taken_over(was_here=CERTIFICATE in names)
            for name in (ROOT, CERTIFICATE):
                if name not in names and f".{name}" not in names:
                    raise MissingFile(name)
            key, name = self._read_key()
            roots = self._read(ROOT), self._read(COMING), self._read_as_of()
            found = Credentials(key, self._fitting(key), *roots)
            load_bundle(found.root_pem)
            with disk_errors(WHAT):
                self._finish(key, name)
        self._key_pem = key
        return found

    def _taken_over(self, *, was_here: bool) -> Credentials | None:
        """A backup of a running node holds them as a record of its small state."""
        blob = self._state.load(BLOB)
        if blob is None:
            if was_here:  # it is written last
                raise MissingFile(KEY)
            return None
        credentials = Credentials.from_bytes(blob)
        self.put(credentials)
        self._state.delete(BLOB)
        return credentials

    def _read(self, name: str) -> bytes:
        try:
            return self._files.read(self.path / name)
        except FileNotFoundError:
            return b""

    def _read_as_of(self) -> tuple[float, int]:
        text = self._read(AS_OF)
        if not text:  # it was written before this was kept, or nobody has said anything yet
            return 0.0, 0
        try:
            stamp, version = text.split()
            return float(stamp), int(version)
        except ValueError:
            raise damaged(AS_OF, 0, "it is not a time and a version") from None

    def _read_key(self) -> tuple[bytes, str]:
        """The key, in clear, and the name of the file that it is in."""
        for name in (KEY, NEXT_KEY):
            key = _opened(self._read(name), self._ring.kek)
            if key is not None:
                return key, name
        raise damaged(KEY, 0, "what opens the data keys does not open it")

    def _finish(self, key: bytes, name: str) -> None:
        """Do the rest of what a crash left half done: the key is in the file ``name``."""
        kek, text = self._ring.kek, self._read(name)
        if name == NEXT_KEY:
            self._rename(NEXT_KEY, KEY)
        elif kek is not None and b"ENCRYPTED" not in text:
            self.was_laid_open = True
            self._write_key(key, kek, KEY)
        remove_file(self._files, self.path / NEXT_KEY)
        self.was_laid_open |= LAID_OPEN.encode() in text

    def _fitting(self, key: bytes) -> bytes:
        for name in (CERTIFICATE, NEXT_CERTIFICATE):
            chain = self._read(name)
            if chain and fit(key, chain):
                return chain
        raise ForeignCertificate(f"{KEY} is not the key of {CERTIFICATE}")

    # -- writing

    def put(self, credentials: Credentials) -> None:
        """Raises ``DiskFull`` and ``WriteFailed``."""
        with disk_errors(WHAT):
            self._files.make_directory(self.path)
            stamp, version = credentials.as_of  # first: no older word may count once roots are here
            self._write(AS_OF, f"{stamp!r} {version}\n".encode())
            self._write(ROOT, credentials.root_pem)
            if credentials.coming_pem:
                self._write(COMING, credentials.coming_pem)
            else:
                remove_file(self._files, self.path / COMING)
            self._write(NEXT_CERTIFICATE, credentials.chain_pem)
            if credentials.key_pem != self._key_pem:
                self.was_laid_open = False
                self._write_key(credentials.key_pem, self._ring.kek, KEY)
            self._rename(NEXT_CERTIFICATE, CERTIFICATE)
        self._key_pem = credentials.key_pem

    async def save(self, credentials: Credentials) -> None:
        async with self._lock:
            await trio.to_thread.run_sync(self.put, credentials)

    async def follow(self, kek: UnlockKey | None, rewrap: Callable[[], Awaitable[bool]]) -> bool:
        """Raises what ``rewrap`` raises, ``DiskFull`` and ``WriteFailed``."""
        async with self._lock:
            before = self._ring.kek
            if not self._key_pem or kek == before:
                return await rewrap()
            is_first = before is None
            await trio.to_thread.run_sync(partial(self._lay_beside, kek, is_first))
            try:
                return await rewrap()
            finally:
                follows = self._ring.kek == kek
                self.was_laid_open |= follows and is_first
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._settle, follows)

    def _lay_beside(self, kek: UnlockKey | None, is_first: bool) -> None:
        with disk_errors(WHAT):
            self._write_key(self._key_pem, kek, NEXT_KEY, laid_open=is_first)

    def _settle(self, follows: bool) -> None:
        with disk_errors(WHAT):
            if follows:
                self._rename(NEXT_KEY, KEY)
            else:
                remove_file(self._files, self.path / NEXT_KEY)

    def _write_key(
        self, key: bytes, kek: UnlockKey | None, name: str, *, laid_open: bool = False
    ) -> None:
        text = key
        if kek is not None:
            head = f"kek-version: {self._ring.kek_version}\n"
            if laid_open or self.was_laid_open:
                head += f"{LAID_OPEN}\n"
            text = head.encode() + lock_key(key, kek.text.encode())
        replace_file(self._files, self.path / name, text)

    def _write(self, name: str, text: bytes) -> None:
        if self._read(name) != text:
            replace_file(self._files, self.path / name, text)
            os.chmod(self.path / name, PUBLIC_MODE)

    def _rename(self, name: str, to: str) -> None:
        self._files.rename(self.path / name, self.path / to)
        self._files.sync_directory(self.path)

    def forget(self) -> None:
        """Nothing of the swarm stays here."""
        with disk_errors(WHAT):
            for name in self._files.list(self.path):
                remove_file(self._files, self.path / name)
        self._key_pem = b""
        self.was_laid_open = False


def _opened(text: bytes, kek: UnlockKey | None) -> bytes | None:
    """The key in clear, or None if this does not open it."""
    if b"ENCRYPTED" not in text:
        return text or None
    try:
        return None if kek is None else unlock_key(text, kek.text.encode())
    except Unauthenticated:
        return None


def files_of(state_dir: Path) -> list[Path]:
    """What is kept in a stopped node's directory, for a copy of it."""
    return sorted(path for path in (state_dir / DIRECTORY).glob("*") if path.is_file())
