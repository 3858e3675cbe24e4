"""The process that supervisors are forked from: a Python that is started once for a node.

A supervisor of its own for each task (:mod:`pyswarm.runtime.executors.supervisor`) would cost a
start of Python and its memory each time. This one has started, has read all that supervisors and
sandboxes need, and then does nothing but fork: a start takes a few milliseconds, and what
supervisors have in common they share.

This file is given to Python as text (``python -I -S -c``), never imported, and ends with its node:
when the node closes the line, or the thread that started this process ends. Its supervisors are
told of that by a parent-death signal, and end too.

The line is a socket of packets at descriptor 0. The first packet is the text of the two programs,
with a NUL between. Then each packet is a request, with one answer: ``start``, with the descriptor
of the new supervisor's own line and of mounts for its task (``pid N`` or ``error ERRNO``);
``kill N``; ``bury N``: wait for its end, so that until then the number belongs to it (both:
``done``).
"""

import gc
import os
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PR_SET_PDEATHSIG = 1
PACKET_BYTES_MAX = 1 << 20
DESCRIPTORS_MAX = 253  # the most that one packet brings


class Zygote:
    """What supervisors are forked from."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.supervisors: dict[int, None] = {}
        self.supervisor, self.sandbox = map(loaded, line.recv(PACKET_BYTES_MAX).split(b"\0"))

    def serve(self) -> None:
        """Until the node closes the line."""
        while True:
            packet, descriptors, _, _ = socket.recv_fds(
                self.line, 100, DESCRIPTORS_MAX, socket.MSG_CMSG_CLOEXEC
            )
            if not packet:
                return
            verb, *words = packet.decode().split()
            if verb == "start":
                answer = self.start(descriptors[0], descriptors[1:])
                for descriptor in descriptors:
                    os.close(descriptor)
            else:
                answer = self.end(verb, int(words[0]))
            self.line.send(answer.encode())

    def start(self, own: int, given: "list[int]") -> str:
        """Fork a supervisor that has this line, and mounts for its task."""
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            return f"error {error.errno or 0}"
        if pid == 0:
            try:
                os.dup2(own, self.line.detach())
                os.close(own)
                self.supervisor["main"](parent, self.sandbox, given)
            finally:
                os._exit(1)
        self.supervisors[pid] = None
        return f"pid {pid}"

    def end(self, verb: str, pid: int) -> str:
        if pid in self.supervisors:
            if verb == "kill":
                os.kill(pid, signal.SIGKILL)
            else:
                os.waitpid(pid, 0)
                del self.supervisors[pid]
        return "done"


def loaded(program: bytes) -> "dict[str, Any]":
    names: dict[str, Any] = {"__name__": "program"}
    exec(program, names)
    return names


def main(parent: int) -> None:
    # What supervisors and sandboxes import when they come to need it.
    import ctypes
    import fcntl  # noqa: F401
    import json  # noqa: F401
    import termios  # noqa: F401
    import warnings  # noqa: F401

    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    zygote = Zygote(socket.socket(fileno=0))
    gc.collect()
    gc.freeze()  # so that no collection touches, and thereby copies, what is shared
    zygote.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
