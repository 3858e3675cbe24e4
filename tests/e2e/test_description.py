"""What a node says of itself, and says again when it has changed."""

from __future__ import annotations

import attrs
import pytest

from pyswarm.errors import Unavailable
from pyswarm.model import NodeDescription, Resources
from pyswarm.runtime.front import describing
from swarms import WAIT_S, executor, one_node, until


async def test_a_changed_description_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks run on; name and labels of the node stay, and its own labels are managers'."""
    monkeypatch.setattr(describing, "DESCRIBE_EVERY_S", 0.05)
    runs = executor()
    now = runs.describe()
    asked = 0

    def describe() -> NodeDescription:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Unavailable("busy just now")
        return now

    monkeypatch.setattr(runs, "describe", describe)
    async with one_node(executor=runs, labels={"rack": "1"}) as cluster:
        await cluster.node.label(zone="a")
        web = await cluster.services.create("web", image="sleeper")
        await web.wait_converged(timeout=WAIT_S)
        (before,) = await web.running()
        now = attrs.evolve(now, resources=Resources(nano_cpus=7, memory_bytes=7 << 30))

        def reported() -> NodeDescription:
            node = cluster._member.node.store.node(cluster.node_id)
            assert node is not None and node.description is not None
            return node.description

        await until(lambda: reported().resources.nano_cpus == 7)
        assert reported().hostname == "node-1"
        assert reported().engine_labels["rack"] == "1"
        assert cluster.node.labels == {"zone": "a"}
        (after,) = await web.running()
        assert after.id == before.id
