"""A rotation of the root as a state of the store: who is asked to renew, what ends it.

Rules of Swarm's reconciler (thirty nodes in three seconds; a node that is down holds it up until it
is removed), in virtual time; each turn is decided by freshly rebuilt twins too.
"""

from __future__ import annotations

from typing import Any

from pyswarm.model import Node, NodeDescription, NodeState, RootCAState, RootRotation, TLSInfo
from pyswarm.model.replace import replace
from pyswarm.orchestrator.certificates import NODES_PER_ROUND, ROUND_S, Certificates
from pyswarm.store import Transaction

from .harness import WHY, World

OLD = RootCAState(
    cert=b"old root",
    key=b"old key",
    worker_token="old worker",
    manager_token="old manager",
    issuer_subject=b"CN=old",
    issuer_public_key=b"old public",
)


def successor(name: str) -> RootRotation:
    return RootRotation(
        cert=f"{name} root".encode(),
        key=f"{name} key".encode(),
        cross_signed=b"crossed",
        issuer_subject=f"CN={name}".encode(),
        issuer_public_key=f"{name} public".encode(),
        worker_token=f"{name} worker",
        manager_token=f"{name} manager",
    )


class Rotating(World):
    """Nodes that report a certificate of the old root, and renew when told."""

    def __init__(self, nodes: int = 3) -> None:
        super().__init__(nodes, reconcilers=[Certificates], ingress=False)
        self.change(OLD)
        for node in self.store.nodes():
            self.report(node.id, OLD.tls)

    def change(self, root: RootCAState) -> None:
        self.turn(lambda tx: tx.update(replace(tx.swarm, root_ca=root), WHY))

    def begin(self, name: str = "new") -> None:
        self.change(replace(self.root, rotation=successor(name)))

    def write(self, node_id: str, **fields: Any) -> None:
        def work(tx: Transaction) -> None:
            node = tx.node(node_id)
            assert node is not None
            tx.update(replace(node, **fields), WHY)

        self.turn(work)

    def report(self, node_id: str, tls: TLSInfo | None) -> None:
        self.write(node_id, description=NodeDescription(node_id, tls=tls), state=NodeState.READY)

    def renew(self, *node_ids: str) -> None:
        for node_id in node_ids:
            self.report(node_id, self.root.tls)

    def remove(self, node_id: str) -> None:
        self.turn(lambda tx: tx.delete("node", node_id, WHY))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.turn()

    @property
    def root(self) -> RootCAState:
        return self.store.swarm.root_ca

    @property
    def asked(self) -> list[str]:
        return sorted(node.id for node in self.store.nodes() if status(node) == "rotate")


def status(node: Node) -> str:
    return node.certificate.status if node.certificate is not None else ""


def test_without_a_rotation_nobody_is_asked() -> None:
    world = Rotating()
    world.pass_time(10.0)
    assert world.asked == []
    assert world.root == OLD


def test_all_are_asked_and_the_last_answer_ends_it() -> None:
    world = Rotating()
    world.begin()
    assert world.asked == ["n1", "n2", "n3"]
    world.renew("n1", "n2")
    assert world.asked == ["n3"]
    assert world.root.cert == OLD.cert, "what is trusted stays until the end"
    assert world.root.worker_token == OLD.worker_token, "and the tokens that name it"
    world.renew("n3")
    new = successor("new")
    assert world.asked == []
    assert world.root == RootCAState(
        cert=new.cert,
        key=new.key,
        worker_token=new.worker_token,
        manager_token=new.manager_token,
        issuer_subject=new.issuer_subject,
        issuer_public_key=new.issuer_public_key,
    )


def test_thirty_a_round() -> None:
    world = Rotating(nodes=70)
    world.begin()
    assert len(world.asked) == NODES_PER_ROUND
    (reconciler,) = world._running
    assert reconciler.wake_at() == world.now + ROUND_S
    world.renew(*world.asked[:10])
    assert len(world.asked) == NODES_PER_ROUND, "who has answered makes room"
    world.pass_time(ROUND_S)
    assert len(world.asked) == 60, "who does not answer holds up nobody else"
    world.pass_time(ROUND_S)
    world.renew(*world.asked)
    assert world.root.cert == b"new root"


def test_a_node_that_is_down_is_waited_for_and_asked_when_it_comes_back() -> None:
    world = Rotating()
    world.write("n2", state=NodeState.DOWN)
    world.begin()
    world.renew("n1", "n3")
    assert world.asked == []
    assert world.root.rotation is not None
    world.report("n2", OLD.tls)
    assert world.asked == ["n2"]
    world.renew("n2")
    assert world.root.rotation is None


def test_removing_the_node_that_is_down_ends_it() -> None:
    world = Rotating()
    world.write("n2", state=NodeState.DOWN)
    world.begin()
    world.renew("n1", "n3")
    world.remove("n2")
    assert world.root.cert == b"new root"


def test_another_one_begun_midway_asks_all_again() -> None:
    world = Rotating()
    world.begin("first")
    world.renew("n1", "n2")
    world.begin("second")
    assert world.asked == ["n1", "n2", "n3"]
    world.renew("n1", "n2", "n3")
    assert world.root.cert == b"second root"


def test_one_that_is_called_off_asks_nobody_any_more() -> None:
    world = Rotating()
    world.begin()
    world.renew("n1")
    world.change(OLD)
    assert world.asked == []
    assert world.root == OLD


def test_a_node_that_joins_meanwhile_is_waited_for_until_it_reports() -> None:
    world = Rotating()
    world.begin()
    trusting = TLSInfo(OLD.cert)
    joined = Node("n9", description=NodeDescription("n9", tls=trusting))
    world.turn(lambda tx: tx.create(joined, WHY))
    world.renew("n1", "n2", "n3")
    assert world.root.rotation is not None
    world.renew("n9")
    assert world.root.rotation is None


def test_nodes_without_certificates_need_none() -> None:
    world = Rotating()
    for node_id in ("n1", "n2", "n3"):
        world.report(node_id, None)
    world.begin()
    assert world.root.cert == b"new root"


def test_what_a_nodes_report_means() -> None:
    root = replace(OLD, rotation=successor("new"))
    assert OLD.tls_status(OLD.tls) == "Ready"
    assert root.tls_status(OLD.tls) == "Needs Rotation"
    assert root.tls_status(root.tls) == "Ready"
    assert OLD.tls_status(root.tls) == "Needs Rotation"
    assert OLD.tls_status(None) == OLD.tls_status(TLSInfo()) == "Unknown"
