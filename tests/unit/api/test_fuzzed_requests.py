"""Whatever is asked, the API has an answer of its table: never a bug, never a story of Python's.

Requests are drawn from the routes: real paths with odd parameters, queries and bodies; and from
the recorded ones (golden/errors.jsonl) with one value of their bodies replaced. They are asked of a
host outside a swarm, and of a manager that runs a task. Nothing that ends the node is drawn.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.api import routes
from pyswarm.api.errors import BUG
from pyswarm.api.hosting import InitSwarm
from pyswarm.api.messages import Response
from pyswarm.runtime import MemoryNetwork
from pyswarm.runtime.daemon import Host, HostConfig, open_host
from pyswarm.runtime.engine import Engine
from pyswarm.runtime.http import HttpServer, Streaming
from swarms import executor

EXAMPLES = 12 if settings.default.derandomize else 1000
"""Lists of requests; with ``--hypothesis-profile=search`` many, of half a minute each thousand."""

STATUSES = {200, 201, 204, 304, 400, 401, 403, 404, 409, 500, 501, 503}
ENDING = {"/swarm/leave", "/swarm/join", "/swarm/init", "/swarm/unlock"}
KEYS = (
    *("Name", "Labels", "TaskTemplate", "ContainerSpec", "Image", "Mode", "Replicated", "Replicas"),
    *("EndpointSpec", "Ports", "PublishedPort", "Networks", "Target", "Data", "Driver", "IPAM"),
    *("Config", "Subnet", "Role", "Availability", "Spec", "CAConfig", "NodeCertExpiry", "Raft"),
    *("UpdateConfig", "Parallelism", "Placement", "Constraints", "Resources", "Limits", "Mounts"),
    *("Secrets", "Configs", "Healthcheck", "RestartPolicy", "Condition", "Delay", "Global"),
    *("username", "password", "serveraddress", "DriverOpts", "EncryptionConfig", "CheckDuplicate"),
)
QUERY = (
    *("version", "filters", "force", "status", "since", "until", "insertDefaults", "rollback"),
    *("registryAuthFrom", "rotateWorkerToken", "verbose", "scope", "stdout", "stderr", "follow"),
    *("tail", "timestamps", "details", "stream", "logs", "one-shot", "ps_args", "condition"),
    *("signal", "t", "all", "limit", "type", "size", "fromImage", "tag"),
)
TASK = "the-task"
"""In a path: the id of the task that runs."""

SERVICE = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "sleeper"}}}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(["web", "busybox", "10.0.0.0/24", "active", "manager", "YWFh", "overlay"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=15,
)
bodies = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), values, max_size=8).map(
        lambda value: json.dumps(value).encode()
    ),
    st.binary(max_size=30),
)
queries = st.dictionaries(
    st.sampled_from(QUERY),
    st.one_of(
        st.sampled_from(["1", "0", "bogus", "{}", '{"name":["a"]}', "%00", "-1", "all", "1e999"]),
        st.text(max_size=5),
    ),
    max_size=3,
)
parts = st.one_of(
    st.sampled_from(["web", TASK, "self", "ingress", "x" * 300, "%00", "..", "é"]),
    st.text(max_size=4),
)


@st.composite
def requests(draw: Any) -> tuple[str, str, Mapping[str, str], bytes]:
    known = [one for table in routes.TABLES for one in table if one.pattern not in ENDING]
    route = draw(st.sampled_from(known))
    path = routes.PARAMETER.sub(lambda _: quote(draw(parts)) or "x", route.pattern)
    query = "&".join(f"{name}={quote(text)}" for name, text in draw(queries).items())
    version = draw(st.sampled_from(["", "/v1.41", "/v1.44", "/v1.50"]))
    headers = draw(st.sampled_from([{"content-type": "application/json"}, {}]))
    return route.method, f"{version}{path}?{query}", headers, draw(bodies)


RECORDS = Path(__file__).parents[2] / "golden" / "errors.jsonl"
RECORDED = [
    (one["method"], one["path"], one["body"])
    for one in map(json.loads, RECORDS.read_text().splitlines())
    if isinstance(one["body"], dict) and not any(path in one["path"] for path in ENDING)
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a body with a key of it."""
    keys = value if isinstance(value, dict) else range(len(value) if type(value) is list else 0)
    for key in keys:
        yield value, key
        yield from places(value[key])


@st.composite
def changed(draw: Any) -> tuple[str, str, Mapping[str, str], bytes]:
    """A recorded request with one value replaced."""
    method, path, body = draw(st.sampled_from(RECORDED))
    body = copy.deepcopy(body)
    if found := list(places(body)):
        container, key = draw(st.sampled_from(found))
        container[key] = draw(values)
    path = path.replace("/v1.41", draw(st.sampled_from(["/v1.41", "/v1.50"])))
    return method, path, {"content-type": "application/json"}, json.dumps(body).encode()


def check(engine: Engine, asked: list[Any], caplog: pytest.LogCaptureFixture) -> Any:
    async def every() -> None:
        server = HttpServer(engine.respond, clock=lambda: 0.0)
        for one in asked:
            with trio.fail_after(30):
                answer = await server.answer(*one)
            if not isinstance(answer, Response):
                await listen(answer)
                continue
            assert answer.status in STATUSES, one
            assert BUG.encode() not in answer.body, (one, caplog.text[-3000:])
            if answer.status >= 400:
                assert list(json.loads(answer.body)) == ["message"]

    return every


async def listen(answer: Streaming) -> None:
    """To its first item, if there is one by now."""
    async with aclosing(answer.items) as items:  # type: ignore[type-var]
        with trio.move_on_after(0.01):
            async for item in items:
                assert isinstance(answer.head.encode(item), bytes)
                break


async def running(host: Host) -> str:
    """The id of the one task, made to run."""
    engine = Engine(host)
    body = json.dumps(SERVICE).encode()
    answer = await engine.respond("POST", "/v1.41/services/create", {}, body)
    assert isinstance(answer, Response) and answer.status == 201
    found: Any = []
    while not found:
        await trio.sleep(0.001)
        answer = await engine.respond("GET", "/v1.41/containers/json", {}, b"")
        assert isinstance(answer, Response)
        found = json.loads(answer.body)
    return str(found[0]["Id"])


@pytest.mark.parametrize("in_a_swarm", [False, True])
def test_whatever_is_asked(
    in_a_swarm: bool, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    @settings(max_examples=EXAMPLES)
    @given(st.lists(st.one_of(requests(), changed()), min_size=5, max_size=20))
    def play(wanted: list[Any]) -> None:
        async def main() -> None:
            state_dir: Path = tmp_path_factory.mktemp("state")
            config = HostConfig(
                state_dir=state_dir, executor=executor, network=MemoryNetwork(), name="n"
            )
            async with open_host(config) as host:
                task = "x"
                if in_a_swarm:
                    await host.init(InitSwarm(listen_addr="x"))
                    task = await running(host)
                asked = [(method, to.replace(TASK, task), *rest) for method, to, *rest in wanted]
                await check(Engine(host), asked, caplog)()

        trio.run(main)

    play()
