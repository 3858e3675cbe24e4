"""The Engine API over a store in memory: what a handler asks is answered by the control desk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import attrs

from pyswarm.api import asks
from pyswarm.api.errors import answer_to
from pyswarm.api.facts import Facts
from pyswarm.api.hosting import HostRefusal, HostState, HostStatus
from pyswarm.api.local import Container, Containers, OnNetworks
from pyswarm.api.messages import Response
from pyswarm.api.rendering import Rendered
from pyswarm.api.routes import request_of, route
from pyswarm.errors import NotFound, SwarmError, Unavailable
from pyswarm.model import Sealed
from unit.node.desk import Desk

SELF = "h7x8vzgl1229e6lmu406qc7km"
ACTIVE = HostStatus(
    state=HostState.ACTIVE, node_id=SELF, node_addr="10.99.0.11", control_available=True
)


class Door:
    """``request`` is one request and its answer, as the runtime drives it.

    ``refusal`` is what a node that is no manager answers to everything of the swarm.
    """

    def __init__(self, desk: Desk | None = None, *, refusal: SwarmError | None = None) -> None:
        self.desk = desk or Desk()
        self.refusal = refusal
        self.is_manager = isinstance(refusal, Unavailable)  # one that knows no leader
        self.status = ACTIVE
        self.on = OnNetworks()
        self.drivers = ("vault",)
        self.rendered = Rendered()
        self.reachability: dict[str, str] = {}
        self.commands: list[Any] = []

    def request(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        raw = b"" if body is None else raw
        headers = {"content-type": "application/json", **(headers or {})}
        relayed: SwarmError | None = None
        try:
            request = request_of(method, target, headers, raw)
            handler, params = route(request)
            conversation = handler(request, *params)
            ask = next(conversation)
            while True:
                try:
                    answer = self._answer(ask)
                except SwarmError as error:
                    is_own = isinstance(ask, asks.Read) and error is not self.refusal
                    is_own = is_own or isinstance(error, HostRefusal)
                    relayed = None if is_own else error
                    ask = conversation.throw(error)
                else:
                    ask = conversation.send(answer)
        except StopIteration as end:
            assert isinstance(end.value, Response)
            return end.value
        except SwarmError as error:
            return answer_to(error, relayed=error is relayed)

    def get(self, target: str, method: str = "GET", body: Any = None, **headers: str) -> Any:
        """The decoded answer of a request that succeeds."""
        answer = self.request(method, f"/v1.41{target}", body, headers)
        assert answer.status < 300, answer.body
        return json.loads(answer.body) if answer.body else None

    def post(self, target: str, body: Any = None, **headers: str) -> Any:
        return self.get(target, "POST", body, **headers)

    def told(self, method: str, target: str, body: Any = None, version: str = "1.41") -> Any:
        """Status and message of a refusal."""
        answer = self.request(method, f"/v{version}{target}", body)
        message = json.loads(answer.body)["message"] if answer.status >= 400 else ""
        return answer.status, message

    def _answer(self, ask: Any) -> Any:
        if isinstance(ask, asks.Host):
            assert ask.verb in ("status", "facts")
            return self.status if ask.verb == "status" else Facts(now=self.desk.now)
        if isinstance(ask, asks.Local):
            return self._local(ask.verb)
        is_stale = isinstance(ask, asks.Read) and ask.stale
        if self.refusal is not None and not (is_stale and self.is_manager):
            raise self.refusal
        match ask:
            case asks.Read(question=question):
                return question(self.desk.store, self.live())
            case asks.Do(body=body):
                self.commands.append(body)
                return self.desk.ask(body)
            case asks.Seal(data=data):
                return seal(data)
            case asks.CheckDriver(name=name):
                if name not in self.drivers:
                    raise NotFound(f'plugin "{name}" not found')
                return None
            case asks.OpenSealed(sealed=sealed):
                return sealed.ciphertext
            case asks.Prepare(spec=spec, auth=auth):
                container = attrs.evolve(spec.task.container, registry_auth=f"sealed {auth}")
                task = attrs.evolve(spec.task, container=container)
                return attrs.evolve(spec, task=task), ("a warning",)
        raise AssertionError(f"not answered: {ask}")

    def _local(self, verb: str) -> Any:
        """What the node itself knows, whatever the managers say."""
        if verb == "networks":
            return self.on
        assert verb == "containers"
        tasks = self.desk.store.tasks_of_node(SELF)
        return Containers(0.0, tuple([Container(task=one, node_id=SELF) for one in tasks]))

    def live(self) -> asks.Live:
        return asks.Live(
            node_id=SELF, leader_id=SELF, reachability=self.reachability, rendered=self.rendered
        )


def seal(data: bytes) -> Sealed:
    """Everybody can open it; equal payloads have equal digests."""
    return Sealed(1, b"n", data, len(data), hashlib.sha256(data).digest())
