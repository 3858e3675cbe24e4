"""Raft under faults, in virtual time: many seeds, one story each.

A history has three to seven members and a few clients that write and read one register through
them. Messages are lost, doubled, delayed and overtaken; links break in one direction; hosts crash
at any moment and lose what was not synced (or keep a part of it); disks stall, or have no room for
a while (then the member steps down, and tries again); members are added, promoted, demoted and
removed, leadership is transferred, logs are compacted. All the while these must
hold (dissertation, figure 3.2):

- *election safety*: one leader a term at most;
- *log matching*: entries of the same index and term are the same, and so are their predecessors;
- *leader completeness*: a leader has every entry committed in an earlier term;
- *state machine safety*: all members apply the same entry at an index, in order, without gaps;
- the clients' history is linearizable.

Then everything is healed, and the members must agree, accept a write, and know who was removed.

``python -m pyswarm.testing.raft_sim --seeds 10000`` runs a campaign; a violation prints the command
that replays its seed.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
from collections.abc import Callable, Sequence

from pyswarm.env import Rng
from pyswarm.errors import SwarmError
from pyswarm.raft import (
    AddMember,
    Configuration,
    DemoteMember,
    EntryKind,
    HardState,
    Member,
    MemberID,
    MembershipChange,
    Message,
    PromoteMember,
    RaftConfig,
    Ready,
    RemoveMember,
    Replica,
    Role,
    decode,
    encode,
    split_chunks,
)
from pyswarm.testing.linearizable import Operation, is_linearizable
from pyswarm.testing.raft_checkers import Checkers, Violation
from pyswarm.testing.raft_host import TICK_MS, Disk, Faults, Host, Waiting

EPOCH = 77
FULL_RETRY_MS = 500
"""A member whose disk has no room tries again so often."""
HEAL_MS = 8_000
"""What the healed members get to agree: several elections and a snapshot."""


class Simulation:
    """One seeded history; :meth:`run` raises :class:`Violation` or returns its digest."""

    def __init__(
        self,
        seed: int,
        *,
        members: int = 3,
        faults: Faults | None = None,
        duration_ms: int = 15_000,
        lease_reads: bool | None = None,
    ) -> None:
        self.seed = seed
        root = Rng(seed)
        self.rng = root.child("faults")
        self.net = root.child("net")
        self.root = root
        self.faults = faults or Faults.drawn(root.child("mix"))
        self.duration_ms = duration_ms
        self.lease_reads = self.rng.chance(0.3) if lease_reads is None else lease_reads
        self.now = 0
        self.calm = False
        self.events: list[tuple[int, int, Callable[[], None]]] = []
        self.sequence = 0
        self.blocked: set[tuple[MemberID, MemberID]] = set()
        self.history: list[Operation] = []
        self.next_value = 0
        self.next_ctx = 0
        self.trace = hashlib.sha256()
        self.stats: dict[str, int] = {}
        self.checkers = Checkers()
        ids = range(1, members + 1)
        self.founders = Configuration(tuple(Member(id) for id in ids), members + 1, EPOCH)
        self.hosts: dict[MemberID, Host] = {}
        for id in ids:
            self.add_host(id, bootstrap=True)

    # -- the loop

    def at(self, delay: int, action: Callable[[], None]) -> None:
        """Does ``action`` after ``delay`` milliseconds."""
        self.sequence += 1
        heapq.heappush(self.events, (self.now + delay, self.sequence, action))

    def note(self, what: str, *details: object) -> None:
        """Counts an event and adds it to the history's digest."""
        self.stats[what] = self.stats.get(what, 0) + 1
        self.trace.update(f"{self.now} {what} {details}\n".encode())

    def run_until(self, end: int) -> None:
        """Lets virtual time pass."""
        while self.events and self.events[0][0] <= end:
            self.now, _, action = heapq.heappop(self.events)
            action()
        self.now = end

    def run(self) -> str:
        """The whole history: faults, then healing, then the final checks."""
        for client in range(4):
            self.next_turn(client)
        faults = self.faults
        for mean, action in (
            (faults.partition_ms, self.fault_partition),
            (faults.crash_ms, self.fault_crash),
            (faults.churn_ms, self.fault_churn),
            (faults.transfer_ms, self.fault_transfer),
            (faults.full_ms, self.fault_full_disk),
        ):
            if mean:
                self.repeat(mean, action)
        self.run_until(self.duration_ms)
        self.heal()
        self.run_until(self.now + HEAL_MS)
        self.check_healed()
        return self.trace.hexdigest()

    def repeat(self, mean: int, action: Callable[[], None]) -> None:
        """Does ``action`` now and then, until healing."""

        def again() -> None:
            if not self.calm:
                action()
                self.at(1 + self.rng.below(2 * mean), again)

        self.at(1 + self.rng.below(2 * mean), again)

    # -- hosts

    def add_host(self, id: MemberID, *, bootstrap: bool = False) -> None:
        """A new member's host: a founder, or one that knows the epoch alone."""
        disk = Disk()
        if not bootstrap:
            disk.hard_state = HardState(epoch=EPOCH)
        host = self.hosts[id] = Host(id, disk)
        self.start(host, bootstrap=bootstrap)

    def start(self, host: Host, *, bootstrap: bool = False) -> None:
        """Starts a host from its disk."""
        host.life += 1
        disk = host.disk
        config = RaftConfig(
            id=host.id,
            max_append_bytes=200,
            max_inflight_appends=8,
            max_inflight_chunks=2,
            lease_reads=self.lease_reads,
        )
        rng = self.root.child(host.id).child(host.life)
        fresh = bootstrap and disk.hard_state == HardState() and not disk.entries
        host.replica = Replica(
            config,
            rng,
            hard_state=disk.hard_state,
            snapshot=disk.snapshot,
            entries=tuple(disk.entries),
            bootstrap=self.founders if fresh else None,
        )
        host.load(disk.snapshot)
        host.role = Role.FOLLOWER
        host.tick_ms = TICK_MS - 1 + self.rng.below(3)
        life = host.life
        self.at(self.rng.below(TICK_MS), lambda: self.tick(host, life))
        self.settle(host)

    def crash(self, host: Host) -> None:
        """Stops a host; of the writes under way a prefix, and a part of the next, may survive."""
        assert host.replica is not None
        self.note("crash", host.id)
        disk = host.disk
        keep = self.rng.below(len(disk.queue) + 1)
        for _ in range(keep):
            disk.write(disk.queue.popleft())
        if disk.queue and self.rng.chance(0.5):
            ready = disk.queue.popleft()
            if ready.snapshot is None:
                self.note("torn-write", host.id)
                disk.write(ready, self.rng.below(len(ready.entries) + 1))
        disk.queue.clear()
        host.replica = None
        host.life += 1
        self.abandon(host)

    def abandon(self, host: Host) -> None:
        """Operations that wait at this host: writes may have happened, reads are forgotten."""
        for waiting in host.writes.values():
            self.finish(waiting, None)
        for waiting in host.reads.values():
            self.next_turn(waiting.client)
        host.writes.clear()
        host.reads.clear()

    def tick(self, host: Host, life: int) -> None:
        """The host's clock; slightly fast or slow."""
        if host.life != life or host.replica is None:
            return
        host.replica.tick()
        self.settle(host)
        self.at(host.tick_ms, lambda: self.tick(host, life))

    def settle(self, host: Host) -> None:
        """Takes what the replica wants done, and does it."""
        replica = host.replica
        assert replica is not None
        self.checkers.check_role(replica)
        if replica.role is Role.LEADER and host.role is not Role.LEADER:
            self.note("leader", host.id, replica.term)
            self.checkers.check_complete(replica)
        host.role = replica.role
        while (ready := replica.ready()) is not None:
            self.checkers.check_entries(replica, ready)
            for message in ready.messages:
                self.transmit(message)
            self.enqueue(host, ready)
            self.apply(host, replica, ready)
        if not replica.removed:
            self.maybe_compact(host, replica)

    def enqueue(self, host: Host, ready: Ready) -> None:
        """Hands a Ready to the disk, which works through its queue in order."""
        host.disk.queue.append(ready)
        if len(host.disk.queue) == 1:
            life = host.life
            self.at(self.disk_delay(), lambda: self.synced(host, life))

    def disk_delay(self) -> int:
        """How long one sync takes."""
        if not self.calm and self.rng.chance(self.faults.disk_stall):
            self.note("slow-disk")
            return 200 + self.rng.below(1500)
        return self.rng.below(self.faults.disk_ms)

    def synced(self, host: Host, life: int) -> None:
        """The disk is done with one or more Readys."""
        if host.life != life or host.replica is None:
            return
        queue = host.disk.queue
        if not self.calm and self.now < host.disk.full_until:
            self.refused(host, host.replica)
            self.at(FULL_RETRY_MS, lambda: self.synced(host, life))
            return
        host.replica.may_campaign = True
        for _ in range(1 + self.rng.below(len(queue))):
            ready = queue.popleft()
            host.disk.write(ready)
            for message in ready.messages_after_sync:
                self.transmit(message)
            host.replica.advance(ready)
        if queue:
            self.at(self.disk_delay(), lambda: self.synced(host, life))
        self.settle(host)

    def refused(self, host: Host, replica: Replica) -> None:
        """Nothing of what waits for the disk may be promised: what every driver does then."""
        self.note("refused-write", host.id)
        replica.may_campaign = False
        replica.step_down()
        self.settle(host)

    def apply(self, host: Host, replica: Replica, ready: Ready) -> None:
        """The state machine's part of a Ready."""
        if ready.restore is not None:
            host.load(ready.restore)
            self.note("restore", host.id, ready.restore.index)
        for entry in ready.committed:
            self.checkers.check_applied(host.id, host.applied, entry)
            host.applied = entry.index
            if entry.kind == EntryKind.NORMAL:
                host.value = entry.data
                host.log.append(entry.data)
            waiting = host.writes.pop(entry.index, None)
            if waiting is not None:
                done = entry.term == waiting.term
                self.finish(waiting, self.now) if done else self.next_turn(waiting.client)
        for ctx, index in ready.reads:
            assert index <= host.applied
            waiting = host.reads.pop(ctx)
            waiting.value = host.value
            self.finish(waiting, self.now)
        for ctx in ready.aborted_reads:
            self.next_turn(host.reads.pop(ctx).client)
        if replica.role is not Role.LEADER and host.writes:
            for waiting in host.writes.values():
                self.finish(waiting, None)
            host.writes.clear()

    def maybe_compact(self, host: Host, replica: Replica) -> None:
        """Every so many entries the host takes a snapshot."""
        if host.applied - host.compacted < self.faults.compact_entries:
            return
        chunks = split_chunks(b"\n".join(host.log), 64)
        host.compacted = host.applied
        replica.compact(replica.snapshot_at(host.applied, chunks), self.rng.below(10))
        self.note("compact", host.id, host.applied)
        self.settle(host)

    # -- the network

    def transmit(self, message: Message) -> None:
        """Sends a message as bytes through a network that may do anything but change it."""
        link = (message.from_, message.to)
        if not self.calm and self.net.chance(self.faults.loss):
            self.note("lost-message")
            return
        copies = 2 if not self.calm and self.net.chance(self.faults.duplication) else 1
        data = encode(message)
        for _ in range(copies):
            delay = 1 + self.net.below(self.faults.delay_ms)
            if not self.calm and self.net.chance(self.faults.slow):
                delay *= 20
            self.at(delay, lambda: self.deliver(link, data))

    def deliver(self, link: tuple[MemberID, MemberID], data: bytes) -> None:
        """A message arrives, unless its link is down."""
        host = self.hosts.get(link[1])
        if host is None or host.replica is None or link in self.blocked:
            return
        message = decode(data)
        self.note("message", type(message).__name__, *link, message.term)
        host.replica.step(message)
        self.settle(host)

    # -- clients

    def client_turn(self, client: int) -> None:
        """A client asks some host to write or to read."""
        if self.calm:
            return
        hosts = [host for host in self.hosts.values() if host.replica is not None]
        leaders = [host for host in hosts if host.role is Role.LEADER]
        if not hosts:
            self.next_turn(client)
            return
        host = self.rng.choice(leaders if leaders and self.rng.chance(0.8) else hosts)
        replica = host.replica
        assert replica is not None
        try:
            if self.rng.chance(0.6):
                self.next_value += 1
                value = b"%d" % self.next_value
                waiting = Waiting(client, "write", value, self.now, replica.term)
                index = replica.propose(value)
                assert index not in host.writes
                host.writes[index] = waiting
            else:
                self.next_ctx += 1
                host.reads[self.next_ctx] = Waiting(client, "read", None, self.now)
                try:
                    replica.read_index(self.next_ctx)
                except SwarmError:
                    del host.reads[self.next_ctx]
                    raise
                life, ctx = host.life, self.next_ctx
                self.at(3000, lambda: self.give_up_read(host, life, ctx))
        except SwarmError:
            self.next_turn(client)
            return
        self.settle(host)

    def give_up_read(self, host: Host, life: int, ctx: int) -> None:
        """A client does not wait for ever (an answer that comes later is dropped)."""
        if host.life == life and ctx in host.reads:
            client = host.reads[ctx].client
            host.reads[ctx].client = -1
            if client >= 0:
                self.next_turn(client)

    def finish(self, waiting: Waiting, end: int | None) -> None:
        """Writes an operation into the history, and lets its client go on."""
        self.note("done", waiting.kind, waiting.value, end is not None)
        self.history.append(Operation(waiting.kind, waiting.value, waiting.begin, end))
        self.next_turn(waiting.client)

    def next_turn(self, client: int) -> None:
        """The client thinks, then goes on."""
        if client >= 0:
            self.at(20 + self.rng.below(200), lambda: self.client_turn(client))

    # -- faults

    def fault_partition(self) -> None:
        """Breaks links: one host, one direction, or a split; replaces the last partition."""
        self.blocked.clear()
        ids = list(self.hosts)
        kind = self.rng.below(4)
        if kind == 0:
            return
        self.rng.shuffle(ids)
        left = ids[: 1 + self.rng.below(max(1, len(ids) // 2))]
        right = [id for id in ids if id not in left]
        for a in left:
            for b in right:
                if kind != 2:
                    self.blocked.add((a, b))
                if kind != 3:
                    self.blocked.add((b, a))
        self.note("partition" if kind == 1 else "one-way-partition", kind, *left)

    def fault_crash(self) -> None:
        """Crashes a host; it comes back after a while."""
        up = [host for host in self.hosts.values() if host.replica is not None]
        if not up:
            return
        leader = self.leader_host()
        host = leader if leader and self.rng.chance(0.4) else self.rng.choice(up)
        self.crash(host)
        founder = host.id < self.founders.next_member_id
        self.at(
            50 + self.rng.below(self.rng.choice((400, 3000))),
            lambda: self.start(host, bootstrap=founder) if host.replica is None else None,
        )

    def leader_host(self) -> Host | None:
        """A host that believes it leads."""
        for host in self.hosts.values():
            if host.replica is not None and host.replica.role is Role.LEADER:
                return host
        return None

    def fault_churn(self) -> None:
        """Changes the membership in one random way."""
        host = self.leader_host()
        if host is None or host.replica is None:
            return
        replica = host.replica
        change = self.draw_change(replica.configuration)
        try:
            replica.propose_membership(change)
        except SwarmError:
            return
        self.note("churn", str(change))
        if isinstance(change, AddMember):
            self.add_host_of(replica.configuration)
        self.settle(host)

    def add_host_of(self, configuration: Configuration) -> None:
        """Starts the newest member. Its id may have been given to another that never committed."""
        id = configuration.next_member_id - 1
        if id not in self.hosts:
            self.add_host(id)

    def draw_change(self, configuration: Configuration) -> MembershipChange:
        """Tends towards five members, of which some are learners."""
        learners, voters = configuration.learners, configuration.voters
        kind = self.rng.below(6)
        if learners and kind < 3:
            return PromoteMember(self.rng.choice(learners))
        if len(configuration.members) < 7 and kind < 5 and len(self.hosts) < 14:
            return AddMember(voter=self.rng.chance(0.2))
        if kind == 5 and self.rng.chance(0.3):
            return DemoteMember(self.rng.choice(voters))
        return RemoveMember(self.rng.choice(configuration.ids))

    def fault_transfer(self) -> None:
        """The leader hands over."""
        host = self.leader_host()
        if host is None or host.replica is None:
            return
        try:
            host.replica.transfer_leadership(self.rng.choice(host.replica.configuration.ids))
        except SwarmError:
            return
        self.note("transfer", host.id)
        self.settle(host)

    def fault_full_disk(self) -> None:
        """A disk has no room for a while."""
        leader = self.leader_host()
        host = (
            leader
            if leader and self.rng.chance(0.5)
            else self.rng.choice(list(self.hosts.values()))
        )
        host.disk.full_until = self.now + 200 + self.rng.below(4000)
        self.note("full-disk", host.id)

    def heal(self) -> None:
        """No more faults: everything runs and reaches everything."""
        self.calm = True
        self.blocked.clear()
        self.note("heal")
        for host in list(self.hosts.values()):
            if host.replica is None:
                self.start(host, bootstrap=host.id < self.founders.next_member_id)

    # -- the end

    def check_healed(self) -> None:
        """Liveness once all is well, and what the clients saw."""
        leaders = [h for h in self.hosts.values() if h.replica and h.replica.role is Role.LEADER]
        if len(leaders) != 1:
            raise Violation(f"{len(leaders)} leaders after healing")
        leader = leaders[0].replica
        assert leader is not None
        leader.propose(b"final")
        self.settle(leaders[0])
        self.run_until(self.now + 1500)
        for host in self.hosts.values():
            replica = host.replica
            assert replica is not None
            if host.id in leader.configuration:
                if host.log != leaders[0].log or host.value != b"final":
                    raise Violation(f"member {host.id} does not agree after healing")
            elif leader.configuration.was_removed(host.id) and not (
                replica.removed or not replica.configuration.members
            ):
                raise Violation(f"member {host.id} does not know that it was removed")
        reads = [op for op in self.history if op.kind == "write" or op.end is not None]
        if not is_linearizable(reads):
            raise Violation("the clients' history is not linearizable")


def run_seed(seed: int, members: int | None = None, duration_ms: int = 15_000) -> Simulation:
    """One history; its size is drawn from the seed unless it is given."""
    if members is None:
        members = Rng(seed).child("size").choice((3, 3, 3, 5, 5, 7))
    simulation = Simulation(seed, members=members, duration_ms=duration_ms)
    simulation.run()
    return simulation


def main(arguments: Sequence[str] | None = None) -> int:
    """The campaign command: exit code 1 if a seed fails."""
    parser = argparse.ArgumentParser(prog="python -m pyswarm.testing.raft_sim")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--members", type=int, choices=(1, 3, 5, 7))
    parser.add_argument("--duration-ms", type=int, default=15_000)
    options = parser.parse_args(arguments)
    totals: dict[str, int] = {}
    failures = 0
    for seed in range(options.first, options.first + options.seeds):
        try:
            simulation = run_seed(seed, options.members, options.duration_ms)
        except (AssertionError, Violation) as error:
            failures += 1
            print(f"VIOLATION {error!r}")
            print(f"  replay: python -m pyswarm.testing.raft_sim --seeds 1 --first {seed}")
            continue
        for name, count in simulation.stats.items():
            totals[name] = totals.get(name, 0) + count
    print(f"{options.seeds} seeds, {failures} violations")
    print(", ".join(f"{name} {count}" for name, count in sorted(totals.items())))
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
