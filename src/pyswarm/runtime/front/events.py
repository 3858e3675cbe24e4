"""Events: what was committed, as it is installed on this member, task by task if you like.

An event is one object's change with its reason. All changes of one entry come together, in order,
and the last has ``is_last``: whoever remembers the version of an event with ``is_last`` can go on
after it, on any manager. Nothing secret is in an event: keys, tokens and payloads are blanked.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import attrs

from pyswarm.errors import Compacted, InvalidArgument
from pyswarm.machine import Because
from pyswarm.model import KINDS, RootCAState, Secret, Swarm
from pyswarm.orchestrator.reasons import sentence
from pyswarm.runtime.front.member import Member
from pyswarm.runtime.front.position import After as After
from pyswarm.runtime.front.position import Position as Position
from pyswarm.runtime.front.position import version_of
from pyswarm.runtime.front.streams import Stream
from pyswarm.store import Change, Commit, Watch

Action = Literal["create", "update", "remove"]

EVENT_KINDS = tuple(kind for kind in KINDS if kind != "request")
"""The kinds of objects that events are about."""


@attrs.frozen
class Event:
    """One object changed. ``old`` is None after its creation, ``new`` after its removal."""

    version: int
    """The entry that changed it: what ``events(after=…)`` takes."""
    time: float
    """Cluster time of the entry, seconds since the epoch."""
    kind: str
    action: Action
    id: str
    name: str
    because: Because
    old: Any = attrs.field(repr=False)
    new: Any = attrs.field(repr=False)
    is_last: bool = attrs.field(default=True, repr=False)
    """Whether this is the entry's last event of the kinds asked for."""
    epoch: int = attrs.field(default=0, repr=False)
    """Of the cluster: drawn anew by a restore, after which versions mean other entries."""

    @property
    def position(self) -> Position:
        """Where to go on after a restart, also of a swarm that may have been restored since."""
        return Position(self.epoch, self.version)

    @property
    def reason(self) -> str:
        """Why, in words."""
        return sentence(self.because)

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the fields that differ; empty unless the object was updated."""
        if self.old is None or self.new is None:
            return ()
        names = (field.name for field in attrs.fields(type(self.new)))
        return tuple(
            name
            for name in names
            if name not in ("version", "updated_at")
            and getattr(self.old, name) != getattr(self.new, name)
        )

    def __str__(self) -> str:
        state = f" {self.new.state}" if self.kind in ("task", "node") and self.new else ""
        return f"{self.kind} {self.name} {self.action}{state}: {self.reason}"


def events_of(commit: Commit, epoch: int = 0) -> list[Event]:
    """The events of one entry, in order."""
    changes = [change for change in commit.changes if change.kind != "request"]
    last = len(changes) - 1
    return [_event(commit, change, place == last, epoch) for place, change in enumerate(changes)]


def _event(commit: Commit, change: Change, is_last: bool, epoch: int) -> Event:
    action: Action = "update"
    if change.old is None:
        action = "create"
    elif change.new is None:
        action = "remove"
    shown = change.old if change.new is None else change.new
    return Event(
        commit.version,
        commit.stamp,
        change.kind,
        action,
        shown.id,
        name_of(shown),
        change.because,
        blanked(change.old),
        blanked(change.new),
        is_last,
        epoch,
    )


def name_of(thing: Any) -> str:
    """What people call an object."""
    if hasattr(thing, "hostname"):
        return str(thing.hostname or thing.id)
    return str(getattr(thing, "name", "") or getattr(thing.spec, "name", "") or thing.id)


def blanked(thing: Any) -> Any:
    """An object without what must not be seen."""
    if isinstance(thing, Swarm):
        root = _public(thing.root_ca)
        return attrs.evolve(thing, root_ca=root, sealing_keys=(), unlock_key=b"", network_keys=())
    if isinstance(thing, Secret):
        return attrs.evolve(thing, payload=None)
    return thing


def _public(root: RootCAState) -> RootCAState:
    """The authority without its keys and tokens."""
    rotation = root.rotation
    if rotation is not None:
        rotation = attrs.evolve(rotation, key=b"", worker_token="", manager_token="")
    return attrs.evolve(root, key=b"", worker_token="", manager_token="", rotation=rotation)


class _Watching:
    """A watch that lives in the node's loop: the source of a stream of events."""

    def __init__(self, member: Member, after: After, kinds: Collection[str]) -> None:
        self._member = member
        self._after = after
        self._kinds = kinds
        self._watch: Watch | None = None
        self._store: Any = None
        self._epoch = 0

    async def open(self) -> None:
        """Begin; raises ``Compacted`` where the history does not reach back."""
        store = await self._member.node.barrier()
        manager = self._member.node.machine.manager
        self._epoch = manager.replica.epoch if manager is not None else 0
        after = version_of(self._after, self._epoch)
        self._store, self._watch = store, store.watch(after, self._kinds)

    async def take(self) -> list[Event] | None:
        """What was committed since; None once the node has stopped."""
        node, watch = self._member.node, self._watch
        assert watch is not None
        while not (commits := watch.take()):
            if node.halted is not None:
                return None
            if node.machine.store is not self._store:
                raise Compacted(
                    "a snapshot replaced the store", hint="list the objects and watch anew"
                )
            await node.wait_changed()
        return [event for commit in commits for event in events_of(commit, self._epoch)]

    def close(self) -> None:
        """Let go of the place in the history."""
        if self._watch is not None:
            self._watch.close()


def events(member: Member, after: After, kinds: Collection[str] | None) -> Stream[Event]:
    """Every change after ``after`` (None: from this call on) of objects of ``kinds``."""
    if isinstance(after, str):
        after = Position.parse(after)
    if after is None and member.is_manager:
        after = member.node.store.version
    wanted = EVENT_KINDS if kinds is None else tuple(kinds)
    for kind in wanted:
        if kind not in EVENT_KINDS:
            raise InvalidArgument(f"there are no events of '{kind}'", hint=", ".join(EVENT_KINDS))
    return Stream(member.loop, _Watching(member, after, wanted))
