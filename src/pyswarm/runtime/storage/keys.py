"""The data keys of one directory, and the key that wraps them.

Everything that a node writes is sealed under a *data key*, drawn by the node itself and named by a
number. The ring of them is the file ``keys``: in clear (mode 0600) while autolock is off, and
wrapped by the *key-encryption key* (the swarm's unlock key, see ``secretstore``) while it is on.
Changing the unlock key writes this one small file anew, atomically, and nothing else.

``kek_version`` is the version of the swarm object that the wrapping key came from: an older one
than the ring's never replaces it, however late it arrives (SwarmKit ``ca/keyreadwriter.go``).

The data key changes when a directory goes from open to locked (``rewrap``), and then only: the old
one has lain there in clear. The new one is in the ring, on disk, by the same write that wraps the
ring, and before anything is sealed with it; the old one stays until nothing on disk needs it
(``forget``). A crash in between leaves a ring of two keys, which says that there is something to
finish.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from pathlib import Path
from typing import Any
from zlib import crc32

import attrs
import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pyswarm.env import Entropy, system_entropy
from pyswarm.errors import FailedPrecondition
from pyswarm.raft.records import (
    KEY_CHECK_BYTES,
    SALT_BYTES,
    FileHeader,
    RecordCodec,
    damaged,
)
from pyswarm.runtime.storage.errors import (
    MissingFile,
    NewerFormat,
    StorageLocked,
    WrongDataKey,
    WrongUnlockKey,
    disk_errors,
)
from pyswarm.runtime.storage.files import Files, replace_file
from pyswarm.secretstore import UnlockKey

MAGIC = b"PYSWMKEY"
FORMAT = 1
KEY_BYTES = 32  # AES-256
NONCE_BYTES = 12
_FILE_PURPOSE = b"pyswarm file 1"
_CHECK_PURPOSE = b"pyswarm key check 1"
_WRAP_PURPOSE = b"pyswarm data keys 1"


class FileSeal:
    """AES-256-GCM under the key of one file (see ``raft/records.py``)."""

    __slots__ = ("cipher", "encrypt")

    def __init__(self, data_key: bytes, salt: bytes) -> None:
        self.cipher = AESGCM(hmac.digest(data_key, _FILE_PURPOSE + salt, "sha256"))
        self.encrypt = self.cipher.encrypt

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes | None:
        try:
            return self.cipher.decrypt(nonce, data, associated_data)
        except InvalidTag:
            return None


class KeyRing:
    """Data keys by id; the highest id seals. ``repr`` shows ids only."""

    def __init__(self, path: Path, files: Files, entropy: Entropy) -> None:
        self._path = path
        self._files = files
        self._entropy = entropy
        self._keys: dict[int, bytes] = {}
        self._kek: UnlockKey | None = None
        self.kek_version = 0

    def __repr__(self) -> str:
        return f"<KeyRing {list(self._keys)} {'locked' if self._kek else 'open'}>"

    @classmethod
    def create(
        cls,
        path: Path,
        files: Files,
        *,
        kek: UnlockKey | None = None,
        kek_version: int = 0,
        entropy: Entropy = system_entropy,
    ) -> KeyRing:
        """A ring with one fresh key, written to ``path``."""
        ring = cls(path, files, entropy)
        ring._keys[1] = entropy(KEY_BYTES)
        ring._write(kek, kek_version)
        return ring

    @classmethod
    def load(
        cls,
        path: Path,
        files: Files,
        *,
        kek: UnlockKey | None = None,
        entropy: Entropy = system_entropy,
    ) -> KeyRing:
        """The ring at ``path``.

        Raises ``StorageLocked``, ``WrongUnlockKey``, ``MissingFile``, ``NewerFormat`` and
        ``DamagedRecords``. A ``kek`` that is not needed is not used.
        """
        ring = cls(path, files, entropy)
        wrapped, version, nonce, blob = read_ring(path, files)
        if wrapped:
            if kek is None:
                raise StorageLocked
            try:
                blob = AESGCM(kek.key).decrypt(nonce, blob, wrap_context(version))
            except InvalidTag:
                raise WrongUnlockKey from None
            ring._kek = kek
        ring.kek_version = version
        ring._keys = dict(sorted(msgpack.unpackb(blob, use_list=False)))
        return ring

    @staticmethod
    def is_locked(path: Path, files: Files) -> bool:
        """True if the ring at ``path`` needs an unlock key."""
        return read_ring(path, files)[0]

    @property
    def locked(self) -> bool:
        """True if the ring is on disk only wrapped."""
        return self._kek is not None

    @property
    def kek(self) -> UnlockKey | None:
        """What wraps the ring; None while it is in clear."""
        return self._kek

    @property
    def current_id(self) -> int:
        """The key that seals."""
        return next(reversed(self._keys))

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(self._keys)

    def rewrap(self, kek: UnlockKey | None, version: int) -> bool:
        """Wrap the ring by ``kek`` (None: leave it in clear) from now on.

        ``version`` is that of the swarm object which says so; what is not newer is ignored.
        Version 0 with None is for a node without a seat: the ring is left in clear whatever was
        before, and the next news counts, however old. True if the ring went from open to locked: it
        has a new data key then, under which all must be written from now on. Raises
        ``FailedPrecondition`` for two keys of one version, ``DiskFull`` and ``WriteFailed``.
        """
        if version == 0 and kek is None:
            if self._kek is not None or self.kek_version:
                self._write(None, 0)
            return False
        if version == self.kek_version and kek != self._kek and version > 0:
            raise FailedPrecondition(
                "candidate KEK has the same version as the current KEK, but a different KEK value"
            )
        if version <= self.kek_version or kek == self._kek:
            return False
        newly_locked = self._kek is None
        if newly_locked:
            self._rotate(kek, version)
        else:
            self._write(kek, version)
        return newly_locked

    def _rotate(self, kek: UnlockKey | None, version: int) -> None:
        """Add a fresh key, which seals from now on, and wrap all by ``kek``."""
        before = dict(self._keys)
        id = self.current_id + 1
        self._keys[id] = self._entropy(KEY_BYTES)
        try:
            self._write(kek, version)
        except BaseException:
            self._keys = before
            raise

    def forget(self, needed: Collection[int]) -> None:
        """Drop all keys but those ``needed`` and the one that seals."""
        keep = {id: key for id, key in self._keys.items() if id in needed or id == self.current_id}
        if len(keep) < len(self._keys):
            before, self._keys = self._keys, keep
            try:
                self._write(self._kek, self.kek_version)
            except BaseException:
                self._keys = before
                raise

    def codec_for_new_file(self, header: FileHeader) -> RecordCodec:
        """The codec of a file to be written: ``header`` with the current key, a salt, a check."""
        id = self.current_id
        salt = self._entropy(SALT_BYTES)
        check = key_check(self._keys[id], salt)
        header = attrs.evolve(header, key_id=id, salt=salt, key_check=check)
        return RecordCodec(header, FileSeal(self._keys[id], salt))

    def codec_for(self, header: FileHeader, name: str) -> RecordCodec:
        """The codec of a file to be read. Raises ``WrongDataKey``."""
        key = self._keys.get(header.key_id)
        if key is None or not hmac.compare_digest(key_check(key, header.salt), header.key_check):
            raise WrongDataKey(name, header.key_id)
        return RecordCodec(header, FileSeal(key, header.salt))

    def _write(self, kek: UnlockKey | None, version: int) -> None:
        blob = msgpack.packb(list(self._keys.items()))
        nonce = b""
        if kek is not None:
            nonce = self._entropy(NONCE_BYTES)
            blob = AESGCM(kek.key).encrypt(nonce, blob, wrap_context(version))
        body = msgpack.packb((kek is not None, version, nonce, blob))
        data = MAGIC + FORMAT.to_bytes(2, "little") + body
        with disk_errors("the key ring"):
            replace_file(self._files, self._path, data + crc32(data).to_bytes(4, "little"))
        self._kek, self.kek_version = kek, version


def new_codec(ring: KeyRing | None, header: FileHeader) -> RecordCodec:
    """The codec of a file to be written; without a ring it is not sealed."""
    return ring.codec_for_new_file(header) if ring else RecordCodec(header, None)


def codec_of(ring: KeyRing | None, header: FileHeader, name: str) -> RecordCodec:
    """The codec of a file to be read. Raises ``WrongDataKey``."""
    if header.key_id == 0:
        return RecordCodec(header, None)
    if ring is None:
        raise WrongDataKey(name, header.key_id)
    return ring.codec_for(header, name)


def key_check(key: bytes, salt: bytes) -> bytes:
    """What a file's header says of its data key."""
    return hmac.digest(key, _CHECK_PURPOSE + salt, "sha256")[:KEY_CHECK_BYTES]


def wrap_context(version: int) -> bytes:
    """What is authenticated beside the wrapped keys."""
    return b"%s %d" % (_WRAP_PURPOSE, version)


def read_ring(path: Path, files: Files) -> tuple[bool, int, bytes, bytes]:
    """(wrapped, kek version, nonce, keys) of the file ``path``."""
    try:
        data = files.read(path)
    except FileNotFoundError:
        raise MissingFile(path.name) from None
    body, check = data[:-4], data[-4:]
    number = int.from_bytes(data[8:10], "little")
    if data[:8] == MAGIC and number > FORMAT:
        raise NewerFormat(f"{path.name} is in format {number}; this version reads up to {FORMAT}")
    if data[:8] != MAGIC or crc32(body).to_bytes(4, "little") != check:
        raise damaged(path.name, 0, "it does not check")
    form: Any = msgpack.unpackb(body[10:], use_list=False)
    wrapped, version, nonce, blob = form
    return bool(wrapped), int(version), nonce, blob
