"""Private keys and certificate requests, as PEM bytes.

Keys are ECDSA on P-256, written as PKCS#8. A request carries nothing but a public key and the
proof that its private half is at hand: who the node is, the CA decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pyswarm.env import Entropy, system_entropy
from pyswarm.errors import SwarmError, Unauthenticated

from .errors import InvalidCertificate

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
RSA_BITS_MIN = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def create_key(entropy: Entropy = system_entropy) -> bytes:
    """A new ECDSA P-256 key, PKCS#8 PEM: a secret. The same entropy gives the same key."""
    drawn = int.from_bytes(entropy(40), "big")  # 64 bits to spare: FIPS 186-4, B.4.1
    key = ec.derive_private_key(drawn % (P256_ORDER - 1) + 1, ec.SECP256R1())
    return dump_key(key)


def create_csr(key_pem: bytes) -> bytes:
    """A certificate request (PEM) for this key. Its subject is empty: the CA sets it."""
    key = load_key(key_pem)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hash_for(key)).public_bytes(serialization.Encoding.PEM)


def dump_key(key: PrivateKey) -> bytes:
    """PKCS#8 PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_key(key_pem: bytes) -> PrivateKey:
    """Read a PEM key (PKCS#8 or the older forms).

    Raises:
        InvalidCertificate: it is none, or not of an accepted kind.
    """
    with reading("the private key"):
        key = serialization.load_pem_private_key(key_pem, None)
    check_public_key(key.public_key())
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return key


class HasPublicKey(Protocol):
    """A certificate or a request, as far as its key goes."""

    def public_key(self) -> object: ...


def public_key_of(holder: HasPublicKey) -> PublicKey:
    """The public key of a certificate or request, refused when too weak or of an unknown kind.

    Raises:
        InvalidCertificate: with Docker's sentence where it has one.
    """
    with reading("the public key"):
        return check_public_key(holder.public_key())


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Around the parsing of foreign bytes: whatever is wrong with them is one refusal.

    The parser raises a dozen kinds of exception, some only when a field is first looked at; none
    of them says more to a person than that the thing is malformed.

    Raises:
        InvalidCertificate: instead of them.
    """
    try:
        yield
    except (SwarmError, AssertionError):
        raise
    except Exception:
        raise InvalidCertificate(f"{what} cannot be read") from None


def check_public_key(key: object) -> PublicKey:
    """Refuse keys that are too weak or of an unknown kind.

    Raises:
        InvalidCertificate: with Docker's sentence where it has one.
    """
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < RSA_BITS_MIN:
            raise InvalidCertificate("unsupported RSA key parameters")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, _CURVES):
            raise InvalidCertificate("unsupported ECDSA key parameters")
        return key
    raise InvalidCertificate("unsupported key: neither RSA nor ECDSA")


def hash_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """The hash to sign with: as wide as the curve."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if key.curve.key_size > 384:
            return hashes.SHA512()
        if key.curve.key_size > 256:
            return hashes.SHA384()
    return hashes.SHA256()


def public_der(key: PublicKey) -> bytes:
    """The public key as SubjectPublicKeyInfo: what two equal keys have in common."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def lock_key(key_pem: bytes, passphrase: bytes) -> bytes:
    """The key as an ``ENCRYPTED PRIVATE KEY``: how an autolocked manager keeps it on disk."""
    return load_key(key_pem).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )


def unlock_key(locked_pem: bytes, passphrase: bytes) -> bytes:
    """The inverse of :func:`lock_key`.

    Raises:
        Unauthenticated: the passphrase is not the one.
        InvalidCertificate: it is no encrypted key.
    """
    if b"ENCRYPTED" not in locked_pem:
        raise InvalidCertificate("the private key is not encrypted")
    try:
        key = serialization.load_pem_private_key(locked_pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Unauthenticated("the key that was given does not open the private key") from None
    check_public_key(key.public_key())
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return dump_key(key)
