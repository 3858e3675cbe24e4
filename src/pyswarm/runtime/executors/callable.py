"""Tasks as async Python functions: ``async def work(task: TaskContext)``, by image name.

A function is handed its arguments, environment, secrets and configs, and ``task.log(text)``. What
it returns is its exit code (None is 0, an integer that integer); an exception is exit code 1 with
the traceback in the task's log, and never reaches the node. Stopping a task cancels it; it may
clean up under a shield for its grace period, after which it is given up: Python cannot end code
that does not let itself be ended.

A health check names a function too: ``Healthcheck(test=("CMD", "ready"))`` asks the one registered
as ``checks={"ready": …}``. It is called with the task and says True or None for healthy, False for
unhealthy (or an exit code); an exception is unhealthy, with the traceback in the task's log.

By default the functions share a second trio loop in a thread of their own, so that one that blocks
does not cost the node its heartbeats. ``own_thread=False`` runs them in the node's loop.
"""

from __future__ import annotations

import logging
import platform
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice

import attrs
import trio

from pyswarm.agent.executor import (
    Exited,
    LogLine,
    Started,
    Stream,
    TaskContext,
    TaskFailed,
    TaskGone,
    TaskRejected,
    Usage,
)
from pyswarm.agent.health import healthcheck_of
from pyswarm.model.objects import NodeDescription, Plugin
from pyswarm.model.resources import NANO, GenericResource, Platform, Resources
from pyswarm.runtime.executors.honours import FUNCTIONS, Honour, refuse
from pyswarm.runtime.executors.images import Image, find_image

logger = logging.getLogger("pyswarm.executor")

TaskFunction = Callable[[TaskContext], Awaitable[object]]

LOG_LINES_MAX = 10_000
"""Lines of a task that are kept, in memory; the oldest go first."""

LOG_BYTES_MAX = 1024 * 1024
"""Bytes of a task's lines that are kept."""

CANCELLED = Exited(143, "")
"""How a function ends that was cancelled: as a process does that SIGTERM ended."""


class TaskLog:
    """The lines of one task; written from one thread, read from another."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque()
        self._bytes = 0
        self._dropped = 0
        self._lock = threading.Lock()
        self.on_news: Callable[[], None] | None = None
        self.followers = 0

    def write(self, text: str, stream: Stream = "stdout") -> None:
        """Append ``text``, line by line."""
        now = time.time()
        with self._lock:
            for line in text.splitlines() or [""]:
                data = line.encode("utf-8", "replace")
                self._lines.append(LogLine(stream, now, data))
                self._bytes += len(data)
            while len(self._lines) > LOG_LINES_MAX or self._bytes > LOG_BYTES_MAX:
                self._bytes -= len(self._lines.popleft().data)
                self._dropped += 1
        if self.followers and self.on_news is not None:
            self.on_news()

    def read(self, position: int) -> tuple[list[LogLine], int]:
        """The lines from ``position`` on (counted from the first ever), and the next position."""
        with self._lock:
            end = self._dropped + len(self._lines)
            skip = max(0, position - self._dropped)
            return list(islice(self._lines, skip, None)), end


@attrs.define(eq=False)
class _Run:
    """One task. Fields after ``log`` belong to the loop that the function runs in."""

    context: TaskContext
    function: TaskFunction
    log: TaskLog
    ended: trio.Event
    news: trio.Event
    began: trio.Event = attrs.field(factory=trio.Event)
    exited: Exited | None = None
    started: bool = False
    scope: trio.CancelScope | None = None
    stop: bool = False


class CallableExecutor:
    """Runs the functions of ``images`` (image name → async function). It belongs to one node.

    More of them can be added later with :meth:`register`.
    ``cpus`` and ``memory_bytes`` are what the node offers to the scheduler; nothing enforces them.
    """

    def __init__(
        self,
        images: Mapping[str, TaskFunction] | None = None,
        *,
        checks: Mapping[str, TaskFunction] | None = None,
        own_thread: bool = True,
        hostname: str | None = None,
        labels: Mapping[str, str] | None = None,
        cpus: float = 1.0,
        memory_bytes: int = 1 << 30,
        generic: Sequence[GenericResource] = (),
    ) -> None:
        self._images = dict(images or {})
        self._checks = dict(checks or {})
        self._own_thread = own_thread
        self._hostname = hostname or socket.gethostname()
        self._labels = dict(labels or {})
        self._resources = Resources(round(cpus * NANO), memory_bytes, tuple(generic))
        self._runs: dict[str, _Run] = {}
        self._loop: _Loop | None = None
        self._closed = False

    def register(self, image: str, function: TaskFunction) -> None:
        """Add a function, or put another in its place for tasks to come."""
        self._images[image] = function

    def images(self) -> Mapping[str, Image]:
        """What services may name here."""
        return dict.fromkeys(self._images, Image())

    def register_check(self, name: str, function: TaskFunction) -> None:
        """Add a function that health checks may name."""
        self._checks[name] = function

    @property
    def honours(self) -> Mapping[str, Honour]:
        """What becomes of each field of a spec here."""
        return FUNCTIONS

    def describe(self) -> NodeDescription:
        from pyswarm import __version__

        machine = Platform(platform.system().lower(), platform.machine())
        plugins = (Plugin("Log", "json-file"), Plugin("Network", "overlay"))
        return NodeDescription(
            self._hostname, machine, self._resources, __version__, dict(self._labels), plugins
        )

    # -- one task

    async def prepare(self, task: TaskContext, /) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise TaskFailed("the executor was closed")
        if task.id not in self._runs:
            function = find_image(self._images, task.container.image)
            refuse(task.container, FUNCTIONS)
            self._check(task)
            log = TaskLog()
            context = attrs.evolve(task, log=log.write)
            self._runs[task.id] = _Run(context, function, log, trio.Event(), trio.Event())

    async def start(self, task_id: str, /) -> Started:
        run = self._get(task_id)
        if self._closed:
            raise TaskFailed("the executor was closed")
        if self._loop is None:
            self._loop = _Loop(self._own_thread)
        if not run.started:
            if run.began.is_set():
                raise TaskFailed("the task was stopped before it was started")
            run.started = True
            run.began.set()
            self._loop.start(run)
        await trio.lowlevel.checkpoint()
        return Started(task_id)

    async def wait(self, task_id: str, /) -> Exited:
        run = self._get(task_id)
        if not run.started:
            raise TaskFailed("the task was not started")
        await run.ended.wait()
        assert run.exited is not None
        return run.exited

    async def probe(self, task_id: str, /) -> int:
        """Call the function that the task's health check names, in the functions' loop."""
        run = self._get(task_id)
        check = self._check(run.context)
        if check is None or not run.started or run.ended.is_set() or self._loop is None:
            await trio.lowlevel.checkpoint()
            return 1
        return await self._loop.probe(run, check)

    async def shutdown(self, task_id: str, /) -> None:
        run = self._get(task_id)
        await self._stop(run, run.context.stop_grace_seconds)

    async def terminate(self, task_id: str, /) -> None:
        await self._stop(self._get(task_id), 0.0)

    async def remove(self, task_id: str, /) -> None:
        run = self._runs.get(task_id)
        if run is not None:
            await self._stop(run, 0.0)
            self._runs.pop(task_id, None)
        else:
            await trio.lowlevel.checkpoint()

    async def logs(
        self,
        task_id: str,
        /,
        *,
        since: float = 0.0,
        follow: bool = False,
        tail: int | None = None,
    ) -> AsyncGenerator[LogLine, None]:
        """The lines that are kept, and with ``follow`` those to come."""
        run = self._get(task_id)
        run.log.followers += follow
        try:
            lines, position = run.log.read(0)
            lines = [line for line in lines if line.time >= since]
            for line in lines if tail is None else lines[max(0, len(lines) - tail) :]:
                yield line
            if follow:
                await run.began.wait()
            while follow and run.started:
                if run.news.is_set():
                    run.news = trio.Event()
                ended, news = run.ended.is_set(), run.news
                lines, position = run.log.read(position)
                for line in lines:
                    yield line
                if ended:
                    return
                await news.wait()
        finally:
            run.log.followers -= follow

    async def stats(self, task_id: str, /) -> Usage:
        """What one function uses cannot be told apart: it says only whether it runs."""
        run = self._get(task_id)
        await trio.lowlevel.checkpoint()
        return Usage(processes=int(run.started and not run.ended.is_set()))

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, with its node."""
        return self._closed

    async def aclose(self) -> None:
        """Cancel what runs; return when the loop and its thread have ended."""
        if self._closed:
            return
        self._closed = True
        if self._loop is not None:
            with trio.CancelScope(shield=True):
                await self._loop.aclose()
        for run in self._runs.values():
            run.began.set()
        self._runs.clear()

    def kill(self) -> None:
        """Cancel every task at once, without waiting: what happens when a node is killed."""
        for run in self._live():
            assert self._loop is not None
            self._loop.stop(run)

    async def __aenter__(self) -> CallableExecutor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # -- inside

    def _live(self) -> Iterator[_Run]:
        return (run for run in self._runs.values() if run.started and not run.ended.is_set())

    def _get(self, task_id: str) -> _Run:
        run = self._runs.get(task_id)
        if run is None:
            raise TaskGone(f"No such container: {task_id}")
        return run

    def _check(self, task: TaskContext) -> TaskFunction | None:
        """The function behind a task's health check; :class:`TaskRejected` where there is none."""
        check = healthcheck_of(task.container)
        if check is None:
            return None
        words = " ".join(check.test[1:]).split() or [""]
        if words[0] not in self._checks:
            raise TaskRejected(
                f"No such health check: {words[0]}",
                hint="register it: CallableExecutor(checks={name: function})",
            )
        return self._checks[words[0]]

    async def _stop(self, run: _Run, grace_seconds: float) -> None:
        """Cancel it and give it ``grace_seconds`` to clean up, then give it up."""
        run.began.set()
        if not run.started or run.ended.is_set() or self._loop is None:
            await trio.lowlevel.checkpoint()
            return
        self._loop.stop(run)
        with trio.move_on_after(max(grace_seconds, GIVE_UP_SECONDS_MIN)):
            await run.ended.wait()
        if not run.ended.is_set():
            run.log.write("the task did not end in time: it is given up", "stderr")
            run.exited = Exited(137, "given up")
            run.ended.set()
            run.news.set()


GIVE_UP_SECONDS_MIN = 0.25
"""Even without any grace, a cancelled function gets this long to come to its next checkpoint."""

CLOSE_SECONDS = 5.0
"""How long closing waits for functions that do not end."""


class _Loop:
    """Where the functions run: a trio loop in a thread, or the host's own."""

    def __init__(self, own_thread: bool) -> None:
        self._host = trio.lowlevel.current_trio_token()
        self._token: trio.lowlevel.TrioToken | None = None if own_thread else self._host
        self._nursery: trio.Nursery | None = None
        self._waiting: list[_Run] = []
        self._lock = threading.Lock()
        self._closed = trio.Event()
        self._thread: threading.Thread | None = None
        if own_thread:
            self._thread = threading.Thread(
                target=trio.run, args=(self._main,), name="pyswarm tasks", daemon=True
            )
            self._thread.start()
        else:
            trio.lowlevel.spawn_system_task(self._main)

    def start(self, run: _Run) -> None:
        """Have the function of ``run`` called, soon."""
        run.log.on_news = lambda: self._tell_host(run.news.set)
        with self._lock:
            if self._nursery is None:
                self._waiting.append(run)
                return
        self._inside(self._begin, run)

    def stop(self, run: _Run) -> None:
        """Cancel it, also before it began."""
        run.stop = True
        self._inside(self._cancel, run)

    async def probe(self, run: _Run, check: TaskFunction) -> int:
        """Call ``check`` where the functions run; its answer as an exit code."""
        scope, answered = trio.CancelScope(), trio.Event()
        codes: list[int] = []

        async def ask() -> None:
            try:
                with scope:
                    codes.append(await verdict(run.context, check, run.log))
            finally:
                self._tell_host(answered.set)

        def begin() -> None:
            if self._nursery is None or self._nursery.cancel_scope.cancel_called:
                self._tell_host(answered.set)
            else:
                self._nursery.start_soon(ask)

        self._inside(begin)
        try:
            await answered.wait()
        finally:
            self._inside(scope.cancel)
        return codes[0] if codes else 1

    async def aclose(self) -> None:
        """Cancel everything, and wait for it to end (but not for ever)."""
        self._inside(self._cancel_all)
        with trio.move_on_after(CLOSE_SECONDS) as scope:
            await self._closed.wait()
        if scope.cancelled_caught:
            logger.warning("tasks did not end in time: the thread they run in is left behind")
        elif self._thread is not None:
            self._thread.join()

    async def _main(self) -> None:
        """Runs in the functions' loop."""
        try:
            async with trio.open_nursery() as nursery:
                with self._lock:
                    self._token = trio.lowlevel.current_trio_token()
                    self._nursery = nursery
                for run in self._waiting:
                    self._begin(run)
                await trio.sleep_forever()
        finally:
            self._tell_host(self._closed.set)

    def _begin(self, run: _Run) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._call, run)

    async def _call(self, run: _Run) -> None:
        exited = CANCELLED
        try:
            with trio.CancelScope() as run.scope:
                if run.stop:
                    run.scope.cancel()
                exited = await call(run.context, run.function, run.log)
        finally:
            self._tell_host(lambda: finish(run, exited))

    def _cancel(self, run: _Run) -> None:
        if run.scope is not None:
            run.scope.cancel()

    def _cancel_all(self) -> None:
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def _inside(self, function: Callable[..., object], *args: object) -> None:
        """Call it in the functions' loop."""
        token = self._token
        if token is None:  # the thread is only just starting
            self._host.run_sync_soon(self._inside, function, *args)
            return
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(function, *args)

    def _tell_host(self, function: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):  # the host's loop ended without closing us
            self._host.run_sync_soon(function)


def finish(run: _Run, exited: Exited) -> None:
    """Runs in the host's loop: the function has ended."""
    if run.exited is None:
        run.exited = exited
    run.ended.set()
    run.news.set()


async def call(context: TaskContext, function: TaskFunction, log: TaskLog) -> Exited:
    """Call the function; whatever it does becomes an exit code."""
    try:
        result = await function(context)
    except Exception as error:
        log.write("".join(traceback.format_exception(error)), "stderr")
        return Exited(1, type(error).__name__)
    except SystemExit as error:
        code = error.code
        return Exited(code if isinstance(code, int) else 0 if code is None else 1)
    return Exited(result & 0xFF if isinstance(result, int) and result is not True else 0)


async def verdict(context: TaskContext, check: TaskFunction, log: TaskLog) -> int:
    """What a health check's function says, as an exit code: 0 is healthy."""
    try:
        answer = await check(context)
    except Exception as error:
        log.write("".join(traceback.format_exception(error)), "stderr")
        return 1
    if answer is None or answer is True:
        return 0
    return answer & 0xFF if isinstance(answer, int) and answer is not False else 1
