"""A manager promises nothing that is not on its disk, and does not lead without one.

A vote that is forgotten in a crash may elect two leaders in a term; an acknowledgement that is
forgotten may lose what was committed (dissertation, 3.8). So both are compared, as they leave, with
what the disk holds at this moment. See :mod:`pyswarm.sim.checkers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyswarm.machine import Effect
from pyswarm.node import Published, SendTo
from pyswarm.node.messages import RaftPacket
from pyswarm.raft.message import AppendReply, VoteReply
from pyswarm.sim.checkers import Violation

NAME = "promises are on disk"


class PromisesAreOnDisk:
    """Whoever acknowledges entries has them on disk; whoever votes, its vote."""

    def observe(self, now: float, host: Any, effect: Effect) -> Iterator[Violation]:
        if not isinstance(effect, SendTo) or not isinstance(effect.message, RaftPacket):
            return
        message, disk = effect.message.message, host.disk
        if isinstance(message, AppendReply):
            if not message.rejected and message.index > disk.last_index:
                what = f"entries up to {message.index}, has {disk.last_index}"
                yield Violation(NAME, f"{host.name} acknowledges {what}")
        elif isinstance(message, VoteReply) and message.granted and not message.pre:
            state = disk.hard_state
            if state.term < message.term or (state.term, state.vote) == (message.term, None):
                yield Violation(NAME, f"{host.name} votes in term {message.term}")
            elif state.term == message.term and state.vote != message.to:
                yield Violation(NAME, f"{host.name} votes twice in term {message.term}")


class FullDisksDoNotLead:
    """A manager that knows that it cannot write has resigned: nothing is settled by it."""

    def observe(self, now: float, host: Any, effect: Effect) -> Iterator[Violation]:
        if not isinstance(effect, Published) or host.machine.manager is None:
            return
        manager = host.machine.manager
        if manager.disk_error and manager.office is not None:
            yield Violation("full disks do not lead", f"{host.name}: {manager.disk_error}")
