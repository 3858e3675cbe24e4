"""Attaching to a task, its processes, what it uses, its end: what is asked for, and the shapes."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from api_talks import talk, told
from pyswarm.agent import LogLine
from pyswarm.api.asks import AwaitEnd, Local, LogsMissing, Read, ReadLocalLogs, WatchUsage
from pyswarm.api.facts import Facts
from pyswarm.api.local import Container, Containers, LogWish, Processes, Sample
from pyswarm.api.logs import MULTIPLEXED, RAW
from pyswarm.api.messages import Response, Streamed
from pyswarm.errors import Unavailable
from pyswarm.model import (
    ContainerSpec,
    Limits,
    LogDriver,
    ResourceRequirements,
    Task,
    TaskSpec,
    TaskState,
    replace,
)

NOW = 1_000_000.0
TABLE = Processes(("UID", "PID", "CMD"), (("root", "7", "sleep 9"),))


def container(id: str, *, tty: bool = False, state: TaskState = TaskState.RUNNING) -> Container:
    limits = Limits(memory_bytes=1 << 20)
    spec = TaskSpec(ContainerSpec(image="x", tty=tty), resources=ResourceRequirements(limits))
    return Container(task=Task(id, "s", spec, slot=1, service_name="web", state=state), node_id="n")


LINES, TTY = container("t1"), container("t2", tty=True)
ENDED = container("t3", state=TaskState.FAILED)
SILENT = attrs.evolve(LINES, task=replace(LINES.task, id="t4", log_driver=LogDriver("none")))
HERE = Containers(NOW, (LINES, TTY, ENDED, SILENT))


def ask(method: str, target: str) -> tuple[Response | Streamed, list[Any]]:
    answers = {
        "containers": HERE,
        "processes": TABLE,
        "facts": Facts(cpus=2, memory=4 << 30),
        Read: Unavailable("no manager"),
    }
    return talk(method, target, None, answers)


def streamed(method: str, target: str) -> Streamed:
    answer, _ = ask(method, target)
    assert isinstance(answer, Streamed)
    return answer


def test_attaching() -> None:
    found = streamed("POST", "/v1.42/containers/t1/attach?stream=1&stdout=1&stdin=1")
    assert found.takes_over
    assert found.source == ReadLocalLogs("t1", LogWish(stderr=False, follow=True, tail=0))
    assert found.content_type == MULTIPLEXED
    assert found.encode(LogLine("stdout", NOW, b"hi")) == b"\1\0\0\0\0\0\0\3hi\n"
    found = streamed("POST", "/v1.41/containers/t2/attach?logs=1&stdout=1&stderr=1")
    assert found.source == ReadLocalLogs("t2", LogWish(follow=False, tail=None))
    assert (found.content_type, found.encode(LogLine("stdout", NOW, b"hi"))) == (RAW, b"hi\n")
    assert told(ask("POST", "/containers/nosuch/attach")[0])[0] == 404


def test_a_log_that_is_not_kept_cannot_be_read() -> None:
    refused = (501, "configured logging driver does not support reading")
    assert told(ask("GET", "/containers/t4/logs?stdout=1")[0]) == refused
    assert told(ask("POST", "/containers/t4/attach?logs=1&stdout=1")[0]) == refused
    assert streamed("POST", "/containers/t4/attach?stream=1&stdout=1").takes_over


def test_logs_that_lack_some_say_so_at_their_end() -> None:
    text = b"Error grabbing logs: rpc error: code = Unknown desc = node n is not available\n"
    missing = LogsMissing("node n is not available")
    framed = streamed("GET", "/containers/t1/logs?stdout=1").encode(missing)
    assert framed == b"\3\0\0\0" + len(text).to_bytes(4, "big") + text
    assert streamed("GET", "/containers/t2/logs?stdout=1").encode(missing) == text
    assert told(ask("POST", "/containers/t1/start")[0])[0] == 501


def test_processes() -> None:
    answer, asked = ask("GET", "/containers/t1/top")
    assert told(answer) == (
        200,
        {"Titles": ["UID", "PID", "CMD"], "Processes": [["root", "7", "sleep 9"]]},
    )
    assert asked[-1] == Local("processes", ("t1", "-ef"))
    _, asked = ask("GET", "/containers/t1/top?ps_args=-o+pid,cmd")
    assert asked[-1] == Local("processes", ("t1", "-o pid,cmd"))
    for version, word in (("1.41", "Container"), ("1.50", "container")):
        refused = told(ask("GET", f"/v{version}/containers/t3/top")[0])
        assert refused == (409, f"{word} {ENDED.id} is not running")
    refused = told(ask("GET", "/containers/t1/top?ps_args=-o+ppid=PID")[0])
    assert refused == (500, 'specifying "ppid=PID" is not allowed')


@pytest.mark.parametrize(
    ("query", "source"),
    [
        ("", WatchUsage("t1")),
        ("?stream=0", WatchUsage("t1", once=True, is_primed=True)),
        ("?stream=false&one-shot=1", WatchUsage("t1", once=True)),
    ],
)
def test_how_usage_is_watched(query: str, source: WatchUsage) -> None:
    assert streamed("GET", f"/containers/t1/stats{query}").source == source


def test_usage_as_docker_stats_reads_it() -> None:
    encode = streamed("GET", "/containers/t1/stats").encode
    first = Sample(at=NOW, cpu_seconds=1.0, memory_bytes=5, processes=2, host_cpu_seconds=100.0)
    then = Sample(at=NOW + 1, cpu_seconds=1.5, memory_bytes=6, processes=3, host_cpu_seconds=102.0)
    shown = json.loads(encode((first, then)))
    assert (shown["id"], shown["name"]) == (LINES.id, "/web.1.t1")
    assert (shown["preread"], shown["read"]) == ("1970-01-12T13:46:40Z", "1970-01-12T13:46:41Z")
    assert shown["pids_stats"] == {"current": 3}
    assert shown["memory_stats"] == {"usage": 6, "stats": {}, "limit": 1 << 20}
    used, before = shown["cpu_stats"], shown["precpu_stats"]
    spent = used["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    of = used["system_cpu_usage"] - before["system_cpu_usage"]
    assert (spent / of * used["online_cpus"]) == 0.5  # as the CLI makes a percentage of it
    alone = json.loads(encode((None, then)))
    assert alone["preread"] == "0001-01-01T00:00:00Z"
    assert "system_cpu_usage" not in alone["precpu_stats"]


def test_what_does_not_run_uses_nothing() -> None:
    status, shown = told(ask("GET", "/containers/t3/stats")[0])
    assert (status, shown["read"], shown["memory_stats"]) == (200, "0001-01-01T00:00:00Z", {})
    refused = told(ask("GET", "/containers/t1/stats?one-shot=1")[0])
    assert refused == (400, "cannot have stream=true and one-shot=true")


def test_waiting() -> None:
    assert streamed("POST", "/containers/t1/wait?condition=removed").source == AwaitEnd("t1")
    refused = told(ask("POST", "/containers/t1/wait?condition=bogus")[0])
    assert refused == (400, 'invalid condition: "bogus"')
    assert streamed("POST", "/v1.41/containers/t1/wait?condition=bogus").source == AwaitEnd("t1")
