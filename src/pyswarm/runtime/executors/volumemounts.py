"""What the options of volumes ask for: file systems that are mounted while tasks use them.

Such a mount is made when the first task starts that uses the volume, shared by all that do, and
gone with the last of them. It is made by a thread, in a mount namespace that is the thread's own:
so nothing of it is on the host, it ends with the thread, and therefore also when the node is
killed. What tasks are given are copies of the mount, as descriptors.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Mapping, Sequence

import attrs

from pyswarm.agent.executor import TaskFailed
from pyswarm.runtime.executors import sandbox
from pyswarm.runtime.executors.thread import OwnThread
from pyswarm.runtime.executors.volumeoptions import (
    MS_BIND,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SILENT,
    PROPAGATIONS,
    masked,
    parsed,
    value_of,
)

NETWORKED = ("nfs", "cifs")
"""Kinds of file systems whose server may be given by name; the kernel wants an address."""


@attrs.frozen
class VolumeUse:
    """A volume as a task wants to have it mounted."""

    name: str
    path: str
    """Where its directory is on the host."""
    options: Mapping[str, str] = attrs.field(repr=False)
    """With nothing wrong about them. They may hold the password of a server."""
    subpath: str = ""


class _Mounted:
    """One mount, in the thread that it lives in."""

    def __init__(self) -> None:
        self.thread = OwnThread("pyswarm volume")
        self.users = 0
        self._is_made = False

    async def copy(self, use: VolumeUse) -> int:
        """A descriptor of it. A file server may be slow, so this can be cancelled."""
        await self.thread.run_or_leave(self._make, use)
        return await self.thread.run(_copied, use)

    def _make(self, use: VolumeUse) -> None:
        if not self._is_made:
            sandbox.call("unshare", sandbox.libc.unshare(sandbox.CLONE_NEWNS))
            sandbox.mount("", "/", "", sandbox.MS_REC | sandbox.MS_SLAVE)
            mount(use)
            self._is_made = True

    def end(self) -> None:
        """With its thread, which may still wait for a file server."""
        if self.thread.is_idle:
            self.thread.stop()
        else:
            self.thread.leave()


def _copied(use: VolumeUse) -> int:
    try:
        return sandbox.clone(use.path, use.subpath)
    except OSError as error:
        where = f"cannot access path {use.subpath} in volume {use.name}"
        why = "it leads out of it" if error.errno == errno.EXDEV else _reason(error)
        raise TaskFailed(f"starting container failed: {where}: {why}") from None


class Hold:
    """Descriptors of the mounts of one task, which last at least until it is released."""

    def __init__(self, live: dict[str, _Mounted]) -> None:
        self._live = live
        self._held: list[tuple[str, _Mounted]] = []
        self.descriptors: list[int] = []

    async def add(self, use: VolumeUse) -> None:
        one = self._live.setdefault(use.name, _Mounted())
        one.users += 1
        self._held.append((use.name, one))
        self.descriptors.append(await one.copy(use))

    def close(self) -> None:
        """Whoever is to have the descriptors has them."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def release(self) -> None:
        """The task has ended."""
        while self._held:
            name, one = self._held.pop()
            one.users -= 1
            if not one.users:
                del self._live[name]
                one.end()


class VolumeMounts:
    """Those of one executor."""

    def __init__(self) -> None:
        self._live: dict[str, _Mounted] = {}

    async def hold(self, uses: Sequence[VolumeUse]) -> Hold:
        """What a task needs that is about to start. Raises :class:`TaskFailed`."""
        hold = Hold(self._live)
        try:
            for use in uses:
                await hold.add(use)
        except BaseException:
            hold.close()
            hold.release()
            raise
        return hold


def mount(use: VolumeUse) -> None:
    """Mount it in this thread's namespace. Blocks, it may be on the network."""
    kind, device, words = (use.options.get(key, "") for key in ("type", "device", "o"))
    try:
        if not device:
            raise TaskFailed("missing device in volume options")
        device, words = resolved(kind, device, words)
        flags, data = parsed(words)
        _called(device, use.path, kind, flags, data)
    except TaskFailed as error:
        text = masked(f"error while mounting volume '{use.path}': {error.message}", words)
        raise TaskFailed(f"starting container failed: {text}") from None


def _called(device: str, path: str, kind: str, flags: int, data: str) -> None:
    """The calls that one mount takes, as Docker makes them."""
    own = flags & ~PROPAGATIONS
    if data or not (flags & MS_REMOUNT or device in ("", "none")):
        _call(device, path, kind, own, data)
    if flags & PROPAGATIONS:
        _call("", path, "", flags & (PROPAGATIONS | MS_REC | MS_SILENT), "", "remount")
    if own & MS_BIND and own & MS_RDONLY:
        _call("", path, "", own | MS_REMOUNT, "", "remount-ro")


def _call(device: str, path: str, kind: str, flags: int, data: str, verb: str = "mount") -> None:
    try:
        sandbox.mount(device, path, kind, flags, data)
    except OSError as error:
        text = f"{verb} {device}:{path}" if device else f"{verb} {path}"
        text += f", flags: {flags:#x}" if flags else ""
        text += f", data: {data}" if data else ""
        raise TaskFailed(f"failed to mount local volume: {text}: {_reason(error)}") from None


def resolved(kind: str, device: str, words: str) -> tuple[str, str]:
    """Device and words with the address of a file server in place of its name."""
    if kind not in NETWORKED:
        return device, words
    if name := value_of(words, "addr"):
        address = address_of(name)
        said = [f"addr={address}" if one == f"addr={name}" else one for one in words.split(",")]
        return device, ",".join(said)
    host, slash, share = device.removeprefix("//").partition("/")
    if kind == "cifs" and device.startswith("//") and host:
        return f"//{address_of(host)}{slash}{share}", words
    return device, words


def address_of(name: str) -> str:
    """An address of a host; of version 4, if it has one."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        what = f"lookup {name}: no such host"
        raise TaskFailed(f"error resolving passed in network volume address: {what}") from None
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return str(found[0][4][0])


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or errno.EIO).lower()
