"""A living node finds the new leader before that one gives it up, whoever else is dead."""

from __future__ import annotations

import pytest

from pyswarm.agent import ManagersKnown, SessionLost, Tick, ToManager
from pyswarm.agent.session import ANSWER_SECONDS
from pyswarm.dispatch.dispatcher import TAKEOVER_PERIODS
from pyswarm.env import Rng
from pyswarm.machine import Effect
from pyswarm.model.objects import Node
from pyswarm.model.session import (
    Assignments,
    HeartbeatAnswer,
    ManagerAddress,
    OpenSession,
    SessionOpened,
    SessionRefused,
)
from unit.agent.world import LEADER, OTHER, World, make_task, opened

THIRD = ManagerAddress("m3", "10.0.0.3:2377")
ALL = (LEADER, OTHER, THIRD)


def managers(count: int) -> tuple[ManagerAddress, ...]:
    return tuple(ManagerAddress(f"m{n}", f"10.0.0.{n}:2377") for n in range(1, count + 1))


class Swarm:
    """An agent whose managers are all dead but one, which takes office at ``office_at``."""

    def __init__(
        self, seed: int, count: int, period: float, office_at: float, *, silent: bool
    ) -> None:
        self.world = World(seed=seed)
        self.all = managers(count)
        self.office_at = self.world.now + office_at
        self.silent = silent
        self.asked: list[str] = []
        self.found_at: float | None = None
        self.world.step(ManagersKnown(self.all[:1]))
        self.world.say(SessionOpened("session-1", period, Node("n1"), self.all), self.all[0])
        self.world.say(Assignments("session-1", 1, True), self.all[0])
        self.world.say(HeartbeatAnswer("session-1", period, 1), self.all[0])

    def run(self, limit: float) -> None:
        """Until the new leader was asked, or ``limit`` seconds after it took office."""
        self.answer([])
        while self.found_at is None and self.world.now < self.office_at + limit:
            at = self.world.agent.wake_at()
            assert at is not None
            self.world.now = max(at, self.world.now)
            self.answer(self.world.step(Tick()))

    def answer(self, effects: list[Effect]) -> None:
        queue = list(effects)
        while queue and self.found_at is None:
            effect = queue.pop(0)
            if not isinstance(effect, ToManager):
                continue
            if isinstance(effect.message, OpenSession):
                self.asked.append(effect.manager.addr)
            queue += self.hear(effect)

    def hear(self, effect: ToManager) -> list[Effect]:
        manager = effect.manager
        if manager != self.all[-1]:
            return [] if self.silent else self.world.step(SessionLost(manager.addr))
        if self.world.now < self.office_at:
            return self.world.say(SessionRefused("", "unavailable", "does not lead"), manager)
        self.found_at = self.world.now
        return []


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "black-hole"])
@pytest.mark.parametrize("period", [0.5, 1.0, 2.0, 5.0, 30.0])
@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_the_new_leader_is_asked_within_its_grace(count: int, period: float, silent: bool) -> None:
    rng = Rng(count)
    for seed in range(30):
        office_at = rng.random() * 20 * period
        swarm = Swarm(seed, count, period, office_at, silent=silent)
        swarm.run(limit=TAKEOVER_PERIODS * period)
        assert swarm.found_at is not None, f"seed {seed}"
        assert swarm.found_at - swarm.office_at < 5.5 * period, f"seed {seed}"


def test_each_is_asked_once_a_round_and_rounds_are_spread() -> None:
    orders, waits = set(), set()
    for seed in range(20):
        swarm = Swarm(seed, 5, 1.0, 60.0, silent=False)
        swarm.world.step(SessionLost("10.0.0.1:2377"))
        swarm.run(limit=-40.0)
        rounds = [swarm.asked[n : n + 5] for n in range(0, len(swarm.asked), 5)]
        assert len(rounds) > 10
        for one in rounds:
            assert len(set(one)) == len(one), "nobody twice before everybody once"
        orders.add(tuple(rounds[0]))
        wake = swarm.world.agent.wake_at()
        waits.add(round(wake or 0.0, 3))
    assert len(orders) > 5
    assert len(waits) > 10


def test_a_leader_that_a_refusal_names_is_asked_next_but_not_twice_a_round() -> None:
    world = World()
    world.step(ManagersKnown(ALL))
    for _ in range(2):
        first = world.agent.manager
        assert first is not None
        named = next(one for one in ALL if one != first)
        refusal = SessionRefused("", "unavailable", "not the leader", named.addr)
        world.say(refusal, first)
        assert world.agent.manager == named
        world.say(SessionRefused("", "unavailable", "nor am I", first.addr), named)
        assert world.agent.manager not in (first, named, None)
        assert opened(world.step(SessionLost(world.agent.manager.addr))) == []
        wake = world.agent.wake_at()
        assert wake is not None
        world.now = wake
        assert opened(world.step(Tick()))


def test_an_answer_that_comes_late_is_an_answer() -> None:
    """A slow leader has time, while others are asked meanwhile."""
    world = World()
    world.step(ManagersKnown(ALL))
    slow = world.agent.manager
    assert slow is not None
    world.now = world.agent.wake_at() or 0.0
    world.step(Tick())
    assert world.agent.manager != slow
    assert world.agent.session_id == ""
    world.say(SessionOpened("session-9", 5.0, Node("n1"), ALL), slow)
    assert (world.agent.session_id, world.agent.manager) == ("session-9", slow)


def test_a_late_refusal_that_names_the_leader_is_followed() -> None:
    world = World()
    world.step(ManagersKnown(ALL[:2]))
    slow = world.agent.manager
    assert slow is not None
    world.now = world.agent.wake_at() or 0.0
    world.step(Tick())
    world.say(SessionRefused("", "unavailable", "not the leader", THIRD.addr), slow)
    assert world.agent.manager is not None
    assert world.agent.manager.addr == THIRD.addr


def test_who_was_never_asked_opens_nothing() -> None:
    world = World()
    world.step(ManagersKnown((LEADER,)))
    assert world.say(SessionOpened("session-9", 5.0, Node("n1"), ALL), THIRD) == []
    assert world.agent.session_id == ""


@pytest.mark.parametrize(("period", "patience"), [(0.5, 1.5), (1.0, 3.0), (5.0, ANSWER_SECONDS)])
def test_a_heartbeat_is_waited_for_no_longer_than_the_leader_would(
    period: float, patience: float
) -> None:
    world = World()
    world.step(ManagersKnown((LEADER,)))
    world.say(SessionOpened("session-1", period, Node("n1"), ALL))
    world.say(Assignments("session-1", 1, True, (make_task(),)))
    world.say(HeartbeatAnswer("session-1", period, 1))
    world.now += period
    world.step(Tick())
    world.now += patience - 0.01
    world.step(Tick())
    assert world.agent.session_id == "session-1"
    world.now += 0.02
    world.step(Tick())
    assert world.agent.reason == "heartbeat timed out"
