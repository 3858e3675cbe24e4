"""What happens to a node: the only ways in.

Each input is a value; a recording of them with their times, and the seed, is a recording of the
node.
"""

from __future__ import annotations

from typing import Any

import attrs

from pyswarm.model import Identity


@attrs.frozen
class Wake:
    """Time has passed. ``wall`` is the wall clock (seconds since the epoch)."""

    wall: float


@attrs.frozen
class FromPeer:
    """``message`` came from a node that proved to be ``identity`` (None: it proved nothing yet)."""

    identity: Identity | None
    addr: str
    message: Any


@attrs.frozen
class Call:
    """A local caller wants something: a ``Request``, ``Barrier``, ``Explain``, ``WhatIf`` …

    Exactly one ``Reply`` with this token follows, unless the node halts first.
    """

    token: int
    body: Any
    deadline: float | None = None


@attrs.frozen
class Together:
    """Calls that waited at the same time: all are taken in before anything is decided, so that
    requests share a turn."""

    calls: tuple[Call, ...]


@attrs.frozen
class Persisted:
    """The disk's answer to ``PersistLog`` of ``seat``; ``error`` is the sentence if it could not.

    After an error nothing is written until what failed is given again, in order. ``is_final``: not
    even then, before the node starts again.
    """

    number: int
    seat: int
    error: str | None = None
    is_final: bool = False


@attrs.frozen
class SnapshotSaved:
    """The disk's answer to ``SaveSnapshot``."""

    index: int
    seat: int
    error: str | None = None


@attrs.frozen
class KeysWrapped:
    """The disk's answer to ``WrapKeys``. ``needs_snapshot``: a data key that lay in clear is still
    needed by the log, until a snapshot stands for what it seals."""

    needs_snapshot: bool


@attrs.frozen
class FromExecutor:
    """The executor's answer for the agent (an ``OperationDone`` or a new description)."""

    event: Any


@attrs.frozen
class SessionBroken:
    """The line to the node at ``addr`` broke, or it could not be reached: for this ``reason``, or
    still ("") for the last one. ``untrusted``: one of the two does not trust the other's
    certificate."""

    addr: str
    reason: str = ""
    untrusted: bool = False


@attrs.frozen
class Stop:
    """Stop cleanly: this node's tasks end within their grace periods; it stays a member."""


NodeInput = (
    Wake
    | FromPeer
    | Call
    | Together
    | Persisted
    | SnapshotSaved
    | KeysWrapped
    | FromExecutor
    | SessionBroken
    | Stop
)
