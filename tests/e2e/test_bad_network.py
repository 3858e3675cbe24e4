"""Three managers and a worker in network namespaces: every fifth frame is lost, and then the leader
is cut off."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from e2e.test_processes import Process, started
from e2e.wire_switch import Switch, namespaces
from swarms import WAIT_S, until

LOSS = 0.2
PORT = 2377
LONG_S = 2 * WAIT_S
"""Lost segments are sent again by the kernel: after 0.2 s, 0.4 s, 0.8 s …"""


@pytest.fixture
def network() -> Iterator[tuple[Switch, list[str]]]:
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need Linux, root and iproute2")
    made = namespaces(4)
    try:
        found = made.__enter__()
    except (OSError, subprocess.CalledProcessError) as problem:
        pytest.skip(f"no network namespaces here: {problem}")
    try:
        yield found
    finally:
        made.__exit__(None, None, None)


async def start(
    nursery: trio.Nursery, namespace: str, state_dir: Path, listen: str, *join: str
) -> Process:
    """A node in a namespace."""
    return await started(nursery, ["ip", "netns", "exec", namespace], state_dir, listen, *join)


async def test_a_leader_is_cut_off_in_a_network_that_loses_every_fifth_frame(
    network: tuple[Switch, list[str]], tmp_path: Path
) -> None:
    switch, names = network
    async with trio.open_nursery() as nursery:
        nodes: dict[int, Process] = {}

        async def begin(number: int, *join: str) -> None:
            listen = f"10.77.0.{number}:{PORT}"
            directory = tmp_path / str(number)
            nodes[number] = await start(nursery, names[number - 1], directory, listen, *join)

        await begin(1)
        async with trio.open_nursery() as joining:
            for number, role in ((2, "manager"), (3, "manager"), (4, "worker")):
                token = (await nodes[1].ask(f"token {role}"))["token"]
                joining.start_soon(begin, number, nodes[1].addr, token)

        switch.loss = LOSS
        await create(nodes[2], "lossy")
        await until(partial(runs, nodes[3], "lossy", 3), LONG_S)
        lost_before = switch.lost
        assert lost_before > 0

        leads = [number for number in (1, 2, 3) if (await nodes[number].ask("leads"))["leads"]]
        cut_off = leads[0] if leads else 1
        others = [nodes[number] for number in (1, 2, 3) if number != cut_off]
        switch.apart = frozenset({cut_off})
        await create(others[0], "meanwhile")
        assert switch.cut > 0 and switch.lost > lost_before

        switch.apart, switch.loss = frozenset(), 0.0
        back = nodes[cut_off]
        await until(partial(runs, back, "meanwhile", 3), LONG_S)
        await until(partial(runs, back, "lossy", 3), LONG_S)
        await until(partial(all_ready, back), LONG_S)
        nursery.cancel_scope.cancel()


async def answer(node: Process, command: str) -> dict[str, Any]:
    """Also while an election is on: then it is empty."""
    assert node._process.stdin is not None
    await node._process.stdin.send_all(command.encode() + b"\n")
    found = await node.answer()
    assert found.get("code", "unavailable") in ("unavailable", "deadline_exceeded"), found
    return {} if "error" in found else found


async def create(node: Process, service: str) -> None:
    """Ask again until it is there: what became of a lost answer's request nobody knows."""

    async def is_there() -> bool:
        return bool(await answer(node, f"ensure {service}"))

    await until(is_there, LONG_S)


async def runs(node: Process, service: str, replicas: int) -> bool:
    return len((await answer(node, f"running {service}")).get("nodes", ())) == replicas


async def all_ready(node: Process) -> bool:
    states = await answer(node, "states")
    states.pop("took_s", None)
    return list(states.values()) == ["ready"] * 4
