"""Replacing the root of the swarm's certificates, with nobody locked out.

A request begins it; from then on it is a state of the swarm that whoever leads carries through (see
``orchestrator/certificates``). So what is handed out here only looks: it may be dropped, the node
may be restarted, another rotation may take this one's place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs

from pyswarm.ca import RootCA
from pyswarm.ca.authority import decided
from pyswarm.ca.rotation import check_desired_root
from pyswarm.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from pyswarm.model import Swarm
from pyswarm.model.requests import UpdateSwarm
from pyswarm.runtime.clock import SystemClock
from pyswarm.runtime.front.locking import change_swarm
from pyswarm.runtime.front.member import Member
from pyswarm.runtime.network import Network
from pyswarm.runtime.tls import ExternalCA, TlsEndpoint, TlsNetwork
from pyswarm.runtime.tls.external import probe
from pyswarm.store import Store

Pem = bytes | str
"""PEM text."""


@attrs.frozen
class RotationProgress:
    """How far a rotation is."""

    is_done: bool
    """Whether the swarm trusts the new root alone."""
    cert: bytes
    """The new root's certificate, PEM."""
    renewed: int
    """Nodes that have a certificate of the new root."""
    total: int
    """Nodes of the swarm."""
    waiting: tuple[str, ...]
    """Ids of the nodes that do not have it yet; one that is down holds the rotation up until it is
    back, or removed."""


class Rotation:
    """A rotation that was begun: :meth:`wait` waits for its end, ``async for progress in rotation``
    sees each step until then."""

    def __init__(self, member: Member, cert: bytes) -> None:
        self.cert = cert
        self._member = member

    async def progress(self) -> RotationProgress:
        """How far it is now. Raises ``FailedPrecondition`` if another one took its place."""
        return await self._member.read(self._look)

    async def wait(self, *, timeout: float | None = None) -> RotationProgress:
        """Until every node has a certificate of the new root and trusts it alone.

        Raises ``DeadlineExceeded`` (the rotation goes on) naming whom it waits for, and
        ``FailedPrecondition`` if another one took its place.
        """

        def late() -> DeadlineExceeded:
            return DeadlineExceeded(
                f"the root's rotation did not end within {timeout:g} s",
                hint="it goes on; a node that is down holds it up until it is back, or removed",
            )

        def done(store: Store) -> RotationProgress | None:
            progress = self._look(store)
            return progress if progress.is_done else None

        await self.progress()  # this member holds the beginning now
        return await self._member.wait_until(done, timeout=timeout, late=late)

    def __aiter__(self) -> AsyncIterator[RotationProgress]:
        return self.steps()

    async def steps(self) -> AsyncIterator[RotationProgress]:
        """How far it is, whenever that changes, until it is done."""
        last = await self.progress()
        yield last
        while not last.is_done:
            last = await self.progress_after(last)
            yield last

    async def progress_after(self, known: RotationProgress) -> RotationProgress:
        """How far it is, as soon as that is not ``known`` any more."""

        def changed(store: Store) -> RotationProgress | None:
            progress = self._look(store)
            return progress if progress != known else None

        return await self._member.wait_until(changed)

    def _look(self, store: Store) -> RotationProgress:
        progress = progress_of(store)
        if progress.cert != self.cert:
            raise FailedPrecondition("another rotation took the place of this one")
        return progress

    def __repr__(self) -> str:
        return "<Rotation>"


def progress_of(store: Store) -> RotationProgress:
    """How far the rotation is, or (done) that there is none."""
    root = store.swarm.root_ca
    if root.rotation is None:
        count = store.count("node")
        return RotationProgress(True, root.cert, count, count, ())
    behind = tuple(
        node.id
        for node in store.nodes()
        if node.description is None
        or (node.description.tls is not None and not root.has_signed(node.description.tls))
    )
    total = store.count("node")
    return RotationProgress(False, root.rotation.cert, total - len(behind), total, behind)


async def rotation_progress(member: Member) -> RotationProgress:
    """See ``cluster.ca_rotation``."""
    return await member.read(progress_of)


async def rotate_ca(
    member: Member,
    cert: Pem | None = None,
    key: Pem | None = None,
    cross_signed: Pem | None = None,
) -> Rotation:
    """See ``cluster.rotate_ca``."""
    member.check_manager()
    wanted, with_key = _pem(cert, "cert"), _pem(key, "key")
    bridge = _pem(cross_signed, "cross_signed")
    await check_external(member, wanted, with_key)

    def make(swarm: Swarm) -> UpdateSwarm:
        ca = attrs.evolve(
            swarm.spec.ca,
            signing_ca_cert=wanted,
            signing_ca_key=with_key,
            force_rotate=swarm.spec.ca.force_rotate + (not wanted),
        )
        request = UpdateSwarm(swarm.version, attrs.evolve(swarm.spec, ca=ca))
        return with_root(member, request, swarm, cross_signed=bridge)

    written = await change_swarm(member, make)
    rotation = written.root_ca.rotation
    return Rotation(member, written.root_ca.cert if rotation is None else rotation.cert)


def with_root(
    member: Member, request: UpdateSwarm, swarm: Swarm, *, cross_signed: bytes = b""
) -> UpdateSwarm:
    """The request, with the root that its settings ask for: Docker asks in settings, by a counter
    that changed (``force_rotate``) or by the root itself, which does not stay in them, since they
    are shown. Raises ``InvalidArgument``.
    """
    ca = request.spec.ca
    forced = ca.force_rotate != swarm.spec.ca.force_rotate
    if not (forced or ca.signing_ca_cert or ca.signing_ca_key):
        return request
    root = decided(
        swarm.root_ca,
        cert_pem=ca.signing_ca_cert,
        key_pem=ca.signing_ca_key or None,
        force=forced,
        external=_external_ca(member) is not None,
        cross_signed_pem=cross_signed,
        now=member.node.clock.realtime(),
    )
    ca = attrs.evolve(ca, signing_ca_cert=b"", signing_ca_key=b"")
    return attrs.evolve(request, spec=attrs.evolve(request.spec, ca=ca), root_ca=root)


def _pem(text: Pem | None, name: str) -> bytes:
    if text is None:
        return b""
    if not isinstance(text, (bytes, str)) or not text:
        raise InvalidArgument(f"{name} is PEM text")
    return text.encode() if isinstance(text, str) else text


def _external_ca(member: Member) -> ExternalCA | None:
    endpoint = member.node.endpoint
    return endpoint.external_ca if isinstance(endpoint, TlsEndpoint) else None


async def check_external(member: Member, cert: bytes, key: bytes) -> None:
    """Where a root is wanted whose key is kept elsewhere, the external CA must sign for it before
    the swarm depends on it. Raises ``ExternalCAFailed``."""
    external = _external_ca(member)
    if not cert or key or external is None:
        return
    swarm_id = member.node.machine.identity.swarm_id

    async def check() -> None:
        await probe(external, cert, swarm_id, member.node.clock.realtime())

    await member.loop.run(check)


def given_root(cert: Pem | None, key: Pem | None, network: Network) -> RootCA | None:
    """The root that a founder hands in, checked. Raises ``InvalidArgument``."""
    is_external = isinstance(network, TlsNetwork) and network.external_ca is not None
    wanted, with_key = _pem(cert, "root_cert"), _pem(key, "root_key")
    if not wanted:
        if with_key:
            raise InvalidArgument(
                "if a signing CA key is provided, the signing CA cert must also be provided"
            )
        if is_external:
            raise InvalidArgument("an external CA signs for a root: hand in root_cert=…")
        return None
    if not with_key and not is_external:
        raise InvalidArgument(
            "a root without its key needs an external CA to sign",
            hint="root_key=…, or network=TlsNetwork(external_ca=…)",
        )
    return check_desired_root(wanted, with_key or None, SystemClock().realtime())
