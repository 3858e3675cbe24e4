"""What a node must remember of itself: who it is, and where its managers are.

Kept as the blob ``node`` beside the log; written by the node whenever one of these facts changes.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.model import Identity
from pyswarm.model.session import ManagerAddress
from pyswarm.model.states import Role

RECORD = "node"
"""Name of the blob."""
RECORD_FORMAT = 1


@attrs.frozen
class NodeRecord:
    """A node's own record. ``member_id`` 0: it has no seat in the log (any more)."""

    identity: Identity
    addr: str
    member_id: int = 0
    epoch: int = 0
    incarnation: int = 0
    managers: tuple[ManagerAddress, ...] = ()

    def to_bytes(self) -> bytes:
        """The record as JSON."""
        return json.dumps(
            {
                "format": RECORD_FORMAT,
                "node_id": self.identity.node_id,
                "role": str(self.identity.role),
                "swarm_id": self.identity.swarm_id,
                "addr": self.addr,
                "member_id": self.member_id,
                "epoch": self.epoch,
                "incarnation": self.incarnation,
                "managers": [[one.node_id, one.addr] for one in self.managers],
            }
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> NodeRecord:
        """Read it back; raises ``InvalidArgument`` for anything else."""
        try:
            raw: dict[str, Any] = json.loads(data)
            if raw["format"] != RECORD_FORMAT:
                raise InvalidArgument(
                    f"node record has format {raw['format']}, this version reads {RECORD_FORMAT}"
                )
            return cls(
                identity=Identity(raw["node_id"], Role[raw["role"].upper()], raw["swarm_id"]),
                addr=raw["addr"],
                member_id=raw["member_id"],
                epoch=raw["epoch"],
                incarnation=raw["incarnation"],
                managers=tuple(ManagerAddress(*one) for one in raw["managers"]),
            )
        except (ValueError, KeyError, TypeError) as problem:
            raise InvalidArgument(f"node record cannot be read: {problem}") from None
