"""System and swarm handlers, asks answered from a table; shapes as recorded (golden/api)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api_talks import talk, told
from pyswarm.api.asks import ChangeSwarm, Follow, Live, Read, ResolveImage, ShowUnlockKey
from pyswarm.api.events import encode
from pyswarm.api.facts import Described, Facts
from pyswarm.api.hosting import (
    HostState,
    HostStatus,
    InitSwarm,
    JoinSwarm,
    NoManager,
    RemoteManager,
)
from pyswarm.api.messages import Response, Streamed
from pyswarm.errors import NotFound, Unavailable
from pyswarm.machine import Because
from pyswarm.model import (
    ContainerSpec,
    Network,
    NetworkSpec,
    Node,
    NodeDescription,
    NodeSpec,
    NodeState,
    Platform,
    Plugin,
    Replicated,
    RootCAState,
    Secret,
    SecretSpec,
    Service,
    ServiceSpec,
    Swarm,
    TaskSpec,
)
from pyswarm.model.resources import GenericResource
from pyswarm.store import Change, Commit, Store

GOLDEN = Path(__file__).parents[2] / "golden" / "api"
EVENTS = GOLDEN / "events_swarm.jsonl"
FACTS = Facts(name="node-1", version="1", architecture="x86_64", now=1.5, labels=("a=b",))
INACTIVE = HostStatus()
MANAGER = HostStatus(
    state=HostState.ACTIVE,
    node_id="n1",
    node_addr="10.0.0.1",
    control_available=True,
    remote_managers=(RemoteManager("n1", "10.0.0.1:2377"),),
)
WORKER = HostStatus(state=HostState.ACTIVE, node_id="n4", remote_managers=())


def recorded(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())["response"]


def shape(value: Any) -> Any:
    """Keys and types, in order; of lists the first item's."""
    match value:
        case dict():
            return [(key, shape(one)) for key, one in value.items()]
        case list():
            return ["list", *(shape(one) for one in value[:1])]
        case bool() | None:
            return type(value).__name__
        case int() | float():
            return "number"
    return type(value).__name__


def a_store(swarm: Swarm, *nodes: Node) -> Store:
    store = Store()
    tx = store.begin(now=1.0, version=store.version + 1)
    tx.create(swarm, Because("found"))
    for node in nodes:
        tx.create(node, Because("found"))
    store.install(tx)
    return store


SWARM = Swarm("s1", root_ca=RootCAState(cert=b"PEM", worker_token="W", manager_token="M"))


def reading(store: Store, **live: Any) -> Any:
    return lambda ask: ask.question(store, Live("n1", **{"leader_id": "n1", **live}))


# -- system


def test_ping() -> None:
    answer, asked = talk("GET", "/v1.41/_ping")
    assert isinstance(answer, Response)
    assert (answer.status, answer.body, asked) == (200, b"OK", [])
    assert dict(answer.headers)["Cache-Control"] == "no-cache, no-store, must-revalidate"
    answer, _ = talk("HEAD", "/_ping", answers={"status": MANAGER})
    assert isinstance(answer, Response)
    assert (answer.body, dict(answer.headers)["Swarm"]) == (b"", "active/manager")
    for status, word in ((WORKER, "active/worker"), (INACTIVE, "inactive")):
        answer, _ = talk("GET", "/_ping", answers={"status": status})
        assert dict(answer.headers)["Swarm"] == word


def test_version_has_the_recorded_shape() -> None:
    status, found = told(talk("GET", "/v1.41/version", answers={"facts": FACTS})[0])
    wanted = recorded("version")
    wanted["Components"] = wanted["Components"][:1]
    assert (status, shape(found)) == (200, shape(wanted))
    assert (found["Arch"], found["ApiVersion"], found["MinAPIVersion"]) == ("amd64", "1.50", "1.41")


def info(status: HostStatus, answers: Any = None) -> Any:
    answer, _ = talk(
        "GET", "/v1.41/info", answers={"facts": FACTS, "status": status, **(answers or {})}
    )
    code, found = told(answer)
    assert code == 200
    return found


def test_info_outside_a_swarm() -> None:
    found, wanted = info(INACTIVE), recorded("info_inactive")
    assert list(found) == list(wanted)
    assert found["Swarm"] == wanted["Swarm"]
    differ = {key for key in wanted if shape(found[key]) != shape(wanted[key])}
    assert differ <= {"DriverStatus", "Plugins", "Runtimes", "SecurityOptions", "Labels"}
    assert found["Labels"] == ["a=b"]
    assert found["SystemTime"] == "1970-01-01T00:00:01.5Z"


def test_info_of_a_manager_counts_and_shows_settings() -> None:
    store = a_store(SWARM, Node("n1"), Node("n2"))
    found = info(MANAGER, {Read: reading(store)})["Swarm"]
    wanted = recorded("info_leader")["Swarm"]
    wanted["Cluster"]["DefaultAddrPool"] = ["10.0.0.0/8"]  # recorded before another manager led
    assert shape(found) == shape(wanted)
    assert (found["Nodes"], found["Managers"]) == (2, 0)
    assert "JoinTokens" not in found["Cluster"]


def test_info_of_a_worker_has_no_counts() -> None:
    found = info(WORKER)["Swarm"]
    assert list(found) == list(recorded("info_worker")["Swarm"])
    assert found["ControlAvailable"] is False


def test_info_without_a_leader_says_why() -> None:
    reads = {Read: reading(a_store(SWARM), leader_id="", no_leader="nobody leads")}
    found = info(MANAGER, reads)["Swarm"]
    assert (found["Error"], "Nodes" in found, found["LocalNodeState"]) == (
        "nobody leads",
        False,
        "active",
    )
    assert info(MANAGER, {Read: NoManager("not now")})["Swarm"]["Error"] == "not now"


def test_the_drivers_are_those_of_the_nodes_description() -> None:
    named = (("Log", "local"), ("Log", "json-file"), ("Network", "overlay"), ("Volume", "local"))
    facts = Facts(plugins=tuple(Plugin(*one) for one in named))
    found = info(INACTIVE, {"facts": facts})["Plugins"]
    assert list(found.items()) == [
        ("Volume", ["local"]),
        ("Network", ["overlay"]),
        ("Authorization", None),
        ("Log", ["json-file", "local"]),
    ]


def test_generic_resources_in_both_forms() -> None:
    facts = Facts(
        generic_resources=(GenericResource("gpu", 2), GenericResource("card", names=("a", "b")))
    )
    found = info(INACTIVE, {"facts": facts})["GenericResources"]
    assert found == [
        {"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}},
        {"NamedResourceSpec": {"Kind": "card", "Value": "a"}},
        {"NamedResourceSpec": {"Kind": "card", "Value": "b"}},
    ]


# -- swarm


@pytest.mark.parametrize("name", ["swarm", "swarm_autolock", "swarm_init_all_options"])
def test_the_swarm_has_the_recorded_shape(name: str) -> None:
    status, found = told(talk("GET", "/v1.41/swarm", answers={Read: reading(a_store(SWARM))})[0])
    wanted = recorded(name) | {"DefaultAddrPool": ["10.0.0.0/8"]}
    assert (status, shape(found)) == (200, shape(wanted))
    assert found["DefaultAddrPool"] == wanted["DefaultAddrPool"]
    assert found["JoinTokens"] == {"Worker": "W", "Manager": "M"}


def test_what_was_recorded_comes_back_unchanged() -> None:
    """The settings of an update, shown again, are the ones that were sent."""
    spec = recorded("swarm_init_all_options")["Spec"]
    spec["TaskDefaults"] = {"LogDriver": {"Name": "json-file", "Options": {"a": "b"}}}
    spec["Labels"] = {"k": "v"}
    spec["CAConfig"]["ExternalCAs"] = [
        {"Protocol": "cfssl", "URL": "https://x", "Options": {"o": "p"}, "CACert": "PEM"}
    ]
    answer, asked = talk(
        "POST", "/v1.41/swarm/update?version=7&rotateManagerToken=1", spec, {ChangeSwarm: None}
    )
    assert (told(answer), asked[0].version) == ((200, None), 7)
    assert (asked[0].rotate_manager_token, asked[0].rotate_worker_token) == (True, False)
    store = a_store(Swarm("s1", spec=asked[0].spec))
    assert told(talk("GET", "/v1.41/swarm", answers={Read: reading(store)})[0])[1]["Spec"] == spec


def test_what_an_update_leaves_out_is_the_default() -> None:
    _, asked = talk("POST", "/v1.41/swarm/update?version=7", {}, {ChangeSwarm: None})
    assert asked[0].spec == Swarm("s1").spec


def test_pools_are_shown() -> None:
    swarm = Swarm("s1", default_addr_pools=("10.20.0.0/16", "10.30.0.0/16"), subnet_size=26)
    found = told(talk("GET", "/v1.41/swarm", answers={Read: reading(a_store(swarm))})[0])[1]
    wanted = recorded("pool_two_pools_26_swarm")
    for key in ("DefaultAddrPool", "SubnetSize", "DataPathPort"):
        assert found[key] == wanted[key]


def test_the_unlock_key() -> None:
    answer, _ = talk("GET", "/v1.41/swarm/unlockkey", answers={ShowUnlockKey: "SWMKEY-1-x"})
    assert told(answer) == (200, {"UnlockKey": "SWMKEY-1-x"})


def test_init_passes_everything_on() -> None:
    body = {
        "ListenAddr": "0.0.0.0:2377",
        "AdvertiseAddr": "a",
        "DataPathAddr": "d",
        "DataPathPort": 7777,
        "DefaultAddrPool": ["10.20.0.0/16"],
        "SubnetSize": 26,
        "Availability": "drain",
        "AutoLockManagers": True,
        "Spec": {"Orchestration": {"TaskHistoryRetentionLimit": 3}},
    }
    answer, asked = talk("POST", "/v1.41/swarm/init", body, {"status": INACTIVE, "init": "n1"})
    assert told(answer) == (200, "n1")
    wish = asked[-1].arguments
    assert isinstance(wish, InitSwarm)
    assert (wish.data_path_port, wish.subnet_size, wish.availability) == (7777, 26, "drain")
    assert (wish.spec.autolock, wish.spec.task_history_retention_limit) == (True, 3)
    assert wish.default_addr_pools == ("10.20.0.0/16",)


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("init", {}, 400, 'invalid ListenAddr "": invalid empty address'),
        ("join", {}, 400, 'invalid ListenAddr "": invalid empty address'),
        ("join", {"ListenAddr": "x"}, 400, "at least 1 RemoteAddr is required to join"),
        (
            "init",
            {"ListenAddr": "x", "Spec": {"CAConfig": {"SigningCACert": "PEM"}}},
            400,
            "a root of your own cannot be given to a new swarm: hand it in afterwards, with docker "
            "swarm ca --rotate --ca-cert",
        ),
        ("init", {"ListenAddr": "x", "Availability": "y"}, 500, 'invalid Availability: "y"'),
        (
            "init",
            {"ListenAddr": "x", "Spec": {"CAConfig": {"ExternalCAs": [{"Protocol": "bogus"}]}}},
            400,
            'invalid protocol: "bogus"',
        ),
        (
            "init",
            {"ListenAddr": "x", "Spec": {"CAConfig": {"ExternalCAs": [{}]}}},
            400,
            'invalid protocol: ""',
        ),
        (
            "init",
            {"ListenAddr": "x", "Spec": {"Name": "mine"}},
            400,
            'swarm spec must be named "default"',
        ),
        (
            "init",
            {"ListenAddr": "x", "Spec": {"Dispatcher": {"HeartbeatPeriod": -1}}},
            500,
            "error updating cluster settings: rpc error: code = InvalidArgument desc = heartbeat "
            "time period cannot be a negative duration",
        ),
        (
            "join",
            {"ListenAddr": "x", "RemoteAddrs": ["r", ""]},
            400,
            'invalid remoteAddr "": invalid empty address',
        ),
    ],
)
def test_what_init_and_join_refuse(path: str, body: Any, status: int, text: str) -> None:
    answer, _ = talk("POST", f"/v1.41/swarm/{path}", body, {"status": INACTIVE})
    assert told(answer) == (status, text)


def test_a_port_alone_is_anywhere() -> None:
    answers = {"status": INACTIVE, "init": "n1"}
    _, asked = talk("POST", "/v1.41/swarm/init", {"ListenAddr": ":2377"}, answers)
    assert asked[-1].arguments.listen_addr == "0.0.0.0:2377"


@pytest.mark.parametrize("path", ["init", "join"])
def test_a_host_in_a_swarm_is_told_so_before_all_else(path: str) -> None:
    locked = HostStatus(state=HostState.LOCKED)
    status, text = told(talk("POST", f"/v1.41/swarm/{path}", {}, {"status": locked})[0])
    assert (status, text[:42]) == (503, "This node is already part of a swarm. Use ")


def test_join_passes_everything_on() -> None:
    body = {"ListenAddr": "l", "RemoteAddrs": ["r"], "JoinToken": "t", "AdvertiseAddr": "a"}
    answer, asked = talk("POST", "/v1.41/swarm/join", body, {"status": INACTIVE, "join": None})
    assert told(answer) == (200, None)
    wish = JoinSwarm(listen_addr="l", remote_addrs=("r",), token="t", advertise_addr="a")
    assert asked[-1].arguments == wish


@pytest.mark.parametrize(("query", "force"), [("", False), ("?force=1", True), ("?force=0", False)])
def test_leave(query: str, force: bool) -> None:
    answer, asked = talk("POST", f"/v1.41/swarm/leave{query}", answers={"leave": None})
    assert (told(answer), asked[0].arguments.force) == ((200, None), force)


# -- images


def inspected(name: str, answer: Any) -> Any:
    return told(talk("GET", f"/v1.41/distribution/{name}/json", answers={ResolveImage: answer})[0])


def test_distribution() -> None:
    wanted = recorded("distribution_ok")
    said = wanted["Descriptor"]
    found = Described(
        said["mediaType"], said["digest"], said["size"], (Platform("linux", "amd64"),)
    )
    assert inspected("127.0.0.1:5000/busybox:latest", found) == (200, wanted)
    assert inspected("127.0.0.1:5000/busybox:nosuch", NotFound("x")) == (404, "manifest unknown")
    assert inspected("busybox", Unavailable("connection refused")) == (500, "connection refused")
    text = "invalid reference format: repository name must be lowercase"
    assert inspected("Bad%20Name", None) == (400, text)


# -- events


def lines(commit: Commit, filters: Any = None) -> list[Any]:
    query = f"?filters={json.dumps(filters)}" if filters else ""
    answer, asked = talk("GET", f"/v1.41/events{query}")
    assert isinstance(answer, Streamed)
    assert not asked
    assert answer.encode(commit).count(b"\n") == len(answer.encode(commit).splitlines())
    return [json.loads(line) for line in answer.encode(commit).splitlines()]


def changed(kind: str, old: Any, new: Any) -> Commit:
    return Commit(5, 1795372374.005959, (Change(kind, old, new, Because("x")),))


def service(replicas: int, image: str = "i") -> Service:
    task = TaskSpec(container=ContainerSpec(image=image))
    return Service("s1", ServiceSpec(name="ev", task=task, mode=Replicated(replicas)))


def test_events_have_the_recorded_form() -> None:
    wanted = [json.loads(line) for line in EVENTS.read_text().splitlines()]
    found = lines(changed("service", service(1), service(2)))[0]
    alike = next(one for one in wanted if "replicas.new" in one["Actor"]["Attributes"])
    assert shape(found) == shape(alike)
    assert found["Actor"]["Attributes"] == alike["Actor"]["Attributes"]
    assert (found["time"], found["timeNano"]) == (1795372374, 1795372374005959000)
    for one in wanted:
        assert shape({**found, "Actor": None}) == shape({**one, "Actor": None})


def test_attributes_of_updates() -> None:
    def attributes(kind: str, old: Any, new: Any) -> Any:
        return lines(changed(kind, old, new))[0]["Actor"]["Attributes"]

    assert attributes("service", service(1, "i"), service(1, "j")) == {
        "name": "ev",
        "image.old": "i",
        "image.new": "j",
    }
    before = Node("n1", description=NodeDescription(hostname="host"), state=NodeState.UNKNOWN)
    after = Node("n1", NodeSpec(name="given"), state=NodeState.READY)
    assert attributes("node", before, after) == {
        "name": "given",
        "state.old": "unknown",
        "state.new": "ready",
    }
    assert attributes("node", None, before) == {"name": "host"}
    network = Network("x", NetworkSpec(name="net"))
    assert attributes("network", network, network) == {"name": "net"}


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({"type": ["secret"]}, True),
        ({"type": ["node"]}, False),
        ({"type": ["node", "secret"], "event": ["remove"]}, True),
        ({"event": ["create"]}, False),
        ({"scope": ["swarm"]}, True),
        ({"scope": ["local"]}, False),
        ({"secret": ["se"]}, True),
        ({"secret": ["abc"]}, True),
        ({"secret": ["other"]}, False),
        ({"service": ["web"]}, False),
        ({"label": ["name"]}, True),
        ({"label": ["name=x"]}, False),
        ({"something": ["else"]}, True),
    ],
)
def test_filters_of_events(filters: Any, passes: bool) -> None:
    commit = changed("secret", Secret("abcdef", SecretSpec("sesame")), None)
    assert bool(lines(commit, filters)) is passes


def test_the_time_of_events() -> None:
    answer, _ = talk("GET", "/v1.41/events?since=5&until=7.250000000")
    assert isinstance(answer, Streamed)
    assert answer.source == Follow(
        ("node", "service", "network", "secret", "config"), since=5.0, until=7.25
    )
    answer, _ = talk("GET", "/v1.41/events?until=7")
    assert isinstance(answer, Streamed)
    assert answer.source.since == 0.0
    for query, text in (
        ("since=x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("since=2&until=1", "`since` time (2) cannot be after `until` time (1)"),
    ):
        assert told(talk("GET", f"/v1.44/events?{query}")[0]) == (400, text)
    assert told(talk("GET", "/v1.41/events?since=x")[0])[0] == 500


def test_nothing_secret_is_in_an_event() -> None:
    data = encode({}, changed("secret", None, Secret("abc", SecretSpec("se", labels={"l": "v"}))))
    assert b"payload" not in data
    assert set(json.loads(data)["Actor"]["Attributes"]) == {"name"}
