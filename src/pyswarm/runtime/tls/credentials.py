"""A node's own key and certificate, the root it trusts, and TLS contexts made of them.

They are kept as one record of the node's small state, so that key and certificate always fit each
other and a stop in the middle leaves the former pair. That state is sealed by the directory's data
keys, and those are wrapped by the unlock key while autolock is on: the key is never in clear where
the swarm is locked.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import msgpack
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pyswarm.ca import Issuer, NodeCertificate, RootCA, create_csr, create_key
from pyswarm.ca.certificate import identity_of, load_bundle, signed_by
from pyswarm.ca.errors import CertificateRejected
from pyswarm.ca.keys import load_key, public_der, public_key_of
from pyswarm.env import Entropy, system_entropy
from pyswarm.errors import FailedPrecondition, InvalidArgument
from pyswarm.model import Identity, TLSInfo
from pyswarm.model.session import Trust

BLOB = "certificate"
"""Name of the record in the node's state."""
BLOB_FORMAT = 2
"""1 had no ``as_of``."""


class ForeignCertificate(FailedPrecondition):
    """The certificate that a node finds on its disk is not one that proves this node."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            hint="nothing was changed; put the files of certificates/ back that belong to this "
            "directory, or remove the whole of it and join with a token, or restore a backup",
        )


@attrs.frozen
class Credentials:
    """What a node proves itself by. All PEM; ``repr`` shows no key."""

    key_pem: bytes = attrs.field(repr=False)
    chain_pem: bytes = attrs.field(repr=False)
    root_pem: bytes = attrs.field(repr=False)
    coming_pem: bytes = attrs.field(default=b"", repr=False)
    """The next root, trusted as well while a rotation is under way."""
    as_of: tuple[float, int] = (0.0, 0)
    """When the swarm said so: see :class:`pyswarm.model.session.Trust`."""

    @property
    def certificate(self) -> NodeCertificate:
        """What the certificate says."""
        return NodeCertificate.parse(self.chain_pem)

    @property
    def identity(self) -> Identity:
        """Whom the certificate names."""
        return self.certificate.identity

    @property
    def issuer(self) -> Issuer:
        """Who signed the certificate."""
        return self.certificate.issuer(self.root_pem + self.coming_pem)

    @property
    def tls(self) -> TLSInfo:
        """What the node reports of this."""
        issuer = self.issuer
        return TLSInfo(self.root_pem, issuer.subject, issuer.public_key)

    @property
    def trust(self) -> Trust:
        """Whom the node believes."""
        return Trust(self.root_pem, self.coming_pem, as_of=self.as_of)

    def trusting(self, trust: Trust) -> Credentials:
        """The same certificate among peers that are believed by these roots."""
        return attrs.evolve(self, root_pem=trust.root, coming_pem=trust.coming, as_of=trust.as_of)

    def has_signed(self, leaf_der: bytes) -> bool:
        """Whether one of the trusted roots (or its twin, signed by the former one) issued this."""
        leaf = x509.load_der_x509_certificate(leaf_der)
        return any(signed_by(leaf, one) for one in load_bundle(self.root_pem + self.coming_pem))

    @classmethod
    def signed_by(
        cls,
        root: RootCA,
        identity: Identity,
        now: float,
        expiry_s: float,
        *,
        entropy: Entropy = system_entropy,
    ) -> Credentials:
        """A new key with a certificate from ``root``, which has its key here."""
        key = create_key(entropy)
        chain = root.sign(create_csr(key), identity, now, expiry_s, entropy=entropy)
        return cls(key, chain, root.cert_pem)

    def check(self, now: float) -> None:
        """Raise ``CertificateRejected`` or ``InvalidCertificate`` if the root would refuse it."""
        RootCA.load(self.root_pem + self.coming_pem).verify(self.chain_pem, now)

    def check_own(self, identity: Identity, now: float) -> None:
        """Raise ``ForeignCertificate`` unless this proves that node of that swarm by this key, to
        whoever trusts these roots. It must not have expired.

        Any role will do: a node may stop between a change of its role and its next certificate. So
        will a beginning in the future: a clock may be behind until it hears of the time.
        """
        certificate = self.certificate
        found = certificate.identity
        if not fit(self.key_pem, self.chain_pem):
            raise ForeignCertificate("the node's key is not the key of its certificate")
        if found.swarm_id != identity.swarm_id:
            raise ForeignCertificate(
                f"the certificate is of swarm {found.swarm_id}, the node of {identity.swarm_id}"
            )
        if found.node_id != identity.node_id:
            raise ForeignCertificate(
                f"the certificate is that of node {found.node_id}, this is {identity.node_id}"
            )
        try:
            self.check(max(now, certificate.not_before))
        except CertificateRejected as problem:
            raise ForeignCertificate(
                f"the roots that the node trusts do not vouch for its own certificate: {problem}"
            ) from None

    def to_bytes(self) -> bytes:
        """The record."""
        packed: bytes = msgpack.packb((BLOB_FORMAT, *attrs.astuple(self)))
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Credentials:
        """Read it back; raises ``InvalidArgument`` for anything else."""
        try:
            version, *parts = msgpack.unpackb(data)
        except Exception:
            raise InvalidArgument("the record of the node's certificate cannot be read") from None
        if version not in (1, BLOB_FORMAT):
            raise InvalidArgument(
                f"the node's certificate has format {version!r}, this version reads {BLOB_FORMAT}"
            )
        key, chain, root, coming, as_of = parts if version == BLOB_FORMAT else (*parts, (0.0, 0))
        return cls(key, chain, root, coming, tuple(as_of))

    def server_context(self) -> ssl.SSLContext:
        """For whoever calls: a certificate is checked if it is shown (strangers have none yet)."""
        context = _context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.num_tickets = 0  # every connection proves itself
        return self._with_own(context)

    def client_context(self) -> ssl.SSLContext:
        """For calling members. Who it is that answers is read from the certificate, since hosts'
        names say nothing about nodes."""
        context = _context(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        return self._with_own(context)

    def _with_own(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.load_verify_locations(cadata=(self.root_pem + self.coming_pem).decode())
        with _as_file(self.chain_pem + self.key_pem) as path:
            context.load_cert_chain(path)
        return context


def fit(key_pem: bytes, chain_pem: bytes) -> bool:
    """Whether the key is that of the certificate which comes first."""
    public = public_der(load_key(key_pem).public_key())
    return public_der(public_key_of(load_bundle(chain_pem)[0])) == public


def trusting_context(root_pem: bytes) -> ssl.SSLContext:
    """For a node without a certificate that knows whom to trust."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=root_pem.decode())
    return context


def blind_context() -> ssl.SSLContext:
    """For the very first contact, which asks for the root and says nothing: see ``joining``."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def peer_of(der: bytes) -> tuple[Identity, float]:
    """Whom a verified certificate names, and until when. Raises ``InvalidCertificate``."""
    certificate = x509.load_der_x509_certificate(der)
    parsed = NodeCertificate.parse(certificate.public_bytes(Encoding.PEM))
    return identity_of(certificate), parsed.not_after


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """``ssl`` reads keys from files only: one in memory where there are such."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pyswarm", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as directory:  # 0700
        path = os.path.join(directory, "node.pem")
        with open(path, "wb") as file:
            file.write(content)
        yield path
