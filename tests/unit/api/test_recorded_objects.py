"""Every recorded refusal of services, tasks, nodes, secrets, configs and networks, in memory.

Over sockets they are made again in tests/recorded/test_errors.py; here a failure is quickly found.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from golden.differences import DIFFERENCES, Difference
from pyswarm.api.hosting import NEVER_JOINED, WORKER, HostState, HostStatus, NoManager, SwarmLocked
from pyswarm.api.local import OnNetworks
from pyswarm.errors import Unavailable
from pyswarm.model import Node
from pyswarm.node.manager import NO_LEADER
from recorded import replay
from recorded.replay import RECORDS, Replay, problems
from unit.api.door import SELF, Door
from unit.node.desk import Desk

PATHS = ("/services", "/tasks", "/nodes", "/secrets", "/configs", "/networks")
PATH = re.compile(r"/v1\.41(/\w+)")
NODES = {  # recorded id → whether it was a manager
    SELF: True,
    "rtdmdqo32hhvybbws9umebxkt": True,
    "7pb7e42o6atc5np8gtz6y7el7": True,
    "63c9tkm17tc4k25lmuajigeo6": True,
    "wc0hq2zot5uk2zxgwqup6xbty": False,
}


def records(*states: str) -> list[Any]:
    """Those of objects, without logs (streams are runtime's own)."""
    found = []
    for one in replay.records(*states):
        path = PATH.match(one["path"])
        if path is not None and path[1] in PATHS and "/logs" not in one["path"]:
            found.append(one)
    return found


def asking(door: Door) -> replay.Ask:
    def ask(method: str, target: str, body: Any) -> tuple[int, Any]:
        answer = door.request(method, target, body)
        return answer.status, json.loads(answer.body) if answer.body else ""

    return ask


def test_on_a_manager() -> None:
    desk = Desk()
    for number, (node, is_manager) in enumerate(NODES.items(), 1):
        desk.node(node, manager=number if is_manager else 0)
    wanted = records("leader of healthy swarm", "node-4 is a ready worker", "single manager")
    assert len(wanted) > 150
    found = Replay(asking(Door(desk)))
    found.prepare()
    assert problems(wanted, found.answer) == []


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

    node = door.desk.store.node(SELF) or Node(SELF)
    door.on = OnNetworks(node, tuple(door.desk.store.networks()))
    ask = asking(door)
    wanted = records(state)
    assert wanted
    assert problems(wanted, lambda one: ask(one["method"], one["path"], one["body"])) == []


@pytest.mark.parametrize("one", DIFFERENCES, ids=lambda one: one.case)
def test_every_difference_is_about_a_record(one: Difference) -> None:
    cases = [json.loads(line)["case"] for line in RECORDS.read_text().splitlines()]
    assert any(re.fullmatch(one.case, case) for case in cases)
    assert one.reason
