"""Tasks as operating system processes of this host, without containers.

Each task runs under a small supervisor process (:mod:`pyswarm.runtime.executors.supervisor`) that
sees to it that nothing of a task survives the task and no task survives its node. A task shares the
host's file tree, network and process table; what needs namespaces (mounts, a read-only root, its
own address) is refused where leaving it out would be wrong, and left out where it only narrows.
``docs/executors.md`` says which is which.

Everything that may block (starting a process, files, the user database) is done in two threads that
live as long as the executor; ``aclose()`` ends them, and every process.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path

import attrs
import trio

from pyswarm.agent.executor import (
    Exited,
    LogLine,
    Started,
    TaskContext,
    TaskFailed,
    TaskGone,
    TaskRejected,
    Usage,
)
from pyswarm.agent.health import healthcheck_of, probe_command
from pyswarm.model.objects import NodeDescription, Plugin
from pyswarm.model.resources import (
    NANO,
    GenericResource,
    Platform,
    ResourceRequirements,
    Resources,
)
from pyswarm.model.specs import Healthcheck, VolumeOptions
from pyswarm.runtime.executors.capabilities import can_make_namespaces
from pyswarm.runtime.executors.cgroups import Cgroups
from pyswarm.runtime.executors.credentials import User, find_user, rlimits, stop_signal
from pyswarm.runtime.executors.directories import Directories, may_enter
from pyswarm.runtime.executors.execution import Command, CommandFailed, Execution, Start, failed
from pyswarm.runtime.executors.honours import (
    NEEDS_ROOT,
    PROCESSES,
    Honour,
    as_ordinary_user,
    refuse,
)
from pyswarm.runtime.executors.images import HOST_IMAGES, Image, command_line, find_image
from pyswarm.runtime.executors.launcher import Launcher
from pyswarm.runtime.executors.logfiles import LogReader, last_lines
from pyswarm.runtime.executors.logoptions import log_limits
from pyswarm.runtime.executors.supervised import Launch, Supervised
from pyswarm.runtime.executors.surroundings import WORK, Place, Surroundings, surround
from pyswarm.runtime.executors.thread import OwnThread
from pyswarm.runtime.executors.usage import below, usage_below
from pyswarm.runtime.executors.volumemounts import Hold, VolumeMounts, VolumeUse
from pyswarm.runtime.executors.volumeoptions import needs_mount, problem_of
from pyswarm.runtime.executors.volumes import Volume
from pyswarm.runtime.storage.files import checked_path

CLOSE_SECONDS = 5.0
"""How long a supervisor may take to kill everything below it, before it is killed itself."""

INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""What a task sees of the host's environment; all else may hold secrets of the host."""

PLUGINS = (
    *(Plugin("Log", name) for name in ("json-file", "local", "none")),
    *(Plugin("Network", name) for name in ("bridge", "host", "null", "overlay")),
    Plugin("Volume", "local"),
)


@attrs.define(eq=False)
class _Task:
    """One task here: what was prepared, and its process once it was started.

    ``begun`` is set when it was started, or will never be.
    """

    context: TaskContext
    launch: Launch
    stop_signal: int
    volumes: tuple[str, ...] = ()
    uses: tuple[VolumeUse, ...] = ()
    process: Supervised | None = None
    begun: trio.Event = attrs.field(factory=trio.Event)


class ProcessExecutor:
    """Runs each task as a process of this host. One executor belongs to one node.

    ``state_dir`` keeps volumes and the tasks' logs over a restart; without it they are in a
    temporary directory that goes with the executor. ``images`` adds to the names a service may use
    (see :class:`Image`). The other arguments say what the node claims to be and have; by default
    that is the host's own.
    """

    def __init__(
        self,
        state_dir: str | os.PathLike[str] | None = None,
        *,
        images: Mapping[str, Image] | None = None,
        hostname: str | None = None,
        labels: Mapping[str, str] | None = None,
        cpus: float | None = None,
        memory_bytes: int | None = None,
        generic: Sequence[GenericResource] = (),
        python: str | None = None,
    ) -> None:
        place = checked_path(state_dir, "state_dir").absolute() if state_dir else None
        self._directories = Directories(place)
        self._images = {**HOST_IMAGES, **(images or {})}
        self._hostname = hostname or socket.gethostname()
        self._labels = dict(labels or {})
        self._resources = host_resources(cpus, memory_bytes, generic)
        self._confined = can_make_namespaces()
        self._limits = Cgroups.find() if os.geteuid() == 0 else Cgroups(0)
        self._limits.sweep()
        self._tasks: dict[str, _Task] = {}
        self._launcher = Launcher(python or sys.executable or shutil.which("python3") or "python3")
        self._files = OwnThread("pyswarm files")
        self._mounts = VolumeMounts()
        self._closed = False
        self._launching = 0
        self._launched = trio.Event()

    @property
    def honours(self) -> Mapping[str, Honour]:
        """What becomes of each field of a spec here."""
        return PROCESSES if self._confined else as_ordinary_user(PROCESSES)

    def describe(self) -> NodeDescription:
        from pyswarm import __version__

        machine = Platform(platform.system().lower(), platform.machine())
        return NodeDescription(
            self._hostname, machine, self._resources, __version__, dict(self._labels), PLUGINS
        )

    # -- one task

    async def prepare(self, task: TaskContext, /) -> None:
        if self._closed:
            raise TaskFailed("the executor was closed")
        if task.id not in self._tasks:
            image = find_image(self._images, task.container.image)
            argv = command_line(image, task)
            refuse(task.container, PROCESSES, confined=self._confined)
            check_directory(task.container.dir)
            try:
                self._tasks[task.id] = await self._files.run(self._make, task, image, argv)
            except OSError as error:  # a full disk, say: it may fit elsewhere
                reason = error.strerror or str(error)
                raise TaskRejected(f"cannot make the task's files: {reason}") from error
        else:
            await trio.lowlevel.checkpoint()

    async def start(self, task_id: str, /) -> Started:
        task = self._get(task_id)
        if task.process is None:
            await self._launch(task)
        assert task.process is not None
        return Started(task_id, await task.process.begun())

    async def wait(self, task_id: str, /) -> Exited:
        return await self._process(task_id).wait()

    async def probe(self, task_id: str, /) -> int:
        """Run the health check as the task runs: its user, directory, environment and limits."""
        return await self._process(task_id).probe()

    async def execute(self, task_id: str, command: Command) -> Execution:
        """Run a command beside a task, in its surroundings and under its limits; returns once it
        has begun. It ends with the task at the latest. Raises :class:`CommandFailed` where it
        cannot begin, :class:`TaskFailed` for a task that does not run."""
        task, process = self._get(task_id), self._process(task_id)
        await process.begun()
        return await process.execute(command, await self._files.run(self._resolve, task, command))

    def images(self) -> Mapping[str, Image]:
        """What services may name here."""
        return self._images

    def signal(self, task_id: str, name: str) -> None:
        """Send a signal (``SIGHUP``, ``HUP`` or a number) to a task's main process. Raises
        :class:`TaskRejected` for an unknown one."""
        self._process(task_id).signal(stop_signal(name))

    def image_healthcheck(self, name: str) -> Healthcheck | None:
        """The check of an image, for tasks whose service says nothing of one."""
        return find_image(self._images, name).healthcheck

    async def shutdown(self, task_id: str, /) -> None:
        task = self._get(task_id)
        if task.process is not None:
            task.process.signal(task.stop_signal)
            with trio.move_on_after(task.context.stop_grace_seconds):
                await task.process.wait()
        await self._end(task)

    async def terminate(self, task_id: str, /) -> None:
        await self._end(self._get(task_id))

    async def remove(self, task_id: str, /) -> None:
        task = self._tasks.get(task_id)
        if task is not None:
            await self._end(task)
        cgroups = task.launch.cgroups if task is not None else ()
        await self._files.run(self._remove, task_id, cgroups)
        self._tasks.pop(task_id, None)

    async def logs(
        self,
        task_id: str,
        /,
        *,
        since: float = 0.0,
        follow: bool = False,
        tail: int | None = None,
    ) -> AsyncGenerator[LogLine, None]:
        """The task's lines; also those of a task that ran before this node was restarted."""
        task = self._tasks.get(task_id)
        if task is None and not await self._files.run(self._directories.has, task_id):
            raise TaskGone(f"No such container: {task_id}")
        reader = LogReader(self._directories.logs(task_id))
        try:
            for line in await self._files.run(last_lines, reader, since, tail):
                yield line
            if follow and task is not None:
                await task.begun.wait()
            while follow and task is not None and task.process is not None:
                ended = not task.process.is_live
                while lines := await self._files.run(reader.read):
                    for line in lines:
                        yield line
                if ended:
                    return
                await task.process.tell_beyond(reader.position).wait()
        finally:
            reader.close()

    async def stats(self, task_id: str, /) -> Usage:
        process = self._process(task_id)
        return await self._files.run(usage_below, process.supervisor_pid)

    async def processes(self, task_id: str, /) -> list[int]:
        """The ids of a task's processes, as this host counts them."""
        process = self._process(task_id)
        return await self._files.run(below, process.supervisor_pid)

    # -- volumes

    async def volumes(self) -> list[Volume]:
        """The volumes of this node, by name."""
        return await self._files.run(self._directories.volumes.all)

    async def create_volume(
        self, name: str, labels: Mapping[str, str], options: Mapping[str, str] | None = None
    ) -> None:
        """Make a volume, with options of the driver ``local``; one that is there stays as it is.
        Raises :class:`TaskRejected`."""
        made = VolumeOptions(labels=labels, driver_options=options or {})
        is_mounted = needs_mount(made.driver_options) and not problem_of(made.driver_options)
        if is_mounted and not self._confined:
            raise TaskRejected(f"create {name}: its driver is to mount something: {NEEDS_ROOT}")
        await self._files.run(self._directories.volumes.ensure, name, made)

    @property
    def volumes_in_use(self) -> tuple[str, ...]:
        """The names of those that tasks here have."""
        return tuple(name for task in self._tasks.values() for name in task.volumes)

    async def remove_volume(self, name: str) -> None:
        """Raises ``NotFound``, and ``FailedPrecondition`` while a task here has it."""
        await self._files.run(self._directories.volumes.remove, name, self.volumes_in_use)

    async def prune_volumes(self) -> list[str]:
        """Remove every volume that no task here has; their names."""
        return await self._files.run(self._directories.volumes.prune, self.volumes_in_use)

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, with its node."""
        return self._closed

    async def aclose(self) -> None:
        """Kill what still runs; return when no process, thread or temporary file is left."""
        if self._closed:
            return
        self._closed = True
        with trio.CancelScope(shield=True):
            while self._launching:
                await self._launched.wait()
            async with trio.open_nursery() as nursery:
                for task in self._tasks.values():
                    nursery.start_soon(self._end, task)
            await self._files.run(self._directories.close)
            await self._files.run(self._limits.close)
            await self._launcher.aclose()
        self._tasks.clear()
        self._files.stop()

    def kill(self) -> None:
        """End every task at once, without waiting: what happens when a node is killed."""
        for task in self._tasks.values():
            if task.process is not None:
                task.process.kill()

    async def __aenter__(self) -> ProcessExecutor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # -- inside

    def _get(self, task_id: str) -> _Task:
        task = self._tasks.get(task_id)
        if task is None:
            raise TaskGone(f"No such container: {task_id}")
        return task

    def _process(self, task_id: str) -> Supervised:
        process = self._get(task_id).process
        if process is None:
            raise TaskFailed("the task was not started")
        return process

    async def _launch(self, task: _Task) -> None:
        """A new supervisor, with what is mounted for its task."""
        self._check_may_start(task)
        hold = await self._mounts.hold(task.uses)
        try:
            self._check_may_start(task)  # a file server may have taken its time
            task.process = await self._supervised(task.launch, hold)
        finally:
            hold.close()
            if task.process is None:
                hold.release()
        task.begun.set()

    def _check_may_start(self, task: _Task) -> None:
        if self._closed or task.begun.is_set():
            raise TaskFailed("the task was stopped before it was started")

    async def _supervised(self, launch: Launch, hold: Hold) -> Supervised:
        """Closing the executor waits for this."""
        self._launching += 1
        self._launched = trio.Event()
        try:
            return await Supervised.launch(
                launch, self._launcher, hold.descriptors, at_end=hold.release
            )
        finally:
            self._launching -= 1
            if not self._launching:
                self._launched.set()

    async def _end(self, task: _Task) -> None:
        """Kill what runs of a task; one that was not started never will be."""
        process = task.process
        task.begun.set()
        if process is None:
            await self._files.run(self._directories.remove_files, task.context.id)
            await self._files.run(self._limits.remove, task.launch.cgroups)
        elif process.is_live:
            process.kill()
            with trio.move_on_after(CLOSE_SECONDS):
                await process.wait()
            if process.is_live:
                await process.kill_supervisor(self._launcher)
                await process.wait()
        else:
            await trio.lowlevel.checkpoint()

    def _make(self, task: TaskContext, image: Image, argv: tuple[str, ...]) -> _Task:
        """Directories and files, and everything looked up. Runs in the files thread."""
        container = task.container
        user = find_user(container.user or image.user, container.groups)
        limits = rlimits(container.ulimits)
        number = stop_signal(container.stop_signal or image.stop_signal)
        size_max, files_max = log_limits(task.task.log_driver or task.task.spec.log_driver)
        cgroups: tuple[str, ...] = ()
        try:
            work = self._directories.make(task.id, user)
            named = self._directories.write_files(task.id, task.files.values(), user)
            is_closed = self._confined and not may_enter(work, user)
            around = self._surround(task, user, work, is_closed)
            if self._limits.version:
                cgroups = self._limits.make(task.id, limits_of(task))
            else:
                limits += address_limits(limits_of(task))
        except BaseException:
            self._remove(task.id, cgroups)
            raise
        privileges = container.privileges
        check = container.healthcheck or image.healthcheck
        check = healthcheck_of(attrs.evolve(container, healthcheck=check))
        launch = Launch(
            argv=argv,
            env=self._environment(task, image, user, {**named, **around.env}),
            directory=container.dir or image.dir or (WORK if is_closed else str(work)),
            log_dir=str(self._directories.logs(task.id)),
            log_size_max=size_max,
            log_files_max=files_max,
            secrets_dir=self._directories.secrets_dir(task.id),
            uid=user.uid,
            gid=user.gid,
            groups=user.groups,
            limits=limits,
            no_new_privileges=privileges is not None and privileges.no_new_privileges,
            oom_score=container.oom_score_adj,
            check=probe_command(check) if check is not None else (),
            plan=around.plan,
            cgroups=cgroups,
            tty=container.tty,
        )
        launch.frame()  # so that what cannot be said to a supervisor is refused here
        return _Task(task, launch, number, around.volumes, around.uses)

    def _resolve(self, task: _Task, command: Command) -> Start:
        """What a command beside a task runs with. Runs in the files thread."""
        launch, env = task.launch, dict(task.launch.env)
        directory = command.directory or launch.directory
        uid, gid, groups = launch.uid, launch.gid, launch.groups
        if command.directory and not command.directory.startswith("/"):
            raise failed("Cwd must be an absolute path")
        if command.user:
            try:
                user = find_user(command.user, task.context.container.groups)
            except TaskRejected as problem:
                raise CommandFailed(problem.message) from None
            if user.uid not in (0, uid) and self._is_own(task, directory):
                directory = "/"  # the task's own is for the task's user
            uid, gid, groups = user.uid, user.gid, user.groups
            if "HOME" not in task.context.env:
                env["HOME"] = user.home
        if command.tty:
            env["TERM"] = "xterm"
        for one in command.env:
            name, is_value, value = one.partition("=")
            env.pop(name, None)
            if is_value:
                env[name] = value
        return Start(command.argv, env, directory, uid, gid, groups)

    def _is_own(self, task: _Task, directory: str) -> bool:
        """Whether that is the directory made for the task."""
        return directory in (WORK, str(self._directories.task(task.context.id) / "work"))

    def _surround(self, task: TaskContext, user: User, work: Path, is_closed: bool) -> Surroundings:
        directories = self._directories
        place = Place(
            volumes=directories.volumes,
            directory=directories.task(task.id),
            work=work,
            is_closed=is_closed,
            memory=lambda: directories.memory(task.id, user),
            files={file.path: directories.file(task.id, file) for file in task.files.values()},
        )
        return surround(task, place, confined=self._confined)

    def _remove(self, task_id: str, cgroups: tuple[str, ...]) -> None:
        """Everything of a task that does not run. Runs in the files thread."""
        self._limits.remove(cgroups)
        self._directories.remove(task_id)

    def _environment(
        self, task: TaskContext, image: Image, user: User, places: Mapping[str, str]
    ) -> dict[str, str]:
        env = {name: os.environ[name] for name in INHERITED if name in os.environ}
        env.setdefault("PATH", os.defpath)
        env |= {"HOME": user.home, "HOSTNAME": task.container.hostname or task.id[:12]}
        return env | dict(image.env) | dict(places) | dict(task.env)


def check_directory(path: str) -> None:
    """Raise :class:`TaskRejected` for one that is relative: to what, nobody could say."""
    if path and not path.startswith("/"):
        raise TaskRejected(
            f"the working directory '{path}' is invalid, it needs to be an absolute path"
        )


def limits_of(task: TaskContext) -> ResourceRequirements:
    """The limits of a task; the older of the two fields for processes counts too."""
    wanted = task.task.spec.resources
    pids = wanted.limits.pids or task.container.pids_limit
    return attrs.evolve(wanted, limits=attrs.evolve(wanted.limits, pids=max(pids, 0)))


def address_limits(wanted: ResourceRequirements) -> tuple[tuple[int, int, int], ...]:
    """Without control groups: memory as address space of each process, processes of the user."""
    memory, pids = wanted.limits.memory_bytes, wanted.limits.pids
    found = ((resource.RLIMIT_AS, memory, memory), (resource.RLIMIT_NPROC, pids, pids))
    return tuple(limit for limit in found if limit[1])


def host_resources(
    cpus: float | None, memory_bytes: int | None, generic: Sequence[GenericResource]
) -> Resources:
    """What is offered to the scheduler: as told, or what this host has."""
    if cpus is None:
        affinity = getattr(os, "sched_getaffinity", None)
        cpus = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    if memory_bytes is None:
        memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Resources(round(cpus * NANO), memory_bytes, tuple(generic))
