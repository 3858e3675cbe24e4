"""The control API alone: a store, and requests put to it one after the other."""

from __future__ import annotations

from typing import Any

from pyswarm.env import Rng
from pyswarm.machine import Because
from pyswarm.model import (
    ManagerStatus,
    Node,
    NodeDescription,
    NodeSpec,
    NodeState,
    Role,
    Sealed,
    Swarm,
    SwarmSpec,
)
from pyswarm.model.objects import RootCAState
from pyswarm.node import control
from pyswarm.node.context import Context
from pyswarm.node.networks import create_predefined
from pyswarm.orchestrator.leases import Leases
from pyswarm.store import Store, Transaction

WHY = Because("test")


class Desk:
    """``ask`` does one request in a turn of its own; a refused one leaves the store as it was."""

    def __init__(self, **swarm: Any) -> None:
        self.store = Store()
        self.now = 1000.0
        self._rng = Rng("desk")
        root = RootCAState(worker_token="worker token", manager_token="manager token")
        self.put(Swarm(id="swarm", root_ca=root, spec=SwarmSpec(), **swarm))
        tx = self.store.begin(self.store.version + 1, self.now)
        create_predefined(tx, self._context(tx))
        self.store.install(tx)

    def _context(self, tx: Transaction) -> Context:
        return Context(self._rng, Leases.rebuild(tx))

    def put(self, obj: Any) -> Any:
        """An object as it is, without asking anybody."""
        self.now += 1.0
        tx = self.store.begin(self.store.version + 1, self.now)
        exists = tx.get(type(obj).__name__.lower(), obj.id) is not None
        written = tx.update(obj, WHY) if exists else tx.create(obj, WHY)
        self.store.install(tx)
        return written

    def ask(self, body: Any) -> Any:
        self.now += 1.0
        tx = self.store.begin(self.store.version + 1, self.now)
        written = control.run(tx, body, self._context(tx))
        self.store.install(tx)
        return written

    def node(self, id: str, state: NodeState = NodeState.READY, *, manager: int = 0) -> Any:
        role = Role.MANAGER if manager else Role.WORKER
        return self.put(
            Node(
                id=id,
                spec=NodeSpec(desired_role=role),
                role=role,
                state=state,
                description=NodeDescription(hostname=f"host-{id}"),
                manager=ManagerStatus(manager, f"{id}:2377", 1) if manager else None,
            )
        )


def sealed(length: int = 10) -> Sealed:
    """A payload that nobody can open."""
    return Sealed(key_id=1, nonce=b"n", ciphertext=b"c" * length, length=length, digest=b"d")
