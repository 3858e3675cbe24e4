"""The time lines recorded from a real swarm (tests/golden/updates.jsonl), replayed in virtual time.

The whole swarm runs: managers, sessions, agents; only the programs are simulated, with the times
that the recorded ones took. What must agree: the states of every task with their messages and
errors, in order, slot by slot; the states of the update with their messages; and when.

Tolerances, all of them:

- *Which* slot comes first is random in the reference and ascending here: the recorded slots are
  matched with ours one to one, in whatever way fits.
- The recording is a poll every 0.1 to 0.2 s, so it has gaps: what it saw must be a subsequence of
  what happened here.
- NEW and PENDING are not seen here, since a task is made, addressed and placed in one commit; a
  task that failed has its desired state changed, and one that was to be removed goes, in the commit
  that records its end.
- Times may differ by 0.8 s and a tenth: containers took 0.9 to 1.4 s to stop, 0.2 to 0.4 to start.
- ``fail-rollback``: the reference restarts the failed task with the spec that failed, and then
  rolls that one back too; here the restart is of the turn that rolls back, and has the restored
  spec. The states of the update and the end are compared, not each task.
- ``default-monitor`` ran with the recorded engine's 5 s; our default, the guide's, is 30 s.
"""

from __future__ import annotations

import json
import re
from itertools import permutations
from pathlib import Path
from typing import Any

import attrs
import pytest

from pyswarm.agent import Exited, Operation, Perform, Started
from pyswarm.env import Rng
from pyswarm.errors import SwarmError
from pyswarm.machine import Effect
from pyswarm.model import PortConfig, Protocol, PublishMode, Role, Service, service_spec
from pyswarm.model.requests import CreateService, UpdateService, UpdateSwarm
from pyswarm.node import Published
from pyswarm.runtime.front.changes import changed
from pyswarm.sim.executor import ExecutorFaults, SimulatedExecutor
from pyswarm.sim.world import Host, World
from pyswarm.store import Store

GOLDEN = Path(__file__).parents[1] / "golden" / "updates.jsonl"
RECORDED = {one["scenario"]: one for one in map(json.loads, GOLDEN.read_text().splitlines())}
UNSEEN = ("new", "pending")
ONE_COMMIT = (("failed", "running"), ("shutdown", "remove"))

Event = tuple[float, str, str, str, str]
"""(when, state, desired state, message, error) of one task."""


class Programs(SimulatedExecutor):
    """What the recorded commands did, in the time they took."""

    def _outcome(
        self, now: float, effect: Perform
    ) -> tuple[float, Started | Exited | None, SwarmError | None]:
        match effect.operation:
            case Operation.PREPARE:
                return 0.12, None, None
            case Operation.START:
                at_once = "at once" in _command(effect)
                return 0.22, Exited(7) if at_once else Started(effect.task.id, 77), None
            case Operation.SHUTDOWN | Operation.TERMINATE:
                return 1.1, Exited(137), None
            case Operation.WAIT:
                return WAITS[_command(effect)]
        return 0.001, None, None


def _command(effect: Perform) -> str:
    container = effect.task.spec.container
    assert container is not None
    return " ".join(container.args)


WAITS: dict[str, tuple[float, Exited, None]] = {
    "sleep 1000": (float("inf"), Exited(0), None),
    "true": (0.1, Exited(0), None),
    "exit 0": (0.1, Exited(0), None),
    "exit 1": (0.1, Exited(1), None),
    "exit 7": (0.1, Exited(7), None),
    "sleep 1; exit 0": (1.0, Exited(0), None),
    "sleep 1; exit 1": (1.0, Exited(1), None),
}


class Replay:
    """A manager and four workers; what the manager commits, from now on."""

    def __init__(self) -> None:
        self.world = World(1)
        first, *others = [self.world.add_host(f"node-{number}") for number in range(1, 6)]
        self.world.found(first)
        self._give_programs(first)
        self.world.run_until(lambda: self.world.leader() is not None, 30.0)
        for host in others:
            self.world.join(host, Role.WORKER, first)
        assert self.world.run_until(lambda: all(h.is_up for h in others), 30.0)
        for host in others:
            self._give_programs(host)
        self.world.run(8.0)
        self.first = first
        self.began = 0.0
        self.tasks: dict[int, dict[str, list[Event]]] = {}
        self.statuses: list[tuple[float, str, str]] = []
        self.world.observers.append(self._observe)

    def _give_programs(self, host: Host) -> None:
        host.executor = Programs(ExecutorFaults(), Rng(1))

    @property
    def store(self) -> Store:
        assert self.first.machine is not None
        return self.first.machine.store

    @property
    def service(self) -> Service:
        (service,) = self.store.services()
        return service

    def ask(self, body: Any) -> None:
        """Put a request to the manager and wait for its answer; the record begins here."""
        answers: list[SwarmError | None] = []
        self._begin()
        self.world.request(self.first, body, lambda _, error: answers.append(error))
        assert self.world.run_until(lambda: bool(answers), 5.0)
        assert answers == [None]

    def _begin(self) -> None:
        self.began = self.world.now
        self.tasks, self.statuses = {}, []
        for task in self.store.tasks():
            event = (0.0, *_seen(task))
            self.tasks.setdefault(task.slot, {})[task.id] = [event]

    def create(self, **options: Any) -> None:
        options.setdefault("args", ["sleep", "1000"])
        self.ask(CreateService(service_spec("web", image="busybox", **options)))

    def update(self, **changes: Any) -> None:
        service = self.service
        self.ask(UpdateService(service.id, service.version, changed(service.spec, changes)))

    def roll_back(self) -> None:
        self.ask(UpdateService(self.service.id, self.service.version, rollback=True))

    def kill(self, slot: int) -> None:
        """The running task of a slot is killed from outside."""
        for host in self.world.up():
            assert host.executor is not None
            for task_id in host.executor.running:
                task = self.store.task(task_id)
                if task is not None and task.slot == slot:
                    self._begin()
                    self.world.kill_task(host, task_id)
                    return
        raise AssertionError(f"slot {slot} does not run")

    def _observe(self, now: float, host: Host, effect: Effect) -> None:
        if host is not self.first or not isinstance(effect, Published) or effect.commit is None:
            return
        at = now - self.began
        for change in effect.commit.changes:
            new = change.new
            if change.kind == "task" and new is not None:
                events = self.tasks.setdefault(new.slot, {}).setdefault(new.id, [])
                events.append((at, *_seen(new)))
            elif change.kind == "service" and new is not None and new.update_status is not None:
                status = new.update_status
                entry = (str(status.state), status.message)
                if not self.statuses or self.statuses[-1][1:] != entry:
                    self.statuses.append((at, *entry))


def _seen(task: Any) -> tuple[str, str, str, str]:
    return str(task.state), str(task.desired_state), task.message, task.err


def recorded_tasks(events: list[dict[str, Any]]) -> dict[int, list[list[Event]]]:
    """Slot → its tasks in order of their making → what was seen of each."""
    slots: dict[int, dict[str, list[Event]]] = {}
    for one in events:
        if "task" not in one:
            continue
        tasks = slots.setdefault(one["slot"] or 0, {})
        seen = tasks.setdefault(one["task"], [])
        if one["state"] in UNSEEN or (one["state"], one["desired"]) in ONE_COMMIT:
            continue
        event = (one["t"], one["state"], one["desired"], one["msg"] or "", one["err"] or "")
        seen.append(event)
    return {
        slot: sorted((seen for seen in tasks.values() if seen), key=_age)
        for slot, tasks in slots.items()
    }


def _age(events: list[Event]) -> tuple[int, float]:
    """What had ended before comes first, then what ran, then what was made."""
    at, state, _, message, _ = events[0]
    if message in ("scheduler assigned task to node", "preparing", "prepared", "starting"):
        return 2, at
    return (1 if state == "running" or at > 0.05 else 0), at


def is_within(recorded: float, ours: float) -> bool:
    return abs(recorded - ours) <= 0.8 + recorded / 10


def follows(recorded: list[Event], ours: list[Event]) -> bool:
    """Whether ``recorded`` is a subsequence of ``ours``, at about the same times."""
    place = 0
    for event in recorded:
        while place < len(ours) and ours[place][1:] != event[1:]:
            place += 1
        if place == len(ours):
            return False
        # The poll may have come long after; what was there at the start was there before.
        if not is_within(event[0], ours[place][0]) and ours[place][0] > event[0]:
            return False
    return True


def slot_follows(
    recorded: list[list[Event]], ours: list[list[Event]], end: float = float("inf")
) -> bool:
    """Whether the tasks of a slot agree; those made about the recording's end may be missing."""
    made = [one for one in ours if one[0][0] <= end - (0.8 + end / 10)]
    return len(made) <= len(recorded) <= len(ours) and all(
        follows(one, other) for one, other in zip(recorded, ours, strict=False)
    )


def check(replay: Replay, name: str, *, slots_too: bool = True) -> None:
    """Let as much time pass as the recording has, and compare."""
    events = [one for one in RECORDED[name]["events"] if "t" in one or "UpdateStatus" in one]
    length = max((one["t"] for one in events if "t" in one), default=0.0)
    replay.world.run(max(0.0, replay.began + length * 1.1 + 1.1 - replay.world.now))
    statuses = [
        (one["t"], one["UpdateStatus"]["State"], one["UpdateStatus"]["Message"])
        for one in events
        if one.get("UpdateStatus")
    ]
    assert [_anonymous(s[1:]) for s in replay.statuses][: len(statuses)] == [
        _anonymous(s[1:]) for s in statuses
    ]
    for recorded, ours in zip(statuses, replay.statuses, strict=False):
        assert is_within(recorded[0], ours[0]), (recorded, ours)
    if not slots_too:
        return
    slots = recorded_tasks(events)
    mine = {slot: list(tasks.values()) for slot, tasks in replay.tasks.items()}
    assert any(
        all(
            slot_follows(slots[slot], mine[other], length)
            for slot, other in zip(slots, match, strict=True)
        )
        for match in permutations(mine, len(slots))
    ), _difference(slots, mine)


def _anonymous(words: tuple[str, str]) -> tuple[str, str]:
    return words[0], re.sub(r"task \w+", "task ID", words[1])


def _difference(slots: Any, mine: Any) -> str:
    text = ["recorded:"]
    text += [f"  {slot} {event}" for slot, tasks in slots.items() for one in tasks for event in one]
    text += ["ours:"]
    text += [f"  {slot} {event}" for slot, tasks in mine.items() for one in tasks for event in one]
    return "\n".join(text)


def created(**options: Any) -> Replay:
    """A service that runs, as the recordings begin with one."""
    replay = Replay()
    replay.create(**options)
    replay.world.run(5.0)
    return replay


SHELL_7 = ["exit", "7"]

UPDATES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "order-par1": ({"replicas": 4, "update_monitor": 1}, {"image": "busybox:1"}),
    "order-par2-delay3": (
        {"replicas": 5, "update_parallelism": 2, "update_delay": 3, "update_monitor": 1},
        {"image": "busybox:1"},
    ),
    "start-first": (
        {"replicas": 2, "update_order": "start-first", "update_monitor": 1},
        {"force": True},
    ),
    "default-monitor": ({"replicas": 2, "update_monitor": 5}, {"force": True}),
    "fail-pause": ({"replicas": 3, "update_monitor": 3, "restart_delay": 1}, {"args": SHELL_7}),
    "fail-rollback": (
        {
            "replicas": 3, "update_monitor": 2, "update_failure_action": "rollback",
            "rollback_monitor": 1, "restart_delay": 1,
        },
        {"args": SHELL_7},
    ),
    "fail-continue": (
        {
            "replicas": 3, "update_monitor": 1, "update_failure_action": "continue",
            "restart_delay": 1,
        },
        {"args": SHELL_7},
    ),
    "fail-ratio": (
        {
            "replicas": 4, "update_monitor": 1, "update_max_failure_ratio": 0.3,
            "restart_condition": "none",
        },
        {"args": SHELL_7},
    ),
    "no-restart-change": (
        {"replicas": 2},
        {"update_delay": 1, "label_add": {"a": "b"}, "replicas": 3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UPDATES)
def test_updates(name: str) -> None:
    options, changes = UPDATES[name]
    replay = created(**options)
    replay.update(**changes)
    check(replay, name, slots_too=name != "fail-rollback")
    if name == "no-restart-change":
        assert replay.service.update_status is None
    if name == "fail-rollback":
        live = [task for task in replay.store.tasks() if str(task.desired_state) == "running"]
        assert [str(task.state) for task in live] == ["running"] * 3
        assert {task.spec for task in live} == {replay.service.spec.task}
        assert replay.service.previous_spec is None, "there is no way back to what failed"


def test_rollbacks_there_and_back_again() -> None:
    replay = created(replicas=2, update_monitor=0.5, rollback_monitor=0.5)
    replay.update(image="busybox:1", env_add="V=2", replicas=3)
    check(replay, "rollback-ok")
    replay.world.run(3.0)
    replay.roll_back()
    check(replay, "rollback-ok-rb")
    assert replay.service.spec.mode.replicas == 2  # type: ignore[union-attr]
    replay.world.run(3.0)
    replay.roll_back()
    check(replay, "rollback-ok-rb2")
    container = replay.service.spec.task.container
    assert container is not None
    assert (container.image, container.env) == ("busybox:1", ("V=2",))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("restart-any", {"args": ["sleep 1; exit 1"], "restart_delay": 2}),
        ("restart-max2", {"args": ["exit", "1"], "restart_max_attempts": 2, "restart_delay": 0.5}),
        ("restart-onfail-0", {"args": ["exit", "0"], "restart_condition": "on-failure"}),
        ("restart-none", {"args": ["exit", "1"], "restart_condition": "none"}),
        (
            "rjob",
            {
                "args": ["sleep 1; exit 0"], "mode": "replicated-job", "replicas": 5,
                "max_concurrent": 2,
            },
        ),
    ],
)  # fmt: skip
def test_restarts_and_jobs(name: str, options: dict[str, Any]) -> None:
    replay = Replay()
    replay.create(**options)
    check(replay, name)
    replay.world.run(20.0)
    count = {"restart-max2": 3, "restart-onfail-0": 1, "restart-none": 1, "rjob": 5}
    if name in count:
        assert len(list(replay.store.tasks())) == count[name], "and no more later"


def test_a_job_runs_again_by_force() -> None:
    options: dict[str, Any] = {"mode": "replicated-job", "replicas": 5, "max_concurrent": 2}
    replay = created(args=["sleep 1; exit 0"], **options)
    replay.world.run(10.0)
    replay.update(force=True)
    check(replay, "rjob-force")


@pytest.mark.parametrize("name", ["container-killed", "container-removed"])
def test_a_task_that_was_killed(name: str) -> None:
    replay = created(replicas=2)
    if name == "container-removed":
        replay.kill(1)
        replay.world.run(8.0)
        replay.kill(2)
    else:
        replay.kill(1)
    replay.world.run(0.01)
    events = RECORDED[name]["events"]
    slots = recorded_tasks(events)
    replay.world.run(8.0)
    mine = {task.slot for task in replay.store.tasks()}
    assert mine == set(slots)
    killed = next(slot for slot in slots if len(slots[slot]) > 1 and slots[slot][-1][0][0] > 0)
    ours = list(replay.tasks[killed].values())
    assert slot_follows(slots[killed][-2:], ours[-2:]), _difference(slots, {killed: ours})


def test_history_is_what_was_recorded() -> None:
    replay = created(replicas=1, update_monitor=0.1)
    for row in RECORDED["history-default5"]["events"]:
        replay.update(force=True)
        replay.world.run(6.0)
        states = sorted(str(task.state) for task in replay.store.tasks())
        assert (len(states), states) == (row["tasks_total"], sorted(row["by_state"])), row


@pytest.mark.parametrize(("limit", "kept"), [(2, 2), (0, 1)])
def test_history_limits(limit: int, kept: int) -> None:
    assert {"limit": limit, "tasks_total": kept} in RECORDED["history-limits"]["events"]
    replay = created(replicas=1, update_monitor=0.1)
    swarm = replay.store.swarm
    spec = attrs.evolve(swarm.spec, task_history_retention_limit=limit)
    replay.ask(UpdateSwarm(swarm.version, spec))
    for _ in range(3):
        replay.update(force=True)
        replay.world.run(6.0)
    assert len(list(replay.store.tasks())) == kept


def test_scaling() -> None:
    """Two slots have a history; five replicas, then one, then three: the free numbers again."""
    replay = created(replicas=2)
    for slot in (1, 2):
        replay.kill(slot)
        replay.world.run(8.0)
    replay.update(replicas=5)
    assert RECORDED["scale-up-down"]["events"] == [], "nothing was written down of it"
    replay.world.run(5.0)
    replay.update(replicas=1)
    replay.world.run(4.0)
    doomed = {
        one["task"] for one in RECORDED["scale-5-to-1"]["events"] if one["desired"] == "remove"
    }
    ours = [seen for tasks in replay.tasks.values() for seen in tasks.values()]
    assert sum(seen[-1][2] == "remove" for seen in ours) == len(doomed) == 4
    live = [task for task in replay.store.tasks() if str(task.state) == "running"]
    assert len(live) == 1 and replay.service.update_status is None
    replay.update(replicas=3)
    check(replay, "scale-1-to-3", slots_too=False)
    slots = recorded_tasks(RECORDED["scale-1-to-3"]["events"])
    new = [tasks[-1] for tasks in slots.values() if tasks[-1][0][0] > 0]
    ours = [list(tasks.values())[-1] for tasks in replay.tasks.values()]
    for recorded in new:
        assert any(follows(recorded, one) for one in ours), _difference(slots, replay.tasks)
    assert sorted(replay.tasks) == sorted(slots) == [1, 2, 3]


def test_a_global_job() -> None:
    """Recorded on a swarm of one node: here each of the five must go as that one did."""
    replay = Replay()
    replay.create(args=["true"], mode="global-job")
    replay.world.run(3.0)
    (recorded,) = recorded_tasks(RECORDED["gjob"]["events"])[0]
    ours = list(replay.tasks[0].values())
    assert len(ours) == 5
    for one in ours:
        assert follows(recorded, one), _difference({0: [recorded]}, {0: [one]})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("update-attached-fail", {"update_monitor": 2}),
        (
            "update-attached-fail-rb",
            {
                "update_monitor": 2, "update_failure_action": "rollback", "rollback_monitor": 0.5,
            },
        ),
    ],
)  # fmt: skip
def test_what_a_failed_update_leaves(name: str, options: dict[str, Any]) -> None:
    """A look at the end: the state of the update, and which tasks there are.

    The failure was seen before the next slot had its turn, so here the program ends at its start.
    With a rollback the reference made one task more: it restarts the failed one with the spec that
    failed.
    """
    events = RECORDED[name]["events"]
    replay = created(replicas=2, restart_delay=0.5, **options)
    replay.update(args=["exit", "7", "at", "once"])
    status = events[-1]["UpdateStatus"]
    words = _anonymous((status["State"], status["Message"]))
    assert replay.world.run_until(
        lambda: bool(replay.statuses) and _anonymous(replay.statuses[-1][1:]) == words, 30.0
    )
    if name == "update-attached-fail-rb":
        replay.world.run(1.0)  # the recording client waited until all tasks ran
    theirs = sorted((one["state"], one["desired"]) for one in events if "task" in one)
    ours = sorted((str(t.state), str(t.desired_state)) for t in replay.store.tasks())
    if name == "update-attached-fail-rb":
        theirs.remove(("shutdown", "shutdown"))
    assert ours == theirs


def test_ports_that_nobody_chose() -> None:
    """From 30000 on, per protocol, in the order of their making; none for a host port."""
    replay = Replay()
    rows = sorted(RECORDED["auto-ports"]["events"], key=lambda row: str(row["svc"]))
    for row in rows:
        ports = tuple(
            PortConfig(
                target_port=port["TargetPort"],
                protocol=Protocol(port["Protocol"]),
                published_port=port.get("PublishedPort", 0),
                publish_mode=PublishMode(port["PublishMode"]),
            )
            for port in row["spec"]["Ports"]
        )
        spec = service_spec(row["svc"], image="busybox", replicas=0, ports=ports)
        replay.ask(CreateService(spec))
    services = {one.spec.name: one for one in replay.store.services()}
    for row in rows:
        mine = services[row["svc"]].endpoint
        assert mine is not None
        assert [port.published_port for port in mine.ports] == [
            port.get("PublishedPort", 0) for port in row["endpoint"]
        ], row["svc"]
        assert bool(mine.virtual_ips) == bool(row["vips"]), row["svc"]


def test_every_recording_is_replayed_or_said_not_to_be() -> None:
    meant = {
        # The words are made up by Docker's daemon in front of the managers, which refuse a service
        # without a name; so here that is the business of the Docker API, not of a service's life.
        "random-names",
    }
    here = {
        *UPDATES, "rollback-ok", "rollback-ok-rb", "rollback-ok-rb2", "restart-any", "restart-max2",
        "restart-onfail-0", "restart-none", "rjob", "rjob-force", "container-killed",
        "container-removed", "history-default5", "history-limits", "scale-up-down", "scale-5-to-1",
        "scale-1-to-3", "gjob", "update-attached-fail", "update-attached-fail-rb", "auto-ports",
    }  # fmt: skip
    assert here | meant == set(RECORDED)
