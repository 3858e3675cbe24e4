"""What a real swarm's managers refused (golden/errors.jsonl), asked of the control API here.

Compared are the sentence, letter by letter (ids apart), and the class of the error with the code
that stood before the sentence. Left out is what never came to a manager: whatever has no ``rpc
error`` in front was said by Docker's daemon itself (malformed JSON, versions that are no numbers);
that is the Docker API's. What differs on purpose is in ``MEANT``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyswarm.errors import SwarmError
from pyswarm.model import (
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    Driver,
    EndpointSpec,
    Global,
    Healthcheck,
    NetworkSpec,
    Placement,
    PortConfig,
    PublishMode,
    Replicated,
    ReplicatedJob,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    SecretReference,
    SecretSpec,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from pyswarm.model.requests import (
    CreateConfig,
    CreateNetwork,
    CreateSecret,
    CreateService,
    RemoveConfig,
    RemoveSecret,
    UpdateConfig_,
    UpdateSecret,
    UpdateService,
)
from pyswarm.model.resources import Limits
from unit.node.desk import Desk, sealed

GOLDEN = Path(__file__).parents[2] / "golden" / "errors.jsonl"
_refusal = re.compile(r"rpc error: code = (\w+) desc = (.*)", re.DOTALL)
_id = re.compile(r"\b[0-9a-z]{25}\b")


def _recorded() -> dict[str, tuple[str, str]]:
    found = {}
    for row in map(json.loads, GOLDEN.read_text().splitlines()):
        message = (row["response"] or {}).get("message", "") if row["status"] >= 400 else ""
        match = _refusal.fullmatch(message)
        if match and re.match("(service|secret|config)", row["case"]):
            found[row["case"]] = (match[1], match[2])
    return found


RECORDED = _recorded()

CODES = {
    "InvalidArgument": {"invalid_argument"},
    "AlreadyExists": {"already_exists"},
    "Unimplemented": {"unimplemented"},
    # A manager that names no code; here the constraint is a bad argument like any other.
    "Unknown": {"out_of_sequence", "invalid_argument"},
}

MEANT = {
    # Configs are limited like secrets.
    "config data must be larger than 0 and less than 1024000 bytes": (
        "config data must be larger than 0 and less than 512000 bytes"
    ),
}


def spec(name: str = "e1", **fields: Any) -> ServiceSpec:
    container = fields.pop("container", {})
    task = {key: fields.pop(key) for key in ("resources", "restart", "placement") if key in fields}
    made = ContainerSpec(**{"image": "busybox", **container})
    fields.setdefault("mode", Replicated(0))
    return ServiceSpec(name=name, task=TaskSpec(container=made, **task), **fields)


def create(name: str = "e1", **fields: Any) -> Callable[[Desk], Any]:
    return lambda desk: CreateService(spec(name, **fields))


def update(off: int = 0, **fields: Any) -> Callable[[Desk], Any]:
    def body(desk: Desk) -> UpdateService:
        base = by_name(desk, "service", "base")
        return UpdateService(base.id, base.version + off, spec(**{"name": "base", **fields}))

    return body


def by_name(desk: Desk, kind: str, name: str) -> Any:
    found = desk.store.by_name(kind, name)
    assert found is not None
    return found


def secret(**fields: Any) -> Callable[[Desk], Any]:
    def body(desk: Desk) -> CreateService:
        held = by_name(desk, "secret", "es1").id
        reference = SecretReference(**{"secret_id": held, "target": "x", **fields})
        return CreateService(spec(container={"secrets": (reference,)}))

    return body


def config(**fields: Any) -> Callable[[Desk], Any]:
    def body(desk: Desk) -> CreateService:
        held = by_name(desk, "config", "ec1").id
        reference = ConfigReference(**{"config_id": held, "target": "x", **fields})
        return CreateService(spec(container={"configs": (reference,)}))

    return body


def constraint(text: str) -> Callable[[Desk], Any]:
    return create(placement=Placement(constraints=(text,)))


def ports(*ports: PortConfig, name: str = "e1") -> Callable[[Desk], Any]:
    return create(name, endpoint=EndpointSpec(ports=ports))


def payload(kind: str, name: str, length: int = 3) -> Callable[[Desk], Any]:
    data = sealed(length) if length else None
    if kind == "secret":
        return lambda desk: CreateSecret(SecretSpec(name=name), data)
    return lambda desk: CreateConfig(ConfigSpec(name=name), data)


def relabel(kind: str, off: int = 0, **changes: Any) -> Callable[[Desk], Any]:
    def body(desk: Desk) -> Any:
        held = by_name(desk, kind, "es1" if kind == "secret" else "ec1")
        request = UpdateSecret if kind == "secret" else UpdateConfig_
        return request(held.id, held.version + off, labels={"x": "z"}, **changes)

    return body


def remove(kind: str) -> Callable[[Desk], Any]:
    request = RemoveSecret if kind == "secret" else RemoveConfig
    return lambda desk: request(by_name(desk, kind, "es1" if kind == "secret" else "ec1").id)


LOST = "abcdefghijklmnopqrstuvwxy"
HOST = PublishMode.HOST
ASKED: dict[str, Callable[[Desk], Any]] = {
    "service create: no image": create(container={"image": ""}),
    "service create: duplicate name": create("base"),
    "service create: duplicate name, other case": create("BASE"),
    "service create: unknown secret": secret(secret_id=LOST, secret_name="nosuch"),
    "service create: secret without id": secret(secret_id="", secret_name="nosuch"),
    "service create: secret id/name mismatch": secret(secret_name="other"),
    "service create: unknown config": config(config_id=LOST, config_name="nosuch"),
    "service create: config id/name mismatch": config(config_name="other"),
    "service create: replicated job with update config": create(
        mode=ReplicatedJob(1, 0), update=UpdateConfig()
    ),
    "service create: ingress port conflict": ports(PortConfig(80, 9000), name="pubB"),
    "service create: same port twice": ports(PortConfig(80, 9001), PortConfig(81, 9001)),
    "service create: same host port twice": ports(
        PortConfig(80, 9001, publish_mode=HOST), PortConfig(81, 9001, publish_mode=HOST)
    ),
    "service create: negative cpu": create(
        resources=ResourceRequirements(limits=Limits(nano_cpus=-1))
    ),
    "service create: tiny cpu": create(
        resources=ResourceRequirements(limits=Limits(nano_cpus=100))
    ),
    "service create: negative mem": create(
        resources=ResourceRequirements(reservations=Resources(memory_bytes=-1))
    ),
    "service create: restart neg delay": create(restart=RestartPolicy(delay=-1e-9)),
    "service create: update neg delay": create(update=UpdateConfig(delay=-1e-9)),
    "service create: update ratio -1": create(update=UpdateConfig(max_failure_ratio=-1.0)),
    "service create: update neg monitor": create(update=UpdateConfig(monitor=-5e-9)),
    "service create: healthcheck interval too short": create(
        container={"healthcheck": Healthcheck(test=("CMD", "true"), interval=1e-9)}
    ),
    "service update: stale version": update(off=-1),
    "service update: future version": update(off=1),
    "service update: same version again": update(off=-1),
    "service update: rename": update(name="renamed"),
    "service update: change mode": update(mode=Global()),
    "service update: no image": update(container={"image": ""}),
    "service update: port conflict": update(endpoint=EndpointSpec(ports=(PortConfig(1, 9000),))),
    "secrets create: no name": payload("secret", ""),
    "secrets create: no data": payload("secret", "q1", 0),
    "secrets create: bad name": payload("secret", "a b"),
    "secrets create: duplicate": payload("secret", "es1"),
    "secrets create: size 512000": payload("secret", "qlim", 512_000),
    "secrets create: size 512001": payload("secret", "qover", 512_001),
    "secrets create: name with slash": payload("secret", "a/b"),
    "secrets create: name 65": payload("secret", "a" * 65),
    "secrets update: stale": relabel("secret", -1),
    "configs create: no data": payload("config", "q1", 0),
    "configs create: empty data": payload("config", "q1", 0),
    "configs create: bad name": payload("config", "a b"),
    "configs create: duplicate": payload("config", "ec1"),
    "configs create: size 1024000": payload("config", "qlim", 1_024_000),
    "configs create: name with slash": payload("config", "a/b"),
    "configs create: name 64": payload("config", "a" * 64),
    "configs create: name 65": payload("config", "a" * 65),
    "configs update: stale": relabel("config", -1),
    "secret rm: in use": remove("secret"),
    "config rm: in use": remove("config"),
}
for case in RECORDED:
    if named := re.fullmatch(r"service create: name '(.*)'(\d*)", case):
        ASKED[case] = create("a" * int(named[2]) if named[2] else named[1])
    if named := re.fullmatch(r"service create: image '(.*)'", case):
        ASKED[case] = create(container={"image": named[1]})
    if named := re.fullmatch(r"service create: constraint '(.*)'", case):
        ASKED[case] = constraint(named[1])

ELSEWHERE = {
    # The sentence after "failed: " is that of Go's templates; tests/unit/templating has ours.
    "service create: template in hostname bad",
    "service create: template unknown field",
    "service create: template bad env",
    # A request of the control API has labels only, so these cannot be asked: the Docker API's.
    "secrets update: name",
    "configs update: data",
    "configs update: name",
    # Fields of old clients that the model does not have.
    "service update: no name in spec",
    "service update: secret+networks old field",
    # Configs have drivers here.
    "configs create: driver bogus",
}


def furnished() -> Desk:
    """The swarm that was asked: a service, a secret, a config, and one that uses both."""
    desk = Desk()
    desk.ask(CreateNetwork(NetworkSpec(name="my-network")))
    key = desk.ask(CreateSecret(SecretSpec(name="es1"), sealed(1)))
    site = desk.ask(CreateConfig(ConfigSpec(name="ec1"), sealed(1)))
    desk.ask(CreateConfig(ConfigSpec(name="a" * 64), sealed(1)))
    desk.ask(CreateService(spec("base")))
    desk.ask(CreateService(spec("pubA", endpoint=EndpointSpec(ports=(PortConfig(80, 9000),)))))
    files = {
        "secrets": (SecretReference(key.id, "es1", "es1"),),
        "configs": (ConfigReference(site.id, "ec1", "/ec1"),),
    }
    desk.ask(CreateService(spec("user1", container=files)))
    return desk


@pytest.mark.parametrize("case", ASKED)
def test_it_is_refused_as_recorded(case: str) -> None:
    code, text = RECORDED[case]
    desk = furnished()
    body = ASKED[case](desk)
    before = desk.store.digest()
    with pytest.raises(SwarmError) as caught:
        desk.ask(body)
    assert _id.sub("ID", str(caught.value)) == _id.sub("ID", MEANT.get(text, text))
    assert caught.value.code in CODES[code]
    assert desk.store.digest() == before, "nothing is half done"


def test_a_config_may_have_a_driver_and_then_needs_no_data() -> None:
    desk = furnished()
    made = desk.ask(CreateConfig(ConfigSpec(name="qd", driver=Driver("bogus")), None))
    assert made.payload is None


def test_every_refusal_is_asked_or_said_not_to_be() -> None:
    assert not set(ASKED) & ELSEWHERE
    assert set(ASKED) | ELSEWHERE == set(RECORDED)
