"""Who signs nodes' certificates: the swarm's own key, or somebody else's authority.

An *external CA* is a function of the embedder's, handed to every manager's
:class:`~pyswarm.runtime.TlsNetwork`. No key of the root is in the swarm then: not in its log, not
on a disk, not in a backup. What the function returns is looked at before a node gets it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from pyswarm.ca import RootCA, create_csr, create_key
from pyswarm.ca.authority import signer
from pyswarm.ca.certificate import names_of
from pyswarm.ca.errors import CertificateRejected, InvalidCertificate
from pyswarm.errors import SwarmError, Unavailable
from pyswarm.model import Identity, Role, RootCAState

SIGN_S = 5.0
"""How long an external CA may take: Swarm's limit."""

NOBODY_SIGNS = "the swarm's root key is not here, and this manager has no external CA to sign with"


class ExternalCAFailed(Unavailable):
    """The external CA did not answer, or not with what was asked for."""


@attrs.frozen
class SigningRequest:
    """What an external CA is asked for. Of the ``csr`` (PEM) its public key counts alone; who the
    certificate is for is said here: CN ``identity.node_id``, OU ``organizational_unit``, O
    ``identity.swarm_id``, and these ``dns_names``. It should last ``expiry_s`` seconds."""

    csr: bytes
    identity: Identity
    dns_names: tuple[str, ...]
    expiry_s: float

    @property
    def organizational_unit(self) -> str:
        """``swarm-manager`` or ``swarm-worker``."""
        return self.identity.role.organizational_unit


ExternalCA = Callable[[SigningRequest], Awaitable[bytes]]
"""Returns the certificate, and what leads from it to the root, as PEM."""


async def issue(
    state: RootCAState,
    csr: bytes,
    identity: Identity,
    *,
    now: float,
    expiry_s: float,
    external: ExternalCA | None,
) -> bytes:
    """A certificate from whoever signs now, with its chain.

    Raises ``InvalidCertificate``, and ``Unavailable`` where another manager may do better.
    """
    root = signer(state)
    if root.key_pem is not None:
        return root.sign(csr, identity, now, expiry_s)
    if external is None:
        raise Unavailable(NOBODY_SIGNS, hint="TlsNetwork(external_ca=…) on every manager")
    return await ask(external, root, csr, identity, now=now, expiry_s=expiry_s)


async def ask(
    external: ExternalCA,
    root: RootCA,
    csr: bytes,
    identity: Identity,
    *,
    now: float,
    expiry_s: float,
) -> bytes:
    """What the external CA signs, checked. Raises ``ExternalCAFailed``."""
    wanted = SigningRequest(csr, identity, tuple(names_of(identity)), expiry_s)
    chain = b""
    try:
        with trio.fail_after(SIGN_S):
            chain = await external(wanted)
        return root.accept(chain, csr, identity, now)
    except trio.TooSlowError:
        raise ExternalCAFailed(f"the external CA did not answer within {SIGN_S:g} s") from None
    except (CertificateRejected, InvalidCertificate) as error:
        raise ExternalCAFailed(f"the external CA's certificate is refused: {error}") from None
    except SwarmError:
        raise
    except Exception as error:  # a function of the embedder's: whatever it raises means the same
        raise ExternalCAFailed(f"the external CA failed: {type(error).__name__}") from error


async def probe(external: ExternalCA, cert_pem: bytes, swarm_id: str, now: float) -> None:
    """Whether the external CA signs for the root ``cert_pem``: a certificate for nobody is asked
    for, with a key that is thrown away. Raises ``ExternalCAFailed``."""
    nobody = Identity("probe", Role.WORKER, swarm_id)
    csr = create_csr(create_key())
    await ask(external, RootCA.load(cert_pem), csr, nobody, now=now, expiry_s=3600.0)
