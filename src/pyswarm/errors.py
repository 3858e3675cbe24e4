"""Every exception that leaves pyswarm, in one tree.

Each class is named for its situation and knows its ``code`` (the gRPC-style word that every front
door maps) and may carry a ``hint``: the next step for a person. A front door decides by class or
code, never by text. A mistake of the *programmer* is an ``AssertionError`` and not in this tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

Outcome = Literal["not_applied", "unknown"]


class SwarmError(Exception):
    """The root. ``str(error)`` is the sentence, ``hint`` the next step, ``details`` plain data."""

    code: ClassVar[str] = "internal"

    def __init__(
        self, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(hint)  # a traceback shows it below the sentence
        self.details: dict[str, Any] = dict(details or {})

    def to_wire(self) -> dict[str, Any]:
        """Plain data (code, message, hint, details) that :func:`from_wire` turns back."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
        }


class InvalidArgument(SwarmError):
    """A value that can never be right: bad name, negative count, malformed constraint."""

    code = "invalid_argument"


class NotFound(SwarmError):
    """The named thing does not exist."""

    code = "not_found"


class AlreadyExists(SwarmError):
    """A name or id is taken."""

    code = "already_exists"


class FailedPrecondition(SwarmError):
    """The request is well formed, but the swarm's state does not allow it (yet)."""

    code = "failed_precondition"


class OutOfSequence(SwarmError):
    """A compare-and-swap on an object's version failed: read it again and retry."""

    code = "out_of_sequence"


class Unavailable(SwarmError):
    """Nobody can answer now. ``outcome`` tells whether a change may have been applied.

    ``"not_applied"``: certainly not. ``"unknown"``: retry with the same request id; it never
    applies twice.
    """

    code = "unavailable"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, Any] | None = None,
        outcome: Outcome = "not_applied",
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.outcome: Outcome = self.details.setdefault("outcome", outcome)


class Unauthenticated(SwarmError):
    """The caller did not prove who it is (a wrong join token, no certificate)."""

    code = "unauthenticated"


class PermissionDenied(SwarmError):
    """The caller is known and may not do this."""

    code = "permission_denied"


class DeadlineExceeded(SwarmError):
    """The caller's time ran out before an answer was there."""

    code = "deadline_exceeded"


class ResourceExhausted(SwarmError):
    """A limit is reached: bytes in flight, addresses of a pool, size of a message."""

    code = "resource_exhausted"


class Compacted(SwarmError):
    """The history asked for is gone: list the objects and watch anew."""

    code = "compacted"


class Cancelled(SwarmError):
    """The operation was cancelled by its caller or by the node's shutdown."""

    code = "cancelled"


class Unimplemented(SwarmError):
    """Swarm mode does not do this (renaming a service, changing its mode)."""

    code = "unimplemented"


class Locked(SwarmError):
    """The swarm is autolocked: its data key needs the unlock key."""

    code = "locked"


class Internal(SwarmError):
    """A broken invariant of pyswarm itself: please report it, with the trace."""

    code = "internal"


_BY_CODE: dict[str, type[SwarmError]] = {
    cls.code: cls
    for cls in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        OutOfSequence,
        Unavailable,
        Unauthenticated,
        PermissionDenied,
        DeadlineExceeded,
        ResourceExhausted,
        Compacted,
        Cancelled,
        Unimplemented,
        Locked,
        Internal,
    )
}

CODES: tuple[str, ...] = tuple(_BY_CODE)


def from_wire(data: Mapping[str, Any]) -> SwarmError:
    """The error that :meth:`SwarmError.to_wire` described; an unknown code becomes Internal."""
    cls = _BY_CODE.get(str(data.get("code")), Internal)
    return cls(
        str(data.get("message", "")),
        hint=str(data.get("hint", "")),
        details=data.get("details") or {},
    )
