"""Nodes: availability, role, labels, removal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.model import Availability, Node, NodeSpec, Role
from pyswarm.model.requests import RemoveNode, UpdateNode
from pyswarm.runtime.front.handles import Collection, Handle
from pyswarm.runtime.front.tasks import TaskHandle, Tasks


class NodeHandle(Handle[Node]):
    """One node of the swarm. ``name`` is its hostname."""

    kind = "node"

    @property
    def name(self) -> str:
        return self.value.hostname or self.value.id

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels that constraints see as ``node.labels.*``."""
        return self.value.spec.labels

    @property
    def availability(self) -> Availability:
        """Whether it takes tasks: active, pause or drain."""
        return self.value.spec.availability

    async def drain(self) -> None:
        """Move its tasks elsewhere, and give it no new ones."""
        await self.update(availability=Availability.DRAIN)

    async def pause(self) -> None:
        """Give it no new tasks; it keeps those it has."""
        await self.update(availability=Availability.PAUSE)

    async def activate(self) -> None:
        """Let it take tasks again. Nothing is moved back by itself."""
        await self.update(availability=Availability.ACTIVE)

    async def promote(self) -> None:
        """Make it a manager; it votes once it has caught up with the log."""
        await self.update(desired_role=Role.MANAGER)

    async def demote(self) -> None:
        """Make it a worker. Raises ``FailedPrecondition`` for the last manager."""
        await self.update(desired_role=Role.WORKER)

    async def label(self, **labels: str | None) -> None:
        """Set labels; None removes one. For names that are no Python names: ``label(**{...})``."""

        async def change(current: Node) -> UpdateNode:
            merged: dict[str, Any] = {**current.spec.labels, **labels}
            kept = {key: value for key, value in merged.items() if value is not None}
            spec = attrs.evolve(current.spec, labels=kept)
            return UpdateNode(current.id, current.version, spec)

        await self._change(change)

    async def update(self, **fields: Any) -> None:
        """Change fields of ``NodeSpec``: ``labels`` (all of them), ``availability``,
        ``desired_role``, ``name``. Raises ``InvalidArgument``, ``FailedPrecondition``."""

        async def change(current: Node) -> UpdateNode:
            return UpdateNode(current.id, current.version, changed_spec(current.spec, fields))

        await self._change(change)

    async def remove(self, *, force: bool = False) -> None:
        """Forget a node that is down (``force``: or not) and a worker. A node that is removed is
        refused from then on. Raises ``FailedPrecondition``."""
        await self._member.request(RemoveNode(self.id, force))

    async def tasks(self, **filters: Any) -> list[TaskHandle]:
        """The tasks given to this node, ended ones included; filters as in ``tasks.list``."""
        return await Tasks(self._member).list(node=self.id, **filters)


class Nodes(Collection[NodeHandle]):
    """``cluster.nodes``. Nodes are not created: they join (``Cluster.join``)."""

    handle = NodeHandle


def changed_spec(spec: NodeSpec, fields: Mapping[str, Any]) -> NodeSpec:
    """``spec`` with other values; an unknown field is refused by name."""
    known = [field.name for field in attrs.fields(NodeSpec)]
    for name in fields:
        if name not in known:
            raise InvalidArgument(f"a node has no '{name}' to change", hint=", ".join(known))
    return attrs.evolve(spec, **fields)
