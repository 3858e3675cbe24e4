"""Reading the log files that a supervisor writes (their form is in :mod:`.supervisor`).

A reader follows the generations: a file whose successor exists is complete. A record that is not
yet whole is left for the next time.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from pyswarm.agent.executor import LogLine, Stream
from pyswarm.errors import Internal
from pyswarm.runtime.executors.supervisor import MAGIC, RECORD

LOG_SIZE_BYTES_MAX = 10 * 1024 * 1024
"""When a log file is turned over, unless the service says otherwise (``max-size``)."""

LOG_FILES_MAX = 3
"""How many files of a task are kept, the current one included (``max-file``)."""

READ_BYTES = 256 * 1024
_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}
_NAME = re.compile(r"log\.(\d{6,})$")


def generations(directory: Path) -> list[int]:
    """The generations there are, oldest first."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(int(found[1]) for name in names if (found := _NAME.match(name)))


class LogReader:
    """One pass through a task's log; :attr:`position` is what a supervisor can be told."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd = -1
        self._generation = 0
        self._offset = 0

    @property
    def position(self) -> tuple[int, int]:
        """Generation and offset up to which everything was read."""
        return self._generation, self._offset

    def read(self) -> list[LogLine]:
        """Some more lines; none at the end of what there is. Blocks on the disk."""
        while True:
            if self._fd < 0 and not self._open_next():
                return []
            data = os.pread(self._fd, READ_BYTES, self._offset)
            lines, used = parse(data)
            if used:
                self._offset += used
                return lines
            if not self._has_next():
                return []
            if os.fstat(self._fd).st_size <= self._offset:
                self.close()
            elif not parse(os.pread(self._fd, READ_BYTES, self._offset))[1]:
                self.close()  # torn by a supervisor that was killed

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _has_next(self) -> bool:
        return any(g > self._generation for g in generations(self._directory))

    def _open_next(self) -> bool:
        for generation in generations(self._directory):
            if generation > self._generation:
                break
        else:
            return False
        try:
            self._fd = os.open(self._directory / f"log.{generation:06d}", os.O_RDONLY)
        except FileNotFoundError:
            return self._open_next()  # turned over meanwhile
        magic = os.pread(self._fd, len(MAGIC), 0)
        if len(magic) < len(MAGIC):
            self.close()  # just being begun
            return False
        if magic != MAGIC:
            self.close()
            raise Internal(f"not a task log of a known version: {magic!r}")
        self._generation, self._offset = generation, len(MAGIC)
        return True


def parse(data: bytes) -> tuple[list[LogLine], int]:
    """The whole records at the beginning of ``data``, and how many bytes they take."""
    lines, at = [], 0
    while at + RECORD.size <= len(data):
        time, stream, size = RECORD.unpack_from(data, at)
        end = at + RECORD.size + size
        if end > len(data):
            break
        lines.append(LogLine(_STREAMS[stream], time, data[at + RECORD.size : end]))
        at = end
    return lines, at


def last_lines(reader: LogReader, since: float, tail: int | None) -> Iterable[LogLine]:
    """Everything up to now, from ``since`` on, the last ``tail`` of it. Blocks on the disk."""
    kept: deque[LogLine] = deque(maxlen=tail)
    while lines := reader.read():
        kept.extend(line for line in lines if line.time >= since)
    return kept
