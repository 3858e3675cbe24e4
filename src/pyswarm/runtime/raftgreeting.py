"""What members of a group say to each other before anything else, and whom they do not hear.

A *greeting* says which version of frames a member speaks, which member it is, and by which disk.
Nothing else is said to an address, and nothing else is heard from it, before the two have greeted
each other: greetings may be lost as all frames may, so they are repeated, and what is to be said
meanwhile waits, the last few frames of it.

- A peer that speaks *another version* is not heard. It is told ours, so that both sides can say
  what is wrong. The first two fields of a greeting are the same in all versions.
- A member whose *disk is another one* than before has forgotten what it promised: it may vote a
  second time in a term, and deny what it has acknowledged. Whoever met it by its former disk does
  not hear it, and tells it so; it ends. That is never wrong, and not all: members that have started
  since they met it cannot know (see docs/raft.md, "A member that lost its disk").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from pyswarm.errors import FailedPrecondition, InvalidArgument, SwarmError
from pyswarm.raft import MemberID
from pyswarm.runtime.observe import log_event

FRAME_VERSION = 1
"""Of what is in frames beside the messages of replicas, which have a version of their own."""

REPEAT_SECONDS = 0.2
"""After a greeting that was not answered, until the next."""

WAITING_FRAMES_MAX = 4
"""What is older has been said again, or is too late."""

PEERS_MAX = 256
"""Addresses that anything is remembered of: peers say theirs themselves."""

Greeting = tuple[Any, ...]


class IncompatiblePeer(FailedPrecondition):
    """A peer speaks another version of frames than this member."""

    def __init__(self, address: str, theirs: object) -> None:
        super().__init__(
            f"raft: the peer at {address} speaks version {theirs!r} of frames, "
            f"this member version {FRAME_VERSION}",
            hint="run the same version of pyswarm on all members of a group",
            details={"address": address, "theirs": str(theirs), "ours": str(FRAME_VERSION)},
        )


class DiskLost(FailedPrecondition):
    """A member was started under its id without the disk that it had."""

    def __init__(self, id: MemberID) -> None:
        super().__init__(
            f"raft: member {id} is known by another disk: with this one it has forgotten its votes",
            hint="start it from the disk that it had, or remove it and add a new member",
            details={"member": str(id)},
        )


class Greetings:
    """Whom one member has met in its life."""

    __slots__ = ("_asked", "_disk", "_disks", "_id", "_waiting", "met", "refused")

    def __init__(self, id: MemberID, disk: bytes) -> None:
        self.refused: dict[str, SwarmError] = {}
        """Address → why that peer is not heard."""
        self.met: dict[str, MemberID] = {}
        """Address → which member has greeted from there."""
        self._id = id
        self._disk = disk
        self._disks: dict[MemberID, bytes] = {}
        self._waiting: dict[str, deque[bytes]] = {}
        self._asked: dict[str, float] = {}

    def greeting(self, *, asks: bool) -> Greeting:
        """Ours; who is asked greets back."""
        return FRAME_VERSION, asks, self._id, self._disk

    def hold(self, address: str, frame: bytes) -> None:
        """Keep what is to be said until that peer has greeted."""
        if address not in self._waiting:
            self._waiting[address] = deque(maxlen=WAITING_FRAMES_MAX)
            _bound(self._waiting)
        self._waiting[address].append(frame)

    def release(self, address: str) -> Iterator[bytes]:
        """What was kept."""
        return iter(self._waiting.pop(address, ()))

    def should_ask(self, address: str, now: float) -> bool:
        """Whether a peer that has not greeted is to be greeted now."""
        if now - self._asked.get(address, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        self._asked[address] = now
        _bound(self._asked)
        return True

    def take(self, address: str, greeting: Greeting) -> bool:
        """A peer greets; whether it is heard from now on. Raises ``InvalidArgument`` for what is no
        greeting, and ``DiskLost`` if the peer should be told."""
        version, is_asked = greeting[:2]
        if type(address) is not str or type(is_asked) is not bool:
            raise InvalidArgument("raft: a greeting is malformed")
        if version != FRAME_VERSION:
            self._refuse(address, IncompatiblePeer(address, version))
            return False
        _, _, id, disk = greeting
        if type(id) is not int or type(disk) is not bytes:
            raise InvalidArgument("raft: a greeting is malformed")
        if disk and self._disks.setdefault(id, disk) != disk:
            lost = DiskLost(id)
            self._refuse(address, lost)
            raise lost
        self.refused.pop(address, None)
        self.met[address] = id
        _bound(self.met)
        _bound(self._disks)
        return True

    def is_ours(self, disk: object) -> bool:
        """Whether the disk that somebody speaks of is the one of this member."""
        return bool(self._disk) and disk == self._disk

    def _refuse(self, address: str, error: SwarmError) -> None:
        self.met.pop(address, None)
        self._waiting.pop(address, None)
        known = self.refused.get(address)
        self.refused[address] = error
        _bound(self.refused)
        if known is None or str(known) != str(error):
            fields = {"address": address, "error": str(error), "hint": error.hint}
            log_event(f"member-{self._id}", "peer.refused", "warning", fields)


def _bound(known: dict[Any, Any]) -> None:
    if len(known) > PEERS_MAX:
        del known[next(iter(known))]
