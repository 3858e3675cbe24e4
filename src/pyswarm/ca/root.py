"""The authority: one self-signed certificate, its key, and what it signs.

A :class:`RootCA` is a value with two halves. ``cert_pem`` is what nodes trust, byte for byte as
stored (join tokens name these bytes). The signer is a certificate and its key, usually of the
same root; while the root is being rotated the signer is the *new* one, and every certificate
carries the new root's certificate cross-signed by the old one, so that nodes which trust the old
root accept it. A root without a key can check, but not sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.oid import SignatureAlgorithmOID as Signature

from pyswarm.env import Entropy, system_entropy
from pyswarm.errors import FailedPrecondition
from pyswarm.model.identity import Identity

from .certificate import (
    CA_NAME,
    Issuer,
    NodeCertificate,
    at,
    dump_bundle,
    extension,
    load_bundle,
    names_of,
    seconds,
    signed_by,
)
from .errors import CertificateRejected, InvalidCertificate
from .keys import (
    PrivateKey,
    PublicKey,
    create_key,
    dump_key,
    hash_for,
    load_key,
    public_der,
    public_key_of,
    reading,
)
from .renewal import BACKDATE_S, NODE_EXPIRY_MIN_S, NODE_EXPIRY_S
from .token import digest_of

if TYPE_CHECKING:
    from .rotation import Rotation

ROOT_EXPIRY_S = 630_720_000.0
"""20 years of 365 days."""
ROOT_BACKDATE_S = 300.0
SERIAL_BYTES = 20
"""The most that RFC 5280 allows; the top bit stays clear."""
CHAIN_MAX = 8
"""Certificates in a chain to check: rotations leave one more, attackers many."""

ACCEPTED_SIGNATURES = (
    Signature.RSA_WITH_SHA256,
    Signature.RSA_WITH_SHA384,
    Signature.RSA_WITH_SHA512,
    Signature.ECDSA_WITH_SHA256,
    Signature.ECDSA_WITH_SHA384,
    Signature.ECDSA_WITH_SHA512,
)


def _usage(*, leaf: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=leaf,
        key_encipherment=leaf,
        key_cert_sign=not leaf,
        crl_sign=not leaf,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    issuer: x509.Name, subject: x509.Name, public: PublicKey, entropy: Entropy
) -> x509.CertificateBuilder:
    """A certificate begun, with a new serial number."""
    serial = (int.from_bytes(entropy(SERIAL_BYTES), "big") >> 1) or 1
    builder = x509.CertificateBuilder().issuer_name(issuer).subject_name(subject)
    return builder.public_key(public).serial_number(serial)


def _swarm_name(common_name: str, unit: str = "", organization: str = "") -> x509.Name:
    pairs = (
        (NameOID.ORGANIZATION_NAME, organization),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        (NameOID.COMMON_NAME, common_name),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs if value])


def check_ca_certificate(certificate: x509.Certificate) -> None:
    """Whether this may be a swarm's root at all, its dates aside.

    Raises:
        InvalidCertificate: with Docker's sentence where it has one.
    """
    if certificate.signature_algorithm_oid not in ACCEPTED_SIGNATURES:
        # The dotted number is the name that every tool understands.
        raise InvalidCertificate(
            f"unsupported signature algorithm: {certificate.signature_algorithm_oid.dotted_string}"
        )
    public_key_of(certificate)
    if not is_ca(certificate):
        raise InvalidCertificate("the certificate is not one of a certificate authority")


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether it says of itself that it may sign others."""
    basic = extension(certificate, x509.BasicConstraints)
    return basic is not None and basic.ca


@attrs.frozen
class RootCA:
    """A swarm's certificate authority; all PEM. ``repr`` names it by its digest, and shows no
    key."""

    cert_pem: bytes = attrs.field(repr=False)
    key_pem: bytes | None = attrs.field(default=None, repr=False)
    signing_cert_pem: bytes = attrs.field(default=b"", repr=False)
    intermediates_pem: bytes = attrs.field(default=b"", repr=False)

    @classmethod
    def create(cls, now: float, *, entropy: Entropy = system_entropy) -> RootCA:
        """A new root: ECDSA P-256, CN ``swarm-ca``, 20 years from ``now`` (epoch seconds)."""
        key = load_key(create_key(entropy))
        begin = (now - ROOT_BACKDATE_S) // 60 * 60
        name = _swarm_name(CA_NAME)
        public = key.public_key()
        certificate = (
            _builder(name, name, public, entropy)
            .not_valid_before(at(begin))
            .not_valid_after(at(begin + ROOT_EXPIRY_S))
            .add_extension(_usage(leaf=False), critical=True)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls.load(dump_bundle([certificate]), dump_key(key))

    @classmethod
    def load(
        cls,
        cert_pem: bytes,
        key_pem: bytes | None = None,
        *,
        signing_cert_pem: bytes = b"",
        intermediates_pem: bytes = b"",
    ) -> RootCA:
        """A root from what was stored. ``cert_pem`` may be a bundle; its first one signs.

        Raises:
            InvalidCertificate: something cannot be read or is of a kind that is not accepted,
                or the key is not the certificate's (``certificate key mismatch``).
        """
        bundle = load_bundle(cert_pem)
        for certificate in bundle:
            check_ca_certificate(certificate)
        signer = load_bundle(signing_cert_pem)[0] if signing_cert_pem else bundle[0]
        check_ca_certificate(signer)
        if intermediates_pem:
            load_bundle(intermediates_pem)
        if key_pem is not None:
            ours = public_der(load_key(key_pem).public_key())
            if ours != public_der(public_key_of(signer)):
                raise InvalidCertificate("certificate key mismatch")
        return cls(cert_pem, key_pem, signing_cert_pem or dump_bundle([signer]), intermediates_pem)

    def __repr__(self) -> str:
        holds = "" if self.key_pem is not None else ", without its key"
        return f"<RootCA {self.digest}{holds}>"

    @property
    def digest(self) -> str:
        """SHA-256 of the trusted bundle in base 36, 50 digits: what a join token begins with."""
        return digest_of(self.cert_pem)

    @property
    def issuer(self) -> Issuer:
        """Whom the certificates signed here name as their issuer."""
        return Issuer.of(self._signer())

    @property
    def not_after(self) -> float:
        """When the signing certificate ends (epoch seconds)."""
        return seconds(self._signer().not_valid_after_utc)

    def sign(
        self,
        csr_pem: bytes,
        identity: Identity,
        now: float,
        expiry_s: float = NODE_EXPIRY_S,
        *,
        entropy: Entropy = system_entropy,
    ) -> bytes:
        """A certificate for the request's key and this identity; PEM, then the intermediates.

        Only the public key is taken from the request. Valid from an hour before ``now`` until
        ``now + expiry_s``; an expiry under an hour means the default of 90 days.

        Raises:
            InvalidCertificate: the request cannot be read or does not prove its key.
            FailedPrecondition: this root has no key.
        """
        key = self._key()
        public = self._requested_key(csr_pem)
        signer = self._signer()
        if expiry_s < NODE_EXPIRY_MIN_S:
            expiry_s = NODE_EXPIRY_S
        unit = identity.role.organizational_unit
        subject = _swarm_name(identity.node_id, unit, identity.swarm_id)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        names = [x509.DNSName(name) for name in names_of(identity)]
        certificate = (
            _builder(signer.subject, subject, public, entropy)
            .not_valid_before(at(now - BACKDATE_S))
            .not_valid_after(at(now + expiry_s))
            .add_extension(_usage(leaf=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(_authority(signer), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hash_for(key))
        )
        return dump_bundle([certificate]) + self.intermediates_pem

    def accept(self, chain_pem: bytes, csr_pem: bytes, identity: Identity, now: float) -> bytes:
        """What an external authority signed, for this request and identity; PEM, then what leads
        from it to this root.

        Raises:
            CertificateRejected: it is not what was asked for, or not of this root.
            InvalidCertificate: it cannot be read, or names no node.
        """
        found = load_bundle(chain_pem)
        if public_der(public_key_of(found[0])) != public_der(self._requested_key(csr_pem)):
            raise CertificateRejected("the external CA signed another key")
        if is_ca(found[0]):
            raise CertificateRejected("the external CA made an authority of a node")
        chain = dump_bundle(found) + self.intermediates_pem
        if self.verify(chain, now).identity != identity:
            raise CertificateRejected("the external CA signed for another identity")
        return chain

    def cross_sign(self, cert_pem: bytes, *, entropy: Entropy = system_entropy) -> bytes:
        """Another root's certificate (name, key, dates) signed by this one; PEM.

        Raises:
            FailedPrecondition: this root has no key.
        """
        key, signer, other = self._key(), self._signer(), load_bundle(cert_pem)[0]
        public = public_key_of(other)
        return dump_bundle(
            [
                _builder(signer.subject, other.subject, public, entropy)
                .not_valid_before(other.not_valid_before_utc)
                .not_valid_after(other.not_valid_after_utc)
                .add_extension(_usage(leaf=False), critical=True)
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
                .add_extension(_authority(signer), critical=False)
                .sign(key, hash_for(key))
            ]
        )

    def verify(self, chain_pem: bytes, now: float) -> NodeCertificate:
        """Check a node's certificate against this root; what it says, if it holds.

        Raises:
            CertificateRejected: no chain to the trusted root, or not valid at ``now``.
            InvalidCertificate: it cannot be read, or names no node.
        """
        leaf, *rest = load_bundle(chain_pem)
        if len(rest) >= CHAIN_MAX:
            raise CertificateRejected("the certificate chain is too long")
        trusted = load_bundle(self.cert_pem)
        current: x509.Certificate | None = leaf
        while current is not None:
            _check_dates(current, now)
            for root in trusted:
                if signed_by(current, root):
                    _check_dates(root, now)
                    return NodeCertificate.parse(chain_pem)
            # Each step uses one up, so a circle of certificates ends.
            following = next((c for c in rest if is_ca(c) and signed_by(current, c)), None)
            rest = [certificate for certificate in rest if certificate is not following]
            current = following
        raise CertificateRejected("the certificate was not signed by this swarm's root")

    def rotate(
        self, now: float, *, to: RootCA | None = None, entropy: Entropy = system_entropy
    ) -> Rotation:
        """Begin to replace this root, by a new one or by ``to`` (which has its key).

        Raises:
            FailedPrecondition: this root has no key to cross-sign with.
        """
        from .rotation import Rotation  # which is about two of us

        target = to if to is not None else RootCA.create(now, entropy=entropy)
        return Rotation(self, target, self.cross_sign(target.cert_pem, entropy=entropy))

    def _key(self) -> PrivateKey:
        if self.key_pem is None:
            raise FailedPrecondition("the swarm's root key is not here: an external CA has it")
        return load_key(self.key_pem)

    def _signer(self) -> x509.Certificate:
        return load_bundle(self.signing_cert_pem or self.cert_pem)[0]

    @staticmethod
    def _requested_key(csr_pem: bytes) -> PublicKey:
        if not csr_pem:
            raise InvalidCertificate("the certificate request is empty")
        with reading("the certificate request"):
            request = x509.load_pem_x509_csr(csr_pem)
            public = public_key_of(request)
            if not request.is_signature_valid:
                raise InvalidCertificate("the certificate request does not prove its key")
        return public


def _authority(signer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    found = extension(signer, x509.SubjectKeyIdentifier)
    if found is None:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key_of(signer))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)


def _check_dates(certificate: x509.Certificate, now: float) -> None:
    if now < seconds(certificate.not_valid_before_utc):
        raise CertificateRejected("the certificate is not valid yet", hint="compare the clocks")
    if now > seconds(certificate.not_valid_after_utc):
        raise CertificateRejected("the certificate has expired")
