"""What goes wrong, as Docker says it: one table from an error's code to status and text.

Three kinds of errors reach a client. What the API refuses by itself is :class:`Refused`, with its
status. What a node outside a swarm, on a worker or locked answers is a ``HostRefusal`` of
:mod:`pyswarm.api.hosting`. All the rest are the errors of :mod:`pyswarm.errors`: as they are where
the node itself found them, and with ``rpc error: code = X desc = `` in front where they come from
the managers (*relayed*), since clients of the Engine API look for that.
"""

from __future__ import annotations

from pyswarm.api.hosting import HostRefusal, InvalidDataPathPort, NotLocked
from pyswarm.api.messages import Response
from pyswarm.api.rendering import document
from pyswarm.errors import InvalidArgument, OutOfSequence, SwarmError, Unavailable


class Refused(SwarmError):
    """The API's own refusal: a status, and a sentence without prefix."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


_CODES: dict[str, tuple[int, str]] = {
    "invalid_argument": (400, "InvalidArgument"),
    "failed_precondition": (400, "FailedPrecondition"),
    "unauthenticated": (401, "Unauthenticated"),
    "permission_denied": (403, "PermissionDenied"),
    "not_found": (404, "NotFound"),
    "already_exists": (409, "AlreadyExists"),
    "unimplemented": (501, "Unimplemented"),
    "unavailable": (503, "Unavailable"),
    "locked": (503, "Unavailable"),
    "out_of_sequence": (500, "Unknown"),
    "deadline_exceeded": (500, "DeadlineExceeded"),
    "resource_exhausted": (500, "ResourceExhausted"),
    "compacted": (500, "Unknown"),
    "cancelled": (500, "Canceled"),
    "internal": (500, "Internal"),
}
"""Code → HTTP status, and the name in the prefix of a relayed error."""

_KINDS: dict[type[SwarmError], int] = {
    HostRefusal: 503,
    NotLocked: 409,
    InvalidDataPathPort: 500,
}
"""Classes whose status is not their code's, and which never come from a manager."""

_NAMED = {"FingerprintMismatch": 500, "InvalidJoinToken": 500, "InvalidPool": 500}
"""The same for classes of packages that the API does not know."""

OUT_OF_SEQUENCE = "update out of sequence"
TASKS_ONLY = (
    "this node runs tasks of services and nothing else; it makes no containers, images or plugins"
)
BUG = "an internal error; the log has the details"


def answer_to(error: SwarmError, *, relayed: bool = False) -> Response:
    """The answer that tells a client of ``error``."""
    status, text = told(error, relayed=relayed)
    return failure(status, text)


def told(error: SwarmError, *, relayed: bool = False) -> tuple[int, str]:
    """Status and text of an error."""
    if isinstance(error, Refused):
        return error.status, error.message
    for kind, status in _KINDS.items():
        if isinstance(error, kind):
            return status, error.message
    if (named := _NAMED.get(type(error).__name__)) is not None:
        return named, error.message
    status, name = _CODES[error.code]
    text = OUT_OF_SEQUENCE if isinstance(error, OutOfSequence) else error.message
    if isinstance(error, Unavailable) and "managers" in error.details:
        status, name = 500, "Unknown"  # no leader: as SwarmKit has it
    if isinstance(error, InvalidArgument) and "constraint" in error.details:
        status, name = 500, "Unknown"  # SwarmKit's parser of constraints names no code
    return status, f"rpc error: code = {name} desc = {text}" if relayed else text


def failure(status: int, text: str) -> Response:
    """The body that Docker gives every error."""
    return Response(status, document({"message": text}))
