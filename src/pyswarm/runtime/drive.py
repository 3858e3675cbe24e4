"""The one driver: time and inputs into a machine, effects out of it.

Whatever happens is put into an inbox, from any thread; the driver takes it out in order (``gather``
may make one input of several), steps the machine, and hands each effect to ``perform``, which must
not wait. When the inbox is empty it sleeps until something comes or the machine's next deadline is
due. Who finds it asleep need not wake it: :meth:`Driver.act` does its work on the spot, since the
way through the loop and back costs more than many a step.

The swarm shares its host's loop. A loop that is kept busy elsewhere delays heartbeats; the driver
notices how late it is woken and says so (``on_lag``).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import trio

from pyswarm.env import Clock
from pyswarm.machine import Effect
from pyswarm.runtime.waiter import Bell

INPUTS_PER_BREATH = 64
"""Inputs taken before other tasks of the loop get their turn."""

INBOX_MAX = 65_536
"""Inputs that may wait before messages of peers are lost and calls refused: a loop that is so far
behind (seconds of steps) would answer nobody in time. Answers of the disk are always taken."""


class Stepping(Protocol):
    """A machine, as the driver sees it."""

    def step(self, now: float, input: Any, /) -> Sequence[Effect]: ...

    def wake_at(self) -> float | None: ...


class Driver:
    """Runs one machine on the trio loop it is started in."""

    def __init__(
        self,
        machine: Stepping,
        clock: Clock,
        *,
        wake: Callable[[], Any],
        perform: Callable[[Effect], None],
        on_lag: Callable[[float], None] | None = None,
        gather: Callable[[deque[Any]], Any] = deque.popleft,
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._wake = wake
        self._perform = perform
        self._on_lag = on_lag
        self._gather = gather
        self._inbox: deque[Any] = deque()
        self._bell = Bell()
        self._at: float | None = None
        """When time alone brings something next, as the machine said after the last step."""
        self._sleeps_until: float | None = None
        self._is_acting = False
        self._problem: BaseException | None = None
        """What the machine raised while somebody else drove it."""
        self._thread: int | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stopped = False

    @property
    def waiting(self) -> int:
        """Inputs in the inbox: who has a choice adds none to a full one (``INBOX_MAX``)."""
        return len(self._inbox)

    def post(self, input: Any) -> None:
        """Put an input into the inbox; from any thread, and never waits."""
        self._inbox.append(input)
        if self._thread == threading.get_ident():
            if not self._is_acting:
                self._bell.ring()
        elif self._token is not None:
            try:
                self._token.run_sync_soon(self._bell.ring, idempotent=True)
            except trio.RunFinishedError:
                self._inbox.clear()

    @trio.lowlevel.enable_ki_protection
    def act(self, input: Any) -> None:
        """Like :meth:`post`, but if the driver sleeps the machine takes ``input`` in before this
        returns, and whatever follows from it at once. On the driver's own loop only.

        What the machine raises is raised by :meth:`run`, as ever, and not here.
        """
        if self._is_acting or not self._bell.has_sleeper:
            self.post(input)
            return
        assert self._thread == threading.get_ident()
        self._inbox.append(input)
        self._is_acting = True
        try:
            self._breathe()
        except BaseException as problem:
            self._problem = problem
        finally:
            self._is_acting = False
        if self._must_wake():
            self._bell.ring()

    def _must_wake(self) -> bool:
        """Whether the driver has to look around itself: there is work, or it sleeps too long."""
        if self._inbox or self._problem is not None:
            return True
        until = self._sleeps_until
        return self._at is not None and (until is None or self._at < until)

    def stop(self) -> None:
        """Let :meth:`run` return after the input under way."""
        self._stopped = True
        self._bell.ring()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Drive until :meth:`stop`. Cancelling it leaves the machine as it stands. Ctrl-C never
        strikes in the middle of a step: trio raises it in the program's own tasks."""
        self._thread = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()
        self._bell.rung = True
        self._step(self._wake())  # the first step: a machine may have something to say unasked
        while not self._stopped:
            await self._rest()
            if self._problem is not None:
                raise self._problem
            self._breathe()

    def _breathe(self) -> None:
        """A batch of inputs, then what time alone brings."""
        for _ in range(INPUTS_PER_BREATH):
            if not self._inbox or self._stopped:
                break
            self._step(self._gather(self._inbox))
        self._at = self._machine.wake_at()
        if self._at is not None and self._at <= self._clock.monotonic() and not self._stopped:
            self._step(self._wake())
            self._at = self._machine.wake_at()
        self._bell.rung = bool(self._inbox)

    def _step(self, input: Any) -> None:
        for effect in self._machine.step(self._clock.monotonic(), input):
            self._perform(effect)

    async def _rest(self) -> None:
        """Until there is news, or the next deadline."""
        at = self._sleeps_until = self._at
        if at is None:
            await self._bell.wait()
            return
        left = at - self._clock.monotonic()
        if left <= 0 or self._bell.rung:
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(left):
            await self._bell.wait()
        late = self._clock.monotonic() - at
        if late > 0 and self._on_lag is not None:
            self._on_lag(late)
