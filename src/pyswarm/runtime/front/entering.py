"""From a prepared node to a running one, for as long as a block lasts.

Leaving the block, by its end or by cancellation, stops the node: its tasks end within their grace
periods, its disk is closed, its executor leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeVar

import trio

from pyswarm.model import Role
from pyswarm.runtime.collector import keep_frozen
from pyswarm.runtime.errorgroups import plain_errors
from pyswarm.runtime.front.describing import keep_described
from pyswarm.runtime.front.founding import JOIN_TIMEOUT_S, Prepare, Prepared, Settings, described
from pyswarm.runtime.front.loops import Elsewhere, Here, Loop, own_loop
from pyswarm.runtime.front.member import Member
from pyswarm.runtime.front.places import start_certificates
from pyswarm.runtime.front.swarm import wait_joined, wait_ready
from pyswarm.runtime.node import run_node

T = TypeVar("T")
Wait = Callable[[Member], Awaitable[None]]
"""What to wait for before the block begins."""

FOUND_TIMEOUT_S = 20.0
"""How long a first manager may take to elect itself and open its own session."""


async def until_ready(member: Member) -> None:
    """A founder is ready when it leads itself."""
    await wait_ready(member, FOUND_TIMEOUT_S)


async def at_once(member: Member) -> None:
    """A node that starts again may have to wait for others: that is the caller's to decide."""


async def until_joined(member: Member) -> None:
    """A node that joined is a member when it has a session, and a manager when it votes."""
    role = Role.WORKER

    async def wanted() -> Role:
        while (node := member.node.machine.agent.node) is None:
            member.check_alive()
            await trio.sleep(0.01)
        return node.spec.desired_role

    with trio.fail_after(JOIN_TIMEOUT_S):
        role = await member.loop.run(wanted)
    await wait_joined(member, role, JOIN_TIMEOUT_S)


@asynccontextmanager
async def entered(settings: Settings, prepare: Prepare, wait: Wait) -> AsyncIterator[Member]:
    """Run the node that ``prepare`` makes; in a thread of its own where the settings say so."""
    with plain_errors():
        if not settings.own_thread:
            async with _running(settings, prepare, Here()) as member:
                await wait(member)
                yield member
            return
        async with (
            own_loop() as loop,
            _over_there(loop, _running(settings, prepare, loop)) as member,
        ):
            await wait(member)
            yield member


@asynccontextmanager
async def _running(settings: Settings, prepare: Prepare, loop: Loop) -> AsyncIterator[Member]:
    prepared: Prepared = await prepare()
    try:
        async with (
            run_node(
                prepared.machine,
                disk=prepared.disk,
                network=prepared.network,
                executor=prepared.executor,
                observer=settings.observer,
            ) as node,
            trio.open_nursery() as nursery,
        ):
            start_certificates(prepared.network, node, prepared.disk, nursery)
            nursery.start_soon(
                keep_described, node, partial(described, settings, prepared.executor)
            )
            if settings.tune_gc:
                nursery.start_soon(keep_frozen, lambda: prepared.machine.is_leader)
            try:
                yield Member(node, loop, nursery, prepared.disk)
            finally:
                nursery.cancel_scope.cancel()
    finally:
        await prepared.disk.aclose()


@asynccontextmanager
async def _over_there(loop: Elsewhere, manager: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave ``manager`` in another loop, in one task of it."""
    home = trio.lowlevel.current_trio_token()
    leave: list[Callable[[], object]] = []

    async def hold(started: Callable[[T], None]) -> None:
        there = trio.lowlevel.current_trio_token()
        left = trio.Event()
        leave.append(lambda: there.run_sync_soon(left.set))
        async with manager as value:
            home.run_sync_soon(started, value)
            await left.wait()

    async def run(*, task_status: trio.TaskStatus[T]) -> None:
        await loop.run(hold, task_status.started)

    async with trio.open_nursery() as nursery:
        value = await nursery.start(run)
        try:
            yield value
        finally:
            leave[0]()
