"""``pyswarm daemon``: a host, its control socket and the Engine API, until a signal ends them.

The process ends by SIGTERM or SIGINT: it takes no more questions, its node's tasks end within their
grace periods, its sockets are removed. Whatever else ends it (a crash, ``kill -9``) does no harm:
it starts again where its state directory left off.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from pyswarm.runtime.daemon.control import MakeCluster, serving
from pyswarm.runtime.daemon.host import Host, HostConfig, open_host
from pyswarm.runtime.errorgroups import plain_errors
from pyswarm.runtime.listen import parse_address
from pyswarm.runtime.observe import log_event

CONTROL = "control.sock"
"""The control socket's name in the state directory, where no other is asked for."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@attrs.frozen(kw_only=True)
class DaemonConfig:
    """What a daemon is started with."""

    host: HostConfig
    addresses: Sequence[str] = ()
    """Where the Engine API is served: ``unix:///path.sock``, ``tcp://127.0.0.1:2375``."""
    control: Path | None = None
    """The control socket; None: ``control.sock`` in the state directory."""


async def run_daemon(config: DaemonConfig, make_cluster: MakeCluster) -> None:
    """Run until a signal comes; then stop gracefully.

    Raises ``DirectoryInUse`` (another daemon), ``InvalidArgument``, ``AlreadyExists`` and
    ``Unavailable`` (an address), before anything runs.
    """
    for address in config.addresses:
        parse_address(address)
    control = config.control or config.host.state_dir / CONTROL
    name = config.host.name or socket.gethostname()
    with trio.open_signal_receiver(*SIGNALS) as signals, plain_errors():
        async with (
            open_host(config.host) as host,
            serving(host, control, make_cluster),
            trio.open_nursery() as nursery,
        ):
            if config.addresses:
                await nursery.start(_serve_engine, host, config.addresses)
            log_event(
                name,
                "daemon.ready",
                "info",
                {
                    "state": str(host.state().state),
                    "control": str(control),
                    "engine": " ".join(config.addresses),
                },
            )
            notify("READY=1")
            async for number in signals:
                log_event(name, "daemon.stops", "info", {"signal": signal.Signals(number).name})
                break
            notify("STOPPING=1")
            nursery.cancel_scope.cancel()
    log_event(name, "daemon.stopped", "info", {})


async def _serve_engine(
    host: Host, addresses: Sequence[str], *, task_status: trio.TaskStatus[None]
) -> None:
    from pyswarm.runtime.engine import serve
    from pyswarm.runtime.registry import RegistryClient

    await serve(host, addresses, images=RegistryClient(), task_status=task_status)


def notify(text: str) -> None:
    """Tell systemd, where it asked to be told (``Type=notify``)."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(text.encode(), address)
        except OSError as problem:
            log_event("daemon", "daemon.unnotified", "warning", {"problem": str(problem)})
