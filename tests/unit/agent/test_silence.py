"""A node that gets no session says so, once in a while, and what a person can do."""

from __future__ import annotations

from itertools import pairwise

from pyswarm.agent import (
    ManagersKnown,
    SessionFound,
    SessionLost,
    SessionMissing,
    Stop,
    Tick,
    ToManager,
)
from pyswarm.machine import Effect
from pyswarm.model.objects import Node
from pyswarm.model.session import OpenSession, SessionOpened, SessionRefused
from unit.agent.world import LEADER, OTHER, World

TRUST = "TLS: certificate verify failed"


class Alone:
    """An agent whose calls all end the same way."""

    def __init__(self, reason: str = TRUST, untrusted: bool = True) -> None:
        self.world = World()
        self.began = self.world.now
        self.reason, self.untrusted = reason, untrusted
        self.said: list[tuple[float, SessionMissing]] = []
        self.take(self.world.step(ManagersKnown((LEADER, OTHER))))

    def take(self, effects: list[Effect]) -> None:
        queue = list(effects)
        while queue:
            match queue.pop(0):
                case SessionMissing() as missing:
                    self.said.append((self.world.now - self.began, missing))
                case ToManager(manager, OpenSession()):
                    loss = SessionLost(manager.addr, self.reason, self.untrusted)
                    queue += self.world.step(loss)

    def run(self, seconds: float) -> None:
        end = self.world.now + seconds
        while (at := self.world.agent.wake_at()) is not None and at < end:
            self.world.now = max(at, self.world.now)
            self.take(self.world.step(Tick()))


def test_it_is_said_after_a_while_and_then_more_and_more_seldom() -> None:
    alone = Alone()
    alone.run(29.0)
    assert alone.said == [] and alone.world.agent.missing is None
    alone.run(4 * 3600.0)
    times = [at for at, _ in alone.said]
    assert 30.0 <= times[0] < 45.0
    pauses = [later - at for at, later in pairwise(times)]
    doubled = [min(60.0 * 2**n, 3600.0) for n in range(len(pauses))]
    assert len(pauses) > 7
    assert all(due <= pause < due + 15.0 for pause, due in zip(pauses, doubled, strict=True))


def test_it_names_who_was_tried_why_it_failed_and_the_next_step() -> None:
    alone = Alone()
    alone.run(60.0)
    missing = alone.said[0][1]
    assert sorted(missing.addrs) == [LEADER.addr, OTHER.addr]
    assert missing.seconds >= 30.0
    assert missing.reason == TRUST and TRUST in str(missing) and LEADER.addr in str(missing)
    assert "join again with a new token" in missing.hint
    assert alone.world.agent.missing == missing


def test_where_nobody_is_there_joining_again_is_no_help() -> None:
    alone = Alone("Connection refused", untrusted=False)
    alone.run(60.0)
    missing = alone.said[0][1]
    assert missing.reason == "Connection refused"
    assert "join" not in missing.hint


def test_a_line_that_is_not_tried_again_yet_failed_as_before() -> None:
    alone = Alone()
    alone.run(5.0)
    alone.reason, alone.untrusted = "", False
    alone.run(60.0)
    assert alone.said[0][1].reason == TRUST


def test_managers_that_never_answer_at_all() -> None:
    world = World()
    world.step(ManagersKnown((LEADER,)))
    while world.now < 160.0:
        at = world.agent.wake_at()
        assert at is not None
        world.now = at
        world.step(Tick())
    assert world.agent.missing is not None
    assert world.agent.missing.reason == "session initiation timed out"


def test_a_refusal_counts_too() -> None:
    world = World()
    world.step(ManagersKnown((LEADER,)))
    world.now += 31.0
    world.say(SessionRefused("", "unavailable", "this manager does not lead"))
    assert world.agent.missing is not None
    assert world.agent.missing.reason == "this manager does not lead"


def test_a_session_ends_the_silence() -> None:
    alone = Alone()
    alone.run(60.0)
    world = alone.world
    opened = SessionOpened("session-1", 5.0, Node("n1"), (LEADER,))
    while not (asked := world.agent.manager):
        at = world.agent.wake_at()
        assert at is not None
        world.now = at
        world.step(Tick())
    assert SessionFound(asked.addr) in world.say(opened, asked)
    assert world.agent.missing is None
    world.step(SessionLost(LEADER.addr))
    assert not any(isinstance(one, SessionFound) for one in world.say(opened, LEADER))


def test_a_node_that_stops_says_nothing() -> None:
    alone = Alone()
    alone.world.step(Stop())
    alone.world.now += 100.0
    alone.take(alone.world.step(Tick()))
    assert alone.said == []
