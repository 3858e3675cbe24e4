"""What a node asks of the world: data, each with its addressee.

The addressees: another node (``SendTo``), the disk (``PersistLog``, ``SaveSnapshot``, ``SaveBlob``,
``DropLog``, ``WrapKeys``), the executor
(the agent's ``Perform``), the caller (``Reply``), whoever watches (``Published``), the log
(``Observed``). All but ``Reply`` may be repeated; only ``Reply`` may be lost.
"""

from __future__ import annotations

from typing import Any

import attrs

from pyswarm.errors import SwarmError
from pyswarm.machine import Effect
from pyswarm.raft import Ready, Snapshot
from pyswarm.store import Commit


@attrs.frozen
class SendTo(Effect):
    """Bring ``message`` to a node; it may get lost, late or twice. ``addr`` is where it listens."""

    node_id: str
    addr: str
    message: Any


@attrs.frozen
class PersistLog(Effect):
    """Write what ``ready`` says, in the order of these effects; then give back ``Persisted``.

    ``seat`` is the member whose log it is: a node may lose its seat and get another one while the
    disk still answers for the first.
    """

    ready: Ready
    seat: int


@attrs.frozen
class SaveSnapshot(Effect):
    """Write ``snapshot`` ahead, between the log's writes; then give back ``SnapshotSaved``. It
    counts from the ``PersistLog`` that brings it again; ``keep_old`` snapshots before it stay."""

    snapshot: Snapshot
    seat: int
    keep_old: int = 0


@attrs.frozen
class WrapKeys(Effect):
    """Wrap the keys of this node's disk by ``unlock_key`` (empty: leave them in clear), which the
    swarm's object of ``version`` says; then give back ``KeysWrapped``. Version 0: the node has no
    seat, so nothing is wrapped whatever was before."""

    unlock_key: bytes = attrs.field(repr=False)
    version: int


@attrs.frozen
class SaveBlob(Effect):
    """Keep ``data`` under ``name`` in the node's own state; None forgets it."""

    name: str
    data: bytes | None = attrs.field(repr=False)


@attrs.frozen
class DropLog(Effect):
    """This member left the log for good: forget it on disk, so that it cannot come back."""


@attrs.frozen
class Reply(Effect):
    """Answer to the ``Call`` with this token."""

    token: int
    value: Any = None
    error: SwarmError | None = None


@attrs.frozen
class Published(Effect):
    """``commit`` is installed on this member: watchers may look. Its changes are empty after a
    snapshot replaced the whole store (``restored``)."""

    commit: Commit | None
    restored: bool = False


@attrs.frozen
class Observed(Effect):
    """Something worth a log line or a metric: an event's name and its fields (see docs/logging)."""

    event: str
    fields: dict[str, Any] = attrs.field(factory=dict)
    level: str = "info"


@attrs.frozen
class Halted(Effect):
    """The node has stopped by its own decision (``reason``): left, removed, failed, stopped."""

    reason: str
    error: SwarmError | None = None
