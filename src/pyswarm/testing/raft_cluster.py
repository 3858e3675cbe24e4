"""A few Raft members in one process, moved by hand: for scripts and tests that tell one story.

Nothing happens by itself. Messages wait in ``messages`` until they are delivered or dropped, a
Ready waits for its disk until :meth:`LocalRaft.sync`, time passes by :meth:`LocalRaft.tick`.
:meth:`LocalRaft.stabilize` does all of it until nobody has anything to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyswarm.env import Rng
from pyswarm.raft import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Member,
    MemberID,
    Message,
    RaftConfig,
    Ready,
    Replica,
    Role,
    split_chunks,
)
from pyswarm.raft.message import TimeoutNow
from pyswarm.testing.raft_host import Disk

EPOCH = 1
ROUNDS_MAX = 200
"""Members that are not quiet after so many exchanges will never be."""


class LocalMember:
    """One member: its replica (None while it is down), its disk and what it applied."""

    def __init__(self, config: RaftConfig, disk: Disk) -> None:
        self.config = config
        self.disk = disk
        self.replica: Replica | None = None
        self.applied: list[Entry] = []
        self.reads: list[tuple[object, int]] = []
        self.aborted_reads: list[object] = []
        self.lives = 0

    @property
    def commands(self) -> list[bytes]:
        """The data of the commands applied so far."""
        return [entry.data for entry in self.applied if entry.kind == EntryKind.NORMAL]


class LocalRaft:
    """The members, and the messages between them."""

    def __init__(self, voters: int = 3, *, learners: int = 0, **settings: int | bool) -> None:
        """Founds a cluster of ``voters`` and ``learners``; ``settings`` are RaftConfig's."""
        self.settings = settings
        self.nodes: dict[MemberID, LocalMember] = {}
        self.messages: list[Message] = []
        self.cut_links: set[tuple[MemberID, MemberID]] = set()
        self.on_ready: Callable[[MemberID, Ready], None] = lambda id, ready: None
        count = voters + learners
        members = tuple(Member(id, voter=id <= voters) for id in range(1, count + 1))
        self.founders = Configuration(members, count + 1, EPOCH)
        for member in members:
            self.add(member.id)

    def __getitem__(self, id: MemberID) -> Replica:
        """The replica of a member that is up."""
        replica = self.nodes[id].replica
        assert replica is not None, f"member {id} is down"
        return replica

    @property
    def up(self) -> list[MemberID]:
        """The members that run."""
        return [id for id, node in self.nodes.items() if node.replica is not None]

    @property
    def leaders(self) -> list[MemberID]:
        """The members that believe they lead."""
        return [id for id in self.up if self[id].role is Role.LEADER]

    # -- hosts

    def add(self, id: MemberID) -> None:
        """Starts a new member: a founder, or one that joins knowing the epoch alone."""
        config = RaftConfig(id=id, **self.settings)  # type: ignore[arg-type]
        disk = Disk() if id in self.founders else Disk(HardState(epoch=EPOCH))
        self.nodes[id] = LocalMember(config, disk)
        self.restart(id)

    def crash(self, id: MemberID, *, keep_writes: bool = False) -> None:
        """Stops a member. What was not synced is lost, or with ``keep_writes`` just made it."""
        node = self.nodes[id]
        while keep_writes and node.disk.queue:
            node.disk.write(node.disk.queue.popleft())
        node.disk.queue.clear()
        node.replica = None

    def restart(self, id: MemberID) -> None:
        """Starts a member from its disk."""
        node = self.nodes[id]
        disk = node.disk
        node.lives += 1
        new = id in self.founders and not disk.entries and not disk.hard_state.term
        node.applied.clear()
        node.replica = Replica(
            node.config,
            Rng(id).child(node.lives),
            hard_state=disk.hard_state,
            snapshot=disk.snapshot,
            entries=tuple(disk.entries),
            bootstrap=self.founders if new and disk.snapshot is None else None,
        )

    # -- the steps

    def process_ready(self, id: MemberID) -> Ready | None:
        """Takes one Ready: sends what may leave at once, applies, queues the rest for the disk."""
        node = self.nodes[id]
        ready = self[id].ready()
        if ready is None:
            return None
        self.on_ready(id, ready)
        self.messages += ready.messages
        if ready.restore is not None:
            node.applied.clear()
        node.applied += ready.committed
        node.reads += ready.reads
        node.aborted_reads += ready.aborted_reads
        node.disk.queue.append(ready)
        return ready

    def sync(self, id: MemberID) -> int:
        """The disk has written everything that waits; what depends on it is sent."""
        queue = self.nodes[id].disk.queue
        done = 0
        while queue:
            ready = queue.popleft()
            self.nodes[id].disk.write(ready)
            self.messages += ready.messages_after_sync
            self[id].advance(ready)
            done += 1
        return done

    def settle(self, id: MemberID) -> int:
        """Takes and stores Readys of one member until it wants nothing; how many there were."""
        count = 0
        while self.process_ready(id) is not None:
            count += 1
            self.sync(id)
        return count + self.sync(id)

    def deliver(
        self, *ids: MemberID, choose: Callable[[Message], bool] = lambda message: True
    ) -> list[Message]:
        """Delivers the messages that wait for ``ids`` (all if none are given)."""
        taken = self.drop(*ids, choose=choose)
        for message in taken:
            node = self.nodes.get(message.to)
            link = (message.from_, message.to)
            if node is not None and node.replica is not None and link not in self.cut_links:
                node.replica.step(message)
        return taken

    def drop(
        self, *ids: MemberID, choose: Callable[[Message], bool] = lambda message: True
    ) -> list[Message]:
        """Loses the messages that wait for ``ids`` (all if none are given)."""
        lost: list[Message] = []
        rest: list[Message] = []
        for message in self.messages:
            chosen = (not ids or message.to in ids) and choose(message)
            (lost if chosen else rest).append(message)
        self.messages = rest
        return lost

    def stabilize(self, *ids: MemberID) -> None:
        """Lets ``ids`` (default: all) go on until they have nothing more to do."""
        for _ in range(ROUNDS_MAX):
            busy = sum(self.settle(id) for id in self.up if not ids or id in ids)
            if not self.deliver(*(ids or self.nodes)) and not busy:
                self.messages = [m for m in self.messages if m.to in self.nodes]
                return
        raise AssertionError("the members do not come to rest")

    def tick(self, id: MemberID, count: int = 1) -> None:
        """Lets time pass for one member."""
        for _ in range(count):
            self[id].tick()

    def tick_all(self, count: int = 1, ids: Iterable[MemberID] = ()) -> None:
        """Lets time pass for all (or ``ids``), with everything delivered after each tick."""
        for _ in range(count):
            for id in tuple(ids) or self.up:
                self[id].tick()
            self.stabilize()

    # -- the network

    def isolate(self, *ids: MemberID) -> None:
        """Cuts ``ids`` off from the others, both ways."""
        for a in self.nodes:
            for b in self.nodes:
                if (a in ids) != (b in ids):
                    self.cut_links.add((a, b))

    def heal(self) -> None:
        """All links work again."""
        self.cut_links.clear()

    # -- whole stories

    def elect(self, id: MemberID) -> Replica:
        """Makes ``id`` stand for election as if the leader had asked it to, and win."""
        replica = self[id]
        other = next((other for other in self.nodes if other != id), id + 1)
        if replica.role is not Role.FOLLOWER or len(replica.configuration.voters) == 1:
            replica.step_down()
            replica.campaign()
        else:
            replica.step(TimeoutNow(id, other, replica.term, replica.epoch))
        self.stabilize()
        assert replica.role is Role.LEADER, f"member {id} was not elected"
        return replica

    def propose(self, id: MemberID, *commands: bytes) -> None:
        """Proposes and lets everybody finish."""
        for command in commands:
            self[id].propose(command)
        self.stabilize()

    def compact(self, id: MemberID, keep: int = 0) -> None:
        """Takes a snapshot of what the member has applied (its commands, in small chunks)."""
        replica = self[id]
        chunks = split_chunks(b"\n".join(self.nodes[id].commands) or b"-", 16)
        replica.compact(replica.snapshot_at(replica.applied_index, chunks), keep)
