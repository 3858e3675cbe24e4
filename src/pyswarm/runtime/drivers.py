"""Secrets and configs that a function of the embedder brings: a vault, a key service, a file.

A driver is called with a :class:`DriverRequest` and returns bytes or text; it may be a coroutine
function (awaited in the node's loop) or a plain one (called in a thread). It is asked when a node
is to get a task that needs the payload and none of its other tasks has brought it there: once a
node, as long as tasks there hold it (for tasks of the leader's own node, once each). The leader's
runtime asks, so every manager needs the driver.

A turn never waits for a driver: what the leader decided leaves its machine with the driver's name
in the payload's place, and *here* the message waits, with all that follows it to the same agent, so
that it stays in order. A driver that fails, or takes longer than :data:`DRIVER_SECONDS_MAX`, costs
its own tasks only: they are rejected and say why. What it brought is never stored or shown.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import trio

from pyswarm.agent import FileSource, TaskRejected
from pyswarm.errors import NotFound, SwarmError
from pyswarm.model import Task, TaskSpec
from pyswarm.model.session import (
    Assignments,
    Dependency,
    Driven,
    HeartbeatAnswer,
    Plain,
    SessionChanged,
    StatusRecorded,
)
from pyswarm.secretstore import check_payload_size
from pyswarm.store import Reader

logger = logging.getLogger("pyswarm.drivers")

DRIVER_SECONDS_MAX = 4.0
"""Less than a heartbeat period: an agent whose messages wait does not take its session for lost."""

_IN_ORDER = (Assignments, HeartbeatAnswer, SessionChanged, StatusRecorded)
"""What an agent counts: none of these may overtake another."""


@attrs.frozen
class DriverRequest:
    """What is wanted, and for whom. The task is the first on its node that needs it."""

    kind: str
    name: str
    labels: Mapping[str, str]
    options: Mapping[str, str]
    service_id: str
    service_name: str
    service_labels: Mapping[str, str]
    task_id: str
    task_name: str
    image: str
    node_id: str
    node_hostname: str


_NOTHING = TaskSpec()

Answer = bytes | str
DriverFunction = Callable[[DriverRequest], Answer | Awaitable[Answer]]

Send = Callable[[str, Any], None]


class Drivers:
    """The drivers of one node, and the messages that wait for them."""

    def __init__(self, store: Callable[[], Reader], send: Send) -> None:
        self._store = store
        self._send = send
        self._functions: dict[str, DriverFunction] = {}
        self._waiting: dict[str, deque[Any]] = {}

    def register(self, name: str, function: DriverFunction) -> None:
        """Add a driver, or put another in its place."""
        self._functions[name] = function

    def check(self, name: str) -> None:
        """Raises ``NotFound`` for a driver that this node does not have."""
        if name not in self._functions:
            raise NotFound(
                f'plugin "{name}" not found',
                hint="register the driver on every manager: cluster.secrets.register_driver(…)",
            )

    def hold(self, addr: str, message: Any) -> bool:
        """Whether ``message`` is sent later, by this object."""
        if addr in self._waiting:
            if isinstance(message, _IN_ORDER):
                self._waiting[addr].append(message)
                return True
            return False
        if not _is_driven(message):
            return False
        self._waiting[addr] = deque((message,))
        trio.lowlevel.spawn_system_task(self._deliver, addr)
        return True

    async def fetch(self, source: FileSource) -> Plain:
        """For a task of the leader's own node, to which no message goes."""
        assert isinstance(source.payload, Driven)
        asked = await self._asked(Dependency(source.kind, source.id, source.name, source.payload))
        if asked.error:
            raise TaskRejected(asked.error)
        assert isinstance(asked.payload, Plain)
        return asked.payload

    async def _deliver(self, addr: str) -> None:
        """Send what waits for ``addr``, in order, until nothing does."""
        queue = self._waiting[addr]
        try:
            while queue:
                message = queue[0]
                if _is_driven(message):
                    message = await self._filled(message)
                self._send(addr, message)
                queue.popleft()
        except SwarmError as error:
            logger.info("messages to %s are lost: %s", addr, error)  # its agent asks anew
        except Exception:
            logger.exception("messages to %s are lost", addr)
        finally:
            del self._waiting[addr]

    async def _filled(self, message: Assignments) -> Assignments:
        filled: dict[int, Dependency] = {}

        async def fill(place: int, dependency: Dependency) -> None:
            filled[place] = await self._asked(dependency)

        async with trio.open_nursery() as nursery:
            for place, dependency in enumerate(message.dependencies):
                nursery.start_soon(fill, place, dependency)
        dependencies = tuple(filled[place] for place in sorted(filled))
        return attrs.evolve(message, dependencies=dependencies)

    async def _asked(self, dependency: Dependency) -> Dependency:
        """The dependency with what its driver brought, or with the reason why it did not."""
        if not isinstance(dependency.payload, Driven):
            await trio.lowlevel.checkpoint()
            return dependency
        driven = dependency.payload
        about = f"{dependency.kind} {dependency.name}: driver {driven.driver.name}"
        data, error = b"", f"{about} did not answer within {DRIVER_SECONDS_MAX:g} s"
        with trio.move_on_after(DRIVER_SECONDS_MAX):
            try:
                data, error = await self._call(dependency, driven), ""
            except SwarmError as problem:
                error = f"{about}: {problem}"
            except Exception as problem:  # its text may hold what it should not say
                error = f"{about} failed: {type(problem).__name__}"
        if error:
            logger.warning("%s", error)
        return attrs.evolve(dependency, payload=Plain(data), error=error)

    async def _call(self, dependency: Dependency, driven: Driven) -> bytes:
        self.check(driven.driver.name)
        function = self._functions[driven.driver.name]
        request = _request(self._store(), dependency, driven)
        if inspect.iscoroutinefunction(function):
            answer = await function(request)
        else:
            answer = await trio.to_thread.run_sync(function, request, abandon_on_cancel=True)
            if inspect.isawaitable(answer):
                answer = await answer
        data = answer.encode() if isinstance(answer, str) else bytes(memoryview(answer))
        check_payload_size("secret" if dependency.kind == "secret" else "config", len(data))
        return data


def _is_driven(message: Any) -> bool:
    return isinstance(message, Assignments) and any(
        isinstance(one.payload, Driven) for one in message.dependencies
    )


def _request(store: Reader, dependency: Dependency, driven: Driven) -> DriverRequest:
    task = store.task(driven.task_id) or Task(driven.task_id, "", _NOTHING)
    node = store.node(task.node_id)
    container = task.spec.container
    return DriverRequest(
        kind=dependency.kind,
        name=dependency.name,
        labels=driven.labels,
        options=driven.driver.options,
        service_id=task.service_id,
        service_name=task.service_name,
        service_labels=task.service_labels,
        task_id=task.id,
        task_name=task.name,
        image=container.image if container is not None else "",
        node_id=task.node_id,
        node_hostname=node.hostname if node is not None else "",
    )
