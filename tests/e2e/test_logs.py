"""Logs of services on other nodes: streams, order, and readers who take their time."""

from __future__ import annotations

import pytest
import trio

from pyswarm.errors import InvalidArgument
from pyswarm.runtime.front.logdesk import BATCH_LINES_MAX
from pyswarm.runtime.front.logs import BATCHES_AHEAD
from pyswarm.testing import LocalSwarm
from swarms import WAIT_S

MANY = 30_000


async def test_streams_tail_and_details() -> None:
    script = "echo out1; echo err1 >&2; echo out2; sleep 600 & wait"
    async with LocalSwarm(1, 1, executor="process") as swarm:
        cluster = swarm.managers[0]
        web = await cluster.services.create(
            "web", command=["/bin/sh", "-c", script], constraints=["node.role==worker"]
        )
        await web.wait_converged(timeout=WAIT_S)
        [task] = await web.running()
        with trio.fail_after(WAIT_S):
            seen = []
            async for line in task.logs(follow=True):
                seen.append(line)
                if len(seen) == 3:
                    break
        assert sorted(line.text for line in seen) == ["err1", "out1", "out2"]
        assert [line.text async for line in web.logs(stderr=False)] == ["out1", "out2"]
        assert [line.text async for line in web.logs(stdout=False)] == ["err1"]
        assert [line.text async for line in web.logs(tail=0)] == []
        assert len([line async for line in web.logs(tail=2)]) == 2
        assert [line async for line in web.logs(since=seen[-1].time + 1)] == []
        assert len([line async for line in web.logs(since="10m")]) == 3
        [line] = [line async for line in web.logs(stdout=False, details=True)]
        assert str(line).endswith(f"com.docker.swarm.task.id={task.id} err1")
        assert f"node.id={task.node_id}" in str(line)
        with pytest.raises(InvalidArgument, match="at least one stream"):
            web.logs(stdout=False, stderr=False)
        with pytest.raises(TypeError):
            web.logs(bogus=1)  # type: ignore[call-arg]


async def test_a_slow_reader_holds_nobody_up() -> None:
    """What it does not take stays in the task's log on its node; only a few batches are ahead."""
    script = f"i=0; while [ $i -lt {MANY} ]; do echo $i; i=$((i+1)); done; sleep 600 & wait"
    async with LocalSwarm(1, 1, executor="process") as swarm:
        cluster = swarm.managers[0]
        noisy = await cluster.services.create(
            "noisy", command=["/bin/sh", "-c", script], constraints=["node.role==worker"]
        )
        await noisy.wait_converged(timeout=WAIT_S)
        with trio.fail_after(WAIT_S):
            async with noisy.logs(follow=True) as lines:
                first = await anext(lines)
                assert first.text == "0"
                other = await cluster.services.create("other", command=["/bin/sleep", "600"])
                await other.wait_converged(timeout=WAIT_S)
                source = lines._source
                waiting = source._receive.statistics().current_buffer_used  # type: ignore[attr-defined]
                assert waiting <= BATCHES_AHEAD
                assert len(lines._items) < BATCH_LINES_MAX
                numbers = [int(first.text)]
                async for line in lines:
                    numbers.append(int(line.text))
                    if len(numbers) == MANY:
                        break
        assert numbers == list(range(MANY)), "every line, in order"
