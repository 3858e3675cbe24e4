"""Certificates without cryptography: who vouches for whom, until when, in virtual time.

A certificate here is what its checking comes down to: the roots that lead to it, a role, and two
dates. Hosts that do not believe each other's hear nothing of each other. Each looks after its own
as the runtime's renewer does, by the same plan (:class:`pyswarm.ca.Renewal`) and the same rules
(:mod:`pyswarm.node.certified`): at a point of its life, when the role changes, when the leader asks
for it; a manager that has caught up signs with what the swarm's object says. So a rotation, or a
year of renewals, is simulated under faults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from pyswarm.agent import DescriptionChanged
from pyswarm.ca.renewal import BACKDATE_S, FORCED_RENEWAL_DELAY_S, NODE_EXPIRY_S, Renewal
from pyswarm.errors import SwarmError
from pyswarm.model import Identity, Role, RootCAState, RootRotation, TLSInfo
from pyswarm.model.session import Trust
from pyswarm.node import FromExecutor
from pyswarm.node.certified import needs_another, objection, own_node, role_for
from pyswarm.sim.world import EPOCH_S, Host, World
from pyswarm.store import Store

LOOK_S = 0.2
"""Between two looks of a host at its own certificate, at a usual pace."""

ANSWER_S = 5.0
"""How long a host waits for a manager's signature."""

EXTERNAL_MAX_S = 1.0
EXTERNAL_FAILS = 0.2
"""An external authority takes up to this long, and fails this often."""


@attrs.frozen
class Certificate:
    """``roots``: the swarm's when it was signed; it leads to both. Dates are seconds since the
    epoch."""

    roots: tuple[bytes, bytes]
    issuer: TLSInfo
    role: Role
    not_before: float
    not_after: float
    as_of: tuple[float, int]


Signing = tuple[RootCAState, float, tuple[float, int]]
"""With what root a manager signs and for how long, as of when."""

Answer = Callable[[Certificate | None], None]
"""Takes the certificate that was asked for, or hears that there is none."""


@attrs.define
class Holder:
    """What a host keeps on its disk, and what its renewer has in mind."""

    certificate: Certificate
    trust: Trust
    renewal: Renewal
    life: int = 0
    """Of the host, when it looked last."""
    is_asking: bool = False
    question: int = 0
    """Which one is waited for: an answer to another one comes too late."""
    renewals: int = 0


def first_root(name: str) -> RootCAState:
    """A root, by its name."""
    return RootCAState(
        cert=name.encode(),
        key=b"key",
        issuer_subject=name.encode(),
        issuer_public_key=name.encode(),
    )


def next_root(name: str, *, external: bool = False) -> RootRotation:
    """The root that a rotation leads to; an ``external`` one has its key elsewhere."""
    root = first_root(name)
    return RootRotation(
        cert=root.cert,
        key=b"" if external else root.key,
        issuer_subject=root.issuer_subject,
        issuer_public_key=root.issuer_public_key,
        worker_token=f"worker {name}",
        manager_token=f"manager {name}",
    )


def newest_store(world: World) -> Store | None:
    """What the manager that knows most knows."""
    machines = [host.machine for host in world.managers()]
    stores = [one.store for one in machines if one is not None and one.store.has_swarm]
    return max(stores, key=lambda store: store.version, default=None)


def signing(store: Store) -> Signing:
    """As a manager does that knows this."""
    return store.swarm.root_ca, store.swarm.spec.ca.node_cert_expiry, store.as_of


class Certificates:
    """Every host's certificate, in a swarm that is founded with ``root``."""

    def __init__(self, world: World, root: RootCAState) -> None:
        self.refused = 0
        """Messages between hosts that did not believe each other."""
        self.strangers: dict[tuple[str, str], float] = {}
        """(host, sender) → when the sender's certificate, though valid, led to no root that the
        host trusts: what a rotation must not let happen."""
        self._world = world
        self._known: Signing = root, NODE_EXPIRY_S, (0.0, 0)
        self._rng = world.rng.child("certificates")
        self._holders: dict[str, Holder] = {}
        world.believes = self.believes
        world.identified = self.identified
        world.certified = self.certified
        world.entered = self.entered

    def holder(self, host: Host) -> Holder | None:
        """What this host has, since it is a member."""
        return self._holders.get(host.name)

    def is_expired(self, host: Host) -> bool:
        """Whether the host has a certificate that has run out."""
        holder = self._holders.get(host.name)
        return holder is not None and holder.certificate.not_after < self._now(host)

    # -- what the world asks

    def entered(self, host: Host, role: Role) -> None:
        """A new member got its first certificate as it joined, or made it itself."""
        looks_already = host.name in self._holders
        certificate = self._issue(host, role, self._signed_by())
        renewal = Renewal(self._rng.child(f"renewal {host.name} {host.incarnation}"))
        renewal.issued(certificate.not_before, certificate.not_after)
        trust = Trust(*certificate.roots, as_of=certificate.as_of)
        self._holders[host.name] = Holder(certificate, trust, renewal, host.life + 1)
        if not looks_already:
            self._look(host)

    def _signed_by(self) -> Signing:
        """The root of whoever knows most, and how long certificates last. All managers may be
        down when an answer arrives: then as it was when somebody signed last."""
        store = newest_store(self._world)
        if store is not None:
            self._known = signing(store)
        return self._known

    def believes(self, host: Host, sender: Host) -> bool:
        """Whether ``sender``'s certificate is valid, and leads to a root that ``host`` trusts."""
        mine, theirs = self._holders.get(host.name), self._holders.get(sender.name)
        if mine is None or theirs is None:
            return True  # it joins just now
        certificate, trusted = theirs.certificate, (mine.trust.root, mine.trust.coming)
        is_known = any(root and root in trusted for root in certificate.roots)
        is_valid = certificate.not_before <= self._now(host) <= certificate.not_after
        if is_valid and not is_known:
            self.strangers[host.name, sender.name] = self._world.now
        self.refused += not (is_known and is_valid)
        return is_known and is_valid

    def identified(self, host: Host) -> Identity | None:
        """In which role its peers hear a host."""
        holder = self._holders.get(host.name)
        if holder is None or host.identity is None:
            return host.identity
        return attrs.evolve(host.identity, role=holder.certificate.role)

    def certified(self, host: Host) -> TLSInfo | None:
        """What the host reports."""
        holder = self._holders.get(host.name)
        if holder is None or host.identity is None:
            return TLSInfo()
        return attrs.evolve(holder.certificate.issuer, trust_root=holder.trust.root)

    # -- each host's renewer

    def _now(self, host: Host) -> float:
        return EPOCH_S + self._world.now + host.clock_skew_s

    def _look(self, host: Host) -> None:
        self._world.at(LOOK_S * self._world.pace, lambda: self._look(host))
        machine, holder = host.machine, self._holders[host.name]
        if machine is None:
            return
        if holder.life != host.life:
            self._plan_anew(host, holder)
        if machine.agent.trust.root:
            holder.trust = holder.trust.told(machine.agent.trust)
        tls = self.certified(host)
        if machine.agent.description.tls != tls:
            described = attrs.evolve(machine.agent.description, tls=tls)
            self._world.tell(host, FromExecutor(DescriptionChanged(described)))
        if holder.is_asking or host.machine is not machine:
            return
        forced = self._is_forced(host, holder)
        if holder.renewal.is_due(self._now(host), forced=forced):
            holder.is_asking = True
            pause = FORCED_RENEWAL_DELAY_S if forced else 0.0
            self._world.at(pause, lambda: self._renew(host, holder, forced))

    def _plan_anew(self, host: Host, holder: Holder) -> None:
        """A node that starts again plans again, and waits for no answer to what it asked before."""
        holder.life, holder.is_asking = host.life, False
        holder.question += 1
        holder.renewal = Renewal(self._rng.child(f"renewal {host.name} {host.life}"))
        certificate = holder.certificate
        holder.renewal.issued(certificate.not_before, certificate.not_after)

    @staticmethod
    def _is_forced(host: Host, holder: Holder) -> bool:
        assert host.machine is not None
        node, certificate = own_node(host.machine), holder.certificate
        wanted = holder.trust.coming or holder.trust.root
        is_outdated = certificate.issuer.issuer_subject != wanted
        return node is not None and needs_another(node, certificate.role, is_outdated=is_outdated)

    def _renew(self, host: Host, holder: Holder, forced: bool) -> None:
        """A manager that is heard as one signs itself; else one manager after the other is asked,
        and where nobody answers, all of them again later."""
        machine = host.machine
        if machine is None or holder.life != host.life:
            return
        if machine.manager is not None and holder.certificate.role is Role.MANAGER:
            signers: Sequence[str] = (host.addr,)
        else:
            signers = [one.addr for one in machine.managers if one.addr != host.addr]
        self._ask(host, holder, signers, forced)

    def _ask(self, host: Host, holder: Holder, signers: Sequence[str], forced: bool) -> None:
        if not signers:
            holder.is_asking = False
            holder.renewal.failed(self._now(host), forced=forced)
            return
        first, *others = signers
        holder.question += 1
        number = holder.question

        def received(certificate: Certificate | None) -> None:
            if holder.question != number or holder.life != host.life:
                return
            holder.question += 1
            if certificate is None or not self._may_adopt(host, holder, certificate):
                self._ask(host, holder, others, forced)
            else:
                holder.is_asking = False
                holder.certificate = certificate
                holder.renewals += 1
                holder.renewal.issued(certificate.not_before, certificate.not_after)

        self._world.at(ANSWER_S, lambda: received(None))
        self._have_signed(host, first, received)

    @staticmethod
    def _may_adopt(host: Host, holder: Holder, certificate: Certificate) -> bool:
        trusted = holder.trust.root, holder.trust.coming
        return host.machine is not None and not objection(
            host.machine, certificate.role, certificate.roots, trusted
        )

    # -- each manager's registrar

    def _have_signed(self, host: Host, addr: str, answer: Answer) -> None:
        """Ask the manager at ``addr``; it may refuse, fail, or never be heard of again."""
        world, signer = self._world, self._world.host_at(addr)
        if signer is None:
            return

        def reply(certificate: Certificate | None) -> None:
            self._carry(signer, host, lambda: answer(certificate))

        def arrived() -> None:
            machine = signer.machine
            if machine is None or not (host is signer or self._know_each_other(host, signer)):
                return
            if machine.manager is None:
                reply(None)
            else:
                world.barrier(signer, caught_up)

        def caught_up(_: object, error: SwarmError | None) -> None:
            machine = signer.machine
            if machine is None or machine.manager is None or error is not None:
                reply(None)
            else:
                self._sign(host, machine.store, reply)

        self._carry(host, signer, arrived)

    def _sign(self, host: Host, store: Store, reply: Answer) -> None:
        node, swarm = store.node(host.node_id), store.swarm
        if node is None:
            reply(None)
            return
        self._known = signing(store)
        certificate = self._issue(host, role_for(node), self._known)
        if (swarm.root_ca.rotation or swarm.root_ca).key:
            reply(certificate)
        else:
            fails = self._rng.chance(EXTERNAL_FAILS)
            takes = self._rng.uniform(0.0, EXTERNAL_MAX_S)
            self._world.at(takes, lambda: reply(None if fails else certificate))

    def _issue(self, host: Host, role: Role, known: Signing) -> Certificate:
        now, (root, expiry_s, as_of) = self._now(host), known
        return Certificate(root.trusted, root.tls, role, now - BACKDATE_S, now + expiry_s, as_of)

    def _know_each_other(self, one: Host, other: Host) -> bool:
        return self.believes(one, other) and self.believes(other, one)

    def _carry(self, sender: Host, to: Host, arrive: Callable[[], None]) -> None:
        if sender is to:
            arrive()
            return
        for delay in self._world.network.arrivals(sender.name, to.name, self._world.now):
            self._world.at(delay, arrive)
