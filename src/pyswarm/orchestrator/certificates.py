"""Certificates: while the swarm's root is being replaced, who gets a new one, and when it ends.

A rotation is a state of the swarm's object. As long as it is there, every node must come to report
a certificate whose issuer is the next root. Those that are ready are asked to renew (the node's
``certificate`` says so), a few at a time, since managers sign for all of them. A node that is down
is asked when it comes back; until then, or until it is removed, the rotation waits for it.

When nobody is left the next root becomes the swarm's: whoever trusts it alone is understood by all
from then on. Its join tokens, which name it, take the place of the former ones at that moment.
A node that reports no certificate at all has none to renew: its network vouches for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyswarm.env import Rng
from pyswarm.model.objects import Certificate, Node, RootCAState, RootRotation
from pyswarm.model.replace import replace
from pyswarm.model.states import NodeState
from pyswarm.orchestrator.backlog import Backlog
from pyswarm.orchestrator.deadlines import Deadlines
from pyswarm.orchestrator.reasons import because
from pyswarm.store import Change, Reader, Transaction

ROUND_S = 3.0
NODES_PER_ROUND = 30
"""At most so many nodes are asked within a round: Swarm's numbers."""

ROTATE = "rotate"
ISSUED = "issued"


class Certificates:
    """Carries a rotation of the root through, and ends it."""

    __slots__ = ("_asked", "_behind", "_renewed", "_rotation", "_waiting")

    def __init__(self) -> None:
        self._rotation: RootRotation | None = None
        self._behind: dict[str, None] = {}  # nodes without a certificate of the next root
        self._waiting: Backlog[str] = Backlog()  # those of them that can be asked to renew
        self._asked: Deadlines[str] = Deadlines()  # those asked in this round, until it is over
        self._renewed: Backlog[str] = Backlog()  # nodes that were asked and need not be any more

    @classmethod
    def rebuild(cls, view: Reader, now: float) -> Certificates:
        """Taking office: the rotation under way, and how far every node is."""
        self = cls()
        if view.has_swarm:
            self._look_at_all(view, now)
        return self

    def wake_at(self) -> float | None:
        """The end of a round while nodes wait for the next one; at once while work is left over."""
        is_over = self._rotation is not None and not self._behind
        if self._renewed or is_over or (self._waiting and len(self._asked) < NODES_PER_ROUND):
            return 0.0
        return self._asked.next() if self._waiting else None

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        """Look at nodes that reported, came or went, and at a rotation that began or ended."""
        rotation = tx.swarm.root_ca.rotation
        if rotation is not self._rotation and rotation != self._rotation:
            self._look_at_all(tx, now)
        else:
            for change in changed:
                if change.kind == "node":
                    self._note(change.id, change.new, tx.swarm.root_ca, now)
        self._asked.pop_due(now)
        self._settle(tx)
        self._ask(tx, now)
        if rotation is not None and not self._behind and tx.room > 0:
            self._finish(tx, rotation)

    def _look_at_all(self, view: Reader, now: float) -> None:
        root = view.swarm.root_ca
        self._rotation = root.rotation
        for node in view.nodes():
            self._note(node.id, node, root, now)

    def _note(self, node_id: str, node: Node | None, root: RootCAState, now: float) -> None:
        """How far one node is."""
        self._behind.pop(node_id, None)
        self._waiting.discard(node_id)
        self._asked.discard(node_id)
        self._renewed.discard(node_id)
        if node is None:
            return
        is_asked = node.certificate is not None and node.certificate.status == ROTATE
        if root.rotation is None or _needs_none(node, root):
            if is_asked:
                self._renewed.add(node_id)
            return
        self._behind[node_id] = None
        if is_asked:
            if node.updated_at + ROUND_S > now:
                self._asked.set(node_id, node.updated_at + ROUND_S)
        elif node.state is NodeState.READY:
            self._waiting.add(node_id)

    def _settle(self, tx: Transaction) -> None:
        """What was asked for is done, or is not wanted any more."""
        while tx.room > 0 and (node_id := self._renewed.pop()) is not None:
            _mark(tx, node_id, ISSUED)

    def _ask(self, tx: Transaction, now: float) -> None:
        while tx.room > 0 and len(self._asked) < NODES_PER_ROUND:
            node_id = self._waiting.pop()
            if node_id is None:
                return
            _mark(tx, node_id, ROTATE)
            self._asked.set(node_id, now + ROUND_S)

    def _finish(self, tx: Transaction, rotation: RootRotation) -> None:
        root = RootCAState(
            cert=rotation.cert,
            key=rotation.key,
            digest=rotation.digest,
            worker_token=rotation.worker_token,
            manager_token=rotation.manager_token,
            issuer_subject=rotation.issuer_subject,
            issuer_public_key=rotation.issuer_public_key,
        )
        tx.update(replace(tx.swarm, root_ca=root), because("root-rotated"))
        self._rotation = None


def _needs_none(node: Node, root: RootCAState) -> bool:
    """Whether the node's certificate is of who signs now, or it has none."""
    description = node.description
    if description is not None and description.tls is None:
        return True
    return root.has_signed(description.tls if description is not None else None)


def _mark(tx: Transaction, node_id: str, status: str) -> None:
    node = tx.node(node_id)
    assert node is not None
    known = node.certificate or Certificate(node.role, cn=node.id)
    reason = because("certificate-due" if status == ROTATE else "certificate-issued")
    tx.update(replace(node, certificate=replace(known, status=status)), reason)
