"""What a node is given: a certificate that names it, and the chain up to the root.

The subject says who it is: CN the node's id, OU its role, O the swarm. The names in SAN are for
TLS clients, which ask for a role (``swarm-manager``) and not for a host; first contact asks for
``swarm-ca``, which only managers have.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pyswarm.model.identity import Identity
from pyswarm.model.states import Role

from .errors import InvalidCertificate
from .keys import public_der, public_key_of, reading

CA_NAME = "swarm-ca"
"""The root's CN, and the server name of first contact."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROLES = {role.organizational_unit: role for role in Role}


def at(seconds: float) -> datetime:
    """Seconds since the epoch as X.509 writes them: whole."""
    return _EPOCH + timedelta(seconds=int(seconds))


def seconds(moment: datetime) -> float:
    """The inverse of :func:`at`."""
    return (moment - _EPOCH).total_seconds()


def load_bundle(pem: bytes) -> list[x509.Certificate]:
    """Every certificate of a PEM bundle, in its order.

    Raises:
        InvalidCertificate: there is none, or one cannot be read.
    """
    with reading("the certificate"):
        return x509.load_pem_x509_certificates(pem)


def dump_bundle(certificates: Iterable[x509.Certificate]) -> bytes:
    """PEM, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def names_of(identity: Identity) -> list[str]:
    """The DNS names that a certificate of this identity carries."""
    names = [identity.role.organizational_unit, identity.node_id]
    return [*names, CA_NAME] if identity.is_manager else names


Kind = TypeVar("Kind", bound=x509.ExtensionType)


def extension(certificate: x509.Certificate, kind: type[Kind]) -> Kind | None:
    """The certificate's extension of this kind, or None.

    Raises:
        InvalidCertificate: its extensions cannot be read.
    """
    with reading("the certificate's extensions"):
        try:
            return certificate.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None


@attrs.frozen
class Issuer:
    """Who signed: subject and public key (DER). A node reports it; rotation waits for it."""

    subject: bytes
    public_key: bytes

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Issuer:
        """What leaves signed by ``certificate``'s key have as their issuer."""
        return cls(certificate.subject.public_bytes(), public_der(public_key_of(certificate)))


@attrs.frozen
class NodeCertificate:
    """A node's certificate as read from its PEM chain. Times are seconds since the epoch."""

    chain_pem: bytes
    identity: Identity
    not_before: float
    not_after: float
    serial: int
    dns_names: tuple[str, ...]

    @classmethod
    def parse(cls, chain_pem: bytes) -> NodeCertificate:
        """Read the leaf, which comes first. This does not say that anyone vouches for it.

        Raises:
            InvalidCertificate: it cannot be read, or names no node, role or swarm.
        """
        leaf = load_bundle(chain_pem)[0]
        names = extension(leaf, x509.SubjectAlternativeName)
        dns_names = () if names is None else tuple(names.get_values_for_type(x509.DNSName))
        return cls(
            chain_pem=chain_pem,
            identity=identity_of(leaf),
            not_before=seconds(leaf.not_valid_before_utc),
            not_after=seconds(leaf.not_valid_after_utc),
            serial=leaf.serial_number,
            dns_names=dns_names,
        )

    def issuer(self, root_pem: bytes) -> Issuer:
        """Who signed the leaf: the next of the chain, or the one of ``root_pem`` that did.

        Raises:
            InvalidCertificate: neither holds the issuer.
        """
        leaf, *rest = load_bundle(self.chain_pem)
        for candidate in (*rest, *load_bundle(root_pem)):
            if signed_by(leaf, candidate):
                return Issuer.of(candidate)
        raise InvalidCertificate("the certificate's issuer is unknown")


def identity_of(certificate: x509.Certificate) -> Identity:
    """The identity in a certificate's subject.

    Raises:
        InvalidCertificate: a part is missing, doubled or unknown.
    """
    found = []
    for oid in (
        NameOID.COMMON_NAME,
        NameOID.ORGANIZATIONAL_UNIT_NAME,
        NameOID.ORGANIZATION_NAME,
    ):
        with reading("the certificate's subject"):
            values = certificate.subject.get_attributes_for_oid(oid)
        if len(values) != 1 or not values[0].value:
            raise InvalidCertificate("the certificate's subject names no node of a swarm")
        found.append(str(values[0].value))
    node_id, unit, swarm_id = found
    if unit not in _ROLES:
        raise InvalidCertificate("the certificate's subject names no role of a swarm")
    return Identity(node_id, _ROLES[unit], swarm_id)


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer``'s key signed ``certificate``, and by its name."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # ValueError, TypeError or InvalidSignature: all mean no
        return False
    return True
