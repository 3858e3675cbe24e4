"""Whatever is asked, the API has an answer of its table: never a bug, never a story of Python's.

Requests are drawn from the routes: real paths with odd parameters, queries and bodies, on a host
outside a swarm and on a manager. Nothing that ends the host's node is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from pyswarm.runtime.daemon import HostConfig, open_host
from pyswarm.runtime.engine import Engine
from pyswarm.runtime.http import HttpServer
from swarms import executor

STATUSES = {200, 201, 204, 400, 401, 403, 404, 409, 500, 501, 503}
ENDING = {"/swarm/leave", "/swarm/join", "/swarm/init", "/swarm/unlock"}
KEYS = (
    *("Name", "Labels", "TaskTemplate", "ContainerSpec", "Image", "Mode", "Replicated", "Replicas"),
    *("EndpointSpec", "Ports", "PublishedPort", "Networks", "Target", "Data", "Driver", "IPAM"),
    *("Config", "Subnet", "Role", "Availability", "Spec", "CAConfig", "NodeCertExpiry", "Raft"),
    *("UpdateConfig", "Parallelism", "Placement", "Constraints", "Resources", "Limits", "Mounts"),
    *("Secrets", "Configs", "Healthcheck", "RestartPolicy", "Condition", "Delay", "Global"),
)
QUERY = (
    *("version", "filters", "force", "status", "since", "until", "insertDefaults", "rollback"),
    *("registryAuthFrom", "rotateWorkerToken", "verbose", "scope"),
)

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
        st.sampled_from(["1", "0", "bogus", "{}", '{"name":["a"]}', "%00"]), st.text(max_size=5)
    ),
    max_size=3,
)
parts = st.one_of(
    st.sampled_from(["web", "self", "ingress", "x" * 300, "%00", "..", "é"]), st.text(max_size=4)
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


def check(engine: Engine, asked: list[Any], caplog: pytest.LogCaptureFixture) -> Any:
    async def every() -> None:
        server = HttpServer(engine.respond, clock=lambda: 0.0)
        for one in asked:
            with trio.fail_after(30):
                answer = await server.answer(*one)
            if not isinstance(answer, Response):
                await answer.items.aclose()  # type: ignore[attr-defined]
                continue
            assert answer.status in STATUSES, one
            assert BUG.encode() not in answer.body, (one, caplog.text[-3000:])
            if answer.status >= 400:
                assert list(json.loads(answer.body)) == ["message"]

    return every


@pytest.mark.parametrize("in_a_swarm", [False, True])
def test_whatever_is_asked(
    in_a_swarm: bool, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    @settings(max_examples=12)
    @given(st.lists(requests(), min_size=5, max_size=20))
    def play(asked: list[Any]) -> None:
        async def main() -> None:
            state_dir: Path = tmp_path_factory.mktemp("state")
            config = HostConfig(
                state_dir=state_dir, executor=executor, network=MemoryNetwork(), name="n"
            )
            async with open_host(config) as host:
                if in_a_swarm:
                    await host.init(InitSwarm(listen_addr="x"))
                await check(Engine(host), asked, caplog)()

        trio.run(main)

    play()
