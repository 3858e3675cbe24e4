"""The machine's clocks, for the one driver that reads them."""

from __future__ import annotations

import time


class SystemClock:
    """The operating system's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def realtime(self) -> float:
        return time.time()
