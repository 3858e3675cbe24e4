"""How a node comes to be: it founds a swarm, joins one, or starts again from its directory.

Everything that must not be reproducible (keys, tokens, the seed of a node's chance) is drawn here,
from the system's entropy, and handed to the machine as values.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from pyswarm.agent import Executor
from pyswarm.ca import JoinToken, RootCA
from pyswarm.ca.authority import first_state
from pyswarm.env import Rng, system_entropy
from pyswarm.errors import FailedPrecondition, InvalidArgument, SwarmError, Unavailable
from pyswarm.ids import new_id
from pyswarm.ipam.pool import check_pools
from pyswarm.model import (
    Availability,
    Identity,
    NodeDescription,
    Role,
    Swarm,
    SwarmSpec,
)
from pyswarm.model.defaults import DATA_PATH_PORT
from pyswarm.model.session import ManagerAddress
from pyswarm.node import NodeConfig, NodeMachine, RecoveredLog
from pyswarm.node.messages import JoinReply, JoinRequest
from pyswarm.node.record import RECORD, NodeRecord
from pyswarm.raft import RaftConfig
from pyswarm.runtime.clock import SystemClock
from pyswarm.runtime.disk import Disk, Remembered, open_disk
from pyswarm.runtime.executors.belonging import check_free
from pyswarm.runtime.front.fips import check_fips, founded_by
from pyswarm.runtime.front.places import (
    Place,
    check_addresses,
    check_not_moved,
    data_path_address,
    find_place,
    first_credentials,
    join_by_certificate,
    preferred_address,
)
from pyswarm.runtime.front.recovery import Resuming, check_not_backup, make_new_cluster
from pyswarm.runtime.network import MemoryNetwork, Network
from pyswarm.runtime.observe import Observer
from pyswarm.runtime.storage import FileDirectory, MemoryDirectory
from pyswarm.runtime.storage.files import checked_path
from pyswarm.runtime.tls import TlsNetwork
from pyswarm.scheduler import Scheduler
from pyswarm.scheduler.policy import MakeScheduler, scheduler_maker
from pyswarm.secretstore import UnlockKey, new_sealing_key

StateDir = str | os.PathLike[str] | MemoryDirectory
"""Where a node's state is kept: a directory, or one in memory that outlives the node."""

SEED_BYTES = 16

JOIN_TIMEOUT_S = 20.0
"""How long joining is tried: Docker's own limit."""

JOIN_ANSWER_S = 3.0
"""How long one manager may take to answer before the next one is asked."""

JOIN_PAUSE_S = 0.2
"""Between two rounds through all managers."""

ALREADY_PART = (
    "This node is already part of a swarm. Leave it first, or open its state directory "
    "(Cluster.open) to go on."
)


class NoNodeHere(FailedPrecondition):
    """The state directory holds no node: nothing was founded or joined there."""


@attrs.frozen(kw_only=True)
class Settings:
    """What every way in takes; checked when it is made, before anything runs."""

    state_dir: StateDir | None = None
    network: Network = attrs.field(factory=MemoryNetwork)
    executor: Executor | None = None
    make_executor: Callable[[], Executor] | None = None
    """In its place: one that is made when the node is sure to begin."""
    advertise_addr: str | None = None
    listen_addr: str | None = None
    data_path_addr: str | None = None
    availability: Availability = Availability.ACTIVE
    name: str | None = None
    labels: Mapping[str, str] = attrs.field(factory=dict)
    own_thread: bool = False
    tune_gc: bool = False
    observer: Observer | None = None
    raft: RaftConfig | None = None
    make_scheduler: MakeScheduler = Scheduler

    def __attrs_post_init__(self) -> None:
        if self.name is not None and not self.name:
            raise InvalidArgument("a node's name must not be empty")
        if not isinstance(self.state_dir, MemoryDirectory | None):
            checked_path(self.state_dir, "state_dir")
        if self.advertise_addr is not None and not self.advertise_addr:
            raise InvalidArgument("the advertised address must not be empty")
        check_addresses(self.network, self.listen_addr, self.advertise_addr)
        if self.data_path_addr is not None:
            data_path_address(self.data_path_addr)
        NodeDescription(hostname=self.name or "", engine_labels=self.labels)
        if self.executor is not None:
            if isinstance(self.executor, type) or not isinstance(self.executor, Executor):
                raise InvalidArgument(
                    f"not an executor: {self.executor!r}", hint="see pyswarm.agent.Executor"
                )
            check_free(self.executor)


OPTIONS = (
    *("state_dir", "network", "executor", "advertise_addr", "listen_addr", "data_path_addr"),
    *("availability", "name", "labels", "own_thread", "tune_gc", "observer", "raft"),
    *("strategy", "filters"),
)
"""What every way into a swarm takes by keyword."""


def settings(options: Mapping[str, Any]) -> Settings:
    """Settings from a front door's keyword arguments; None means the default."""
    given = {key: value for key, value in options.items() if value is not None}
    if "listen_addr" in given:
        given.setdefault("network", TlsNetwork())
    placing = {key: given.pop(key) for key in ("strategy", "filters") if key in given}
    if placing:
        given["make_scheduler"] = scheduler_maker(**placing)
    word = given.get("availability")
    if isinstance(word, str):
        if word not in map(str, Availability):
            raise InvalidArgument(f'invalid Availability: "{word}"')
        given["availability"] = Availability[word.upper()]
    return Settings(**given)


@attrs.frozen
class Prepared:
    """A node that is ready to run."""

    machine: NodeMachine
    disk: Disk
    executor: Executor
    network: Network


Prepare = Callable[[], Awaitable[Prepared]]
"""Run in the loop that the node will run in."""


def default_executor(settings: Settings) -> Executor:
    """Processes where there are any (Linux), async functions elsewhere."""
    if settings.make_executor is not None:
        return settings.make_executor()
    if sys.platform.startswith("linux"):
        from pyswarm.runtime.executors import ProcessExecutor

        state_dir = settings.state_dir
        own = isinstance(state_dir, (str, os.PathLike))
        return ProcessExecutor(Path(state_dir) / "tasks" if own else None)  # type: ignore[arg-type]
    from pyswarm.runtime.executors import CallableExecutor

    return CallableExecutor()


def described(settings: Settings, executor: Executor) -> NodeDescription:
    """What the executor says of the node, under the name and labels it was given."""
    found = executor.describe()
    return attrs.evolve(
        found,
        hostname=settings.name or found.hostname,
        engine_labels={**found.engine_labels, **settings.labels},
        data_path_addr=data_path_address(settings.data_path_addr or ""),
    )


def _place(settings: Settings, preferred: str | None = None) -> Place:
    """Where the node will be; a free place of the network where none was asked for."""
    return find_place(settings.network, settings.listen_addr, settings.advertise_addr, preferred)


def _seed() -> int:
    return int.from_bytes(system_entropy(SEED_BYTES), "big")


# -- founding


def found(settings: Settings, swarm: Swarm) -> Prepare:
    """A new swarm with this node as its first manager."""

    async def prepare() -> Prepared:
        disk, remembered = open_disk(settings.state_dir, unlock_key=_first_key(settings, swarm))
        async with _closing(disk) as closing:
            _check_new(remembered)
            executor = settings.executor or default_executor(settings)
            description = described(settings, executor)
            swarm_here = founded_by(swarm, description)
            identity = Identity(new_id(Rng(_seed())), Role.MANAGER, swarm.id)
            place = closing.place = _place(settings)
            place.prove(disk, await first_credentials(place, swarm, identity))
            config = NodeConfig(
                identity=identity,
                addr=place.addr,
                description=description,
                seed=_seed(),
                bootstrap=swarm_here,
                availability=settings.availability,
                log=RecoveredLog(1),
                raft=settings.raft,
                make_scheduler=settings.make_scheduler,
            )
            return _prepared(config, disk, executor, place)

    return prepare


def _first_key(settings: Settings, swarm: Swarm) -> UnlockKey | None:
    """With autolock on from the start, no data key ever lies on the disk in clear."""
    state_dir = settings.state_dir
    is_new = not isinstance(state_dir, (str, os.PathLike)) or not FileDirectory.is_locked(state_dir)
    return UnlockKey(swarm.unlock_key) if swarm.unlock_key and is_new else None


def new_swarm(
    *,
    default_addr_pools: Sequence[str],
    subnet_size: int,
    autolock: bool = False,
    spec: SwarmSpec = SwarmSpec(),
    data_path_port: int = DATA_PATH_PORT,
    root_ca: RootCA | None = None,
) -> Swarm:
    """The swarm object of a new swarm, with fresh keys; ``autolock`` adds to what ``spec`` says.
    Without a ``root_ca`` it gets one of its own. Raises ``InvalidPool``."""
    if isinstance(default_addr_pools, str):
        raise InvalidArgument("default_addr_pools must be a list of CIDRs")
    check_pools(default_addr_pools, subnet_size)
    spec = attrs.evolve(spec, autolock=autolock or spec.autolock)
    root = root_ca or RootCA.create(SystemClock().realtime())
    return Swarm(
        id=new_id(Rng(_seed())),
        root_ca=first_state(root),
        spec=spec,
        sealing_keys=(new_sealing_key(),),
        unlock_key=UnlockKey.generate().key if spec.autolock else b"",
        default_addr_pools=tuple(default_addr_pools),
        subnet_size=subnet_size,
        data_path_port=data_path_port,
    )


def _check_new(remembered: Remembered) -> None:
    if remembered.record is not None:
        raise FailedPrecondition(ALREADY_PART)


def _prepared(config: NodeConfig, disk: Disk, executor: Executor, place: Place) -> Prepared:
    config = attrs.evolve(config, description=place.described(config.description))
    machine = NodeMachine(config, SystemClock().monotonic())
    disk.belongs_to(config.identity)
    disk.save(RECORD, machine.record().to_bytes())
    return Prepared(machine, disk, executor, place.network)


class _closing:
    """Close the disk, and leave the place, if preparing fails; a prepared node does so when it
    ends."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.place: Place | None = None

    async def __aenter__(self) -> _closing:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            if self.place is not None:
                self.place.close()
            await self._disk.aclose()


# -- joining


def remotes(addrs: str | Sequence[str], options: Mapping[str, Any]) -> tuple[str, ...]:
    """Where to ask, checked. Raises ``InvalidArgument``."""
    listed = (addrs,) if isinstance(addrs, str) else tuple(addrs)
    if not listed or not all(isinstance(addr, str) and addr for addr in listed):
        raise InvalidArgument("joining needs the address of a manager")
    if options.get("network") is None and options.get("listen_addr") is None:
        raise InvalidArgument(
            "joining needs the network that the swarm's managers are in",
            hint="TlsNetwork() for managers of other processes; nodes of one process are all given "
            "the same MemoryNetwork()",
        )
    return listed


def checked_token(text: str) -> str:
    """A join token's text, checked. Raises ``InvalidJoinToken``."""
    return str(JoinToken.parse(text))


def join(settings: Settings, remotes: Sequence[str], token: str) -> Prepare:
    """A member of the swarm that is found at one of ``remotes``; the token decides the role."""

    async def prepare() -> Prepared:
        disk, remembered = open_disk(settings.state_dir)
        async with _closing(disk) as closing:
            _check_new(remembered)
            executor = settings.executor or default_executor(settings)
            description = described(settings, executor)
            check_fips(token, description)
            request = JoinRequest(
                new_id(Rng(_seed())), token, "", description, settings.availability
            )
            if isinstance(settings.network, TlsNetwork):
                place, reply, proof = await join_by_certificate(
                    settings.network,
                    settings.listen_addr,
                    settings.advertise_addr,
                    remotes,
                    request,
                )
                closing.place = place
                place.prove(disk, proof)
            else:
                place = _place(settings)
                request = attrs.evolve(request, addr=place.addr)
                reply = await ask_to_join(settings.network, place.addr, remotes, request)
            config = NodeConfig(
                # A manager-to-be is a worker until its seat is confirmed.
                identity=Identity(reply.node_id, Role.WORKER, reply.swarm_id),
                addr=place.addr,
                description=description,
                seed=_seed(),
                availability=settings.availability,
                managers=reply.managers or tuple(ManagerAddress("", one) for one in remotes),
                raft=settings.raft,
                make_scheduler=settings.make_scheduler,
            )
            return _prepared(config, disk, executor, place)

    return prepare


async def ask_to_join(
    network: Network, addr: str, remotes: Sequence[str], request: JoinRequest
) -> JoinReply:
    """Show the token to one manager after the other until one answers.

    Raises what the swarm answered, or ``Unavailable`` when nobody did. A repeated try has the same
    id, so it finds the node of the first one.
    """
    send, answers = trio.open_memory_channel[JoinReply](16)
    home = trio.lowlevel.current_trio_token()

    def post(message: JoinReply) -> None:
        try:
            send.send_nowait(message)
        except (trio.WouldBlock, trio.BrokenResourceError):
            pass  # an answer more than anyone waits for

    def receive(_: object, __: str, message: object) -> None:
        if isinstance(message, JoinReply) and message.request_id == request.request_id:
            home.run_sync_soon(post, message)

    endpoint = network.attach(addr, lambda: None, receive)
    last: SwarmError = Unavailable(f"no manager answers at {', '.join(remotes)}")
    try:
        with trio.move_on_after(JOIN_TIMEOUT_S):
            while True:
                for remote in remotes:
                    if not endpoint.send(remote, request):
                        continue
                    with trio.move_on_after(JOIN_ANSWER_S):
                        reply = await answers.receive()
                        if reply.error is None:
                            return reply
                        if not isinstance(reply.error, Unavailable):
                            raise reply.error
                        last = reply.error
                await trio.sleep(JOIN_PAUSE_S)
    finally:
        endpoint.close()
    raise last


# -- starting again


def reopen(settings: Settings, how: Resuming) -> Prepare:
    """The node whose state is in the directory, as it was."""

    async def prepare() -> Prepared:
        assert settings.state_dir is not None
        check_not_backup(settings.state_dir)
        if isinstance(settings.state_dir, (str, os.PathLike)):  # nothing is made there
            check_node(settings.state_dir, not FileDirectory.is_blank(settings.state_dir))
        disk, remembered = open_disk(settings.state_dir, unlock_key=how.unlock_key)
        async with _closing(disk) as closing:
            check_node(settings.state_dir, remembered.record is not None)
            assert remembered.record is not None
            place = closing.place = _place(settings, _preferred(settings, remembered.record))
            place.prove_again(disk, remembered.record.identity)
            if how.force_new_cluster:
                remembered = await make_new_cluster(disk, remembered, place.addr)
            return _reopened(settings, disk, remembered, place)

    return prepare


def check_node(state_dir: StateDir, is_there: bool) -> None:
    """Raises ``NoNodeHere`` if there is none to be started again."""
    if not is_there:
        raise NoNodeHere(
            f"{state_dir} holds no node",
            hint="Cluster.init founds a swarm, Cluster.join makes a node part of one",
        )


def reopen_or_found(settings: Settings, swarm: Swarm, how: Resuming) -> Prepare:
    """The node whose state is in the directory, or the first one of a new swarm."""

    async def prepare() -> Prepared:
        check_not_backup(settings.state_dir)
        disk, remembered = open_disk(settings.state_dir, unlock_key=how.unlock_key)
        if remembered.record is None:
            await disk.aclose()
            return await found(settings, swarm)()
        async with _closing(disk) as closing:
            place = closing.place = _place(settings, _preferred(settings, remembered.record))
            place.prove_again(disk, remembered.record.identity)
            return _reopened(settings, disk, remembered, place)

    return prepare


def _preferred(settings: Settings, record: NodeRecord) -> str:
    if settings.advertise_addr is not None:
        return record.addr
    return preferred_address(settings.network, record, settings.listen_addr)


def _reopened(settings: Settings, disk: Disk, remembered: Remembered, place: Place) -> Prepared:
    record = remembered.record
    assert record is not None
    if record.member_id:
        check_not_moved(place, record.addr)
    executor = settings.executor or default_executor(settings)
    config = NodeConfig(
        identity=record.identity,
        addr=place.addr,
        description=described(settings, executor),
        seed=_seed(),
        incarnation=record.incarnation + 1,
        managers=record.managers,
        log=remembered.log,
        saved_tasks=remembered.tasks,
        raft=settings.raft,
        make_scheduler=settings.make_scheduler,
    )
    return _prepared(config, disk, executor, place)
