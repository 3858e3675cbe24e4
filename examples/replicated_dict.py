"""A dict on three processes that agree: kill -9 any one of them, and the others go on.

    python examples/replicated_dict.py 1 &     python examples/replicated_dict.py 2 &
    python examples/replicated_dict.py 3

Each reads commands from its terminal: `key=value` sets, `key` gets, on any of the three. Started
again, a member comes back from its directory (`--dir`, by default under the working directory).
"""

import argparse
import json

import trio

from pyswarm.errors import SwarmError
from pyswarm.runtime.raftnode import RaftNode, run_raft
from pyswarm.runtime.rafttransport import TcpTransport
from pyswarm.runtime.storage import FileDirectory, Identity


class ReplicatedDict(dict[str, str]):
    def apply(self, command: bytes) -> None:
        key, value = json.loads(command)
        self[key] = value

    def snapshot(self) -> bytes:
        return json.dumps(self).encode()

    def restore(self, data: bytes) -> None:
        self.clear()
        self.update(json.loads(data))


async def main(id: int, ports: list[int], directory: str) -> None:
    addresses = {number: f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
    disk = FileDirectory.open(f"{directory}/{id}")
    log = disk.log(Identity("replicated-dict", str(id)))
    data, transport = ReplicatedDict(), TcpTransport(addresses[id])
    async with run_raft(RaftNode(data, log, transport, id=id, founders=addresses)) as node:
        print("ready", flush=True)
        async for line in trio.wrap_file(open(0)):  # noqa: SIM115, ASYNC230
            key, equals, value = line.strip().partition("=")
            try:
                await (node.propose(json.dumps([key, value]).encode()) if equals else node.read())
                print(f"{key}={data.get(key)}", flush=True)
            except SwarmError as error:
                print(f"error: {error}", flush=True)
    await disk.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("id", type=int)
    parser.add_argument("--ports", type=int, nargs=3, default=[7001, 7002, 7003])
    parser.add_argument("--dir", default="replicated-dict")
    options = parser.parse_args()
    trio.run(main, options.id, options.ports, options.dir)
