"""A secret is seen by its tasks alone: on no disk in clear, in no log, event or listing."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import trio

from pyswarm.errors import InvalidArgument
from pyswarm.testing import LocalSwarm
from swarms import WAIT_S, until

PAYLOAD = b"a-payload-nobody-may-see"
SECOND = b"another-payload-to-be-hidden"
SCRIPT = 'wc -c < "$PYSWARM_SECRETS_DIR/key"; sleep 600 & wait'


def clear_copies(*places: Path) -> list[Path]:
    """Files that hold a payload in clear."""
    found = []
    for place in places:
        for path in place.rglob("*"):
            if path.is_file() and not path.is_symlink():
                data = path.read_bytes()
                if PAYLOAD in data or SECOND in data:
                    found.append(path)
    return found


def shown(thing: Any) -> str:
    return f"{thing!r} {thing!s} {getattr(thing, 'value', None)!r}"


async def test_a_secret_is_nowhere_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    async with LocalSwarm(1, 1, executor="process", state_dir=tmp_path) as swarm:
        cluster = swarm.managers[0]

        async def watch() -> None:
            async for event in cluster.events():
                seen.append(f"{event!r} {event.old!r} {event.new!r}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            secret = await cluster.secrets.create("key", PAYLOAD)
            with pytest.raises(InvalidArgument) as refused:
                await cluster.secrets.create("key2", PAYLOAD * 30_000)
            seen.append(str(refused.value) + repr(refused.value.details))
            web = await cluster.services.create(
                "web",
                command=["/bin/sh", "-c", SCRIPT],
                secrets=["key"],
                constraints=["node.role==worker"],
                update_monitor=0.2,
            )
            await web.wait_converged(timeout=WAIT_S)

            async def counted() -> bool:
                lines = [line.text.strip() async for line in web.logs()]
                return str(len(PAYLOAD)) in lines

            await until(counted)
            new = await cluster.secrets.rotate("key", SECOND, timeout=WAIT_S)
            for thing in (secret, new, web, *await web.tasks(), *await cluster.secrets.list()):
                seen.append(shown(thing))
            seen.append(repr(await cluster.swarm()))
            assert clear_copies(tmp_path) == []
            nursery.cancel_scope.cancel()
    text = "\n".join((*seen, caplog.text))
    assert len(seen) > 10
    for payload in (PAYLOAD, SECOND):
        assert payload.decode() not in text
        assert repr(payload)[2:-1] not in text
    assert clear_copies(tmp_path) == [], "nor after a clean stop"
