"""A switch between network namespaces, as a program: it forwards Ethernet frames, and loses some.

Where the kernel has no ``netem``, this is a real bad network all the same: nodes' TCP runs in their
own kernel stacks, and what is lost here they have to send again. Needs root.
"""

from __future__ import annotations

import os
import random
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_VNET_HEADER_BYTES = 10
"""What the kernel tells of checksums and segments that it left to the (virtual) hardware."""
_ETH_P_ALL = 3
_FRAME_BYTES_MAX = 70_000


def ip(*words: str) -> None:
    """Run ``ip``; raises ``CalledProcessError``."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Switch:
    """Ports named by a node's number; ``loss`` and ``apart`` may be changed at any time."""

    def __init__(self, ports: dict[int, socket.socket], seed: int) -> None:
        self.loss = 0.0
        """Share of the frames that are lost."""
        self.apart: frozenset[int] = frozenset()
        """Ports that only reach each other."""
        self.lost = self.cut = self.forwarded = 0
        self._ports = ports
        self._places: dict[bytes, int] = {}
        self._rng = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Switch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        numbers = {one.fileno(): number for number, one in self._ports.items()}
        while not self._stop.is_set():
            for descriptor in select.select(list(numbers), [], [], 0.1)[0]:
                number = numbers[descriptor]
                self._take(number, self._ports[number].recv(_FRAME_BYTES_MAX))

    def _take(self, number: int, frame: bytes) -> None:
        ethernet = frame[_VNET_HEADER_BYTES:]
        self._places[ethernet[6:12]] = number
        known = self._places.get(ethernet[:6])
        for to in self._ports if known is None else (known,):
            if to == number:
                continue
            if (to in self.apart) is not (number in self.apart):
                self.cut += 1
            elif self._rng.random() < self.loss:
                self.lost += 1
            else:
                self.forwarded += 1
                try:
                    self._ports[to].send(frame)
                except OSError:  # the other end is not up yet, or no longer
                    self.lost += 1


@contextmanager
def namespaces(count: int, subnet: str = "10.77.0") -> Iterator[tuple[Switch, list[str]]]:
    """A switch and the names of ``count`` namespaces on it; number n has the address
    ``subnet.n``. Raises ``OSError`` or ``CalledProcessError`` where that is not allowed."""
    names = [f"psw{os.getpid()}-{number}" for number in range(1, count + 1)]
    ports: dict[int, socket.socket] = {}
    with ExitStack() as stack:
        for number, name in enumerate(names, 1):
            outside, inside = f"v{os.getpid()}o{number}", f"v{os.getpid()}i{number}"
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("link", "add", outside, "type", "veth", "peer", "name", inside)
            ip("link", "set", inside, "netns", name)
            ip("link", "set", outside, "up")
            for words in (
                ("addr", "add", f"{subnet}.{number}/24", "dev", inside),
                ("link", "set", inside, "up"),
                ("link", "set", "lo", "up"),
            ):
                ip("-n", name, *words)
            port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            stack.callback(port.close)
            port.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
            port.bind((outside, 0))
            ports[number] = port
        with Switch(ports, seed=1) as switch:
            yield switch, names
