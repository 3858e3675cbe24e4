"""As whom a task runs, under which limits, and which signal stops it: names turned to numbers."""

from __future__ import annotations

import grp
import os
import pwd
import re
import resource
import signal
from collections.abc import Iterable, Sequence

import attrs

from pyswarm.agent.executor import TaskRejected
from pyswarm.model.specs import Ulimit


@attrs.frozen
class User:
    """Numbers for a user name. ``uid`` -1 means: whoever the node runs as."""

    uid: int = -1
    gid: int = -1
    groups: tuple[int, ...] = ()
    home: str = ""


def find_user(text: str, groups: Sequence[str] = ()) -> User:
    """The user of ``name``, ``uid``, ``name:group`` … with its own and the given groups.

    May read the host's user database, so it may block. Raises :class:`TaskRejected` with Docker's
    sentence for an unknown name, and where the node may not become that user.
    """
    if not text and not groups:
        return User(home=os.path.expanduser("~"))
    name, _, group = text.partition(":")
    entry = _passwd(name or str(os.geteuid()))
    uid = entry.pw_uid if entry else int(name)
    gid = find_gid(group) if group else entry.pw_gid if entry else uid
    extra = [find_gid(g) for g in groups]
    if entry and not group:
        extra += os.getgrouplist(entry.pw_name, gid)
    if os.geteuid() != 0:
        if (uid, gid) != (os.geteuid(), os.getegid()) or groups:
            what = f"become user {text}" if text else f"be in groups {', '.join(groups)}"
            raise TaskRejected(f"unable to {what}: this node does not run as root")
        return User(home=entry.pw_dir if entry else "/")
    return User(uid, gid, tuple(dict.fromkeys(extra)), entry.pw_dir if entry else "/")


def find_uid(name: str) -> int:
    """The number of a user, who need not exist where it is a number. Raises :class:`TaskRejected`
    for an unknown name."""
    entry = _passwd(name)
    return entry.pw_uid if entry else int(name)


def _passwd(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        if name.isdecimal():
            return None
        raise TaskRejected(
            f"unable to find user {name}: no matching entries in passwd file"
        ) from None


def find_gid(name: str) -> int:
    """The same of a group."""
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise TaskRejected(
            f"unable to find group {name}: no matching entries in group file"
        ) from None


def rlimits(ulimits: Iterable[Ulimit]) -> tuple[tuple[int, int, int], ...]:
    """(number, soft, hard) of each limit, as the operating system wants them; -1 = none."""
    found = []
    for limit in ulimits:
        number = getattr(resource, f"RLIMIT_{limit.name.upper()}", None)
        if not isinstance(number, int):
            raise TaskRejected(f"invalid ulimit type: {limit.name}")
        if limit.hard >= 0 and not 0 <= limit.soft <= limit.hard:
            what = f"{limit.soft} > {limit.hard}"
            raise TaskRejected(f"ulimit {limit.name}: soft limit must not be above hard: {what}")
        found.append((number, limit.soft, limit.hard))
    return tuple(found)


_REAL_TIME = re.compile(r"RTMIN\+(\d+)|RTMAX-(\d+)")


def stop_signal(name: str) -> int:
    """``SIGTERM``, ``TERM``, ``15`` or ``SIGRTMIN+3``; SIGTERM where nothing is said."""
    text = name.upper().removeprefix("SIG") or "TERM"
    if text.isdecimal():
        number = int(text)
    elif found := _REAL_TIME.fullmatch(text):
        up, down = found.groups()
        number = signal.SIGRTMIN + int(up) if up else signal.SIGRTMAX - int(down)
    else:
        number = getattr(signal, f"SIG{text}", 0) if text.isalnum() else 0
    if not 0 < number < signal.NSIG:
        raise TaskRejected(f"invalid signal: {name}")
    return int(number)
