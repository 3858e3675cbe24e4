"""Linux capabilities: names to numbers, and which ones a task must do without.

A task of a node that runs as root starts with what the node has. ``capability_drop`` takes some
away, or all; ``capability_add`` gives back what was dropped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pyswarm.agent.executor import TaskRejected

NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)
"""By number, as in the kernel's ``capability.h``."""

SYS_ADMIN = NAMES.index("SYS_ADMIN")


def effective() -> int:
    """This process's capabilities as a bit mask; 0 where that cannot be read."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("CapEff:"):
                    return int(line.split()[1], 16)
    except OSError:
        pass
    return 0


def can_make_namespaces() -> bool:
    """Whether this node may give its tasks mounts of their own: root, and not confined itself."""
    return os.geteuid() == 0 and bool(effective() >> SYS_ADMIN & 1)


def numbers(names: Sequence[str], what: str = "CapDrop") -> frozenset[int]:
    """Capabilities by name (``NET_ADMIN`` or ``CAP_NET_ADMIN``), or ``ALL``; ``what`` asks."""
    found: list[int] = []
    for name in names:
        short = name.upper().removeprefix("CAP_")
        if short == "ALL":
            found += range(len(NAMES))
        elif short in NAMES:
            found.append(NAMES.index(short))
        else:
            raise TaskRejected(f'invalid {what}: unknown capability: "CAP_{short}"')
    return frozenset(found)


def dropped(add: Sequence[str], drop: Sequence[str]) -> tuple[int, ...]:
    """What a task must not have, of what this node has. Raises :class:`TaskRejected`."""
    wanted, without = numbers(add, "CapAdd"), numbers(drop)
    own = effective()
    missing = sorted(number for number in wanted if not own >> number & 1)
    if missing and "ALL" not in (name.upper().removeprefix("CAP_") for name in add):
        raise TaskRejected(f"this node does not have the capability {NAMES[missing[0]]} itself")
    return tuple(sorted(number for number in without - wanted if own >> number & 1))
