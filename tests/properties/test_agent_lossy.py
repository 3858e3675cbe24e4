"""An agent under a line that loses, repeats and reorders messages, an executor that fails, and
restarts of its node: no state ever goes back, and in the end the leader knows everything."""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.agent import (
    Agent,
    Exited,
    FromManager,
    ManagersKnown,
    Operation,
    OperationDone,
    Perform,
    SavedTask,
    SaveTask,
    SessionLost,
    Started,
    TaskFailed,
    TaskGone,
    TemporaryFailure,
    Tick,
    ToManager,
)
from pyswarm.env import Rng
from pyswarm.errors import SwarmError
from pyswarm.model.objects import Node, NodeDescription, Task, TaskStatus
from pyswarm.model.session import (
    Assignments,
    Heartbeat,
    HeartbeatAnswer,
    OpenSession,
    ReportStatus,
    SessionOpened,
    SessionRefused,
    StatusRecorded,
    ToAgent,
)
from pyswarm.model.states import DESIRED_STATES, TaskState
from unit.agent.world import LEADER, make_task

TASKS = 6
STEPS_WILD, STEPS_HEALED_MAX = 120, 2000
HEALED_SECONDS = 30.0  # longer than any back-off, time-out and retry of the agent


class Leader:
    """Remembers tasks as a dispatcher does: last status wins, and lower states are not news."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.known: dict[str, TaskStatus] = {}
        self.used: list[str] = []  # a task's id never comes back
        self.session = ""
        self.sequence = 0
        self.sessions = 0

    def hears(self, message: object) -> list[ToAgent]:
        if isinstance(message, OpenSession):
            self.sessions += 1
            self.session, self.sequence = f"session-{self.sessions}", 1
            opened = SessionOpened(self.session, 5.0, Node("n1"), (LEADER,))
            return [opened, self.full()]
        if getattr(message, "session_id", "") != self.session:
            return [SessionRefused(getattr(message, "session_id", ""), "not_found", "no session")]
        if isinstance(message, Heartbeat):
            return [HeartbeatAnswer(self.session, 5.0, self.sequence)]
        assert isinstance(message, ReportStatus)
        for id, status in message.statuses:
            known = self.known.get(id)
            if id in self.tasks and (known is None or status.state >= known.state):
                self.known[id] = status
        return [StatusRecorded(self.session, message.sequence)]

    def full(self) -> Assignments:
        return Assignments(self.session, self.sequence, True, tuple(self.tasks.values()))

    def change(self, rng: Rng) -> list[ToAgent]:
        """Make a task, move a desired state forward, or take a task away."""
        id = f"t{rng.below(TASKS)}"
        task, removed = self.tasks.get(id), False
        if task is None:
            if id in self.used:
                return []
            self.used.append(id)
            desired = rng.choice(DESIRED_STATES[:3])
            self.tasks[id] = make_task(id, desired)
        elif rng.chance(0.2):
            del self.tasks[id]
            removed = True
        else:
            desired = max(task.desired_state, rng.choice(DESIRED_STATES))
            self.tasks[id] = attrs.evolve(task, desired_state=desired)
        if not self.session:
            return []
        self.sequence += 1
        gone = (id,) if removed else ()
        changed = () if removed else (self.tasks[id],)
        return [Assignments(self.session, self.sequence, False, changed, gone)]


class Line:
    """Agent, leader, executor and disk, with everything between them in one bag."""

    def __init__(self, seed: int) -> None:
        self.rng = Rng(seed)
        self.now = 0.0
        self.leader = Leader()
        self.bag: list[object] = []
        self.running: dict[tuple[str, Operation], None] = {}
        self.disk: dict[str, SavedTask] = {}
        self.seen: dict[str, TaskState] = {}
        self.healed = False
        self.lives = 0
        self.begin()

    def begin(self) -> None:
        self.lives += 1
        self.running.clear()
        self.agent = Agent("n1", NodeDescription(), self.rng.child(self.lives), dict(self.disk))
        self.step(ManagersKnown((LEADER,)))

    def step(self, input: object) -> None:
        for effect in self.agent.step(self.now, input):  # type: ignore[arg-type]
            if isinstance(effect, SaveTask):
                self.save(effect)
            elif isinstance(effect, Perform):
                self.perform(effect.task.id, effect.operation)
            elif isinstance(effect, ToManager):
                self.put(effect.message)

    def perform(self, id: str, operation: Operation) -> None:
        """What is asked for cancels what it replaces, sometimes too late."""
        replaced = list(Operation)[: list(Operation).index(operation)]
        if operation is not Operation.REMOVE:
            replaced = [other for other in replaced if other is not Operation.WAIT]
        for other in replaced:
            if self.healed or self.rng.chance(0.7):
                self.running.pop((id, other), None)
        self.running[id, operation] = None

    def save(self, effect: SaveTask) -> None:
        if effect.task is None or effect.status is None:
            self.disk.pop(effect.task_id, None)
            return
        assert effect.status.state >= self.seen.get(effect.task_id, TaskState.NEW)
        self.seen[effect.task_id] = effect.status.state
        self.disk[effect.task_id] = SavedTask(effect.task, effect.status)

    def put(self, message: object) -> None:
        if self.healed:
            self.bag.append(message)
        else:
            copies = self.rng.choice([0, 1, 1, 1, 1, 2])
            self.bag += [message] * copies

    def deliver(self) -> None:
        """The next message, or in wild times any of them."""
        at = 0 if self.healed else self.rng.below(len(self.bag))
        message = self.bag.pop(at)
        if isinstance(message, OpenSession | Heartbeat | ReportStatus):
            for answer in self.leader.hears(message):
                self.put(answer)
        else:
            self.step(FromManager(LEADER, message))  # type: ignore[arg-type]

    def operate(self) -> None:
        """Let one operation of the executor end, in some way."""
        keys = [key for key in self.running if not self.healed or key[1] is not Operation.WAIT]
        if not keys:
            return
        id, operation = self.rng.choice(keys)
        del self.running[id, operation]
        result: Started | Exited | None = None
        error: SwarmError | None = None
        if self.rng.chance(0.2) and not self.healed:
            error = self.rng.choice([TaskFailed("x"), TaskGone("x"), TemporaryFailure("x")])
        elif operation is Operation.START:
            result = Started("c", 1)
        elif operation is Operation.WAIT:
            result = Exited(self.rng.below(2))
        self.step(OperationDone(id, operation, result, error))

    def tick(self) -> None:
        wake = self.agent.wake_at()
        if wake is not None:
            self.now = max(self.now, wake)
            self.step(Tick())

    def wild(self) -> None:
        draw = self.rng.below(12)
        if draw < 4 and self.bag:
            self.deliver()
        elif draw < 8:
            self.operate()
        elif draw == 8:
            self.tick()
        elif draw == 9:
            for message in self.leader.change(self.rng):
                self.put(message)
        elif draw == 10 and self.rng.chance(0.3):
            self.step(SessionLost(LEADER.addr))
        elif draw == 11 and self.rng.chance(0.1):
            self.begin()

    def is_quiet(self) -> bool:
        """Nothing to deliver, nothing to do, and a session that has all."""
        ids = [id for id, _ in self.agent.tasks()]
        return (
            not self.bag
            and all(operation is Operation.WAIT for _, operation in self.running)
            and bool(self.agent.session_id)
            and self.agent.session_id == self.leader.session
            and sorted(ids) == sorted(self.leader.tasks)
            and all(self.leader.known.get(id) == self.agent.status(id) for id in ids)
        )


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32))
def test_states_only_grow_and_every_report_arrives(seed: int) -> None:
    line = Line(seed)
    for _ in range(STEPS_WILD):
        line.wild()
    line.healed = True
    line.bag.clear()  # a broken connection loses what was on its way
    tasks = dict(line.agent.tasks())
    for key in [key for key in line.running if key[0] not in tasks]:
        if key[1] is not Operation.REMOVE:
            del line.running[key]
    until = line.now + HEALED_SECONDS
    for _ in range(STEPS_HEALED_MAX):
        if line.is_quiet() and line.now >= until:
            break
        if line.bag:
            line.deliver()
        elif any(operation is not Operation.WAIT for _, operation in line.running):
            line.operate()
        else:
            line.tick()
    assert line.is_quiet(), (line.agent.reason, line.bag, line.running)
    for id, task in line.leader.tasks.items():
        status = line.agent.status(id)
        assert status == line.leader.known[id]
        assert status is not None
        if task.desired_state >= TaskState.SHUTDOWN:
            assert status.state >= TaskState.COMPLETE
        elif status.state < TaskState.COMPLETE:
            # It came as far as it should, and is waited for where it runs.
            assert status.state >= min(task.desired_state, TaskState.RUNNING)
            waited = (id, Operation.WAIT) in line.running
            assert waited == (status.state is TaskState.RUNNING)
    assert {id for id, _ in line.running} <= set(line.leader.tasks)
    assert sorted(line.disk) == sorted(line.leader.tasks)
