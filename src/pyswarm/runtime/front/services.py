"""Services: create, change, watch them become what they should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import attrs

from pyswarm.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    OutOfSequence,
)
from pyswarm.model import (
    ContainerSpec,
    NetworkAttachmentConfig,
    Replicated,
    ReplicatedJob,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
)
from pyswarm.model.build import ServiceOptions, service_spec
from pyswarm.model.change import form_networks
from pyswarm.model.requests import CreateService, RemoveService, UpdateService
from pyswarm.node.explain import explain_service
from pyswarm.node.lookup import find
from pyswarm.runtime.front.changes import Changes, changed
from pyswarm.runtime.front.convergence import Outcome, Progress, Watcher
from pyswarm.runtime.front.handles import CHANGE_TRIES, Collection, Handle
from pyswarm.runtime.front.logs import LogOptions, TaskLine, read_logs
from pyswarm.runtime.front.member import Member
from pyswarm.runtime.front.pinning import prepared
from pyswarm.runtime.front.streams import Stream
from pyswarm.runtime.front.tasks import TaskHandle, Tasks
from pyswarm.runtime.front.updating import UpdateSource, UpdateStep
from pyswarm.runtime.images import ImageResolver
from pyswarm.scheduler.explain import Explanation
from pyswarm.store import Reader, Store


class ServiceHandle(Handle[Service]):
    """One service."""

    kind = "service"
    warnings: tuple[str, ...] = ()
    """What the last request that set the spec found amiss, as Docker's ``Warnings``."""

    async def scale(self, replicas: int) -> None:
        """Run this many tasks. Raises ``InvalidArgument`` for a negative number, or where a
        service runs one task a node (a global one)."""
        _check_count(replicas)

        async def change(current: Service) -> UpdateService:
            mode = current.spec.mode
            if not isinstance(mode, (Replicated, ReplicatedJob)):
                raise InvalidArgument(f"scale can only be used with replicated mode ({self.name})")
            return _update(current, changed(current.spec, {"replicas": replicas}))

        await self._change(change)

    async def update(self, spec: ServiceSpec | None = None, **changes: Unpack[Changes]) -> None:
        """Give the service a new spec, or change keywords of the one it has.

        ``update(image="v2", parallelism=2)`` changes what is there now, whoever put it there, and
        so do Docker's forms: ``env_add``, ``label_rm``, ``publish_add``, ``secret_rm``,
        ``force=True`` … (:class:`pyswarm.model.change.ChangeForms`). A
        whole ``spec`` replaces what this handle last saw, and is refused (``OutOfSequence``) if
        somebody set another one meanwhile: ``await service.refresh()`` and decide anew.
        """
        if spec is not None:
            if changes:
                raise InvalidArgument("give a spec, or keywords to change, not both")
            await self._replace(spec)
            return

        async def change(current: Service) -> UpdateService:
            ids = await network_ids(self._member, changes)
            wanted = changed(current.spec, changes, network_id=lambda name: ids.get(name, name))
            wanted = await resolved(self._member, wanted)
            wanted, self.warnings = await prepared(
                self._member, wanted, current=current.spec, anew="image" in changes
            )
            return _update(current, wanted)

        await self._change(change)

    async def _replace(self, spec: ServiceSpec) -> None:
        seen = self.value.spec_version
        spec = await resolved(self._member, spec)
        spec, self.warnings = await prepared(self._member, spec, current=self.value.spec)

        async def change(current: Service) -> UpdateService:
            if current.spec_version != seen:
                raise OutOfSequence(
                    "update out of sequence",
                    hint="somebody changed the service: refresh() the handle and decide anew",
                )
            return _update(current, spec)

        for left in reversed(range(CHANGE_TRIES)):
            current = await self._member.read(self._current)
            body = await change(current)
            try:
                return await self._ask(body)
            except OutOfSequence:
                if not left:
                    raise
        return None

    async def rollback(self) -> None:
        """Go back to the spec before. Raises ``FailedPrecondition`` where there is none."""

        async def change(current: Service) -> UpdateService:
            return UpdateService(current.id, current.version, rollback=True)

        await self._change(change)

    async def force_update(self) -> None:
        """Replace every task by a new one of the same spec, rolling."""

        async def change(current: Service) -> UpdateService:
            number = current.spec.task.force_update + 1
            return _update(current, changed(current.spec, {"force_update": number}))

        await self._change(change)

    async def remove(self) -> None:
        """Remove it; its tasks are shut down."""
        await self._member.request(RemoveService(self.id))

    async def tasks(self, **filters: Any) -> list[TaskHandle]:
        """Its tasks, ended ones included; filters as in ``tasks.list``."""
        return await Tasks(self._member).list(service=self.id, **filters)

    async def running(self) -> list[TaskHandle]:
        """Its tasks that run and should."""
        return [task for task in await self.tasks() if task.is_running]

    async def wait_converged(
        self, *, timeout: float | None = None, monitored: bool = False
    ) -> Outcome:
        """Wait until every slot has its task running and clean, or until that cannot happen.

        Returns ``Converged``, ``Failed`` or ``Blocked`` (nothing moves until a node can take the
        tasks: with the explanations). ``monitored`` waits for the last monitor period of an update
        as well. Raises ``DeadlineExceeded`` after ``timeout`` seconds, ``NotFound`` if it is gone.
        """
        self._member.check_manager()
        watcher = Watcher(self.value, self._member.make_scheduler, monitored=monitored)
        await self.refresh()
        outcome: Outcome = await self._member.wait_until(
            watcher.look, timeout=timeout, late=lambda: watcher.late(timeout or 0.0)
        )
        self.value = outcome.service
        return outcome

    async def progress(self) -> Progress:
        """How far it is: slots wanted and done, and what the others wait for."""
        watcher = Watcher(self.value, self._member.make_scheduler)

        def look(store: Reader) -> Progress:
            watcher.look(store)
            return watcher.progress

        return await self._member.read(look)

    def update_progress(self) -> Stream[UpdateStep]:
        """The steps of the update (or rollback, or scaling) that is under way, as they come:
        ``async for step in service.update_progress(): print(step)``.

        Ends when the last period of watching is over too, or when it failed or is blocked: the
        last step has the ``outcome``. Raises ``NotFound`` if the service goes away.
        """
        return Stream(self._member.loop, UpdateSource(self._member, self.value))

    async def explain(self) -> tuple[Explanation, ...]:
        """For each task it wants: why it is where it is, or has no node. Waiting ones first."""
        make = self._member.make_scheduler
        return await self._member.read(lambda s: explain_service(s, self._current(s), make))

    def logs(self, **options: Unpack[LogOptions]) -> Stream[TaskLine]:
        """What its tasks wrote, as it comes in from their nodes: ``follow``, ``tail``, ``since``,
        ``timestamps``, ``details``, ``stdout``, ``stderr`` (see :class:`LogOptions`).

        With ``follow`` it goes on, with the tasks the service gets meanwhile, until it is removed
        or you stop. Raises ``InvalidArgument``.
        """

        def those(store: Store) -> Iterable[Task]:
            if store.service(self.id) is None:
                raise NotFound(f"service {self.id} not found")
            return store.tasks_of_service(self.id)

        return read_logs(self._member, those, options)


class Services(Collection[ServiceHandle]):
    """``cluster.services``."""

    handle = ServiceHandle

    async def create(
        self, spec: ServiceSpec | str | None = None, **options: Unpack[ServiceOptions]
    ) -> ServiceHandle:
        """Create a service from a spec, or from a name and keywords (see
        :class:`pyswarm.model.build.ServiceOptions`); its tasks are made in the same commit.

        Secrets, configs and networks may be given by name. Raises ``InvalidArgument``,
        ``AlreadyExists``, ``NotFound`` (a network), ``FailedPrecondition``.
        """
        wanted = await resolved(self._member, _spec(spec, options))
        wanted, warnings = await prepared(self._member, wanted)
        return self._made(await self._member.request(CreateService(wanted)), warnings)

    def _made(self, value: Service, warnings: tuple[str, ...]) -> ServiceHandle:
        handle = self._wrap(value)
        handle.warnings = warnings
        return handle

    def resolve_images(self, resolver: ImageResolver | None) -> None:
        """Have this manager pin images to the digests that ``resolver`` knows.

        From now on a service's image is put at its digest when the service is created and when
        its image is set; never for another change. Where the resolver cannot tell, the handle's
        ``warnings`` say why and the tag stays. ``None`` ends it.
        """
        self._member.images = resolver

    async def apply(
        self, spec: ServiceSpec | str | None = None, **options: Unpack[ServiceOptions]
    ) -> ServiceHandle:
        """Create the service, or update the one of that name to exactly this spec."""
        wanted = _spec(spec, options)
        for left in reversed(range(CHANGE_TRIES)):
            try:
                return await self._apply(wanted)
            except (AlreadyExists, NotFound, OutOfSequence):
                if not left:  # somebody creates and removes it all the time
                    raise
        raise AssertionError("unreachable")

    async def _apply(self, spec: ServiceSpec) -> ServiceHandle:
        current = await self._member.read(lambda store: store.by_name("service", spec.name))
        if current is None:
            return await self.create(spec)
        wanted = await resolved(self._member, spec)
        wanted, warnings = await prepared(self._member, wanted, current=current.spec)
        if wanted == current.spec:
            return self._made(current, warnings)
        return self._made(await self._member.request(_update(current, wanted)), warnings)


def _update(current: Service, spec: ServiceSpec) -> UpdateService:
    return UpdateService(current.id, current.version, spec)


def _check_count(replicas: int) -> None:
    Replicated(replicas)  # the model's own check, before anything is sent


def _spec(spec: ServiceSpec | str | None, options: Any) -> ServiceSpec:
    if isinstance(spec, ServiceSpec):
        if options:
            raise InvalidArgument("give a spec, or a name and keywords, not both")
        return spec
    name = spec if spec is not None else options.pop("name", "")
    return service_spec(name, **options)


async def resolved(member: Member, spec: ServiceSpec) -> ServiceSpec:
    """``spec`` with ids for the networks, secrets and configs that it names.

    Raises ``NotFound`` for one that does not exist.
    """
    task = spec.task
    container = task.container
    if not task.networks and (container is None or not (container.secrets or container.configs)):
        return spec

    def look_up(store: Reader) -> TaskSpec:
        networks = tuple(_network(store, config) for config in task.networks)
        files = container if container is None else _with_ids(store, container)
        return attrs.evolve(task, networks=networks, container=files)

    return attrs.evolve(spec, task=await member.read(look_up))


async def network_ids(member: Member, changes: Mapping[str, Any]) -> dict[str, str]:
    """The ids of the networks that ``network_add`` and ``network_rm`` name.

    Raises ``NotFound`` for one that does not exist.
    """
    names = form_networks(changes)
    if not names:
        return {}
    return await member.read(
        lambda store: {name: find(store, "network", name).id for name in names}
    )


def _network(store: Reader, config: NetworkAttachmentConfig) -> NetworkAttachmentConfig:
    return attrs.evolve(config, target=find(store, "network", config.target).id)


def _with_ids(store: Reader, container: ContainerSpec) -> ContainerSpec:
    secrets, configs = [], []
    for secret in container.secrets:
        if not secret.secret_id:
            found = find(store, "secret", secret.secret_name)
            secret = attrs.evolve(secret, secret_id=found.id, secret_name=found.spec.name)
        secrets.append(secret)
    for config in container.configs:
        if not config.config_id:
            found = find(store, "config", config.config_name)
            config = attrs.evolve(config, config_id=found.id, config_name=found.spec.name)
        configs.append(config)
    return attrs.evolve(container, secrets=tuple(secrets), configs=tuple(configs))
