"""What a task uses, read from ``/proc``: its processes are everything below its supervisor."""

from __future__ import annotations

import os

from pyswarm.agent.executor import Usage

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def children_of(pid: int) -> list[int]:
    """The direct children of a process, of all its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    except OSError:
        pass  # it ended meanwhile
    return found


def below(pid: int) -> list[int]:
    """All processes below one, nearest first."""
    found = children_of(pid)
    for process in found:
        found += children_of(process)
    return found


def host_cpu_seconds() -> float:
    """What all processors of this host have done since it was started, idling included."""
    with open("/proc/stat", encoding="ascii") as file:
        words = file.readline().split()
    return sum(map(int, words[1:9])) / _TICKS  # what guests had is part of the others


def usage_below(pid: int) -> Usage:
    """CPU time (of ended children too), resident memory and number of the processes below."""
    ticks = pages = count = 0
    for process in below(pid):
        try:
            with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
                words = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, words[11:15]))
        pages += int(words[21])
        count += 1
    return Usage(ticks / _TICKS, pages * _PAGE, count)
