"""A leader on the workbench: one manager's whole machine, its disk answered at once.

For benchmarks of what a leader does, without a network, a loop or a disk in the figures. Requests
go in by :meth:`LoneLeader.ask`; they are decided, encoded, proposed, committed and settled as in
any swarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from pyswarm.model import Identity, NodeDescription, Platform, Request, Resources, Role, Swarm
from pyswarm.model.objects import RootCAState
from pyswarm.node import (
    Call,
    FromPeer,
    NodeConfig,
    NodeMachine,
    Persisted,
    PersistLog,
    RecoveredLog,
    Reply,
    SaveSnapshot,
    SendTo,
    SnapshotSaved,
    Wake,
)
from pyswarm.node.turn import Work
from pyswarm.store import Transaction

EPOCH_S = 1_700_000_000.0


def description(name: str) -> NodeDescription:
    """A node with plenty of everything."""
    resources = Resources(nano_cpus=64_000_000_000, memory_bytes=256 << 30)
    return NodeDescription(hostname=name, platform=Platform("linux", "x86_64"), resources=resources)


class LoneLeader:
    """The machine, and what it asked of the world."""

    def __init__(self) -> None:
        self.now = 1024.0
        self.identity = Identity("node-m1", Role.MANAGER, "swarm")
        self.replies: dict[int, Any] = {}
        self.sent: list[SendTo] = []
        self._held: list[Any] | None = None
        self._tokens = count(1)
        root = RootCAState(worker_token="worker", manager_token="manager")
        config = NodeConfig(
            identity=self.identity,
            addr="m1",
            description=description("m1"),
            seed=1,
            bootstrap=Swarm(id="swarm", root_ca=root),
            log=RecoveredLog(1),
        )
        self.machine = NodeMachine(config, self.now)
        while not (self.machine.is_leader and self.machine.store.has_swarm):
            self.tick()

    @property
    def office(self) -> Any:
        """The leader's office."""
        manager = self.machine.manager
        assert manager is not None and manager.office is not None
        return manager.office

    def tick(self, seconds: float = 0.05) -> None:
        """Let time pass."""
        self.now += seconds
        self.step(Wake(EPOCH_S + self.now))

    def step(self, input: Any) -> None:
        """One input, and the disk's answers to what follows from it."""
        waiting = [input]
        while waiting:
            for effect in self.machine.step(self.now, waiting.pop(0)):
                if isinstance(effect, PersistLog):
                    answer = Persisted(effect.ready.number, effect.seat)
                    (waiting if self._held is None else self._held).append(answer)
                elif isinstance(effect, SaveSnapshot):
                    waiting.append(SnapshotSaved(effect.snapshot.index, effect.seat))
                elif isinstance(effect, Reply):
                    assert effect.error is None, effect.error
                    self.replies[effect.token] = effect.value
                elif isinstance(effect, SendTo):
                    self.sent.append(effect)

    def hold_disk(self) -> None:
        """From now on the disk does not answer: what comes waits for the turn in flight."""
        self._held = []

    def release_disk(self) -> None:
        """The disk answers again, first what it was asked meanwhile."""
        held, self._held = self._held or [], None
        for answer in held:
            self.step(answer)

    def ask(self, bodies: Iterable[Any]) -> list[Any]:
        """Requests of many callers at once, in one turn if they fit; what they wrote."""
        tokens = []
        for body in bodies:
            token = next(self._tokens)
            tokens.append(token)
            request = Request(f"request {token}", body, self.identity)
            self.office.submit(request, self._keeper(token))
        self.tick(0.0)
        while any(token not in self.replies for token in tokens):
            self.tick(0.001)
        return [self.replies.pop(token) for token in tokens]

    def _keeper(self, token: int) -> Callable[[Any, Any], None]:
        def keep(value: Any, error: Any) -> None:
            assert error is None, error
            self.replies[token] = value

        return keep

    def fill(self, run: Callable[[Transaction], None]) -> None:
        """Write anything, in one turn of its own."""
        done: list[None] = []
        self.office._queue.append(Work(run, lambda value, error: done.append(None)))
        while not done:
            self.tick(0.001)

    def says(self, identity: Identity, addr: str, message: Any) -> None:
        """A message from a peer."""
        self.step(FromPeer(identity, addr, message))

    def call(self, body: Any) -> None:
        """A local call."""
        self.step(Call(next(self._tokens), body))
