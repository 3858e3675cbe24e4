"""A swarm in an asyncio program: trio as a guest of asyncio's loop, in the same thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

T = TypeVar("T")


async def run_in_asyncio(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """``await main(*args)`` under trio, from a coroutine of asyncio.

    Cancelling the asyncio task cancels ``main`` and waits until it has ended.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Any] = loop.create_future()
    scope = trio.CancelScope()
    box: list[T] = []

    async def guest() -> None:
        with scope:
            box.append(await main(*args))

    trio.lowlevel.start_guest_run(
        guest,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=ended.set_result,
        host_uses_signal_set_wakeup_fd=True,
    )
    cancelled: asyncio.CancelledError | None = None
    while not ended.done():
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError as error:
            cancelled = error
            scope.cancel()
    ended.result().unwrap()
    if cancelled is not None:
        raise cancelled
    return box[0]
