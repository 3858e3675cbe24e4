"""What a node itself holds, as clients see it: containers, images, volumes, logs. Texts as recorded
(golden/transcripts.jsonl 773-1336, errors.jsonl) and of newer engines."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from api_talks import talk, told
from pyswarm.agent import LogLine
from pyswarm.api.asks import AwaitEnd, Local, Read, ReadLocalLogs
from pyswarm.api.containerview import ago
from pyswarm.api.local import Container, Containers, Image, LogWish, Volume, container_id
from pyswarm.api.logs import MULTIPLEXED, RAW
from pyswarm.api.messages import Response, Streamed
from pyswarm.errors import FailedPrecondition, InvalidArgument, NotFound
from pyswarm.model import (
    ContainerSpec,
    Mount,
    NetworkAttachment,
    PortConfig,
    Task,
    TaskSpec,
    TaskState,
)
from pyswarm.runtime.front.logs import TaskLine

NOW = 1_000_000.0


def container(id: str, state: TaskState = TaskState.RUNNING, **more: Any) -> Container:
    spec = ContainerSpec(
        image="busybox:latest",
        args=("sleep", "1000"),
        env=("A=1",),
        labels={"con": "lab"},
        mounts=(Mount("/data", source="vol1"), Mount("/more", source="used")),
        hosts=("1.2.3.4 foo",),
    )
    task = Task(
        id,
        "s1",
        TaskSpec(spec),
        slot=1,
        node_id="n1",
        service_name="web",
        state=state,
        networks=(NetworkAttachment("net1", ("10.0.1.4/24",)),),
        exit_code=137 if state is TaskState.FAILED else 0,
        port_status=(PortConfig(80, 30000),) if state is TaskState.RUNNING else (),
    )
    times = {"created_at": NOW - 70, "started_at": NOW - 65, "ended_at": 0.0}
    if state is TaskState.FAILED:
        times["ended_at"] = NOW - 2
    return Container(task=task, node_id="n1", **{**times, **more})


RUNNING, ENDED = container("t1"), container("t2", TaskState.FAILED)
HERE = Containers(NOW, (RUNNING, ENDED))


class Node:
    """Answers the asks, and keeps them."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.here = HERE
        self.images = {
            "busybox": Image(name="busybox", command=("sh",)),
            "h:5000/x": Image(name="x"),
        }
        self.volumes = (
            Volume(name="used", path="/v/used", labels={}, in_use=True, created_at=NOW),
            Volume(name="idle", path="/v/idle", labels={"a": "b"}, options={"o": "ro"}),
        )
        self.error: Exception | None = None

    def local(self, ask: Local) -> Any:
        self.asked.append((ask.verb, *ask.arguments))
        if self.error is not None and ask.verb not in ("containers", "volumes", "images"):
            return self.error
        found = {"containers": self.here, "images": self.images, "volumes": self.volumes}
        return found.get(ask.verb, self.volumes[1] if ask.verb == "create_volume" else None)

    def talk(self, method: str, target: str, body: Any = None) -> Response | Streamed:
        answers = {Local: self.local, "containers": self.local, Read: {"net1": "my-network"}}
        answers |= dict.fromkeys(
            ("signal", "stop", "remove", "images", "volumes", "create_volume", "remove_volume"),
            self.local,
        )
        return talk(method, target, body, answers)[0]

    def told(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        return told(self.talk(method, target, body))


@pytest.fixture
def node() -> Node:
    return Node()


def filters(**words: Any) -> str:
    return "filters=" + quote(json.dumps(words))


# -- containers


def test_an_id_is_made_from_the_task_where_there_is_none() -> None:
    assert len(container_id("t1")) == 64
    assert container_id("t1") == container_id("t1", "t1") != container_id("t2")
    assert container_id("t1", "c" * 64) == "c" * 64


def test_a_row(node: Node) -> None:
    status, rows = node.told("GET", "/v1.41/containers/json")
    assert (status, len(rows)) == (200, 1)
    row = rows[0]
    assert row["Names"] == ["/web.1.t1"]
    assert (row["Command"], row["State"], row["Status"]) == (
        "sleep 1000",
        "running",
        "Up About a minute",
    )
    assert row["Labels"] == {
        "com.docker.swarm.node.id": "n1",
        "com.docker.swarm.service.id": "s1",
        "com.docker.swarm.service.name": "web",
        "com.docker.swarm.task": "",
        "com.docker.swarm.task.id": "t1",
        "com.docker.swarm.task.name": "web.1.t1",
        "con": "lab",
    }
    assert list(row["NetworkSettings"]["Networks"]) == ["my-network"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("all=1", ["t1", "t2"]),
        ("all=1&limit=1", ["t1"]),
        (filters(status=["exited"]), ["t2"]),
        (filters(exited=["137"]), ["t2"]),
        (filters(name=["web.1"]), ["t1"]),
        (filters(name=["^web"]), ["t1"]),
        (filters(name=["^eb"]), []),
        (filters(id=[RUNNING.id[:12]]), ["t1"]),
        (filters(label=["con=lab"]), ["t1"]),
        (filters(label=["com.docker.swarm.service.name=web"]), ["t1"]),
        (filters(label=["con=other"]), []),
        (filters(ancestor=["busybox"]), ["t1"]),
        (filters(network=["my-network"]), ["t1"]),
        (filters(network=["other"]), []),
        (filters(volume=["vol1"]), ["t1"]),
        (filters(health=["none"]), ["t1"]),
        (filters(publish=["8080"]), []),
        (filters(publish=["30000-30010", "1"]), ["t1"]),
        (filters(publish=["30000/udp"]), []),
        (filters(expose=["80/tcp"]), ["t1"]),
        (filters(before=[RUNNING.task.name]), ["t2"]),
        (filters(since=[ENDED.task.name]), ["t1"]),
    ],
)
def test_filters(node: Node, query: str, expected: list[str]) -> None:
    status, rows = node.told("GET", f"/containers/json?{query}")
    assert status == 200
    assert [row["Labels"]["com.docker.swarm.task.id"] for row in rows] == expected


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (filters(bogus=["x"]), "invalid filter 'bogus'"),
        (filters(status=["x"]), "invalid filter 'status=x'"),
        (filters(**{"is-task": ["x"]}), "invalid filter 'is-task=[x]'"),
        (filters(exited=["x"]), 'strconv.Atoi: parsing "x": invalid syntax'),
        ("limit=x", 'strconv.Atoi: parsing "x": invalid syntax'),
        (filters(publish=["x"]), "error while looking up for publish x"),
        (filters(name=["(a+)+$"]), "the pattern is too complex: (a+)+$"),
        (filters(name=["["]), "error parsing regexp: unterminated character set: `[`"),
    ],
)
def test_filters_that_are_refused(node: Node, query: str, text: str) -> None:
    assert node.told("GET", f"/containers/json?{query}") == (400, text)


def test_everything_of_one(node: Node) -> None:
    status, shown = node.told("GET", f"/containers/{RUNNING.id[:12]}/json")
    assert status == 200
    assert (shown["Path"], shown["Args"], shown["Name"]) == ("sleep", ["1000"], "/web.1.t1")
    assert shown["State"]["Running"]
    assert shown["Config"]["Env"] == ["A=1"]
    assert shown["HostConfig"]["ExtraHosts"] == ["foo:1.2.3.4"]
    places = [(mount["Name"], mount["Source"]) for mount in shown["Mounts"]]
    assert places == [("vol1", ""), ("used", "/v/used")], "a volume that is gone is nowhere"
    network = shown["NetworkSettings"]["Networks"]["my-network"]
    assert (network["IPAddress"], network["MacAddress"]) == ("10.0.1.4", "02:42:0a:00:01:04")
    for reference in ("t1", "web.1.t1", "/web.1.t1".lstrip("/")):
        assert node.told("GET", f"/containers/{reference}/json")[1]["Id"] == RUNNING.id
    for path in ("nosuch", "127.0.0.1:5000/busybox:latest"):
        assert node.told("GET", f"/containers/{path}/json") == (404, f"No such container: {path}")


def test_a_signal_that_nobody_knows(node: Node) -> None:
    node.error = InvalidArgument("invalid signal: HEY")
    told = node.told("POST", "/v1.41/containers/t1/kill?signal=HEY")
    assert told == (400, "Invalid signal: HEY")
    told = node.told("POST", "/v1.44/containers/t1/kill?signal=HEY")
    assert told == (400, "cannot kill container: t1: invalid signal: HEY")


def test_ending_them(node: Node) -> None:
    assert node.told("POST", "/containers/t1/kill?signal=SIGHUP")[0] == 204
    assert node.told("POST", "/containers/t1/stop?t=3")[0] == 204
    assert node.told("DELETE", "/containers/t1?force=1")[0] == 204
    done = [one for one in node.asked if one[0] != "containers"]
    assert done == [("signal", "t1", "SIGHUP"), ("stop", "t1", 3.0), ("remove", "t1")]
    assert node.told("POST", "/containers/t2/stop")[0] == 304
    assert node.told("POST", "/v1.41/containers/t2/kill") == (
        409,
        f"Cannot kill container: t2: Container {ENDED.id} is not running",
    )
    for version, begin in (("1.41", "Cannot"), ("1.44", "cannot")):
        told = node.told("POST", f"/v{version}/containers/nope/kill")
        assert told == (404, f"{begin} kill container: nope: No such container: nope")
    assert node.told("DELETE", "/containers/t1")[0] == 409
    waited = node.talk("POST", "/containers/t1/wait")
    assert isinstance(waited, Streamed)
    assert waited.source == AwaitEnd("t1")
    assert json.loads(waited.encode(137)) == {"StatusCode": 137}
    assert node.told("POST", "/containers/create", {})[0] == 501


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "Less than a second"),
        (1, "1 second"),
        (61, "About a minute"),
        (121, "2 minutes"),
        (3700, "About an hour"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (21 * 86400, "3 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_how_long_ago(seconds: float, text: str) -> None:
    assert ago(seconds) == text


# -- logs


def test_lines_are_framed_unless_they_come_from_a_terminal(node: Node) -> None:
    found = node.talk("GET", "/v1.42/containers/t1/logs?stdout=1&timestamps=1&tail=3&since=1.5")
    assert isinstance(found, Streamed)
    assert found.source == ReadLocalLogs("t1", LogWish(stderr=False, tail=3, since=1.5))
    assert found.content_type == MULTIPLEXED
    text = b"1970-01-12T13:46:40.250000000Z hi\n"
    assert found.encode(LogLine("stdout", NOW + 0.25, b"hi")) == b"\1\0\0\0\0\0\0\x22" + text
    old = node.talk("GET", "/v1.41/containers/t1/logs?stderr=1&details=1")
    assert isinstance(old, Streamed)
    assert old.content_type == RAW
    line = TaskLine("t1", "web.1.t1", "n 1", "stderr", NOW, b"hi", "s1")
    assert old.encode(line)[8:] == (
        b"com.docker.swarm.node.id=n+1,com.docker.swarm.service.id=s1,"
        b"com.docker.swarm.task.id=t1 hi\n"
    )
    assert old.encode(line)[:1] == b"\2"


@pytest.mark.parametrize(
    ("query", "version", "expected"),
    [
        ("", "1.41", (500, "Bad parameters: you must choose at least one stream")),
        ("", "1.50", (400, "must specify at least one of 'stdout' or 'stderr'")),
        ("stdout=1&tail=abc", "1.50", (500, 'tail value must be a positive integer or "all"')),
        ("stdout=1&tail=-1", "1.50", (500, "negative tail values not supported")),
    ],
)
def test_what_cannot_be_asked_of_logs(
    node: Node, query: str, version: str, expected: tuple[int, str]
) -> None:
    assert node.told("GET", f"/v{version}/containers/t1/logs?{query}") == expected


def test_a_time_that_is_none(node: Node) -> None:
    path = "/containers/t1/logs?stdout=1&since=soon"
    assert node.told("GET", f"/v1.41{path}")[0] == 500
    status, text = node.told("GET", f"/v1.50{path}")
    assert status == 400
    assert text.startswith('invalid value for "since": ')


# -- images


def test_images(node: Node) -> None:
    _, rows = node.told("GET", "/images/json")
    assert [row["RepoTags"] for row in rows] == [["busybox:latest"], ["h:5000/x:latest"]]
    query = filters(reference=["busy*"])
    assert len(node.told("GET", f"/images/json?{query}")[1]) == 1
    _, shown = node.told("GET", "/images/busybox:1.36/json")
    assert (shown["RepoTags"], shown["Config"]["Cmd"]) == (["busybox:1.36"], ["sh"])
    assert node.told("GET", f"/images/{rows[0]['Id']}/json")[1]["Id"] == rows[0]["Id"]
    assert node.told("GET", "/images/h:5000/x/json")[0] == 200
    assert node.told("GET", "/images/nosuch/json") == (404, "No such image: nosuch:latest")


def test_pulling(node: Node) -> None:
    answer = node.talk("POST", "/images/create?fromImage=busybox&tag=latest")
    assert isinstance(answer, Response)
    steps = [json.loads(line) for line in answer.body.splitlines()]
    assert steps[0] == {"status": "Pulling from library/busybox", "id": "latest"}
    assert steps[-1] == {"status": "Status: Image is up to date for busybox:latest"}
    status, text = node.told("POST", "/images/create?fromImage=nosuch&tag=1")
    assert status == 404
    assert text.startswith("pull access denied for nosuch, repository does not exist")
    assert node.told("POST", "/images/create?fromSrc=-")[0] == 501


# -- volumes, disk usage


def test_volumes(node: Node) -> None:
    _, found = node.told("GET", "/volumes")
    assert [one["Name"] for one in found["Volumes"]] == ["used", "idle"]
    query = filters(dangling=["true"])
    assert [v["Name"] for v in node.told("GET", f"/volumes?{query}")[1]["Volumes"]] == ["idle"]
    assert node.told("GET", "/volumes/used")[1]["Mountpoint"] == "/v/used"
    assert node.told("GET", "/volumes/nosuch") == (404, "get nosuch: no such volume")
    assert node.told("POST", "/volumes/create", {"Name": "idle", "Labels": {"a": "b"}})[0] == 201
    assert node.asked[-1] == ("create_volume", "idle", {"a": "b"}, {})
    options = {"type": "tmpfs", "device": "tmpfs"}
    assert node.told("POST", "/volumes/create", {"DriverOpts": options})[0] == 201
    assert node.asked[-1] == ("create_volume", "", {"com.docker.volume.anonymous": ""}, options)
    assert node.told("GET", "/volumes/used")[1]["Options"] is None
    assert node.told("GET", "/volumes/idle")[1]["Options"] == {"o": "ro"}
    assert node.told("POST", "/volumes/create", {"Name": "x", "Driver": "nfs"})[0] == 404
    assert node.told("DELETE", "/volumes/idle")[0] == 204
    node.error = FailedPrecondition("remove used: volume is in use")
    assert node.told("DELETE", "/volumes/used") == (409, "remove used: volume is in use")
    node.error = NotFound("get x: no such volume")
    assert node.told("DELETE", "/volumes/x")[0] == 404
    assert node.told("DELETE", "/volumes/x?force=1")[0] == 204


def test_pruning_spares_volumes_with_names_unless_all_are_meant(node: Node) -> None:
    assert node.told("POST", "/v1.50/volumes/prune")[1]["VolumesDeleted"] == []
    for path in ("/v1.41/volumes/prune", f"/v1.50/volumes/prune?{filters(all=['true'])}"):
        assert node.told("POST", path)[1]["VolumesDeleted"] == ["idle"]
    spared = filters(all=["true"], label=["other"])
    assert node.told("POST", f"/volumes/prune?{spared}")[1]["VolumesDeleted"] == []
    nameless = Volume(name="0123", path="/v/0123", labels={"com.docker.volume.anonymous": ""})
    node.volumes += (nameless,)
    assert node.told("POST", "/v1.50/volumes/prune")[1]["VolumesDeleted"] == ["0123"]


def test_disk_usage(node: Node) -> None:
    _, shown = node.told("GET", "/system/df")
    assert [image["Containers"] for image in shown["Images"]] == [2, 0]
    assert len(shown["Containers"]) == 2
    assert shown["Volumes"][0]["UsageData"]["RefCount"] == 1
    assert node.told("GET", "/plugins") == (200, [])
    assert node.told("GET", "/plugins/x/json") == (404, 'plugin "x" not found')
