"""Certificates that run out, and roots that are replaced, while nodes come and go.

A workload for :class:`~pyswarm.sim.simulation.Simulation` (``workload="certificates"``). The seed
chooses between two kinds of history:

- A *rotation* takes seconds: root after root, some with their key at an external authority, begun
  anew midway or called off, while nodes crash, flap, change roles, join and leave, and now and then
  all restart at once.
- A *year* (400 days) is about renewals: nodes are off for hours, days, and sometimes for longer
  than their certificate lasts. Those are heard by nobody, and join again as the documentation says.
  A root is replaced now and then in it, and waits for whoever is away. Ticks are half an hour
  or more there, so that a year is not too long to simulate.

Beside all that must hold in every history: members never lose sight of each other because a root
was dropped before everybody had a certificate of the next one; whoever can renew does; and in the
end everybody trusts one root, with a certificate that leads to it and says the role that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pyswarm.ca.renewal import RETRY_MAX_S
from pyswarm.env import Rng
from pyswarm.model import NodeState, Role, RootRotation, SwarmSpec, replace
from pyswarm.model.requests import RemoveNode, UpdateNode, UpdateSwarm
from pyswarm.node.certified import role_for
from pyswarm.sim.certificates import Certificates, Holder, first_root, newest_store, next_root
from pyswarm.sim.checkers import Violation
from pyswarm.sim.faults import Faults
from pyswarm.sim.members import MEMBERS_MIN, MemberWorkload
from pyswarm.sim.network import NetworkFaults
from pyswarm.sim.workload import Setting
from pyswarm.sim.world import EPOCH_S, Host, World
from pyswarm.store import Store

YEARS = 0.25
"""Share of the histories that last a year; each takes as long as several others."""

DAY_S = 86_400.0
YEAR_S = 400 * DAY_S
YEAR_TICKS_S = (1800.0, 1800.0, 7200.0)
"""Long ones make a year short, but for days without a leader: an election takes a dozen of them."""

ABSENCES_S = (0.3 * DAY_S, 3 * DAY_S, 10 * DAY_S, 30 * DAY_S, 30 * DAY_S, 150 * DAY_S)
"""The longest that a worker is off: the last may well be longer than a certificate lasts."""

MANAGER_ABSENCE_S = 10 * DAY_S
LEADER_SPARED = 0.9
"""While there is no leader all agents ask for one every few seconds: days of that are dear."""

UNHEARD_S = 600.0
"""How long one whose certificate has expired tries in vain."""

RESTART_S = 2.0
"""How long a host takes to start again when all of them restart."""

PATIENCE = 12.0
"""How long a node that could renew may wait with it, in seconds at a usual pace: two elections and
a session; beside the longest pause after failures."""


class CertificateWorkload(MemberWorkload):
    """Rotations, or renewals, ``every_s`` seconds (at the world's pace) between two requests."""

    @classmethod
    def setting(cls, rng: Rng) -> Setting:
        """A year, or a rotation."""
        root = first_root("root 0")
        if not rng.chance(YEARS):
            return Setting(root=root)
        network = NetworkFaults(
            loss=rng.choice((0.0, 0.005, 0.02)), duplication=rng.choice((0.0, 0.02))
        )
        return Setting(
            tick_s=rng.choice(YEAR_TICKS_S),
            lasts_s=YEAR_S,
            spec=SwarmSpec(heartbeat_period=DAY_S),
            root=root,
            faults=Faults(network=network),
        )

    def __init__(self, world: World, rng: Rng, *, every_s: float = 1.0) -> None:
        super().__init__(world, rng, every_s=every_s * world.pace)
        self.certificates = Certificates(world, first_root("root 0"))
        self._is_year = world.pace > 1.0
        self._roots = 0
        self._known: Store | None = None
        """The newest store that was seen last: there may be none for a while."""
        self._heard: list[Violation] = []
        self.expired = 0
        """Hosts that were off for longer than their certificate lasted."""
        self._due: dict[str, float] = {}
        """Host → since when nothing keeps it from renewing its certificate, whose time has come."""

    def _kinds(self) -> tuple[Callable[[Store], Any], ...]:
        kinds = (self._create, self._label, self._role, self._begin_rotation, self._join)
        if self._is_year:
            return (*kinds, *[self._label] * 20, *[self._absence] * 6, *[self._clear_up] * 4)
        return (
            *kinds,
            self._role,
            self._several_roles,
            self._begin_rotation,
            self._begin_rotation,
            self._call_off,
            self._leave,
            self._flap,
            self._flap,
            self._restart_all,
        )

    # -- requests

    def _begin_rotation(self, store: Store) -> Any:
        """To another root; one that is under way begins anew with this one."""
        root = store.swarm.root_ca
        if self._rng.chance(0.9 if self._is_year else 0.0 if root.rotation is None else 0.7):
            return None
        self._roots += 1
        name = f"root {self._roots}"
        return self._rotate_to(store, next_root(name, external=self._rng.chance(0.3)))

    def _call_off(self, store: Store) -> Any:
        return self._rotate_to(store, None) if store.swarm.root_ca.rotation is not None else None

    @staticmethod
    def _rotate_to(store: Store, rotation: RootRotation | None) -> UpdateSwarm:
        swarm = store.swarm
        root = replace(swarm.root_ca, rotation=rotation)
        return UpdateSwarm(swarm.version, swarm.spec, root_ca=root)

    def _restart_all(self, store: Store) -> Any:
        """Everything loses power, and starts again within moments."""
        if self._rng.chance(0.5):
            return None
        for host in list(self._world.up()):
            self._world.crash(host)
            self._world.at(RESTART_S * self._rng.random(), partial(self._return, host))
        return None

    def _absence(self, store: Store) -> Any:
        """A node is off for a while; never so many managers that nothing can be decided."""
        host = self._rng.choice(list(self._world.up()))
        seats = [one for one in store.nodes() if one.manager is not None]
        node = store.node(host.node_id)
        longest = self._rng.choice(ABSENCES_S)
        if node is None or len(list(self._world.up())) <= MEMBERS_MIN:
            return None
        if node.wants_seat or node.manager is not None:
            longest = min(longest, MANAGER_ABSENCE_S)
            up = sum(self._is_up(one.id) for one in seats)
            if 2 * (up - 1) <= len(seats):
                return None
            if host is self._world.leader() and self._rng.chance(LEADER_SPARED):
                return None
        self._world.crash(host)
        self._world.at(longest * self._rng.random(), lambda: self._return(host))
        return None

    def _clear_up(self, store: Store) -> Any:
        """Somebody sees to what certificates have left behind: a host that nobody hears any more
        joins anew, its former node is demoted and removed."""
        for host in list(self._world.up()):
            if self.certificates.is_expired(host):
                self._begin_anew(host)
        ids = [host.node_id for host in self._world.hosts.values()]
        lost = [node for node in store.nodes() if node.id in self.removed and node.id not in ids]
        if not lost:
            return None
        node = self._rng.choice(lost)
        if node.spec.desired_role is Role.WORKER:
            return RemoveNode(node.id, True)
        return UpdateNode(node.id, node.version, replace(node.spec, desired_role=Role.WORKER))

    def _is_up(self, node_id: str) -> bool:
        return any(host.node_id == node_id for host in self._world.up())

    def _return(self, host: Host) -> None:
        """A host is switched on again. If its certificate ran out meanwhile, somebody sees that and
        has it join anew, at once or after a while in which nobody hears it."""
        if host.is_up or host.disk.record is None:
            return
        if not self.certificates.is_expired(host):
            self._world.start(host)
        elif self._rng.chance(0.5):
            self._begin_anew(host)
        else:
            self._world.start(host)
            self._world.at(UNHEARD_S, lambda: self._was_heard(host))

    def _was_heard(self, host: Host) -> None:
        store = newest_store(self._world)
        node = store.node(host.node_id) if store is not None else None
        if node is not None and node.state is NodeState.READY:
            text = f"{host.name} was heard, though its certificate has expired"
            self._heard.append(Violation("expiry", text))
        self._begin_anew(host)

    def _begin_anew(self, host: Host) -> None:
        """Its state directory is removed, and it joins with a token."""
        self.expired += 1
        self.removed[host.node_id] = None
        self._world.wipe(host)
        self._let_join(host, Role.WORKER)

    # -- what must hold

    def wrong(self) -> list[Violation]:
        """Members that do not know each other's root, and certificates that nobody renewed."""
        self._known = store = newest_store(self._world) or self._known
        if store is None:
            return []
        heard, self._heard = self._heard, []
        return [*heard, *self._strangers(store), *self._late(store)]

    def _strangers(self, store: Store) -> Iterator[Violation]:
        for names in self.certificates.strangers:
            hosts = [self._world.hosts[name] for name in names]
            if all(store.node(host.node_id) is not None for host in hosts):
                one, other = names
                yield Violation("roots", f"{one} does not know the root of {other}'s certificate")
        self.certificates.strangers.clear()

    def _late(self, store: Store) -> Iterator[Violation]:
        now, is_well = self._world.now, self._is_well()
        for host in self._world.hosts.values():
            holder = self.certificates.holder(host)
            if holder is None or not is_well or not self._should_renew(host, holder, store):
                self._due.pop(host.name, None)
                continue
            since = self._due.setdefault(host.name, now)
            if now - since > PATIENCE * self._world.pace + RETRY_MAX_S:
                yield Violation("renewal", f"{host.name} has not renewed its certificate")

    def _should_renew(self, host: Host, holder: Holder, store: Store) -> bool:
        is_due = holder.renewal.at <= EPOCH_S + self._world.now
        is_too_late = self.certificates.is_expired(host)
        return host.is_up and is_due and not is_too_late and store.node(host.node_id) is not None

    def _is_well(self) -> bool:
        """Whether somebody leads a majority, and nobody is cut off."""
        leader = self._world.leader()
        if leader is None or self._world.network.is_cut:
            return False
        assert leader.machine is not None and leader.machine.manager is not None
        voters = leader.machine.manager.replica.configuration.voters
        seated = [host.machine.manager for host in self._world.managers() if host.machine]
        up = sum(one is not None and one.replica.id in voters for one in seated)
        return 2 * up > len(voters)

    # -- the end

    def mend(self, host: Host, store: Store) -> bool:
        """Whoever comes back too late joins anew; the rest as people clear up members."""
        for one in list(self._world.up()):
            if self.certificates.is_expired(one):
                self._begin_anew(one)
        return super().mend(host, store)

    def unsettled(self, store: Store) -> list[str]:
        """Who does not have the certificate, and the trust, that it should."""
        root, found = store.swarm.root_ca, []
        if root.rotation is not None:
            found.append(f"the root is being replaced by {root.rotation.cert.decode()}")
        for host in self._world.hosts.values():
            holder, node = self.certificates.holder(host), store.node(host.node_id)
            if holder is None or node is None or host.name in self._leaving:
                continue
            if (holder.trust.root, holder.trust.coming) != (root.cert, b""):
                found.append(f"{host.name} trusts {holder.trust}")
            if root.cert not in holder.certificate.roots:
                found.append(f"{host.name} has a certificate of {holder.certificate.roots}")
            if holder.certificate.role is not role_for(node):
                found.append(f"{host.name} has a certificate as {holder.certificate.role}")
        return found
