"""The authority as the swarm's object holds it: between :class:`RootCAState` and :class:`RootCA`.

The state is plain values, so that what decides without cryptography (the reconciler that ends a
rotation, the API that shows who signs) can read it. Here it is made: with a root's digest, issuer
and tokens, and with those of the next root from the moment a rotation begins.
"""

from __future__ import annotations

import attrs

from pyswarm.env import Entropy, system_entropy
from pyswarm.model.objects import RootCAState, RootRotation

from .root import RootCA
from .rotation import Rotation, decide_rotation
from .token import JoinToken


def first_state(
    root: RootCA, *, fips: bool = False, entropy: Entropy = system_entropy
) -> RootCAState:
    """A new swarm's authority, with new join tokens."""
    issuer = root.issuer
    return RootCAState(
        cert=root.cert_pem,
        key=root.key_pem or b"",
        digest=root.digest,
        worker_token=str(JoinToken.generate(root, fips=fips, entropy=entropy)),
        manager_token=str(JoinToken.generate(root, fips=fips, entropy=entropy)),
        issuer_subject=issuer.subject,
        issuer_public_key=issuer.public_key,
    )


def present_root(state: RootCAState) -> RootCA:
    """Who is trusted now."""
    return RootCA.load(state.cert, state.key or None)


def signer(state: RootCAState) -> RootCA:
    """Who signs now: during a rotation the next root, whose certificates both sides accept."""
    rotation = running_rotation(state)
    return present_root(state) if rotation is None else rotation.signer


def running_rotation(state: RootCAState) -> Rotation | None:
    """The rotation under way."""
    found = state.rotation
    if found is None:
        return None
    target = RootCA.load(found.cert, found.key or None)
    return Rotation(present_root(state), target, found.cross_signed)


def decided(
    state: RootCAState,
    *,
    cert_pem: bytes = b"",
    key_pem: bytes | None = None,
    force: bool = False,
    external: bool = False,
    cross_signed_pem: bytes = b"",
    now: float,
    entropy: Entropy = system_entropy,
) -> RootCAState:
    """The authority after an operator's request: see :func:`~.rotation.decide_rotation`.

    The tokens stay until a rotation ends, and are then all new, in the form that they have now.
    """
    running = running_rotation(state)
    root, rotation = decide_rotation(
        present_root(state),
        running,
        cert_pem=cert_pem,
        key_pem=key_pem,
        force=force,
        external=external,
        cross_signed_pem=cross_signed_pem,
        now=now,
        entropy=entropy,
    )
    state = attrs.evolve(state, key=root.key_pem or b"")
    if rotation is None:
        return attrs.evolve(state, rotation=None)
    if state.rotation is not None and running is not None and _same(rotation, running):
        kept = attrs.evolve(state.rotation, key=rotation.target.key_pem or b"")
        return attrs.evolve(state, rotation=kept)
    return attrs.evolve(state, rotation=_begun(state, rotation, entropy))


def _same(one: Rotation, other: Rotation) -> bool:
    return one.cross_signed_pem == other.cross_signed_pem


def _begun(state: RootCAState, rotation: Rotation, entropy: Entropy) -> RootRotation:
    target, fips = rotation.target, JoinToken.parse(state.worker_token).fips
    then = first_state(target, fips=fips, entropy=entropy)
    return RootRotation(
        cert=then.cert,
        key=then.key,
        cross_signed=rotation.cross_signed_pem,
        digest=then.digest,
        issuer_subject=then.issuer_subject,
        issuer_public_key=then.issuer_public_key,
        worker_token=then.worker_token,
        manager_token=then.manager_token,
    )
