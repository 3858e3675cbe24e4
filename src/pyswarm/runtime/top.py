"""A task's processes, as ``ps`` of this host prints them: the rows of others are left out."""

from __future__ import annotations

import os
from collections.abc import Sequence

import trio

from pyswarm.api.errors import Refused
from pyswarm.api.local import Processes
from pyswarm.errors import Unavailable

PS_TIMEOUT_S = 10.0


async def listed(pids: Sequence[int], arguments: str) -> Processes:
    """The table of some processes. Raises ``Refused`` for arguments that ``ps`` does not take, or
    that show no PID."""
    if "\0" in arguments:  # what ends an argument is never in one
        raise Refused(500, "ps: invalid argument")
    try:
        with trio.fail_after(PS_TIMEOUT_S):
            done = await trio.run_process(
                ["ps", *arguments.split()],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
    except FileNotFoundError:
        raise Unavailable("there is no ps on this node") from None
    except trio.TooSlowError:
        raise Unavailable("ps takes too long") from None
    if done.returncode != 0:
        raise Refused(500, f"ps: {_first_line(done.stderr)}")
    return chosen(done.stdout.decode("utf-8", "replace"), pids)


def _first_line(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip().partition("\n")[0]


def chosen(table: str, pids: Sequence[int]) -> Processes:
    """The rows of ``table`` that are about ``pids``."""
    head, *lines = table.splitlines() or [""]
    titles = tuple(head.split())
    if "PID" not in titles:
        raise Refused(500, "Couldn't find PID field in ps output")
    place, wanted = titles.index("PID"), frozenset(map(str, pids))
    rows = (tuple(line.split(maxsplit=len(titles) - 1)) for line in lines)
    return Processes(
        titles, tuple(row for row in rows if len(row) > place and row[place] in wanted)
    )
