"""What every executor has to do: checks for one of your own.

An executor that passes these can be handed to a node. In a test suite::

    @pytest.mark.parametrize("check", EXECUTOR_CHECKS, ids=check_name)
    async def test_my_executor(check):
        await run_check(check, MyExecutor, ShellBehaviours())

or all of them at once: ``await check_executor(MyExecutor, ShellBehaviours())``. There are more for
what runs programs (:mod:`.programs`) and for what declares its fields (:mod:`.fields`). They need
tasks that do certain things; :class:`Behaviours` says which, and how they are spelled is the
executor's business: :class:`ShellBehaviours` for whatever runs programs, and
:class:`CallableBehaviours` for functions. A check fails with an ``AssertionError`` that says what
was expected; one that does not end within :data:`CHECK_SECONDS_MAX` fails too. Nothing sleeps: the
checks wait for lines a task prints.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Protocol

import attrs
import trio
import trio.testing

from pyswarm.agent import (
    Executor,
    LogLine,
    Prober,
    TaskContext,
    TaskFile,
    TaskGone,
    TaskRejected,
    parse_environment,
    swarm_environment,
)
from pyswarm.model.objects import Task
from pyswarm.model.specs import ContainerSpec, Healthcheck, Mount, TaskSpec, VolumeOptions
from pyswarm.model.states import MountType, TaskState

CHECK_SECONDS_MAX = 30.0
"""No check takes a second of work; on a busy machine this is patience enough."""

MakeExecutor = Callable[[], Executor]


class Behaviours(Protocol):
    """Tasks that do what the checks need, as this executor spells them."""

    def exits(self, code: int) -> ContainerSpec:
        """Ends at once with this exit code."""
        ...

    def says(self, *lines: str) -> ContainerSpec:
        """Prints the lines and ends well."""
        ...

    def runs(self, line: str) -> ContainerSpec:
        """Prints a line, then runs until it is asked to stop."""
        ...

    def ignores_stop(self, line: str) -> ContainerSpec:
        """Does not stop when asked to; prints a line once it is in this mood."""
        ...

    def shows_env(self, name: str) -> ContainerSpec:
        """Prints the value of a variable."""
        ...

    def shows_file(self, kind: str, target: str) -> ContainerSpec:
        """Prints a secret or config whose target was a relative path."""
        ...

    def checked(self, line: str, variable: str) -> ContainerSpec:
        """Like ``runs``, with a health check that is well if this variable says ``well``."""
        ...

    def release(self) -> None:
        """Called when a check is over, for behaviours that can only be given up."""
        ...


class ShellBehaviours:
    """For executors that run programs and know an image with a POSIX shell."""

    def __init__(self, image: str = "host") -> None:
        self.image = image

    def shell(self, script: str) -> ContainerSpec:
        return ContainerSpec(image=self.image, command=("/bin/sh", "-c", script))

    def exits(self, code: int) -> ContainerSpec:
        return self.shell(f"exit {code}")

    def says(self, *lines: str) -> ContainerSpec:
        return self.shell("; ".join(f"echo '{line}'" for line in lines))

    def runs(self, line: str) -> ContainerSpec:
        return self.shell(f"trap 'exit 0' TERM; echo {line}; while :; do sleep 60 & wait; done")

    def ignores_stop(self, line: str) -> ContainerSpec:
        return self.shell(f"trap '' TERM; echo {line}; while :; do sleep 60; done")

    def shows_env(self, name: str) -> ContainerSpec:
        return self.shell(f'echo "${name}"')

    def shows_file(self, kind: str, target: str) -> ContainerSpec:
        own = f"PYSWARM_{kind.upper()}S_DIR"
        root = "/run/secrets" if kind == "secret" else ""
        return self.shell(f'cat "${{{own}:-{root}}}/{target}"')

    def checked(self, line: str, variable: str) -> ContainerSpec:
        check = Healthcheck(test=("CMD-SHELL", f'test "${variable}" = well'), interval=0.01)
        return attrs.evolve(self.runs(line), healthcheck=check)

    def release(self) -> None:
        """Processes can be killed."""


class CallableBehaviours:
    """For :class:`pyswarm.runtime.executors.CallableExecutor`; give it :meth:`images` and
    :meth:`checks`."""

    def __init__(self) -> None:
        self._released = threading.Event()

    def images(self) -> Mapping[str, Callable[[TaskContext], Awaitable[object]]]:
        """The functions behind the behaviours, by image name."""
        return {
            "exits": _exits,
            "says": _says,
            "runs": _runs,
            "ignores": self._ignores,
            "env": _shows_env,
            "file": _shows_file,
        }

    def checks(self) -> Mapping[str, Callable[[TaskContext], Awaitable[object]]]:
        """The functions behind the health checks, by name."""
        return {"well": _is_well}

    def exits(self, code: int) -> ContainerSpec:
        return ContainerSpec(image="exits", args=(str(code),))

    def says(self, *lines: str) -> ContainerSpec:
        return ContainerSpec(image="says", args=lines)

    def runs(self, line: str) -> ContainerSpec:
        return ContainerSpec(image="runs", args=(line,))

    def ignores_stop(self, line: str) -> ContainerSpec:
        return ContainerSpec(image="ignores", args=(line,))

    def shows_env(self, name: str) -> ContainerSpec:
        return ContainerSpec(image="env", args=(name,))

    def shows_file(self, kind: str, target: str) -> ContainerSpec:
        return ContainerSpec(image="file", args=(kind, target))

    def checked(self, line: str, variable: str) -> ContainerSpec:
        check = Healthcheck(test=("CMD", "well"), interval=0.01)
        return ContainerSpec(image="runs", args=(line, variable), healthcheck=check)

    def release(self) -> None:
        self._released.set()
        self._released = threading.Event()

    async def _ignores(self, task: TaskContext) -> None:
        released = self._released
        task.log(task.args[0])
        with trio.CancelScope(shield=True):
            while not released.is_set():  # noqa: ASYNC110 (set from another thread)
                await trio.sleep(0.01)


async def _exits(task: TaskContext) -> int:
    await trio.lowlevel.checkpoint()
    return int(task.args[0])


async def _says(task: TaskContext) -> None:
    await trio.lowlevel.checkpoint()
    for line in task.args:
        task.log(line)


async def _runs(task: TaskContext) -> None:
    task.log(task.args[0])
    await trio.sleep_forever()


async def _is_well(task: TaskContext) -> bool:
    await trio.lowlevel.checkpoint()
    return task.env.get(task.args[1]) == "well"


async def _shows_env(task: TaskContext) -> None:
    await trio.lowlevel.checkpoint()
    task.log(task.env[task.args[0]])


async def _shows_file(task: TaskContext) -> None:
    await trio.lowlevel.checkpoint()
    kind, target = task.args
    root = "/run/secrets/" if kind == "secret" else "/"
    task.log(task.files[root + target].data.decode())


@attrs.define
class Bench:
    """One executor on the bench, with the tasks it can be given."""

    executor: Executor
    behaviours: Behaviours
    made: int = 0

    def task(
        self,
        container: ContainerSpec,
        *,
        grace: float | None = None,
        env: tuple[str, ...] = (),
        files: tuple[TaskFile, ...] = (),
    ) -> TaskContext:
        """A task with an id of its own."""
        self.made += 1
        container = attrs.evolve(container, stop_grace_period=grace, env=env)
        task = Task(
            id=f"task{self.made:021d}",
            service_id="service1",
            spec=TaskSpec(container=container),
            slot=self.made,
            node_id="node1",
            state=TaskState.ACCEPTED,
            service_name="bench",
        )
        variables = swarm_environment(task, "node1", "host1") | parse_environment(env)
        return TaskContext(
            task, "node1", "host1", container, variables, {file.path: file for file in files}
        )

    async def start(self, container: ContainerSpec, **fields: object) -> str:
        """Prepare and start a task; its id."""
        task = self.task(container, **fields)  # type: ignore[arg-type]
        await self.executor.prepare(task)
        await self.executor.start(task.id)
        return task.id

    async def run(self, container: ContainerSpec, **fields: object) -> list[str]:
        """Run a task to its good end; what it printed."""
        id = await self.start(container, **fields)
        exited = await self.executor.wait(id)
        lines = [line.data.decode() async for line in self.executor.logs(id)]
        assert exited.code == 0, f"it ended with {exited}, after printing {lines}"
        return lines

    async def ended(self, id: str, code: int) -> None:
        """The task ends with this exit code."""
        exited = await self.executor.wait(id)
        assert exited.code == code, f"expected exit code {code}, got {exited}"

    async def line(self, id: str, text: str) -> None:
        """Wait until the task has printed ``text``."""
        async with aclosing(self.executor.logs(id, follow=True)) as lines:
            async for line in lines:
                if line.data.decode() == text:
                    return
        raise AssertionError(f"the task ended without printing {text!r}")

    async def running(self, line: str = "ready", **fields: object) -> str:
        """A task that runs until it is stopped, and does."""
        id = await self.start(self.behaviours.runs(line), **fields)
        await self.line(id, line)
        return id

    async def gone(self, id: str) -> None:
        """The executor knows no task of this id."""
        try:
            await self.executor.wait(id)
        except TaskGone:
            return
        raise AssertionError(f"task {id} should be unknown: expected TaskGone")


Check = Callable[[Bench], Awaitable[None]]


async def describes_itself(bench: Bench) -> None:
    described = bench.executor.describe()
    assert described.hostname, "a node has a host name"
    assert described.resources.nano_cpus > 0, "a node has a processor"
    assert described.resources.memory_bytes > 0, "a node has memory"
    assert bench.executor.describe() == described, "a description does not change by itself"


async def keeps_the_protocol(bench: Bench) -> None:
    assert isinstance(bench.executor, Executor)
    await trio.lowlevel.checkpoint()


async def tells_exit_codes(bench: Bench) -> None:
    for code in (0, 3):
        id = await bench.start(bench.behaviours.exits(code))
        for _ in range(2):  # also when it has long ended
            await bench.ended(id, code)


async def refuses_unknown_images(bench: Bench) -> None:
    container = attrs.evolve(bench.behaviours.exits(0), image="no/such-image:1")
    try:
        await bench.executor.prepare(bench.task(container))
    except TaskRejected as error:
        assert str(error) == "No such image: no/such-image:1"
    else:
        raise AssertionError("expected TaskRejected")


async def refuses_what_it_cannot_give(bench: Bench) -> None:
    """A mount that cannot be made is never left out in silence."""
    volume = VolumeOptions(driver="no-such-driver")
    for mount in (
        Mount("/mnt", "data", volume=volume),
        Mount("/mnt", "/no/such/directory", type=MountType.BIND),
    ):
        container = attrs.evolve(bench.behaviours.exits(0), mounts=(mount,))
        try:
            await bench.executor.prepare(bench.task(container))
        except TaskRejected:
            continue
        raise AssertionError(f"expected TaskRejected for {mount}")


async def knows_what_it_does_not_have(bench: Bench) -> None:
    executor = bench.executor
    for operation in (executor.start, executor.wait, executor.shutdown, executor.terminate):
        try:
            await operation("nosuchtask")
        except TaskGone:
            continue
        raise AssertionError(f"{operation.__name__} of an unknown task: expected TaskGone")
    await executor.remove("nosuchtask")


async def takes_repeated_calls_as_done(bench: Bench) -> None:
    task = bench.task(bench.behaviours.runs("ready"))
    for _ in range(2):
        await bench.executor.prepare(task)
    first = await bench.executor.start(task.id)
    await bench.line(task.id, "ready")
    assert await bench.executor.start(task.id) == first, "started twice: one answer"
    for _ in range(2):
        await bench.executor.shutdown(task.id)
    lines = [line.data async for line in bench.executor.logs(task.id)]
    assert lines == [b"ready"], "started twice: runs once"


async def keeps_what_a_task_prints(bench: Bench) -> None:
    id = await bench.start(bench.behaviours.says("one", "two", "", "four"))
    followed = [line async for line in bench.executor.logs(id, follow=True)]
    assert [line.data for line in followed] == [b"one", b"two", b"", b"four"]
    assert all(line.stream == "stdout" for line in followed)
    assert sorted(line.time for line in followed) == [line.time for line in followed]
    await bench.executor.wait(id)

    async def told(**options: object) -> list[LogLine]:
        return [line async for line in bench.executor.logs(id, **options)]  # type: ignore[arg-type]

    assert await told() == followed
    assert await told(tail=2) == followed[2:]
    assert await told(tail=0) == []
    assert await told(tail=9, follow=True) == followed
    assert await told(since=followed[-1].time + 1) == []


async def shows_lines_as_they_come(bench: Bench) -> None:
    id = await bench.running("here")  # a follower saw the line while the task runs
    seen: list[LogLine] = []

    async def follow() -> None:
        seen.extend([line async for line in bench.executor.logs(id, follow=True)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        nursery.start_soon(bench.executor.shutdown, id)
    assert [line.data for line in seen] == [b"here"]


async def follows_from_before_the_start(bench: Bench) -> None:
    task, never = bench.task(bench.behaviours.says("a", "b")), bench.task(bench.behaviours.exits(0))
    told: dict[str, list[bytes]] = {}

    async def follow(id: str) -> None:
        told[id] = [line.data async for line in bench.executor.logs(id, follow=True)]

    async with trio.open_nursery() as nursery:
        for one in (task, never):
            await bench.executor.prepare(one)
            nursery.start_soon(follow, one.id)
        await trio.testing.wait_all_tasks_blocked()
        await bench.executor.start(task.id)
        await bench.executor.shutdown(never.id)
    assert told == {task.id: [b"a", b"b"], never.id: []}


async def stops_what_listens(bench: Bench) -> None:
    id = await bench.running(grace=CHECK_SECONDS_MAX * 2)
    await bench.executor.shutdown(id)
    await bench.executor.wait(id)


async def ends_what_does_not_listen(bench: Bench) -> None:
    for grace in (0.2, 0.0):
        id = await bench.start(bench.behaviours.ignores_stop("stubborn"), grace=grace)
        await bench.line(id, "stubborn")
        await bench.executor.shutdown(id)
        await bench.ended(id, 137)


async def terminates_at_once(bench: Bench) -> None:
    id = await bench.start(bench.behaviours.ignores_stop("stubborn"), grace=1000.0)
    await bench.line(id, "stubborn")
    await bench.executor.terminate(id)
    await bench.ended(id, 137)


async def stops_what_never_ran(bench: Bench) -> None:
    task = bench.task(bench.behaviours.exits(0))
    await bench.executor.prepare(task)
    await bench.executor.shutdown(task.id)
    await bench.executor.remove(task.id)
    await bench.gone(task.id)


async def stops_what_has_ended(bench: Bench) -> None:
    id = await bench.start(bench.behaviours.exits(5))
    await bench.executor.wait(id)
    await bench.executor.shutdown(id)
    await bench.executor.terminate(id)
    await bench.ended(id, 5)  # how it ended is not forgotten


async def removes_everything(bench: Bench) -> None:
    id = await bench.running(grace=1000.0)
    for _ in range(2):
        await bench.executor.remove(id)
    await bench.gone(id)
    try:
        [line async for line in bench.executor.logs(id)]
    except TaskGone:
        return
    raise AssertionError("the log of a removed task: expected TaskGone")


async def hands_over_the_environment(bench: Bench) -> None:
    shows = bench.behaviours.shows_env
    assert await bench.run(shows("GREETING"), env=("GREETING=hello world",)) == ["hello world"]
    assert await bench.run(shows("PYSWARM_SERVICE_NAME")) == ["bench"]
    assert await bench.run(shows("PYSWARM_TASK_SLOT")) == [str(bench.made)]


async def hands_over_files(bench: Bench) -> None:
    files = (
        TaskFile("secret", "password", "/run/secrets/db/password", b"hunter2"),
        TaskFile("config", "app", "/etc/app.conf", b"x = 1"),
    )
    shows = bench.behaviours.shows_file
    assert await bench.run(shows("secret", "db/password"), files=files) == ["hunter2"]
    assert await bench.run(shows("config", "etc/app.conf"), files=files) == ["x = 1"]


async def probes_health(bench: Bench) -> None:
    """For executors that probe at all; the others leave it to their engine."""
    executor = bench.executor
    if not isinstance(executor, Prober):
        return
    for mood in ("well", "ill", "well"):
        container = bench.behaviours.checked("ready", "MOOD")
        id = await bench.start(container, env=(f"MOOD={mood}",))
        await bench.line(id, "ready")
        for _ in range(2):
            assert (await executor.probe(id) == 0) == (mood == "well"), f"a task that is {mood}"
        await executor.shutdown(id)
        assert await executor.probe(id) != 0, "a task that has ended is not healthy"
        await executor.remove(id)


async def keeps_tasks_apart(bench: Bench) -> None:
    one, two = await bench.running("one"), await bench.running("two")
    await bench.executor.shutdown(one)
    usage = await bench.executor.stats(two)
    assert usage.processes >= 1, "the other one still runs"
    await bench.executor.shutdown(two)


async def survives_cancelled_calls(bench: Bench) -> None:
    id = await bench.running(grace=CHECK_SECONDS_MAX * 2)
    with trio.move_on_after(0):
        await bench.executor.wait(id)
    with trio.move_on_after(0):
        await bench.executor.stats(id)
    await bench.executor.shutdown(id)
    await bench.executor.wait(id)


async def survives_a_cancelled_start(bench: Bench) -> None:
    task = bench.task(bench.behaviours.runs("ready"))
    await bench.executor.prepare(task)
    with trio.move_on_after(0):
        await bench.executor.start(task.id)
    await bench.executor.terminate(task.id)
    await bench.executor.remove(task.id)
    await bench.gone(task.id)


async def closes_with_tasks_running(bench: Bench) -> None:
    id = await bench.running(grace=1000.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.executor.wait, id)
        await trio.testing.wait_all_tasks_blocked()
        await bench.executor.aclose()
    await bench.executor.aclose()


EXECUTOR_CHECKS: tuple[Check, ...] = (
    describes_itself,
    keeps_the_protocol,
    tells_exit_codes,
    refuses_unknown_images,
    refuses_what_it_cannot_give,
    knows_what_it_does_not_have,
    takes_repeated_calls_as_done,
    keeps_what_a_task_prints,
    shows_lines_as_they_come,
    follows_from_before_the_start,
    stops_what_listens,
    ends_what_does_not_listen,
    terminates_at_once,
    stops_what_never_ran,
    stops_what_has_ended,
    removes_everything,
    hands_over_the_environment,
    hands_over_files,
    probes_health,
    keeps_tasks_apart,
    survives_cancelled_calls,
    survives_a_cancelled_start,
    closes_with_tasks_running,
)
"""All checks, each independent of the others."""


def check_name(check: Check) -> str:
    """A check's name, for ``ids=``."""
    return check.__name__


async def run_check(check: Check, make_executor: MakeExecutor, behaviours: Behaviours) -> None:
    """Put a fresh executor through one check, and close it."""
    executor = make_executor()
    try:
        with trio.move_on_after(CHECK_SECONDS_MAX) as scope:
            await check(Bench(executor, behaviours))
        assert not scope.cancelled_caught, f"did not end within {CHECK_SECONDS_MAX} s"
    finally:
        behaviours.release()
        with trio.CancelScope(shield=True):
            await executor.aclose()


async def check_executor(
    make_executor: MakeExecutor,
    behaviours: Behaviours,
    *,
    checks: Iterable[Check] = EXECUTOR_CHECKS,
) -> None:
    """All checks, one after the other; the first that fails is named."""
    for check in checks:
        try:
            await run_check(check, make_executor, behaviours)
        except Exception as error:
            raise AssertionError(f"{check_name(check)}: {error}") from error
