"""Which verbs there are on a control socket: those of the front itself, found by looking.

A *target* is a noun of the front: the daemon, the cluster, a collection, a handle. Whatever public
coroutine function its class has is a verb, so that a verb that is added to the front can be called
from another process at once. Those that give a stream are named here, and so are the few that make
sense in the node's own process only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from pyswarm.api.hosting import HostStatus, InitSwarm, JoinSwarm
from pyswarm.errors import InvalidArgument
from pyswarm.model import Availability, SwarmSpec
from pyswarm.runtime import front
from pyswarm.runtime.daemon.host import Host
from pyswarm.runtime.front.authority import Rotation
from pyswarm.runtime.tls.addresses import DEFAULT_LISTEN

ROTATION = "rotation"

COLLECTIONS: dict[str, type[Any]] = {
    "services": front.Services,
    "tasks": front.Tasks,
    "nodes": front.Nodes,
    "networks": front.Networks,
    "secrets": front.Secrets,
    "configs": front.Configs,
}
HANDLES: dict[str, type[Any]] = {
    **{cls.handle.kind: cls.handle for cls in COLLECTIONS.values()},
    ROTATION: Rotation,
}
"""What a verb may be of beside the nouns, and give: made of a member and a value, which travels. By
its target's name, which is the kind of its object."""

CLUSTER, DAEMON = "cluster", "daemon"

STREAMS = {"events", "logs", "update_progress"}
"""Verbs that give a stream, at once and without waiting."""

ELSEWHERE = {"register_driver", "resolve_images"}
"""What takes a function or an object with methods: they live in the node's own process."""


class HostVerbs:
    """A host's verbs with plain arguments, as people call them."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def state(self) -> HostStatus:
        """In which state the daemon is: ``.state`` is inactive, pending, active, error or locked.
        Never waits."""
        return self._host.state()

    async def init(
        self,
        *,
        listen_addr: str = DEFAULT_LISTEN,
        advertise_addr: str = "",
        data_path_addr: str = "",
        data_path_port: int = 0,
        default_addr_pools: Sequence[str] = ("10.0.0.0/8",),
        subnet_size: int = 24,
        availability: Availability | str = "active",
        autolock: bool = False,
        force_new_cluster: bool = False,
        spec: SwarmSpec | None = None,
    ) -> str:
        """Found a swarm with the daemon as its first manager; the node's id.

        ``force_new_cluster``: of a manager that lost its quorum, begin the swarm anew with this
        manager alone. Raises ``AlreadyInSwarm``, ``InvalidArgument``, ``AlreadyExists``.
        """
        if isinstance(default_addr_pools, str):
            raise InvalidArgument("default_addr_pools must be a list of CIDRs")
        chosen = spec or SwarmSpec()
        wish = InitSwarm(
            listen_addr=listen_addr,
            advertise_addr=advertise_addr,
            data_path_addr=data_path_addr,
            data_path_port=data_path_port,
            default_addr_pools=tuple(default_addr_pools),
            subnet_size=subnet_size,
            force_new_cluster=force_new_cluster,
            availability=str(availability),
            spec=attrs.evolve(chosen, autolock=autolock or chosen.autolock),
        )
        return await self._host.init(wish)

    async def join(
        self,
        remote_addrs: str | Sequence[str],
        token: str,
        *,
        listen_addr: str = DEFAULT_LISTEN,
        advertise_addr: str = "",
        data_path_addr: str = "",
        availability: Availability | str = "active",
    ) -> None:
        """Make the daemon a node of a swarm; the token decides its role.

        Raises ``AlreadyInSwarm``, ``InvalidArgument``, what the swarm answers, and
        ``JoinContinues`` when nobody answers within 20 seconds: it goes on in the background.
        """
        remotes = (remote_addrs,) if isinstance(remote_addrs, str) else tuple(remote_addrs)
        wish = JoinSwarm(
            listen_addr=listen_addr,
            advertise_addr=advertise_addr,
            data_path_addr=data_path_addr,
            remote_addrs=remotes,
            token=token,
            availability=str(availability),
        )
        await self._host.join(wish)

    async def unlock(self, key: str) -> None:
        """Start the manager whose disk is locked. Raises ``WrongKey``, ``NotLocked``."""
        await self._host.unlock(key)

    async def leave(self, *, force: bool = False) -> None:
        """Give membership up; a manager needs ``force``. Raises ``NotInSwarm``,
        ``LeaveRefused``."""
        await self._host.leave(force=force)


def verbs_of(cls: type) -> dict[str, Callable[..., Any]]:
    """The verbs of a target's class, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for name, function in inspect.getmembers(cls, inspect.isfunction):
        if name.startswith("_") or name in ELSEWHERE:
            continue
        if inspect.iscoroutinefunction(function) or name in STREAMS:
            found[name] = function
    return found
