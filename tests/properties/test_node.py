"""Three managers, a client that retries with the same request id, and faults at any moment.

The model is a dictionary: whatever the faults, each command has happened exactly once when its
answer is there, the managers hold the same, and rebuilt reconcilers decide what the old ones would.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.errors import AlreadyExists, NotFound, SwarmError, Unavailable
from pyswarm.model import Replicated, TaskState, replace, service_spec
from pyswarm.model.requests import CreateService, RemoveService, UpdateService
from unit.node.bench import Bench

NAMES = ("a", "b", "c")
MANAGERS = ("m1", "m2", "m3")
TRIES_MAX = 200

commands = st.tuples(
    st.sampled_from(("create", "scale", "remove")),
    st.sampled_from(NAMES),
    st.integers(0, 4),
    st.sampled_from(MANAGERS),
)
faults = st.tuples(
    st.sampled_from(("nothing", "nothing", "cut leader", "crash leader", "lose answers", "hold")),
    st.integers(0, 12),
)


class Client:
    """Puts one command after the other, each again and again until the answer is certain."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.model: dict[str, int] = {}
        self._number = 0

    def do(self, verb: str, name: str, replicas: int, via: str, fault: str, after: int) -> None:
        self._number += 1
        request_id = f"command {self._number}"
        body = self._body(verb, name, replicas)
        if body is None:
            return
        token = self._send(via, body, request_id)
        for step in range(after):
            self._trouble(fault if step == after // 2 else "nothing")
            self.bench.tick()
        self._expect(verb, name, replicas, self._outcome(token, via, body, request_id))

    def _body(self, verb: str, name: str, replicas: int) -> Any:
        spec = service_spec(name, image="web", replicas=replicas)
        if verb == "create":
            return CreateService(spec)
        self._mend()
        leader = self.bench.settle()
        service = leader.store.by_name("service", name)
        if verb == "remove":
            return RemoveService(service.id if service is not None else "nothing")
        if service is None:
            return None
        changed = replace(service.spec, mode=Replicated(replicas))
        return UpdateService(service.id, service.version, changed)

    def _send(self, via: str, body: Any, request_id: str) -> int | None:
        if self.bench[via].machine is None:
            return None
        return self.bench.send(via, body, request_id)

    def _trouble(self, fault: str) -> None:
        bench, leader = self.bench, self.bench.leader()
        if fault == "cut leader" and leader is not None:
            bench.cut_off(leader.name)
        elif fault == "crash leader" and leader is not None:
            bench.crash(leader.name)
        elif fault == "lose answers":
            bench.is_lost = lambda letter: type(letter.message).__name__ == "ForwardReply"
        elif fault == "hold":
            for station in bench.stations.values():
                station.is_disk_held = True

    def _outcome(self, token: int | None, via: str, body: Any, request_id: str) -> Any:
        """What finally became of it, after faults have ended."""
        for attempt in range(TRIES_MAX):
            replies = self.bench[via].replies
            if token is not None and token in replies:
                value, error = replies[token]
                if not isinstance(error, Unavailable):
                    return value if error is None else error
                token = None
            if token is None or attempt % 100 == 99:
                self._mend()
                via = MANAGERS[attempt % 3]
                token = self._send(via, body, request_id)
            self.bench.tick()
        raise AssertionError(f"no answer to {body}")

    def _mend(self) -> None:
        self.bench.heal()
        for name in MANAGERS:
            if self.bench[name].machine is None:
                self.bench.start(name)

    def _expect(self, verb: str, name: str, replicas: int, outcome: Any) -> None:
        exists = name in self.model
        if verb == "create" and exists:
            assert isinstance(outcome, AlreadyExists)
        elif verb == "remove" and not exists:
            assert isinstance(outcome, NotFound)
        else:
            assert not isinstance(outcome, SwarmError), outcome
            if verb == "remove":
                del self.model[name]
            else:
                self.model[name] = replicas

    def finish(self) -> None:
        self._mend()
        leader = self.bench.settle()
        held = {s.spec.name: s.spec.mode.replicas for s in leader.store.services()}
        assert held == self.model
        self.bench.check()
        self.bench.wait(45.0)
        leader = self.bench.settle()
        for service in leader.store.services():
            tasks = leader.store.tasks_of_service(service.id)
            wanted = [one for one in tasks if one.desired_state <= TaskState.RUNNING]
            assert sorted(one.slot for one in wanted) == sorted({one.slot for one in wanted})
            assert len(wanted) == service.spec.mode.replicas
            assert all(one.state is TaskState.RUNNING for one in wanted)
        self.bench.check()


@settings(max_examples=60)
@given(st.lists(st.tuples(commands, faults), max_size=6), st.integers(0, 3))
def test_each_command_happens_exactly_once(steps: list[Any], seed: int) -> None:
    client = Client(Bench.formed(3, seed=seed))
    for (verb, name, replicas, via), (fault, after) in steps:
        client.do(verb, name, replicas, via, fault, after)
    client.finish()


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 5)), min_size=1, max_size=10),
    st.integers(0, 20),
)
def test_rebuilt_reconcilers_decide_the_same_after_any_turn(
    steps: list[tuple[str, int]], ticks: int
) -> None:
    """Law 15 at every quiet moment, while tasks are still on their way."""
    bench = Bench.formed(1, 2)
    for name, replicas in steps:
        service = bench["m1"].store.by_name("service", name)
        if service is None:
            bench.ask("m1", CreateService(service_spec(name, image="web", replicas=replicas)))
        elif not replicas:
            bench.ask("m1", RemoveService(service.id))
        else:
            spec = replace(service.spec, mode=Replicated(replicas))
            bench.ask("m1", UpdateService(service.id, service.version, spec))
        bench.check()
        for _ in range(ticks):
            bench.tick()
            bench.check()
