"""A new authority, with nobody locked out.

Rotation has three acts. *Begin*: the new root's certificate is cross-signed by the old one, and
from now on the new key signs; every certificate comes with the cross-signed one, so whoever
trusts the old root accepts it. *Wait*: every node is asked to renew, until each reports the new
issuer (a node that is down holds this up until it is removed). *End*: the new root is what is
trusted; its digest is another, so both join tokens are made anew.

:func:`decide_rotation` says what an operator's request means for this; it is a function of what
the swarm has stored and what was asked.
"""

from __future__ import annotations

import attrs

from pyswarm.env import Entropy, system_entropy
from pyswarm.errors import InvalidArgument

from .certificate import Issuer, dump_bundle, load_bundle, signed_by
from .errors import InvalidCertificate
from .root import RootCA, is_ca

ROOT_LEFT_MIN_S = 365 * 24 * 3600.0
"""A root that an operator hands in must last this much longer."""


@attrs.frozen
class Rotation:
    """A rotation under way: what is trusted, what will be, and the bridge between them."""

    current: RootCA
    target: RootCA
    cross_signed_pem: bytes = attrs.field(repr=False)

    @property
    def signer(self) -> RootCA:
        """The authority to sign with until the rotation ends."""
        return RootCA.load(
            self.current.cert_pem,
            self.target.key_pem,
            signing_cert_pem=self.target.signing_cert_pem,
            intermediates_pem=self.cross_signed_pem,
        )

    def done_by(self, issuer: Issuer) -> bool:
        """Whether a node that reports this issuer has its new certificate."""
        return issuer == self.target.issuer


def check_desired_root(cert_pem: bytes, key_pem: bytes | None, now: float) -> RootCA:
    """A root that an operator hands in, in normal form.

    Raises:
        InvalidCertificate: with Docker's sentence.
    """
    bundle = load_bundle(cert_pem)
    if len(bundle) > 1:
        raise InvalidCertificate("the desired CA certificate cannot contain multiple certificates")
    root = RootCA.load(dump_bundle(bundle), key_pem)
    if root.not_after < now + ROOT_LEFT_MIN_S:
        raise InvalidCertificate("CA certificate expires too soon")
    return root


def decide_rotation(
    current: RootCA,
    running: Rotation | None,
    *,
    cert_pem: bytes = b"",
    key_pem: bytes | None = None,
    force: bool = False,
    external: bool = False,
    cross_signed_pem: bytes = b"",
    now: float,
    entropy: Entropy = system_entropy,
) -> tuple[RootCA, Rotation | None]:
    """The swarm's root, and the rotation under way, after an operator's request.

    ``force``: the counter that asks for a new root was raised. ``cert_pem`` and ``key_pem``: the
    root the operator wants. The same root as now ends a rotation; the rotation's own target gets
    the key; another root begins anew. ``external``: an external authority signs for the wanted
    root, so that no key of it is needed. ``cross_signed_pem``: that root's certificate signed by
    the present one; needed where the present one's key is elsewhere.

    Raises:
        InvalidArgument: the request cannot be met; the sentence is Docker's.
    """
    if not cert_pem:
        if key_pem is not None:
            raise InvalidArgument(
                "if a signing CA key is provided, the signing CA cert must also be provided"
            )
        begun = _begin(current, None, b"", now, entropy) if force else running
        return current, begun
    desired = check_desired_root(cert_pem, key_pem, now)
    if _same_certificate(desired, current):
        return _with_key(current, key_pem), None
    if desired.issuer.public_key == current.issuer.public_key:
        raise InvalidArgument("Cannot update to a cert with an identical key")
    if running is not None and _same_certificate(desired, running.target):
        return current, attrs.evolve(running, target=_with_key(running.target, key_pem))
    if key_pem is None and not external:
        raise _no_external_ca("desired")
    if key_pem is None and current.key_pem is None:
        raise InvalidArgument(
            "rotating from one external CA to a different external CA is not supported"
        )
    return current, _begin(current, desired, cross_signed_pem, now, entropy)


def _begin(
    current: RootCA, to: RootCA | None, cross_signed_pem: bytes, now: float, entropy: Entropy
) -> Rotation:
    if current.key_pem is not None:
        return current.rotate(now, to=to, entropy=entropy)
    if to is None or not cross_signed_pem:
        raise _no_external_ca("current")
    _check_bridge(current, to, cross_signed_pem)
    return Rotation(current, to, cross_signed_pem)


def _check_bridge(current: RootCA, to: RootCA, cross_signed_pem: bytes) -> None:
    """Whether who trusts ``current`` will believe ``to`` by this certificate."""
    bridge, *rest = load_bundle(cross_signed_pem)
    is_one = not rest and is_ca(bridge) and Issuer.of(bridge) == to.issuer
    if not (is_one and any(signed_by(bridge, one) for one in load_bundle(current.cert_pem))):
        raise InvalidCertificate(
            "the cross-signed certificate is not the wanted root's, signed by the present one"
        )


def _with_key(root: RootCA, key_pem: bytes | None) -> RootCA:
    return root if key_pem is None else attrs.evolve(root, key_pem=key_pem)


def _same_certificate(one: RootCA, other: RootCA) -> bool:
    return load_bundle(one.cert_pem) == load_bundle(other.cert_pem)


def _no_external_ca(which: str) -> InvalidArgument:
    return InvalidArgument(
        "there must be at least one valid, reachable external CA corresponding to the "
        f"{which} CA certificate",
        hint="hand in the key together with the certificate, or start the managers with the "
        "external CA that signs for it",
    )
