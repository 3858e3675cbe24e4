"""Who may join, and who are you: the swarm's certificate authority.

Read in this order: ``token`` (the secret that lets a node in, and names the root it must meet),
``keys``, ``root`` (the authority: it signs identities), ``certificate`` (what a node is given),
``rotation`` (a new authority, with nobody locked out), ``authority`` (all of it as the swarm
remembers it), ``renewal`` (when to ask anew).
Time (seconds since the epoch, UTC) and entropy are handed in. The modules that need the
``cryptography`` package are loaded when one of their names is first used.
"""

from typing import TYPE_CHECKING

from pyswarm.model.identity import Identity as Identity

from .errors import CertificateRejected as CertificateRejected
from .errors import FingerprintMismatch as FingerprintMismatch
from .errors import InvalidCertificate as InvalidCertificate
from .errors import InvalidJoinToken as InvalidJoinToken
from .errors import WrongJoinToken as WrongJoinToken
from .renewal import Renewal as Renewal
from .renewal import check_expiry as check_expiry
from .renewal import renewal_time as renewal_time
from .renewal import retry_delay as retry_delay
from .token import JoinToken as JoinToken
from .token import role_of_token as role_of_token

if TYPE_CHECKING:
    from .certificate import Issuer as Issuer
    from .certificate import NodeCertificate as NodeCertificate
    from .keys import create_csr as create_csr
    from .keys import create_key as create_key
    from .keys import lock_key as lock_key
    from .keys import unlock_key as unlock_key
    from .root import RootCA as RootCA
    from .rotation import Rotation as Rotation
    from .rotation import decide_rotation as decide_rotation

# fmt: off
__all__ = [
    "CertificateRejected", "FingerprintMismatch", "Identity", "InvalidCertificate",
    "InvalidJoinToken", "Issuer", "JoinToken", "NodeCertificate", "Renewal", "RootCA", "Rotation",
    "WrongJoinToken", "check_expiry", "create_csr", "create_key", "decide_rotation", "lock_key",
    "renewal_time", "retry_delay", "role_of_token", "unlock_key",
]
# fmt: on


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import certificate, keys, root, rotation

        for module in (certificate, keys, root, rotation):
            if hasattr(module, name):
                return globals().setdefault(name, getattr(module, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
