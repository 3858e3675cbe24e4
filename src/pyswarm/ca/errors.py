"""What the certificate authority refuses. No message holds a secret or a key."""

from __future__ import annotations

from pyswarm.errors import InvalidArgument, Unauthenticated


class InvalidJoinToken(InvalidArgument):
    """The text is no join token at all."""

    def __init__(self) -> None:
        super().__init__(
            "invalid join token",
            hint="a manager shows the whole token: docker swarm join-token worker",
        )


class WrongJoinToken(InvalidArgument):
    """A well-formed token that this swarm did not issue, or no longer accepts."""

    def __init__(self) -> None:
        super().__init__(
            "A valid join token is necessary to join this cluster",
            hint="the token may have been rotated: ask a manager for the current one",
        )


class FingerprintMismatch(Unauthenticated):
    """The root met at the address is not the one that the join token names."""

    def __init__(self, expected_hex: str) -> None:
        super().__init__(
            f"remote CA does not match fingerprint. Expected: {expected_hex}",
            hint="the address belongs to another swarm, or its root was rotated since",
            details={"expected": expected_hex},
        )


class InvalidCertificate(InvalidArgument):
    """A certificate, request or key cannot be read, or is not of a kind that is accepted."""


class CertificateRejected(Unauthenticated):
    """A well-formed certificate that this root does not vouch for, or not now."""
