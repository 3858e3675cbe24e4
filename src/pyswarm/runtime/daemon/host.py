"""The verbs of a host: init, join, leave, unlock; and what it says of itself.

A host has at most one node. It is in one of five states::

    inactive ──init──────────────▶ active ──leave──▶ inactive
    inactive ──join──▶ pending ──▶ active ──(removed by the swarm)──▶ pending ──leave──▶ inactive
    (start)  ──▶ locked ──unlock──▶ active             any ──leave by force──▶ inactive
    (start)  ──▶ error: the disk or the address cannot be used; the sentence says why

One verb at a time; what can be checked is checked before anything is done, and a verb that fails
leaves the host as it was. A caller that goes away stops nothing that has begun.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from pyswarm.agent import Executor
from pyswarm.api.hosting import (
    DATA_PATH_PORTS,
    LEAVING_LOCKED,
    NEVER_JOINED,
    STARTING,
    WORKER,
    AlreadyInSwarm,
    CertificatesExpired,
    HostState,
    HostStatus,
    InitSwarm,
    InvalidDataPathPort,
    JoinContinues,
    JoinSwarm,
    LeaveRefused,
    NoManager,
    NotInSwarm,
    NotLocked,
    RemoteManager,
    SwarmLocked,
    WrongKey,
)
from pyswarm.errors import AlreadyExists, InvalidArgument, SwarmError, Unavailable
from pyswarm.model import NodeDescription
from pyswarm.model.defaults import DATA_PATH_PORT
from pyswarm.raft import RaftConfig
from pyswarm.runtime import front
from pyswarm.runtime.clock import SystemClock
from pyswarm.runtime.daemon.life import FAILED, LEFT, STOPPED, Life, insisting
from pyswarm.runtime.daemon.memory import Addresses, Memory
from pyswarm.runtime.errorgroups import plain_errors
from pyswarm.runtime.front.founding import NoNodeHere, default_executor, described
from pyswarm.runtime.front.leaving import LEAVING_STOPPED_MANAGER, ManagerLeaves
from pyswarm.runtime.front.places import CertificateExpired, check_addresses
from pyswarm.runtime.front.recovery import Resuming
from pyswarm.runtime.network import Network
from pyswarm.runtime.observe import Observer, log_event
from pyswarm.runtime.storage import DirectoryInUse, FileDirectory, WrongUnlockKey
from pyswarm.runtime.storage.directory import hold
from pyswarm.runtime.storage.errors import disk_errors
from pyswarm.runtime.storage.files import SystemFiles, checked_path
from pyswarm.runtime.tls import TlsNetwork, addresses
from pyswarm.runtime.tls.endpoint import TlsEndpoint
from pyswarm.secretstore import UnlockKey

JOIN_WAIT_S = 20.0
"""How long a caller of ``join`` waits; joining goes on. Docker's own limit."""

RESUME_S = 5.0
"""Between two tries to start a node whose address could not be taken."""

LOCK = "host.lock"


@attrs.frozen(kw_only=True)
class HostConfig:
    """What a host is started with; holds for every node that it will be."""

    state_dir: Path
    executor: Callable[[], Executor] | None = None
    """Makes the executor of each node; None: processes on Linux."""
    network: Network = attrs.field(factory=TlsNetwork)
    name: str | None = None
    labels: Mapping[str, str] = attrs.field(factory=dict)
    tune_gc: bool = False
    observer: Observer | None = None
    raft: RaftConfig | None = None


class Host:
    """A process that may be a node. Made by :func:`open_host`."""

    def __init__(self, config: HostConfig, nursery: trio.Nursery) -> None:
        self.config = config
        self._nursery = nursery
        self._verb = trio.Lock()
        self._memory = Memory(config.state_dir)
        self._addresses = Addresses()
        self._state = HostState.INACTIVE
        self._error: SwarmError | None = None
        self._life: Life | None = None
        self._description: NodeDescription | None = None
        self._knows_swarm = False
        """Whether this life has had a word from its swarm: before, a join is pending."""
        self._removed = HostStatus()
        """What a node that its swarm removed knew of it, until it leaves."""
        self._idle: Executor | None = None

    # -- looking

    def state(self) -> HostStatus:
        """What the host is now; never waits."""
        member = self._life.member if self._life is not None else None
        if member is None:
            host, _, _ = self._addresses.node.rpartition(":")
            shown = host if self._state is not HostState.INACTIVE else ""
            error = "" if self._error is None else str(self._error)
            return attrs.evolve(
                self._removed, state=self._state, node_addr=shown.strip("[]"), error=error
            )
        expired = _has_expired(member)
        host = member.addr.rpartition(":")[0] or member.addr
        return HostStatus(
            state=HostState.ERROR if expired else self._running_state(member),
            node_id=member.node_id,
            node_addr=host.strip("[]"),
            control_available=member.is_manager,
            error=str(CertificatesExpired()) if expired else _missing(member),
            remote_managers=_managers(member),
        )

    def _running_state(self, member: front.Member) -> HostState:
        if self._state is HostState.PENDING and not self._knows_swarm:
            self._knows_swarm = member.node.machine.agent.node is not None
        return HostState.ACTIVE if self._knows_swarm else HostState.PENDING

    def member(self) -> front.Member:
        """The node as a manager of its swarm; raises why the swarm cannot be asked here."""
        member = self._manager()
        if not member.node.store.has_swarm:
            raise NoManager(STARTING)
        return member

    def _manager(self) -> front.Member:
        """The node as a manager, whatever it knows of its swarm so far."""
        member = self._life.member if self._life is not None else None
        if member is None:
            if self._state is HostState.LOCKED:
                raise SwarmLocked
            if self._state is HostState.INACTIVE:
                raise NoManager(NEVER_JOINED)
            if isinstance(self._error, CertificateExpired):
                raise CertificatesExpired
            raise NoManager(WORKER if self._state is HostState.PENDING else STARTING)
        if _has_expired(member):
            raise CertificatesExpired
        if not member.is_manager:
            raise NoManager(WORKER)
        return member

    def node(self) -> front.Member | None:
        """The node that runs now, whatever its role."""
        return self._life.member if self._life is not None else None

    def describe(self) -> NodeDescription:
        """What this host is, in a swarm or not."""
        if (member := self.node()) is not None:
            return member.node.machine.agent.description
        if self._description is None:
            self._description = described(self._settings(Addresses()), self._asked())
        return self._description

    def executor(self) -> Executor:
        """What runs tasks here: the node's, or outside a swarm one to be asked. Raises
        ``Unavailable`` while a node begins."""
        if (member := self.node()) is not None:
            return member.node.bridge.executor
        if self._life is not None and not self._life.reason:
            raise Unavailable("this host's node is starting")
        return self._asked()

    def _asked(self) -> Executor:
        if self._idle is None:
            settings = self._settings(Addresses())
            self._idle = default_executor(settings)
        return self._idle

    async def close_idle(self) -> None:
        """Let go of the executor that was asked outside a swarm: a node makes its own."""
        idle, self._idle = self._idle, None
        if idle is not None:
            with trio.CancelScope(shield=True):
                await idle.aclose()

    # -- verbs

    async def init(self, wish: InitSwarm) -> str:
        """Found a swarm; the node's id. With ``force_new_cluster``, a manager that lost its quorum
        begins the swarm anew. Raises ``AlreadyInSwarm``, ``InvalidArgument``, ``AlreadyExists``
        (the address is taken)."""
        async with self._verb:
            if wish.force_new_cluster and self._state is not HostState.INACTIVE:
                return await self._begin_anew(wish)
            self._check_outside()
            found = self._checked(wish)
            swarm = front.new_swarm(
                default_addr_pools=wish.default_addr_pools,
                subnet_size=wish.subnet_size,
                spec=wish.spec,
                data_path_port=_checked_port(wish.data_path_port),
            )
            settings = self._settings(found, wish.availability)
            self._memory.save(found)
            try:
                member = await self._begin(settings, front.found(settings, swarm), found)
                await front.until_ready(member)
            except SwarmError:
                await self._forget()
                raise
            return member.node_id

    async def join(self, wish: JoinSwarm) -> None:
        """Become a node of a swarm. Raises ``AlreadyInSwarm``, ``InvalidArgument``, what the swarm
        answered, and ``JoinContinues`` when nobody answers in time."""
        async with self._verb:
            self._check_outside()
            found = self._checked(wish)
            remotes = _remotes(wish.remote_addrs)
            if not wish.token:
                raise InvalidArgument("A valid join token is necessary to join this cluster")
            token = front.checked_token(wish.token)
            settings = self._settings(found, wish.availability)
            self._memory.save(found)
            joining = insisting(front.join(settings, remotes, token))
            with trio.move_on_after(JOIN_WAIT_S) as waiting:
                try:
                    member = await self._begin(settings, joining, found, HostState.PENDING)
                    await front.until_joined(member)
                except SwarmError:
                    await self._forget()
                    raise
            if waiting.cancelled_caught:
                raise JoinContinues
            self._state, self._knows_swarm = HostState.ACTIVE, True

    async def unlock(self, key: str) -> None:
        """Start the manager whose disk is locked. Raises ``NotLocked``, ``NoManager``,
        ``InvalidUnlockKey`` and ``WrongKey``."""
        async with self._verb:
            if self._state is not HostState.LOCKED:
                self.member()
                raise NotLocked
            how = Resuming(UnlockKey.parse(key))
            settings = self._settings(self._addresses)
            try:
                await self._begin(settings, front.reopen(settings, how), self._addresses)
            except SwarmError as error:
                self._set(HostState.LOCKED, SwarmLocked())
                if isinstance(error, WrongUnlockKey):
                    raise WrongKey from None
                raise

    async def leave(self, *, force: bool = False) -> None:
        """Give membership up; nothing of the swarm stays here. Raises ``NotInSwarm`` and, without
        ``force``, ``LeaveRefused`` with the numbers."""
        async with self._verb:
            if self._state is HostState.INACTIVE:
                raise NotInSwarm
            member = self.node()
            if member is not None:
                try:
                    with trio.CancelScope(shield=True):
                        await front.leave(member, force=force)
                except ManagerLeaves as refused:
                    raise LeaveRefused(str(refused), hint=refused.hint) from None
            elif not force and self._state is HostState.LOCKED:
                raise LeaveRefused(LEAVING_LOCKED)
            elif not force and self._state is HostState.ERROR and self._had_seat():
                raise LeaveRefused(LEAVING_STOPPED_MANAGER)
            await self._forget()

    # -- one node after the other

    async def start(self) -> None:
        """Go on where the state directory left off. Raises ``DirectoryInUse``."""
        async with self._verb:
            await self._resume()
        if isinstance(self._error, (AlreadyExists, InvalidArgument)):
            self._nursery.start_soon(self._resume_later)

    async def _resume(self) -> None:
        try:
            self._addresses = self._memory.load()
            if FileDirectory.is_locked(self.config.state_dir):
                self._set(HostState.LOCKED, SwarmLocked())
                return
            settings = self._settings(self._addresses)
            await self._begin(settings, front.reopen(settings, Resuming()), self._addresses)
        except NoNodeHere:
            self._set(HostState.INACTIVE)
        except DirectoryInUse:
            raise
        except SwarmError as error:
            self._set(HostState.ERROR, error)
            self._say("node.ended", "warning", reason=FAILED, error=str(error))

    async def _resume_later(self) -> None:
        """An address may come later than the daemon, as an interface does at boot; or it is free
        again when another process has ended."""
        while self._state is HostState.ERROR:
            await trio.sleep(RESUME_S)
            async with self._verb:
                if self._state is HostState.ERROR:  # and nobody left meanwhile
                    await self._resume()

    async def _begin(
        self,
        settings: front.Settings,
        prepare: front.Prepare,
        found: Addresses,
        state: HostState = HostState.ACTIVE,
    ) -> front.Member:
        """Run a node in the background; as soon as it runs. Raises what preparing it raised."""

        def began(member: front.Member) -> None:
            self._addresses = _as_taken(found, member)
            self._memory.save(self._addresses)
            self._say("node.began", node_id=member.node_id, addr=member.addr)

        await self.close_idle()
        self._life = Life(settings, prepare, on_begin=began, on_end=self._ended)
        self._removed = HostStatus()
        self._set(state)
        self._knows_swarm = state is HostState.ACTIVE
        self._addresses = found
        self._nursery.start_soon(self._life.run)
        return await self._life.wait_began()

    async def _begin_anew(self, wish: InitSwarm) -> str:
        """A manager that lost its quorum goes on alone, with all that it has. One that started
        without a quorum does not know what of its log counts, maybe not even its swarm."""
        member = self._manager()
        found = self._checked(wish)
        if wish.listen_addr == addresses.DEFAULT_LISTEN:  # nothing was asked for: as before
            found = attrs.evolve(found, listen=self._addresses.listen)
            found = attrs.evolve(found, advertise=found.advertise or self._addresses.advertise)
        settings = self._settings(found, wish.availability)
        before, life = self._addresses, self._life
        assert life is not None
        with trio.CancelScope(shield=True):  # a caller that goes away leaves no node stopped
            await life.end()
            how = Resuming(member.directory.unlock_key, force_new_cluster=True)
            try:
                member = await self._begin(settings, front.reopen(settings, how), found)
            except SwarmError:
                again = self._settings(before)
                as_before = Resuming(how.unlock_key)
                await self._begin(again, front.reopen(again, as_before), before)
                raise
        await front.until_ready(member)
        return member.node_id

    def _ended(self, life: Life, member: front.Member | None) -> None:
        """The node has stopped, by itself or because it was told to."""
        if life is not self._life or life.reason in (STOPPED, LEFT):
            return
        if life.reason == "removed" and member is not None:
            self._removed = HostStatus(node_id=member.node_id, remote_managers=_managers(member))
            self._set(HostState.PENDING)
        else:
            self._set(HostState.ERROR, life.error)
        if life.has_begun:
            self._say("node.ended", "warning", reason=life.reason, error=str(life.error or ""))

    async def _forget(self) -> None:
        """No node, and nothing of one on the disk."""
        with trio.CancelScope(shield=True):
            if self._life is not None:
                await self._life.end()
            self._life, self._removed = None, HostStatus()
            FileDirectory.wipe(self.config.state_dir)
            self._memory.forget()
            self._addresses = Addresses()
            self._set(HostState.INACTIVE)

    # -- details

    def _set(self, state: HostState, error: SwarmError | None = None) -> None:
        self._state, self._error = state, error

    def _say(self, event: str, level: str = "info", **fields: str) -> None:
        log_event(self.config.name or socket.gethostname(), event, level, fields)

    def _check_outside(self) -> None:
        if self._state is not HostState.INACTIVE:
            raise AlreadyInSwarm

    def _had_seat(self) -> bool:
        """Whether the node that cannot run was a manager: its log is still there."""
        return bool(SystemFiles().list(self.config.state_dir / "raft"))

    def _checked(self, wish: InitSwarm | JoinSwarm) -> Addresses:
        """The addresses of a wish. Raises ``InvalidArgument``.

        A node that joins can do without an address to advertise, so one that is none is left out,
        as Docker does (recorded), and the log says so.
        """
        if not wish.listen_addr:
            raise InvalidArgument('invalid ListenAddr "": invalid empty address')
        if isinstance(wish, JoinSwarm) and not wish.remote_addrs:
            raise InvalidArgument("at least 1 RemoteAddr is required to join")
        advertise = wish.advertise_addr
        if isinstance(self.config.network, TlsNetwork):
            try:
                check_addresses(self.config.network, wish.listen_addr, advertise or None)
            except InvalidArgument as problem:
                if isinstance(wish, InitSwarm) or not advertise:
                    raise
                check_addresses(self.config.network, wish.listen_addr, None)
                self._say("join.advertise-ignored", "warning", addr=advertise, why=str(problem))
                advertise = ""
        if wish.data_path_addr:
            addresses.data_path_address(wish.data_path_addr)
        return Addresses(
            listen=wish.listen_addr, advertise=advertise, data_path=wish.data_path_addr
        )

    def _settings(self, found: Addresses, availability: str = "active") -> front.Settings:
        config = self.config
        has_sockets = isinstance(config.network, TlsNetwork)
        return front.settings(
            {
                "state_dir": config.state_dir,
                "network": config.network,
                "make_executor": config.executor,
                "listen_addr": (found.listen or None) if has_sockets else None,
                "advertise_addr": found.advertise or None,
                "data_path_addr": found.data_path or None,
                "availability": availability,
                "name": config.name,
                "labels": config.labels,
                "tune_gc": config.tune_gc,
                "observer": config.observer,
                "raft": config.raft,
            }
        )


def _checked_port(port: int) -> int:
    """The data path's port; 0 is the default. Raises ``InvalidDataPathPort``."""
    low, high = DATA_PATH_PORTS
    if port and not low <= port <= high:
        raise InvalidDataPathPort(port)
    return port or DATA_PATH_PORT


def _remotes(addrs: tuple[str, ...]) -> tuple[str, ...]:
    if not all(addrs):
        raise InvalidArgument("at least 1 RemoteAddr is required to join")
    return addrs


def _as_taken(found: Addresses, member: front.Member) -> Addresses:
    """The addresses with the port that was taken where any would do, so that a restart takes it."""
    endpoint, listen = member.node.endpoint, found.listen
    if isinstance(endpoint, TlsEndpoint) and listen and addresses.split(listen).port == 0:
        listen = f"{listen.rpartition(':')[0]}:{endpoint.port}"
    return attrs.evolve(found, listen=listen, node=member.addr)


def _has_expired(member: front.Member) -> bool:
    """Whether the node's certificate has, and nobody renewed it."""
    endpoint = member.node.endpoint
    if not isinstance(endpoint, TlsEndpoint) or member.node.machine.agent.session_id:
        return False
    return endpoint.credentials.certificate.not_after <= SystemClock().realtime()


def _missing(member: front.Member) -> str:
    """What the node last said of a session that it does not get; "" while it has one."""
    missing = member.node.machine.agent.missing
    return f"{missing}\n{missing.hint}" if missing is not None else ""


def _managers(member: front.Member) -> tuple[RemoteManager, ...]:
    machine = member.node.machine
    if machine.manager is not None:
        return tuple(
            RemoteManager(one.id, one.manager.addr)
            for one in machine.manager.store.nodes()
            if one.manager is not None
        )
    return tuple(RemoteManager(one.node_id, one.addr) for one in machine.record().managers)


@asynccontextmanager
async def open_host(config: HostConfig) -> AsyncIterator[Host]:
    """The host of a state directory, as long as the block lasts; then its node is stopped, its
    tasks ended within their grace periods. Raises ``DirectoryInUse``, ``InvalidArgument``,
    ``DiskFull`` and ``WriteFailed``."""
    state_dir = checked_path(config.state_dir, "state_dir")
    with disk_errors(f"the state directory {state_dir}"):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = hold(state_dir / LOCK)
    try:
        with plain_errors():
            async with trio.open_nursery() as nursery:
                host = Host(config, nursery)
                try:
                    await host.start()
                    yield host
                finally:
                    nursery.cancel_scope.cancel()
                    await host.close_idle()
    finally:
        os.close(lock)
