"""A node's next certificate, asked for over real sockets from a manager that signs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from pyswarm.ca import RootCA
from pyswarm.errors import Unavailable
from pyswarm.model import Identity, NodeDescription, Role
from pyswarm.model.session import ManagerAddress, Trust
from pyswarm.runtime.clock import SystemClock
from pyswarm.runtime.storage import MemoryDirectory
from pyswarm.runtime.tls.exchange import CertificateGiven, CertificateWanted
from pyswarm.runtime.tls.keyfiles import CertificateRecord
from pyswarm.runtime.tls.registrar import Renewer
from swarms import until
from unit.runtime_tls.test_endpoint import NOW, ROOT, Peer, peers

SEAT = object()


class Member(Peer):
    """A node with the certificate of a manager and without a seat, as one has that was demoted."""

    def __init__(self, node_id: str, signer: Peer) -> None:
        super().__init__(node_id, Role.MANAGER)
        self.store = CertificateRecord(MemoryDirectory())
        self.store.put(self.door.credentials)
        managers = (ManagerAddress(signer.node_id, signer.door.addr),)
        self.agent = SimpleNamespace(
            trust=Trust(), description=NodeDescription(tls=self.door.credentials.tls)
        )
        self.machine = SimpleNamespace(
            node_id=node_id, manager=None, managers=managers, agent=self.agent
        )
        self.taps: dict[type, Any] = {}
        node: Any = SimpleNamespace(machine=self.machine, taps=self.taps, clock=SystemClock())
        none: Any = None  # without a seat it asks, and signs nothing
        self.renewer = Renewer(node, self.door, none, self.store, lambda fields: None)

    def _hear(self, identity: Identity | None, addr: str, message: Any) -> None:
        self.taps[type(message)](identity, addr, message)


async def renewed(
    signer: Peer,
    member: Member,
    role: Role,
    *,
    seat: object = None,
    coming: RootCA | None = None,
    as_of: tuple[float, int] = (0.0, 0),
) -> None:
    """One renewal. The node has this ``seat`` by the time that it is answered; ``coming`` takes the
    place of the swarm's root just then."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(member.renewer.renew)
        await until(lambda: bool(signer.heard))
        member.machine.manager = seat
        _, _, wanted = signer.heard.pop()
        assert isinstance(wanted, CertificateWanted)
        signing = ROOT.rotate(NOW, to=coming).signer if coming is not None else ROOT
        pem = coming.cert_pem if coming is not None else b""
        chain = signing.sign(wanted.csr, Identity(member.node_id, role, "swarm"), NOW)
        given = CertificateGiven(wanted.number, chain, ROOT.cert_pem, coming=pem, as_of=as_of)
        assert signer.say(member, given)


@asynccontextmanager
async def meeting() -> AsyncIterator[tuple[Peer, Member]]:
    async with peers(Peer("signer")) as (signer,):
        member = Member("member", signer)
        async with peers(member):
            yield signer, member


async def refused(signer: Peer, member: Member, role: Role, why: str, **options: Any) -> None:
    """The node stays with what it has."""
    former = member.door.credentials
    with pytest.RaisesGroup(pytest.RaisesExc(Unavailable, match=why)):
        await renewed(signer, member, role, **options)
    assert member.door.credentials == member.store.load() == former


async def test_a_demoted_node_shows_its_certificate_as_a_worker() -> None:
    async with meeting() as (signer, member):
        await renewed(signer, member, Role.WORKER)
        assert member.door.identity.role is Role.WORKER
        assert member.store.load() == member.door.credentials


async def test_one_that_got_a_seat_meanwhile_does_not() -> None:
    """Promoted again before it was answered, it votes already: as a worker nobody would hear that,
    and with the leader gone nobody could give it another certificate."""
    async with meeting() as (signer, member):
        await refused(signer, member, Role.WORKER, "got a seat", seat=SEAT)


async def test_the_certificate_of_a_manager_is_right_with_a_seat_and_without() -> None:
    """It is asked for before the seat comes."""
    async with meeting() as (signer, member):
        former = member.door.credentials
        for seat in (None, SEAT):
            member.machine.manager = None
            await renewed(signer, member, Role.MANAGER, seat=seat)
            assert member.door.identity.role is Role.MANAGER
            assert member.store.load() == member.door.credentials != former
            former = member.door.credentials


async def test_a_certificate_of_a_root_that_it_does_not_know_yet_waits() -> None:
    """Whoever shows it is not waited for any more: the former root could be dropped, and the node
    would know nobody's."""
    coming = RootCA.create(NOW)
    async with meeting() as (signer, member):
        await refused(signer, member, Role.MANAGER, "told to trust", coming=coming)
        told = Trust(ROOT.cert_pem, coming.cert_pem)
        member.door.use(member.door.credentials.trusting(told))
        await renewed(signer, member, Role.MANAGER, coming=coming)
        assert member.door.credentials.issuer == coming.issuer


async def test_what_was_known_before_a_restart_is_not_forgotten_for_older_roots() -> None:
    """The leader that a node finds first may have been deposed, and not know it."""
    coming = RootCA.create(NOW).cert_pem
    async with meeting() as (_, member):
        newer = Trust(ROOT.cert_pem, coming, as_of=(20.0, 9))
        member.agent.trust = newer
        await member.renewer.follow()
        assert member.door.credentials.trust == newer
        member.agent.trust = Trust(ROOT.cert_pem, as_of=(20.0, 8))
        await member.renewer.follow()
        kept = member.store.load()
        assert kept is not None
        assert kept.trust == member.door.credentials.trust == newer


async def test_a_certificate_is_of_its_time() -> None:
    """Roots that were told before it was signed are older than it."""
    async with meeting() as (signer, member):
        await renewed(signer, member, Role.WORKER, as_of=(20.0, 9))
        member.agent.trust = Trust(ROOT.cert_pem, RootCA.create(NOW).cert_pem, as_of=(20.0, 8))
        await member.renewer.follow()
        assert member.door.credentials.trust == Trust(ROOT.cert_pem, as_of=(20.0, 9))
