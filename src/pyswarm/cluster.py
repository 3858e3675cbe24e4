"""The front door: a swarm in your program, as a table of contents.

``async with Cluster.init() as cluster`` founds a swarm with this node as its first manager;
``Cluster.join`` makes this node part of one, ``Cluster.open`` starts again what a state directory
holds. Nouns are attributes (``cluster.services``), verbs are theirs, and each body here is one call
into :mod:`pyswarm.runtime.front`, where the verbs live.

Leaving the block stops this node; it stays a member of its swarm (``await cluster.leave()`` gives
membership up). All arguments are keyword-only and checked at once. Errors are those of
:mod:`pyswarm.errors`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from pyswarm.model import Availability, Role, Swarm
from pyswarm.runtime import front
from pyswarm.runtime.daemon import HostVerbs, remote
from pyswarm.runtime.front import AddService as AddService
from pyswarm.runtime.front import Blocked as Blocked
from pyswarm.runtime.front import ChangeService as ChangeService
from pyswarm.runtime.front import Converged as Converged
from pyswarm.runtime.front import Drain as Drain
from pyswarm.runtime.front import Event as Event
from pyswarm.runtime.front import Failed as Failed
from pyswarm.runtime.front import Lose as Lose
from pyswarm.runtime.front import Remove as Remove
from pyswarm.runtime.front import Scale as Scale
from pyswarm.runtime.front import Status as Status
from pyswarm.runtime.front import WhatIf as WhatIf
from pyswarm.runtime.front import authority
from pyswarm.runtime.front.ways import Way
from pyswarm.scheduler import Filter, Strategy

T = TypeVar("T")


class Cluster:
    """One node of a swarm, and through it the swarm. Made by the class methods."""

    def __init__(self, member: front.Member) -> None:
        self._member = member
        self.services = front.Services(member)
        self.tasks = front.Tasks(member)
        self.nodes = front.Nodes(member)
        self.networks = front.Networks(member)
        self.secrets = front.Secrets(member)
        self.configs = front.Configs(member)

    # -- ways in

    @classmethod
    def init(
        cls,
        *,
        state_dir: front.StateDir | None = None,
        network: front.Network | None = None,
        executor: front.Executor | None = None,
        advertise_addr: str | None = None,
        listen_addr: str | None = None,
        data_path_addr: str | None = None,
        availability: Availability | str = "active",
        default_addr_pools: Sequence[str] = ("10.0.0.0/8",),
        subnet_size: int = 24,
        autolock: bool = False,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        own_thread: bool = False,
        tune_gc: bool = False,
        observer: front.Observer | None = None,
        raft: front.RaftConfig | None = None,
        strategy: Strategy | str | None = None,
        filters: Sequence[Filter] | None = None,
        root_cert: authority.Pem | None = None,
        root_key: authority.Pem | None = None,
    ) -> AbstractAsyncContextManager[Cluster]:
        """Found a swarm; this node is its first manager, and leads when the block begins.

        ``state_dir`` None keeps everything in memory. ``network`` joins the nodes of one process
        (:class:`~pyswarm.runtime.MemoryNetwork`) or of many hosts
        (:class:`~pyswarm.runtime.TlsNetwork`, which listens at ``listen_addr``, by default
        0.0.0.0:2377: see docs/networks.md); None is one of its own in memory, or a ``TlsNetwork``
        if there is a ``listen_addr``. ``executor`` None runs processes on Linux. ``advertise_addr``
        is where others find this node in the network, None any free address; ``data_path_addr``
        where the traffic of its networks is to go, if elsewhere. With ``autolock`` this node's disk
        is sealed by the swarm's unlock key from the start. ``name`` and ``labels``
        (``engine.labels.*``) are what the node says of itself. ``own_thread`` runs it in a trio
        loop of its own. ``tune_gc``: see docs/embedding.md. ``observer`` is told of events and
        values, ``raft`` overrides timings. ``strategy`` (an object, ``"spread"`` or ``"binpack"``)
        and ``filters`` place tasks while this node leads: see docs/scheduler.md. ``root_cert`` and
        ``root_key``, PEM, are the authority of certificates instead of a new one; without the key
        the network's ``external_ca`` signs.

        Raises ``InvalidArgument`` at once, ``FailedPrecondition`` if the directory holds a node.
        """
        given = locals()
        settings = front.settings({key: given[key] for key in front.OPTIONS})
        swarm = front.new_swarm(
            default_addr_pools=default_addr_pools,
            subnet_size=subnet_size,
            autolock=autolock,
            root_ca=authority.given_root(root_cert, root_key, settings.network),
        )
        return cls._enter(settings, front.found(settings, swarm), front.until_ready)

    @classmethod
    def join(
        cls, remote_addrs: str | Sequence[str], token: str, **options: Any
    ) -> AbstractAsyncContextManager[Cluster]:
        """Join the swarm whose managers listen at ``remote_addrs``; the token decides the role.

        Options as in :meth:`init`, without pools; ``network`` is needed. The block begins when the
        node has a session with the leader and, as a manager, its vote. Raises ``InvalidArgument``
        (a wrong token), ``Unavailable`` (nobody answers), ``FailedPrecondition``.
        """
        settings = front.settings(options)
        prepare = front.join(
            settings, front.remotes(remote_addrs, options), front.checked_token(token)
        )
        return cls._enter(settings, prepare, front.until_joined)

    @classmethod
    def open(
        cls,
        state_dir: front.StateDir,
        *,
        unlock_key: str | None = None,
        force_new_cluster: bool = False,
        **options: Any,
    ) -> AbstractAsyncContextManager[Cluster]:
        """Start again the node whose state is in ``state_dir``; options as in :meth:`join`.

        ``unlock_key`` is needed if the swarm's managers were locked when this node last ran: the
        key of that time. ``force_new_cluster`` makes this manager the only one of the swarm, with
        all that its disk holds, when most managers are lost for good: see docs/operations.md.

        The block begins as soon as the node runs: ``await cluster.wait_ready()`` waits until the
        swarm has a leader again. Raises ``Locked``, and ``FailedPrecondition`` if there is no node
        in it or the disk's state is not to be used (subclasses say why; nothing is changed then).
        """
        settings = front.settings({**options, "state_dir": state_dir})
        how = front.resuming(unlock_key, force_new_cluster)
        return cls._enter(settings, front.reopen(settings, how), front.at_once)

    @classmethod
    def open_or_init(
        cls,
        state_dir: front.StateDir,
        *,
        default_addr_pools: Sequence[str] = ("10.0.0.0/8",),
        subnet_size: int = 24,
        autolock: bool = False,
        unlock_key: str | None = None,
        **options: Any,
    ) -> AbstractAsyncContextManager[Cluster]:
        """What an application wants: :meth:`open` if there is something, else :meth:`init`."""
        settings = front.settings({**options, "state_dir": state_dir})
        swarm = front.new_swarm(
            default_addr_pools=default_addr_pools, subnet_size=subnet_size, autolock=autolock
        )
        how = front.resuming(unlock_key)
        return cls._enter(settings, front.reopen_or_found(settings, swarm, how), front.at_once)

    @classmethod
    def connect(cls, url: str | os.PathLike[str]) -> AbstractAsyncContextManager[Cluster]:
        """A handle on the swarm of the daemon whose control socket is ``unix:///path``.

        This process is no member: every verb and stream is called over there. Leaving the block
        hangs up. Raises ``Unavailable`` where no daemon answers, and ``FailedPrecondition`` or
        ``Locked`` if it is in no swarm (:class:`Daemon` changes that). See docs/daemon.md.
        """
        return Way("Cluster", cls._connected(url))

    @classmethod
    @asynccontextmanager
    async def _connected(cls, url: str | os.PathLike[str]) -> AsyncIterator[Cluster]:
        async with remote.dialed(url) as line:
            cluster = remote.cluster_over(cls, line)
            if not line.is_in_swarm:
                await cluster.status()  # raises why
            yield cluster

    @classmethod
    def _enter(
        cls, settings: front.Settings, prepare: front.Prepare, wait: front.Wait
    ) -> AbstractAsyncContextManager[Cluster]:
        return Way("Cluster", cls._entered(settings, prepare, wait))

    @classmethod
    @asynccontextmanager
    async def _entered(
        cls, settings: front.Settings, prepare: front.Prepare, wait: front.Wait
    ) -> AsyncIterator[Cluster]:
        async with front.entered(settings, prepare, wait) as member:
            yield cls(member)

    # -- this node

    @property
    def node_id(self) -> str:
        """This node's id."""
        return self._member.node_id

    @property
    def addr(self) -> str:
        """Where other nodes find this one."""
        return self._member.addr

    @property
    def is_manager(self) -> bool:
        """Whether this node is a manager now."""
        return self._member.is_manager

    @property
    def is_leader(self) -> bool:
        """Whether this node leads now."""
        return self._member.is_leader

    @property
    def node(self) -> front.NodeHandle:
        """This node, as the swarm last described it."""
        return front.own_node(self._member)

    async def status(self) -> front.Status:
        """This node's view of itself and the swarm; never waits. For workers too."""
        return await front.status(self._member)

    async def wait_ready(self, *, timeout: float | None = None) -> None:
        """Until there is a leader and this node is ready. Raises ``DeadlineExceeded``."""
        await front.wait_ready(self._member, timeout)

    async def wait_stopped(self) -> str:
        """Until the node has stopped by itself (it left, or was removed); the reason."""
        return await self._member.wait_stopped()

    async def leave(self, *, force: bool = False) -> None:
        """Give membership up; the node stops and forgets the swarm. A manager needs ``force``."""
        await front.leave(self._member, force=force)

    async def crash(self) -> None:
        """For tests of failure: this node ends at once, as if its process had died, its tasks with
        it. What its disk holds can be opened again."""
        await self._member.crash()

    # -- the swarm

    async def swarm(self) -> Swarm:
        """The swarm's own object: settings and pools, without keys and tokens."""
        return await front.swarm_object(self._member)

    async def join_token(self, role: Role | str = "worker") -> str:
        """What lets a node in as ``"worker"`` or ``"manager"``. Handle it like a password."""
        return await front.join_token(self._member, role)

    async def rotate_join_token(self, role: Role | str = "worker") -> str:
        """A new token; the old one lets nobody in any more."""
        return await front.rotate_join_token(self._member, role)

    async def unlock_key(self) -> str:
        """What unlocks a manager that starts again while autolock is on, ``SWMKEY-1-…``; "" while
        it is off. Keep it outside the swarm, and handle it like a password."""
        return await front.unlock_key(self._member)

    async def rotate_unlock_key(self) -> str:
        """A new unlock key; "" while autolock is off. A manager that is down now will need the one
        before when it starts again."""
        return await front.rotate_unlock_key(self._member)

    async def rotate_ca(
        self,
        *,
        cert: authority.Pem | None = None,
        key: authority.Pem | None = None,
        cross_signed: authority.Pem | None = None,
    ) -> authority.Rotation:
        """Begin to replace the root of the swarm's certificates: by a new one, or by ``cert`` with
        its ``key`` (PEM; without a key the network's ``external_ca`` must sign for it).

        The swarm goes on meanwhile; join tokens change when it ends. ``await rotation.wait()``, or
        ``async for progress in rotation``. Another call begins anew, the present root's ``cert``
        calls it off. ``cross_signed``, the new root's certificate signed by the present one, is
        needed where the present one's key is not in the swarm. Raises ``InvalidArgument``.
        """
        return await authority.rotate_ca(self._member, cert, key, cross_signed)

    async def ca_rotation(self) -> authority.RotationProgress:
        """How far the rotation of the root is; ``is_done`` where there is none."""
        return await authority.rotation_progress(self._member)

    async def update(self, **settings: Any) -> Swarm:
        """Change settings: ``autolock``, ``labels``, ``task_history_retention_limit``,
        ``heartbeat_period`` (seconds), ``default_log_driver``, ``node_cert_expiry`` (seconds),
        ``snapshot_interval``, ``keep_old_snapshots``, ``log_entries_for_slow_followers``."""
        return await front.update(self._member, settings)

    async def backup(self, path: str | os.PathLike[str], *, stale: bool = False) -> front.Backup:
        """Write a backup of the swarm to the new directory ``path``, from this running manager:
        everything that was settled when this was called (``stale``: that this member knows of,
        which needs no leader). Commands go on meanwhile.

        It holds the swarm's secrets: sealed by the unlock key while autolock is on, readable for
        the owner of the files otherwise. ``pyswarm restore`` makes a state directory of it. Raises
        ``AlreadyExists``, ``ResourceExhausted`` (no room) and ``Unavailable``.
        """
        return await front.backup(self._member, path, stale=stale)

    def events(
        self, after: front.After = None, *, kinds: Collection[str] | None = None
    ) -> front.Stream[front.Event]:
        """Every change after ``after`` (None: from this call on), tasks included.

        Resume with the ``position`` of an event that ``is_last``, or its text. A plain version will
        do as long as the swarm is not restored from a backup meanwhile. Raises ``Compacted`` where
        the history does not reach back, for a position from before a restore, and for a reader that
        is too slow: list, and watch anew.
        """
        return front.events(self._member, after, kinds)

    async def plan(self, change: front.Hypothesis | Sequence[front.Hypothesis]) -> front.WhatIf:
        """What ``change`` would do at once, without doing it: :class:`Drain`, :class:`Lose`,
        :class:`Scale`, :class:`AddService`, :class:`ChangeService`, :class:`Remove`."""
        return await front.plan(self._member, change)

    async def explain(self, what: Any) -> Any:
        """Why a task (a handle, a ``Task``, an id) is where it is or has no node; of a service
        (also by name), one :class:`Explanation` for each task it wants."""
        return await front.explain(self._member, what)

    async def check(self) -> list[front.Violation]:
        """The invariants that the swarm's state breaks: none, or it is a bug of pyswarm."""
        return await front.check(self._member)

    def __repr__(self) -> str:
        return f"<Cluster node={self.node_id} addr={self.addr}>"


class Daemon(HostVerbs):
    """A daemon, in a swarm or not: ``async with Daemon.connect("unix:///…/control.sock")``.

    ``cluster`` is the handle on its swarm, as :meth:`Cluster.connect` gives it; its verbs raise
    why the swarm cannot be asked, as long as the daemon is no manager.
    """

    cluster: Cluster

    @classmethod
    def connect(cls, url: str | os.PathLike[str]) -> AbstractAsyncContextManager[Daemon]:
        """The daemon whose control socket is ``unix:///path``. Raises ``Unavailable``."""
        return Way("Daemon", cls._connected(url))

    @classmethod
    @asynccontextmanager
    async def _connected(cls, url: str | os.PathLike[str]) -> AsyncIterator[Daemon]:
        async with remote.dialed(url) as line:
            daemon = remote.daemon_over(cls, line)
            daemon.cluster = remote.cluster_over(Cluster, line)
            yield daemon


async def run_in_asyncio(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run ``await main(*args)``, a trio function, inside a running asyncio program.

    trio is a guest of asyncio's loop then: both go on in one thread. Cancelling the asyncio task
    cancels ``main``, and waits for it.
    """
    return await front.run_in_asyncio(main, *args)
