"""Recorded refusals as raw requests over sockets of real daemons, in every state of a node.

One story, since starting processes is what costs: four daemons outside a swarm, three managers and
a worker, one manager of three that is left, that one begun anew, and locked. The same records are
replayed in memory by tests/unit/api.
"""

from __future__ import annotations

import functools
import http.client
import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recorded.daemons import Daemons
from recorded.player import REGISTRY
from recorded.registry import Registries
from recorded.replay import Ask, Replay, problems, records
from recorded.script import WORKER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="daemons run on Linux")

PATIENCE_S = 60.0
JSON = {"Content-Type": "application/json"}
HOSTS = {"n1": "127.0.0.1", "n2": "127.0.0.2", "n3": "127.0.0.3", "n4": "127.0.0.4"}
RECORDED = {  # who the recorded nodes are here; n2 leads
    "h7x8vzgl1229e6lmu406qc7km": "n2",
    "rtdmdqo32hhvybbws9umebxkt": "n3",
    "7pb7e42o6atc5np8gtz6y7el7": "n4",
    "wc0hq2zot5uk2zxgwqup6xbty": "n1",
}
LAST_MANAGER = "63c9tkm17tc4k25lmuajigeo6"
NO_LEADER = "rpc error: code = Unknown desc = The swarm does not have a leader."


class Connection(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(self._path))


def ask(path: Path, method: str, target: str, body: Any = None) -> tuple[int, Any]:
    """Status, and the decoded answer."""
    connection = Connection(path)
    try:
        text = body if isinstance(body, str | None) else json.dumps(body)
        connection.request(method, target, text, JSON if text else {})
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(data) if data.strip() else None


def eventually(question: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def daemons() -> Iterator[Daemons]:
    folder = Path(tempfile.mkdtemp(prefix="pyswarm-"))  # a short path: sockets' are
    found = Daemons(folder)
    try:
        yield found
    finally:
        found.stop_all()
        shutil.rmtree(folder)


class Story:
    """The daemons, and what they are asked."""

    def __init__(self, daemons: Daemons) -> None:
        self.daemons = daemons

    def of(self, node: str) -> Ask:
        return functools.partial(ask, self.daemons.socket(node))

    def get(self, node: str, target: str) -> Any:
        status, said = self.of(node)("GET", target, None)
        assert status == 200, said
        return said

    def replay(self, node: str, state: str) -> None:
        """Make the requests of a state as they are."""
        asked = self.of(node)
        wanted = records(state)
        assert problems(wanted, lambda one: asked(one["method"], one["path"], one["body"])) == []

    def addr(self) -> str:
        """Where the leader is."""
        found: str = self.get("n2", "/info")["Swarm"]["RemoteManagers"][0]["Addr"]
        return found

    def token(self, role: str) -> str:
        found: str = self.get("n2", "/swarm")["JoinTokens"][role]
        return found

    def init(self, **more: Any) -> None:
        body = {"ListenAddr": "127.0.0.2:0", "AdvertiseAddr": "127.0.0.2", **more}
        assert self.of("n2")("POST", "/swarm/init", body)[0] == 200

    def join(self, node: str, role: str) -> None:
        host = HOSTS[node]
        body = {"ListenAddr": f"{host}:0", "AdvertiseAddr": host, "RemoteAddrs": [self.addr()]}
        joined = self.of(node)("POST", "/swarm/join", {**body, "JoinToken": self.token(role)})
        assert joined[0] == 200, joined

    def ready(self) -> frozenset[str]:
        """The ids of the nodes that are there."""
        nodes = self.get("n2", "/nodes")
        return frozenset(one["ID"] for one in nodes if one["Status"]["State"] == "ready")

    def node_id(self, node: str) -> str:
        found: str = self.get(node, "/info")["Swarm"]["NodeID"]
        return found


def test_recorded_refusals(daemons: Daemons) -> None:
    story = Story(daemons)
    outside(story)
    story.init()
    joining(story)
    story.join("n3", "Manager")
    story.join("n4", "Manager")
    story.join("n1", "Worker")
    story.replay("n1", "worker of healthy swarm")
    led(story)
    asking_a_registry(story)
    without_quorum(story)
    begun_anew(story)
    locked(story)


def outside(story: Story) -> None:
    """Where init succeeds, the node leaves again."""
    asked = story.of("n2")

    def answer(record: Any) -> tuple[int, Any]:
        body = record["body"]
        if isinstance(body, dict) and body.get("ListenAddr"):
            body = {**body, "ListenAddr": "127.0.0.2:0"}
            if body.get("AdvertiseAddr") == "10.99.0.11":
                body["AdvertiseAddr"] = "127.0.0.2"
        status, said = asked(record["method"], record["path"], body)
        if status == 200:
            assert asked("POST", "/swarm/leave?force=1", None)[0] == 200
        return status, said

    assert problems(records("node is not part of a swarm"), answer) == []


def joining(story: Story) -> None:
    """Joins that are refused, and one that Docker takes."""
    asked, addr, token = story.of("n1"), story.addr(), story.token("Worker")
    digest, secret = WORKER.split("-")[2:]

    def answer(record: Any) -> tuple[int, Any]:
        body = {**record["body"]}
        if body["ListenAddr"]:
            body["ListenAddr"] = "127.0.0.1:0"
        body["RemoteAddrs"] = [addr for _ in body["RemoteAddrs"]]
        if body["JoinToken"]:
            body["JoinToken"] = _altered(token, body["JoinToken"], digest, secret)
        status, said = asked(record["method"], record["path"], body)
        if status == 200:
            assert asked("POST", "/swarm/leave", None)[0] == 200
        return status, said

    assert problems(records("inactive node; n1 is leader"), answer) == []


def _altered(token: str, recorded: str, digest: str, secret: str) -> str:
    """Our token, wrong in the part in which the recorded one is."""
    ours = token.split("-")
    for number, right in ((2, digest), (3, secret)):
        if recorded.split("-")[number] != right:
            part = ours[number]
            ours[number] = part[:3] + ("0" if part[3] != "0" else "1") + part[4:]
    return "-".join(ours)


def led(story: Story) -> None:
    """Three managers and a worker, all of them there."""
    ids = {recorded: story.node_id(node) for recorded, node in RECORDED.items()}
    eventually(lambda: story.ready().issuperset(ids.values()))
    found = Replay(story.of("n2"), ids)
    found.prepare()
    wanted = records("leader of healthy swarm", "node-4 is a ready worker", "3 managers")
    assert problems(wanted, found.answer) == []


def asking_a_registry(story: Story) -> None:
    """One that wants a password."""
    recorded = records("local registry, basic auth")
    moved = json.loads(json.dumps(recorded).replace("127.0.0.1:5001", f"{REGISTRY}:5001"))
    asked, registries = story.of("n2"), Registries(REGISTRY)
    try:
        found = problems(moved, lambda one: asked(one["method"], one["path"], one["body"]))
    finally:
        registries.close()
    assert found == []


def without_quorum(story: Story) -> None:
    """Two of three managers are gone; tasks run on."""
    mode = {"Replicated": {"Replicas": 1}}
    task = {
        "ContainerSpec": {"Image": "busybox", "Args": ["sleep", "100000"]},
        "Placement": {"Constraints": ["node.hostname==node-2"]},
    }
    spec = {"Name": "on", "TaskTemplate": task, "Mode": mode}
    assert story.of("n2")("POST", "/services/create", spec)[0] == 201
    eventually(lambda: story.get("n2", "/containers/json"))
    runs = story.get("n2", "/containers/json")
    for node in ("n3", "n4"):
        story.daemons.kill(node)
    eventually(lambda: NO_LEADER in str(story.of("n2")("GET", "/nodes", None)[1]))
    story.replay("n2", "1 of 3 managers alive")
    swarm = story.get("n2", "/info")["Swarm"]
    assert (swarm["LocalNodeState"], swarm["ControlAvailable"]) == ("active", True)
    assert swarm["Error"].startswith(NO_LEADER)
    assert story.get("n2", "/containers/json")[0]["Id"] == runs[0]["Id"]


def begun_anew(story: Story) -> None:
    """What is left is a swarm again, with this manager alone."""
    story.init(ForceNewCluster=True)
    managers = story.get("n2", '/nodes?filters={"role":["manager"]}')
    assert [one["Status"]["State"] for one in managers if one.get("ManagerStatus")] == ["ready"]
    replay = Replay(story.of("n2"), {LAST_MANAGER: story.node_id("n2")})
    assert problems(records("single manager"), replay.answer) == []


def locked(story: Story) -> None:
    """Locked, and started again."""
    swarm = story.get("n2", "/swarm")
    spec = {**swarm["Spec"], "EncryptionConfig": {"AutoLockManagers": True}}
    target = f"/swarm/update?version={swarm['Version']['Index']}"
    assert story.of("n2")("POST", target, spec)[0] == 200
    story.daemons.kill("n2")
    story.replay("n2", "locked manager")
