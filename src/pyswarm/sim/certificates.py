"""Certificates without cryptography: who vouches for whom, until when, in virtual time.

A certificate here is what its checking comes down to: the roots that lead to it, a role, and two
dates. Hosts that do not believe each other's hear nothing of each other. Each looks after its own
as the runtime's renewer does, by the same plan (:class:`pyswarm.ca.Renewal`): at a point of its
life, when the role changes, when the leader asks for it; a manager that has caught up signs with
what the swarm's object says. So a rotation, or a year of renewals, is simulated under faults.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from pyswarm.agent import DescriptionChanged
from pyswarm.ca.renewal import BACKDATE_S, Renewal
from pyswarm.errors import SwarmError
from pyswarm.model import Role, RootCAState, RootRotation, TLSInfo
from pyswarm.model.session import Trust
from pyswarm.node import FromExecutor
from pyswarm.orchestrator.certificates import ROTATE
from pyswarm.sim.world import EPOCH_S, Host, World


@attrs.frozen
class Certificate:
    """``proofs``: the roots that it leads to. Dates are seconds since the epoch."""

    proofs: tuple[bytes, ...]
    issuer: TLSInfo
    role: Role
    not_before: float
    not_after: float


@attrs.define
class Holder:
    """What a host keeps on its disk."""

    certificate: Certificate
    trust: Trust
    renewal: Renewal
    is_asking: bool = False
    renewals: int = 0


def first_root(name: str) -> RootCAState:
    """A root, by its name."""
    return RootCAState(
        cert=name.encode(),
        key=b"key",
        issuer_subject=name.encode(),
        issuer_public_key=name.encode(),
    )


def next_root(name: str) -> RootRotation:
    """The root that a rotation leads to."""
    root = first_root(name)
    return RootRotation(
        cert=root.cert,
        key=root.key,
        issuer_subject=root.issuer_subject,
        issuer_public_key=root.issuer_public_key,
        worker_token=f"worker {name}",
        manager_token=f"manager {name}",
    )


class Certificates:
    """Every host's certificate; begin with ``world.found(host, first_root(…))``."""

    def __init__(self, world: World, *, look_s: float = 0.2) -> None:
        self.refused = 0
        """Messages between hosts that did not believe each other."""
        self._world = world
        self._look_s = look_s
        self._holders: dict[str, Holder] = {}
        world.believes = self.believes
        world.certified = self.certified

    def holder(self, host: Host) -> Holder:
        """What this host has; it must have run once."""
        return self._holders[host.name]

    def install(self, host: Host, signer: Host | None = None) -> None:
        """A host that runs for the first time got its certificate when it joined (from
        ``signer``), or made it itself."""
        assert host.machine is not None
        state = _root_of(signer) if signer is not None else self._founding(host)
        certificate = self._issue(state, host.machine.identity.role, 90 * 86_400.0)
        renewal = Renewal(self._world.rng.child(f"renewal {host.name}"))
        renewal.issued(certificate.not_before, certificate.not_after)
        self._holders[host.name] = Holder(certificate, Trust(state.cert), renewal)
        self._look(host)

    @staticmethod
    def _founding(host: Host) -> RootCAState:
        assert host.machine is not None and host.machine.config.bootstrap is not None
        return host.machine.config.bootstrap.root_ca

    # -- what the world asks

    def believes(self, host: Host, sender: Host) -> bool:
        """Whether ``sender``'s certificate leads to a root that ``host`` trusts, and is valid."""
        mine, theirs = self._holders.get(host.name), self._holders.get(sender.name)
        if mine is None or theirs is None:
            return True  # it joins just now
        certificate, trusted = theirs.certificate, (mine.trust.root, mine.trust.coming)
        known = any(proof and proof in trusted for proof in certificate.proofs)
        valid = certificate.not_before <= self._now() <= certificate.not_after
        self.refused += not (known and valid)
        return known and valid

    def certified(self, host: Host) -> TLSInfo | None:
        """What the host reports."""
        holder = self._holders.get(host.name)
        if holder is None:
            return TLSInfo()
        return attrs.evolve(holder.certificate.issuer, trust_root=holder.trust.root)

    # -- each host's renewer

    def _now(self) -> float:
        return EPOCH_S + self._world.now

    def _look(self, host: Host) -> None:
        self._world.at(self._look_s, lambda: self._look(host))
        machine, holder = host.machine, self._holders[host.name]
        if machine is None or machine.halted:
            holder.is_asking = False
            return
        if machine.agent.trust.root:
            holder.trust = machine.agent.trust
        tls = self.certified(host)
        if machine.agent.description.tls != tls:
            described = attrs.evolve(machine.agent.description, tls=tls)
            self._world.tell(host, FromExecutor(DescriptionChanged(described)))
        forced = self._is_forced(host, holder)
        if not holder.is_asking and holder.renewal.is_due(self._now(), forced=forced):
            self._ask(host, holder, forced)

    def _is_forced(self, host: Host, holder: Holder) -> bool:
        assert host.machine is not None
        node = host.machine.agent.node
        if node is None:
            return False
        asked = node.certificate is not None and node.certificate.status == ROTATE
        wanted = holder.trust.coming or holder.trust.root
        return asked and holder.certificate.issuer.issuer_subject != wanted

    def _ask(self, host: Host, holder: Holder, forced: bool) -> None:
        """Ask a manager, itself if it is one; without an answer, again later."""
        assert host.machine is not None
        addrs = [one.addr for one in host.machine.managers]
        signers = [one for one in self._world.managers() if one.addr in addrs]
        life, world = host.life, self._world
        holder.is_asking = True

        def fail() -> None:
            if host.life == life and holder.is_asking:
                holder.is_asking = False
                holder.renewal.failed(self._now(), forced=forced)

        world.at(5.0, fail)
        if not signers:
            return
        signer = host if host in signers else world.rng.choice(signers)

        def arrived() -> None:
            if signer.machine is None or signer.machine.manager is None:
                return
            if host is signer or (self.believes(signer, host) and self.believes(host, signer)):
                world.barrier(signer, caught_up)

        def caught_up(_: object, error: SwarmError | None) -> None:
            if error is None and (machine := signer.machine) is not None and machine.manager:
                node = machine.store.node(host.node_id)
                if node is not None:
                    expiry = machine.store.swarm.spec.ca.node_cert_expiry
                    made = self._issue(machine.store.swarm.root_ca, node.role, expiry)
                    self._carry(signer, host, lambda: received(made))

        def received(certificate: Certificate) -> None:
            if host.life == life and holder.is_asking:
                holder.is_asking = False
                holder.certificate = certificate
                holder.renewals += 1
                holder.renewal.issued(certificate.not_before, certificate.not_after)

        self._carry(host, signer, arrived)

    def _carry(self, sender: Host, to: Host, arrive: Callable[[], None]) -> None:
        if sender is to:
            arrive()
            return
        for delay in self._world.network.arrivals(sender.name, to.name, self._world.now):
            self._world.at(delay, arrive)

    def _issue(self, root: RootCAState, role: Role, expiry_s: float) -> Certificate:
        crossed = (root.rotation.cert, root.cert) if root.rotation is not None else (root.cert,)
        now = self._now()
        return Certificate(crossed, root.tls, role, now - BACKDATE_S, now + expiry_s)


def _root_of(host: Host) -> RootCAState:
    assert host.machine is not None
    return host.machine.store.swarm.root_ca
