"""Every recorded refusal of services, tasks, nodes, secrets, configs and networks as a raw request.

The records are replayed in order against one swarm, so that what an earlier one made is there for a
later one. Compared are status and text, letter by letter but for ids; of what was accepted, the
status. What differs on purpose is in golden/differences.py.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from golden.differences import DIFFERENCES, Difference
from pyswarm.api.hosting import NEVER_JOINED, WORKER, HostState, HostStatus, NoManager, SwarmLocked
from pyswarm.errors import Unavailable
from pyswarm.node.manager import NO_LEADER
from unit.api.door import SELF, Door
from unit.node.desk import Desk

RECORDS = Path(__file__).parents[2] / "golden" / "errors.jsonl"
PATHS = ("/services", "/tasks", "/nodes", "/secrets", "/configs", "/networks")
PATH = re.compile(r"/v1\.41(/\w+)")
SIZE = re.compile(r"size (\d+)")
VERSION = re.compile(r"version=(\d+)")
NODES = {  # recorded id → whether it was a manager
    SELF: True,
    "rtdmdqo32hhvybbws9umebxkt": True,
    "7pb7e42o6atc5np8gtz6y7el7": True,
    "63c9tkm17tc4k25lmuajigeo6": True,
    "wc0hq2zot5uk2zxgwqup6xbty": False,
}
_id = re.compile(r"\b[0-9a-z]{25}\b")


def records(*states: str) -> list[Any]:
    found = []
    for line in RECORDS.read_text().splitlines():
        one = json.loads(line)
        path = PATH.match(one["path"])
        is_log = "/logs" in one["path"]  # runtime's own: streams
        if path is not None and path[1] in PATHS and one["state"] in states and not is_log:
            found.append(one)
    assert found
    return found


class Replay:
    """One swarm, and what recorded ids and versions stand for in it."""

    def __init__(self) -> None:
        desk = Desk()
        for number, (node, is_manager) in enumerate(NODES.items(), 1):
            desk.node(node, manager=number if is_manager else 0)
        self.door = Door(desk)
        self.door.post("/networks/create", {"Name": "my-network", "Driver": "overlay"})
        self.door.post("/configs/create", {"Name": "a" * 64, "Data": "eA=="})
        self.ids: dict[str, str] = {}
        self.stale: dict[str, dict[str, int]] = {}

    def answer(self, record: Any) -> tuple[int, Any]:
        if record["case"] == "secret rm: in use":
            self._use_both()
        if record["case"] == "secret rm: ok":
            self.door.get("/services/user1", "DELETE")
        target = self._id(self._version(record))
        body = record["body"]
        if size := SIZE.search(record["case"]):  # recorded without the most of it
            name = re.search(r'"Name": "(\w+)"', body)
            assert name is not None
            body = {"Name": name[1], "Data": b64encode(b"a" * int(size[1])).decode()}
        elif body is not None:
            body = json.loads(self._id(json.dumps(body)))
        answer = self.door.request(record["method"], target, body)
        said = json.loads(answer.body) if answer.body else ""
        recorded = record["response"]
        if answer.status == 201 and isinstance(recorded, dict):
            key = "ID" if "ID" in said else "Id"
            self.ids[str(recorded.get(key))] = said[key]
            if record["path"].endswith("/services/create") and body.get("Name") == "e1":
                self.door.request("DELETE", f"/v1.41/services/{said[key]}")  # as it was recorded
        return answer.status, said

    def _use_both(self) -> None:
        ids = {one: self.door.get(f"/{one}s/e{one[0]}1")["ID"] for one in ("secret", "config")}
        file = {"Name": "x", "UID": "0", "GID": "0", "Mode": 0o444}
        container = {
            "Image": "busybox",
            "Secrets": [{"File": file, "SecretID": ids["secret"], "SecretName": "es1"}],
            "Configs": [{"File": file, "ConfigID": ids["config"], "ConfigName": "ec1"}],
        }
        self.door.post(
            "/services/create", {"Name": "user1", "TaskTemplate": {"ContainerSpec": container}}
        )

    def _id(self, text: str) -> str:
        return _id.sub(lambda match: self.ids.get(match[0], match[0]), text)

    def _version(self, record: Any) -> str:
        """A recorded version is the current one at its first use, and stale ever after."""
        path: str = record["path"]
        found = VERSION.search(path)
        if found is None:
            return path
        kind, reference = path.split("/")[2:4]
        obj = self.door.desk.store.get(kind.removesuffix("s"), self.ids.get(reference, reference))
        if obj is None:
            return path
        known, given = self.stale.setdefault(reference, {}), found[1]
        if "stale version" in record["case"] or record["case"] == "configs update: stale":
            version = obj.version - 1
        elif "future version" in record["case"]:
            version = obj.version + 1000
        else:
            version = known.setdefault(given, obj.version)
            if "same version again" in record["case"]:
                version -= 1
        return VERSION.sub(f"version={version}", path)


def difference(case: str) -> Difference | None:
    return next((one for one in DIFFERENCES if re.fullmatch(one.case, case)), None)


def without_ids(value: Any) -> Any:
    return _id.sub("ID", value["message"]) if isinstance(value, dict) and value else value


def problems(wanted: list[Any], answer: Any) -> list[str]:
    found = []
    for record in wanted:
        status, said = answer(record)
        meant = difference(record["case"])
        if meant is not None:
            expected: Any = (meant.status, meant.text if meant.status >= 400 else "")
        else:
            text = without_ids(record["response"]) if record["status"] >= 400 else ""
            expected = (record["status"], text)
        got = (status, without_ids(said) if status >= 400 else "")
        if got != expected:
            found.append(f"{record['case']}: {got}, not {expected}")
    return found


def test_on_a_manager() -> None:
    wanted = records("leader of healthy swarm", "node-4 is a ready worker", "single manager")
    assert len(wanted) > 150
    assert problems(wanted, Replay().answer) == []


@pytest.mark.parametrize(
    ("state", "refusal"),
    [
        ("node is not part of a swarm", NoManager(NEVER_JOINED)),
        ("worker of healthy swarm", NoManager(WORKER)),
        ("locked manager", SwarmLocked()),
        ("1 of 3 managers alive", Unavailable(NO_LEADER, details={"managers": 3})),
    ],
)
def test_where_the_swarm_cannot_be_asked(state: str, refusal: Any) -> None:
    door = Door(refusal=refusal)
    door.status = HostStatus(
        state=HostState.ACTIVE if "worker" in state else HostState.INACTIVE, node_id=SELF
    )

    def answer(record: Any) -> tuple[int, Any]:
        got = door.request(record["method"], record["path"], record["body"])
        return got.status, json.loads(got.body) if got.body else ""

    assert problems(records(state), answer) == []


@pytest.mark.parametrize("one", DIFFERENCES, ids=lambda one: one.case)
def test_every_difference_is_about_a_record(one: Difference) -> None:
    cases = [json.loads(line)["case"] for line in RECORDS.read_text().splitlines()]
    assert any(re.fullmatch(one.case, case) for case in cases)
    assert one.reason
