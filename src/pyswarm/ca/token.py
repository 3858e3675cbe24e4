"""The join token: one line that lets a node in and tells it whom to trust.

``SWMTKN-1-<digest>-<secret>``. The digest is the SHA-256 of the root certificate bundle as a number
in base 36, so the joiner can recognise the swarm on first contact; the secret is 16 random bytes,
and which of the swarm's two secrets it is decides the role. A swarm that demands FIPS says
``SWMTKN-2-1-…``. Secrets are compared in constant time and never shown by ``repr``.
"""

from __future__ import annotations

import hashlib
import re
from hmac import compare_digest
from typing import Protocol

import attrs

from pyswarm.env import Entropy, system_entropy
from pyswarm.ids import base36
from pyswarm.model.states import Role

from .errors import FingerprintMismatch, InvalidJoinToken, WrongJoinToken

PREFIX = "SWMTKN"
DIGEST_LENGTH = 50
"""Base-36 digits of 32 bytes."""
SECRET_LENGTH = 25
"""Base-36 digits of 16 bytes."""
SECRET_BYTES = 16
_DIGEST = re.compile(rf"[0-9a-z]{{{DIGEST_LENGTH}}}")
_DIGEST_MAX = base36((1 << 256) - 1, DIGEST_LENGTH)


class HasDigest(Protocol):
    """A root, as far as a token knows it."""

    @property
    def digest(self) -> str: ...


def digest_of(cert_pem: bytes) -> str:
    """The 50 base-36 digits that name this certificate bundle, byte for byte."""
    return base36(int.from_bytes(hashlib.sha256(cert_pem).digest(), "big"), DIGEST_LENGTH)


@attrs.frozen(eq=False, repr=False)
class JoinToken:
    """A token in its parts; ``str()`` gives the text, ``repr()`` hides the secret."""

    digest: str
    secret: str
    form: str = "1"

    @property
    def fips(self) -> bool:
        """Whether the swarm takes only nodes in FIPS mode."""
        return self.form == "2-1"

    @classmethod
    def generate(
        cls, root: HasDigest, *, entropy: Entropy = system_entropy, fips: bool = False
    ) -> JoinToken:
        """A new token for ``root``, with a new secret."""
        number = int.from_bytes(entropy(SECRET_BYTES), "big")
        return cls(root.digest, base36(number, SECRET_LENGTH), "2-1" if fips else "1")

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Read a token's text.

        Raises:
            InvalidJoinToken: it is none; the message does not repeat it.
        """
        parts = text.split("-")
        form = parts[1] if len(parts) > 1 else ""
        if form == "2" and len(parts) == 5 and parts[2] in ("0", "1"):
            form = f"2-{parts.pop(2)}"
        elif form != "1":
            raise InvalidJoinToken
        if len(parts) != 4 or parts[0] != PREFIX:
            raise InvalidJoinToken
        digest, secret = parts[2:]
        if not _DIGEST.fullmatch(digest) or digest > _DIGEST_MAX or len(secret) != SECRET_LENGTH:
            raise InvalidJoinToken
        return cls(digest, secret, form)

    def rotated(self, *, entropy: Entropy = system_entropy) -> JoinToken:
        """The same root with a new secret."""
        return JoinToken.generate(self, entropy=entropy, fips=self.fips)

    def matches(self, text: str) -> bool:
        """Whether ``text`` is this token, in time that does not depend on where it differs."""
        return compare_digest(str(self).encode(), text.encode(errors="replace"))

    def check_root(self, cert_pem: bytes) -> None:
        """Accept the root bundle met at the remote address, or not.

        Raises:
            FingerprintMismatch: it is not the one this token names.
        """
        if not compare_digest(digest_of(cert_pem), self.digest):
            raise FingerprintMismatch(f"{int(self.digest, 36):064x}")

    def __str__(self) -> str:
        return f"{PREFIX}-{self.form}-{self.digest}-{self.secret}"

    def __repr__(self) -> str:
        return f"<JoinToken {self.digest[:8]}… fips={self.fips}>"

    def __eq__(self, other: object) -> bool:
        return self.matches(str(other)) if isinstance(other, JoinToken) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.digest, self.form))


def role_of_token(text: str, *, manager: JoinToken, worker: JoinToken) -> Role:
    """The role that the bearer of ``text`` joins in.

    Raises:
        WrongJoinToken: it is neither token.
    """
    is_manager, is_worker = manager.matches(text), worker.matches(text)
    if is_manager:
        return Role.MANAGER
    if is_worker:
        return Role.WORKER
    raise WrongJoinToken
