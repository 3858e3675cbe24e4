"""What people write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.model import (
    Healthcheck,
    Mount,
    MountType,
    PortConfig,
    Preference,
    Protocol,
    PublishMode,
    service_spec,
)
from pyswarm.model.parse import (
    parse_bytes,
    parse_cpus,
    parse_duration,
    parse_healthcheck,
    parse_mount,
    parse_ports,
    parse_preference,
    parse_reference,
)

UDP, HOST = Protocol.UDP, PublishMode.HOST


@pytest.mark.parametrize(
    ("parse", "text", "wanted"),
    [
        (parse_duration, "10m30s", 630.0),
        (parse_duration, "1h", 3600.0),
        (parse_duration, "1.5s", 1.5),
        (parse_duration, ".5m", 30.0),
        (parse_duration, "250ms", 0.25),
        (parse_duration, "100us", 0.0001),
        (parse_duration, "-5s", -5.0),
        (parse_duration, "0", 0.0),
        (parse_duration, 3, 3.0),
        (parse_bytes, "512M", 512 * 2**20),
        (parse_bytes, "10g", 10 * 2**30),
        (parse_bytes, "1GiB", 2**30),
        (parse_bytes, "1.5kb", 1536),
        (parse_bytes, "2 tb", 2 * 2**40),
        (parse_bytes, "42", 42),
        (parse_bytes, "42b", 42),
        (parse_bytes, 42, 42),
        (parse_cpus, 0.5, 500_000_000),
        (parse_cpus, "1.25", 1_250_000_000),
        (parse_ports, "8080:80/tcp", (PortConfig(80, 8080),)),
        (parse_ports, "53/udp", (PortConfig(53, 0, UDP),)),
        (parse_ports, "8500:80/tcp@host", (PortConfig(80, 8500, publish_mode=HOST),)),
        (parse_ports, 80, (PortConfig(80),)),
        (parse_ports, PortConfig(1), (PortConfig(1),)),
        (
            parse_ports,
            "8000-8001:80-81/udp",
            (PortConfig(80, 8000, UDP), PortConfig(81, 8001, UDP)),
        ),
        (parse_mount, "data:/var", Mount("/var", "data")),
        (parse_mount, "/etc:/mnt:ro", Mount("/mnt", "/etc", MountType.BIND, True)),
        (parse_mount, "/scratch", Mount("/scratch")),
        (parse_preference, "spread=node.labels.zone", Preference("node.labels.zone")),
    ],
)
def test_good_texts(parse: Callable[[Any], Any], text: Any, wanted: Any) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize(
    ("parse", "texts"),
    [
        (parse_duration, ["", "10", "s", "10x", "1m 2s", "-", "1e3s", True, None, float("nan")]),
        (parse_bytes, ["", "M", "-5", "1x", "1MM", "9" * 400, True, None, 1.5]),
        (parse_cpus, ["", "much", None, True, float("inf")]),
        (parse_ports, ["", "x", "80:", ":80", "80/ip", "80@mesh", "70000", "9" * 9, True]),
        (parse_ports, ["80-82:80-81", "81-80", "1:2:3"]),
        (parse_mount, ["", "type=bind,source=/a,target=/b", "a:", "a:b:c", "a:b:ro:x", 5]),
        (parse_preference, ["node.labels.zone", "pack=x", "spread="]),
    ],
)
def test_bad_texts(parse: Callable[[Any], Any], texts: list[Any]) -> None:
    for text in texts:
        with pytest.raises(InvalidArgument):
            parse(text)


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("curl -f localhost", Healthcheck(("CMD-SHELL", "curl -f localhost"))),
        ("NONE", Healthcheck(("NONE",))),
        ({"test": ["CMD", "true"], "interval": "1m30s"}, Healthcheck(("CMD", "true"), 90.0)),
        (
            {
                "test": "true", "timeout": 2, "retries": 4, "start_period": "10s",
                "start_interval": "500ms",
            },
            Healthcheck(("CMD-SHELL", "true"), 0.0, 2.0, 4, 10.0, 0.5),
        ),
        (Healthcheck(("CMD", "x")), Healthcheck(("CMD", "x"))),
    ],
)  # fmt: skip
def test_health_checks(check: object, expected: Healthcheck) -> None:
    assert parse_healthcheck(check) == expected  # type: ignore[arg-type]
    container = service_spec("web", healthcheck=check).task.container  # type: ignore[typeddict-item]
    assert container is not None
    assert container.healthcheck == expected


@pytest.mark.parametrize("check", [7, ["CMD", "x"], {"test": "x", "often": 1}, {"interval": "1x"}])
def test_health_checks_that_are_none(check: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_healthcheck(check)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("source=a", {"source": "a"}),
        ("src=a,target=b,uid=7,gid=8", {"source": "a", "target": "b", "uid": "7", "gid": "8"}),
        ("source=a,mode=0440", {"source": "a", "mode": 0o440}),
        ("source=a,mode=0o440", {"source": "a", "mode": 0o440}),
        ("source=a,mode=440", {"source": "a", "mode": 440}),
        ("source=a,mode=0x120", {"source": "a", "mode": 0x120}),
        ("source=a,mode=0", {"source": "a", "mode": 0}),
    ],
)  # fmt: skip
def test_references(text: str, expected: dict[str, object]) -> None:
    assert parse_reference(text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("target=a", "source is required"),
        ("source=", "source is required"),
        ("source=a,readonly", "invalid field 'readonly' must be a key=value pair"),
        ("source=a,mode=rw", "invalid mode specified: 'rw'"),
        ("source=a,mode=-1", "invalid mode specified: '-1'"),
        ("source=a,mode=0x100000000", "invalid mode specified: '0x100000000'"),
    ],
)
def test_references_that_are_none(text: str, sentence: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_reference(text)
    assert caught.value.message == sentence
