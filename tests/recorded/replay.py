"""Recorded requests (golden/errors.jsonl) made again: whoever answers, over a socket or in memory.

They are made in order against one swarm, so that what an earlier one made is there for a later one.
Compared are status and text, letter by letter but for ids; of what was accepted, the status. What
differs on purpose is in golden/differences.py.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from golden.differences import DIFFERENCES, NOT_REPLAYED, Difference

RECORDS = Path(__file__).parents[1] / "golden" / "errors.jsonl"
SIZE = re.compile(r"size (\d+)")
VERSION = re.compile(r"version=(\d+)")
STALE = 1
"""The version of nothing that anybody updates."""

ID = re.compile(r"\b([0-9a-z]{25}|[0-9a-f]{64})\b")

Ask: TypeAlias = Callable[[str, str, Any], tuple[int, Any]]
"""``ask(method, target, body)``: status, and the decoded answer."""


def records(*states: str) -> list[Any]:
    """Those of some states, in their order."""
    found = [json.loads(line) for line in RECORDS.read_text().splitlines()]
    found = [one for one in found if one["state"] in states and one["case"] not in NOT_REPLAYED]
    assert found
    return found


def difference(record: Any) -> Difference | None:
    """Whether it is answered otherwise on purpose."""
    case, body = record["case"], json.dumps(record["body"])
    found = (one for one in DIFFERENCES if re.fullmatch(one.case, case) and one.body in body)
    return next(found, None)


def without_ids(value: Any) -> Any:
    return ID.sub("ID", value["message"]) if isinstance(value, dict) and value else value


def problems(wanted: Sequence[Any], answer: Callable[[Any], tuple[int, Any]]) -> list[str]:
    """Where ``answer(record)`` is not what was recorded."""
    found = []
    for record in wanted:
        status, said = answer(record)
        meant = difference(record)
        if meant is not None:
            expected: Any = (meant.status, meant.text if meant.status >= 400 else "")
        else:
            text = without_ids(record["response"]) if record["status"] >= 400 else ""
            expected = (record["status"], text)
        got = (status, without_ids(said) if status >= 400 else "")
        if got != expected:
            found.append(f"{record['case']}: {got}, not {expected}")
    return found


class Replay:
    """One swarm, and what recorded ids and versions stand for in it."""

    def __init__(self, ask: Ask, ids: Mapping[str, str] | None = None) -> None:
        self._ask = ask
        self._ids = dict(ids or {})
        self._known: dict[str, dict[str, int]] = {}

    def prepare(self) -> None:
        """What was there before the first record."""
        self._make("/networks/create", {"Name": "my-network", "Driver": "overlay"})
        self._make("/configs/create", {"Name": "a" * 64, "Data": "eA=="})

    def answer(self, record: Any) -> tuple[int, Any]:
        """Status and answer of one recorded request."""
        if record["case"] == "secret rm: in use":
            self._use_both()
        if record["case"] == "secret rm: ok":
            self._ask("DELETE", "/v1.41/services/user1", None)
        target = self._id(self._version(record))
        body = record["body"]
        if size := SIZE.search(record["case"]):  # recorded without the most of it
            name = re.search(r'"Name": "(\w+)"', body)
            assert name is not None
            body = {"Name": name[1], "Data": b64encode(b"a" * int(size[1])).decode()}
        elif body is not None:
            body = json.loads(self._id(json.dumps(body)))
        status, said = self._ask(record["method"], target, body)
        recorded = record["response"]
        if status == 201 and isinstance(recorded, dict):
            key = "ID" if "ID" in said else "Id"
            self._ids[str(recorded.get(key))] = said[key]
            if record["path"].endswith("/services/create") and body.get("Name") == "e1":
                self._ask("DELETE", f"/v1.41/services/{said[key]}", None)  # as it was recorded
        return status, said

    def _make(self, path: str, body: Any) -> None:
        status, said = self._ask("POST", f"/v1.41{path}", body)
        assert status == 201, said

    def _use_both(self) -> None:
        ids = {
            one: self._ask("GET", f"/v1.41/{one}s/e{one[0]}1", None)[1]["ID"]
            for one in ("secret", "config")
        }
        file = {"Name": "x", "UID": "0", "GID": "0", "Mode": 0o444}
        container = {
            "Image": "busybox",
            "Secrets": [{"File": file, "SecretID": ids["secret"], "SecretName": "es1"}],
            "Configs": [{"File": file, "ConfigID": ids["config"], "ConfigName": "ec1"}],
        }
        template = {"ContainerSpec": container}
        none = {"Replicated": {"Replicas": 0}}
        self._make("/services/create", {"Name": "user1", "TaskTemplate": template, "Mode": none})

    def _id(self, text: str) -> str:
        return ID.sub(lambda match: self._ids.get(match[0], match[0]), text)

    def _version(self, record: Any) -> str:
        """A recorded version is the current one at its first use, and stale ever after."""
        path, case = record["path"], record["case"]
        found = VERSION.search(path)
        if found is None:
            return str(path)
        reference = path.partition("/update")[0]
        status, said = self._ask("GET", self._id(reference), None)
        if status != 200:
            return str(path)
        known, now = self._known.setdefault(reference, {}), said["Version"]["Index"]
        if "stale" in case or "same version again" in case:
            version = STALE
        elif "future version" in case:
            version = now + 1000
        elif reference == "/v1.41/swarm":
            version = STALE if record["status"] == 500 else now
        else:
            version = known.setdefault(found[1], now)
        return VERSION.sub(f"version={version}", path)
