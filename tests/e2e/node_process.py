"""One node as an OS process, driven by lines of JSON: for tests that kill it.

``python node_process.py STATE_DIR LISTEN_ADDR [REMOTE TOKEN]`` founds a swarm, joins one, or starts
the node again that is in the directory. Each line on standard input is a command, each answer one
line on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from pyswarm import Cluster
from pyswarm.errors import SwarmError
from pyswarm.runtime import TlsNetwork
from swarms import executor


def say(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


async def obey(cluster: Cluster, command: str, argument: str) -> dict[str, Any]:
    match command:
        case "token":
            return {"token": await cluster.join_token(argument)}
        case "create":
            await cluster.services.create(argument, image="sleeper", replicas=3)
            return {}
        case "ensure":
            if argument not in [service.name for service in await cluster.services.list()]:
                await cluster.services.create(argument, image="sleeper", replicas=3)
            return {}
        case "running":
            service = await cluster.services.get(argument)
            return {"nodes": sorted(task.node_id for task in await service.running())}
        case "states":
            return {node.id: str(node.state) for node in await cluster.nodes.list()}
        case "leads":
            return {"leads": cluster.is_leader}
        case "refused":
            endpoint = cluster._member.node.endpoint
            return dict(endpoint.refused)  # type: ignore[attr-defined]
    raise AssertionError(command)


async def serve(cluster: Cluster) -> None:
    say(node_id=cluster.node_id, addr=cluster.addr, manager=cluster.is_manager)
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        command, _, argument = line.strip().partition(" ")
        began = time.monotonic()
        try:
            answer = await obey(cluster, command, argument)
        except SwarmError as error:
            answer = {"error": str(error), "code": error.code}
        say(**answer, took_s=time.monotonic() - began)


async def main(state_dir: str, listen: str, *join: str) -> None:
    options: dict[str, Any] = {
        "state_dir": state_dir,
        "listen_addr": listen,
        "network": TlsNetwork(),
        "executor": executor(),
        "name": listen.partition(":")[0],
    }
    if (Path(state_dir) / "state").exists():
        entered = Cluster.open(**options)
    elif join:
        entered = Cluster.join([join[0]], join[1], **options)
    else:
        entered = Cluster.init(**options)
    async with entered as cluster:
        await serve(cluster)


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
