"""Who signs: any manager, since every manager's store has the authority's key.

A :class:`Registrar` answers nodes that join or renew. A join is an ordinary request to the leader
(the token decides there); once it is settled, the manager that took it signs. The *request id*
makes a repeated try find the node of the first one, so it must not be enough by itself: the token
is looked at again here; and it counts for nothing once the node has shown the certificate that it
got. A renewal is for the node that the caller's certificate names, in the role
that the swarm gives it now.

A :class:`Renewer` keeps the node's own certificate fresh: at a random point of its life, as soon as
its role changes, and when the leader asks for it since the root is being replaced. It also follows
the roots that the leader says to trust. That word comes with the session and not from a manager's
own store, which may be far behind after a start; a node that believed only a root of the past would
never catch up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import trio

from pyswarm.agent import DescriptionChanged
from pyswarm.ca import Issuer, JoinToken, Renewal, role_of_token
from pyswarm.ca.certificate import load_bundle
from pyswarm.ca.renewal import FORCED_RENEWAL_DELAY_S
from pyswarm.env import Rng, system_entropy
from pyswarm.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    SwarmError,
    Unavailable,
)
from pyswarm.model import Identity, Node, NodeDescription, Swarm, TLSInfo
from pyswarm.model.requests import JoinNode
from pyswarm.model.session import ManagerAddress
from pyswarm.node import FromExecutor
from pyswarm.node.certified import needs_another, objection, own_node, role_for
from pyswarm.node.machine import JOINED_AND_REMOVED, NOT_A_MANAGER
from pyswarm.runtime.node import RunningNode
from pyswarm.runtime.tls.credentials import Credentials
from pyswarm.runtime.tls.endpoint import TlsEndpoint
from pyswarm.runtime.tls.exchange import CertificateGiven, CertificateWanted, JoinGiven, JoinWanted
from pyswarm.runtime.tls.external import issue
from pyswarm.runtime.tls.joining import check_given, new_request
from pyswarm.runtime.tls.keyfiles import CertificateStore
from pyswarm.runtime.tls.wire import pack_error, unpack_error

ANSWERING_MAX = 64
"""Requests for certificates under way at once; a signature takes a third of a millisecond, waiting
for the leader takes longer."""

JOIN_REQUEST_S = 7.0
"""How long a join waits for the leader: less than the joiner waits for us."""

RENEW_ANSWER_S = 5.0
LOOK_S = 0.2
"""Between two looks at this node's own role."""


class Registrar:
    """A manager's answers to those who want certificates."""

    def __init__(self, node: RunningNode, endpoint: TlsEndpoint, nursery: trio.Nursery) -> None:
        self._node = node
        self._endpoint = endpoint
        self._nursery = nursery
        self._answering = 0
        self._revoked: tuple[Any, frozenset[str]] = ((), frozenset())
        node.taps[JoinWanted] = self._hear
        node.taps[CertificateWanted] = self._hear
        endpoint.is_revoked = self.is_revoked
        endpoint.present_root = self.present_root

    def is_revoked(self, node_id: str) -> bool:
        """Whether the node was removed from the swarm: a manager knows by the log, a worker by what
        the leader said last."""
        manager = self._node.machine.manager
        listed: tuple[Any, ...] = self._node.machine.agent.trust.removed
        if manager is not None and manager.store.has_swarm:
            listed = manager.store.swarm.revoked
        if listed is not self._revoked[0]:
            ids = frozenset(one if isinstance(one, str) else one.node_id for one in listed)
            self._revoked = (listed, ids)
        return node_id in self._revoked[1]

    def present_root(self) -> bytes:
        """What to tell joiners who ask whose swarm this is: what this swarm's tokens name, also in
        the moment before this node itself has learnt that a rotation is over."""
        manager = self._node.machine.manager
        if manager is None or not manager.store.has_swarm:
            return self._endpoint.credentials.root_pem
        return manager.store.swarm.root_ca.cert

    def _hear(self, identity: Identity | None, addr: str, message: Any) -> None:
        if self._answering >= ANSWERING_MAX or self._nursery.cancel_scope.cancel_called:
            self._say(addr, identity, _refusal(message, Unavailable("too many nodes are joining")))
        else:
            self._answering += 1
            self._nursery.start_soon(self._answer, identity, addr, message)

    async def _answer(self, identity: Identity | None, addr: str, message: Any) -> None:
        answer: JoinGiven | CertificateGiven
        try:
            if isinstance(message, JoinWanted):
                answer = await self._let_in(message)
            else:
                answer = await self._renew(identity, message)
        except SwarmError as error:
            answer = _refusal(message, error)
        finally:
            self._answering -= 1
        self._say(addr, identity, answer)

    def _say(self, addr: str, identity: Identity | None, answer: Any) -> None:
        self._endpoint.send(addr, answer, identity.node_id if identity is not None else "")

    async def _settled(self) -> Any:
        if self._node.machine.manager is None:
            raise FailedPrecondition(NOT_A_MANAGER)
        return await self._node.barrier(timeout_s=JOIN_REQUEST_S)

    async def _let_in(self, wanted: JoinWanted) -> JoinGiven:
        if self._node.machine.manager is None:
            raise Unavailable(NOT_A_MANAGER)
        joined: Node | None = await self._node.request(
            JoinNode(
                token=wanted.token,
                addr=wanted.addr,
                description=_not_yet_certified(wanted.description),
                availability=wanted.availability,
            ),
            request_id=wanted.request_id,
            timeout_s=JOIN_REQUEST_S,
        )
        store = await self._settled()
        role = role_of_token(
            wanted.token,
            manager=JoinToken.parse(store.swarm.root_ca.manager_token),
            worker=JoinToken.parse(store.swarm.root_ca.worker_token),
        )
        node = store.node(joined.id) if joined is not None else None
        if node is None:
            raise PermissionDenied(JOINED_AND_REMOVED)
        if node.description is not None and node.description.tls not in (None, TLSInfo()):
            raise AlreadyExists(f"node {node.id} joined with this request, and has a certificate")
        identity = Identity(node.id, role, store.swarm.id)
        root, coming = store.swarm.root_ca.trusted
        return JoinGiven(
            wanted.request_id,
            node.id,
            role,
            store.swarm.id,
            tuple(
                ManagerAddress(node.id, node.manager.addr)
                for node in store.nodes()
                if node.manager is not None
            ),
            await self._sign(store.swarm, wanted.csr, identity),
            root,
            coming=coming,
            as_of=store.as_of,
        )

    async def _renew(
        self, identity: Identity | None, wanted: CertificateWanted
    ) -> CertificateGiven:
        assert identity is not None, "the endpoint lets members ask only"
        return await self.give(await self._settled(), identity.node_id, wanted)

    async def give(self, store: Any, node_id: str, wanted: CertificateWanted) -> CertificateGiven:
        """The next certificate of a member. Raises ``NotFound``, ``Unavailable``."""
        node = store.node(node_id)
        if node is None:
            raise NotFound(f"node {node_id} not found when attempting to renew certificate")
        named = Identity(node_id, role_for(node), store.swarm.id)
        chain = await self._sign(store.swarm, wanted.csr, named)
        root, coming = store.swarm.root_ca.trusted
        return CertificateGiven(wanted.number, chain, root, coming=coming, as_of=store.as_of)

    async def _sign(self, swarm: Swarm, csr: bytes, identity: Identity) -> bytes:
        return await issue(
            swarm.root_ca,
            csr,
            identity,
            now=self._node.clock.realtime(),
            expiry_s=swarm.spec.ca.node_cert_expiry,
            external=self._endpoint.external_ca,
        )


def _not_yet_certified(description: NodeDescription) -> NodeDescription:
    """A rotation waits for nodes that have certificates; this one will have."""
    return attrs.evolve(description, tls=TLSInfo())


def _refusal(message: JoinWanted | CertificateWanted, error: SwarmError) -> Any:
    if isinstance(message, JoinWanted):
        return JoinGiven(message.request_id, error=pack_error(error))
    return CertificateGiven(message.number, error=pack_error(error))


class Renewer:
    """Keeps this node's certificate fresh, and of its role."""

    def __init__(
        self,
        node: RunningNode,
        endpoint: TlsEndpoint,
        registrar: Registrar,
        store: CertificateStore,
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        self._node = node
        self._endpoint = endpoint
        self._registrar = registrar
        self._store = store
        self._report = report
        self._rng = Rng(int.from_bytes(system_entropy(16), "big"))
        self._number = self._rng.getrandbits(32)
        self._answers: trio.MemorySendChannel[CertificateGiven] | None = None
        node.taps[CertificateGiven] = self._hear
        self._renewal = Renewal(self._rng)
        self._read(endpoint.credentials)
        self._plan()

    def _plan(self) -> None:
        certificate = self._endpoint.credentials.certificate
        self._renewal.issued(certificate.not_before, certificate.not_after)

    def _read(self, credentials: Credentials) -> None:
        """What is looked at all the time, read once."""
        self._tls = credentials.tls
        wanted = Issuer.of(load_bundle(credentials.coming_pem or credentials.root_pem)[0])
        self._is_outdated = credentials.issuer != wanted

    async def _adopt(self, credentials: Credentials) -> None:
        await self._store.save(credentials)
        self._endpoint.use(credentials)
        self._read(credentials)

    def _hear(self, _: object, __: str, message: CertificateGiven) -> None:
        if self._answers is not None and message.number == self._number:
            try:
                self._answers.send_nowait(message)
            except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    async def run(self) -> None:
        """Until cancelled."""
        clock, renewal = self._node.clock, self._renewal
        while True:
            await trio.sleep(LOOK_S)
            if self._node.halted is not None:
                continue
            forced = False
            try:
                await self.follow()
                forced = self._is_forced()
                if not renewal.is_due(clock.realtime(), forced=forced):
                    continue
                if forced:
                    await trio.sleep(FORCED_RENEWAL_DELAY_S)
                    await self.follow()
                await self.renew()
            except SwarmError as problem:
                renewal.failed(clock.realtime(), forced=forced)
                self._report({"error": str(problem), "failures": renewal.failures})

    def _is_forced(self) -> bool:
        """Whether a new certificate is wanted before its time."""
        node = own_node(self._node.machine)
        if node is None:
            return False
        if self._store.was_laid_open and self._node.machine.manager is not None:
            return True
        return needs_another(node, self._endpoint.identity.role, is_outdated=self._is_outdated)

    async def follow(self) -> None:
        """Trust whom the leader says to trust, and let it know what this node has."""
        agent, credentials = self._node.machine.agent, self._endpoint.credentials
        trust = credentials.trust.told(agent.trust)
        if trust.root and (trust.root, trust.coming) != (
            credentials.root_pem,
            credentials.coming_pem,
        ):
            await self._adopt(credentials.trusting(trust))
        if agent.description.tls != self._tls:
            described = attrs.evolve(agent.description, tls=self._tls)
            self._node.driver.post(FromExecutor(DescriptionChanged(described)))

    async def renew(self) -> None:
        """A new key and certificate. Raises a ``SwarmError``; then all stays as it was."""
        key, csr = new_request()
        current = self._endpoint.credentials
        if self._node.machine.manager is not None and self._signs_itself():
            store = await self._node.barrier(timeout_s=RENEW_ANSWER_S)
            wanted = CertificateWanted(self._number, csr)
            given = await self._registrar.give(store, self._node.machine.node_id, wanted)
        else:
            given = await self._ask(csr)
        as_of = max(current.as_of, given.as_of)
        credentials = attrs.evolve(current, key_pem=key, chain_pem=given.chain, as_of=as_of)
        trusted = current.root_pem, current.coming_pem
        roots = given.root, given.coming
        check_given(credentials, current.identity.node_id, current.identity.swarm_id)
        problem = objection(self._node.machine, credentials.identity.role, roots, trusted)
        if problem is not None:
            raise Unavailable(problem)
        await self._adopt(credentials)
        self._plan()

    def _signs_itself(self) -> bool:
        """A manager that settles can; one that has just got its seat is not heard before it has
        proved its role."""
        return self._endpoint.identity.is_manager

    async def _ask(self, csr: bytes) -> CertificateGiven:
        """From one manager after the other."""
        last: SwarmError = Unavailable("no manager is known")
        own = self._node.machine.node_id
        for manager in self._node.machine.managers:
            if manager.node_id == own:
                continue
            self._number += 1
            self._answers, answers = trio.open_memory_channel[CertificateGiven](1)
            last = Unavailable(f"the manager at {manager.addr} does not answer")
            wanted = CertificateWanted(self._number, csr)
            if not self._endpoint.send(manager.addr, wanted, manager.node_id):
                continue
            with trio.move_on_after(RENEW_ANSWER_S):
                given = await answers.receive()
                problem = unpack_error(given.error)
                if problem is None:
                    return given
                last = problem
        raise last
