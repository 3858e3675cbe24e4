"""Recorded refusals as raw requests over a daemon's socket: outside a swarm, as a worker, locked.

Those of a healthy manager are replayed on the handlers (tests/unit/api).
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recorded.daemons import Daemons
from recorded.normal import normal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="daemons run on Linux")

RECORDS = Path(__file__).parents[1] / "golden" / "errors.jsonl"
PATIENCE_S = 60.0
JSON = {"Content-Type": "application/json"}


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


@pytest.fixture(scope="module")
def daemons() -> Iterator[Daemons]:
    folder = Path(tempfile.mkdtemp(prefix="pyswarm-"))  # a short path: sockets' are
    found = Daemons(folder)
    try:
        yield found
    finally:
        found.stop_all()
        shutil.rmtree(folder)


def init(path: Path, host: str, **more: Any) -> None:
    body = {"ListenAddr": f"{host}:0", "AdvertiseAddr": host, **more}
    assert ask(path, "POST", "/swarm/init", body)[0] == 200


def compare(path: Path, state: str) -> int:
    """Make the requests recorded in a state; how many there were, all answered the same."""
    agreed, differing = 0, []
    for line in RECORDS.read_text().splitlines():
        one = json.loads(line)
        if one["state"] != state or one["status"] < 300 or "RemoteAddrs" in str(one["body"]):
            continue
        status, answer = ask(path, one["method"], one["path"], one["body"])
        same = status == one["status"] and normal(str(answer)) == normal(str(one["response"]))
        agreed += same
        if not same:
            differing.append((one["case"], one["status"], one["response"], status, answer))
    assert not differing
    return agreed


def test_outside_a_swarm(daemons: Daemons) -> None:
    assert compare(daemons.socket("n1"), "node is not part of a swarm") >= 20


def test_on_a_worker(daemons: Daemons) -> None:
    manager, worker = daemons.socket("n2"), daemons.socket("n3")
    init(manager, "127.0.0.2")
    token = ask(manager, "GET", "/swarm")[1]["JoinTokens"]["Worker"]
    addr = ask(manager, "GET", "/info")[1]["Swarm"]["RemoteManagers"][0]["Addr"]
    body = {"ListenAddr": "127.0.0.3:0", "AdvertiseAddr": "127.0.0.3", "RemoteAddrs": [addr]}
    assert ask(worker, "POST", "/swarm/join", {**body, "JoinToken": token})[0] == 200
    assert compare(worker, "worker of healthy swarm") >= 12


def test_locked(daemons: Daemons) -> None:
    init(daemons.socket("n4"), "127.0.0.4", Spec={"EncryptionConfig": {"AutoLockManagers": True}})
    daemons.kill("n4")
    assert compare(daemons.socket("n4"), "locked manager") >= 10
