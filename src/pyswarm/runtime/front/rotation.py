"""Rotating a secret or config: the next version in the place of the last, without a gap.

What the guide has people do by hand. A payload never changes, so a new version is a new object with
a name of its own: ``key``, then ``key_v2``, ``key_v3`` … Each service that uses the old one gets
the new one under the *same target* in one update, which rolls as its update settings say; while it
does, each task has the file it was made with. The old version goes when no service uses it.

A rotation that fails leaves its version behind, perhaps with services that were paused on the way
to it. The next rotation moves services from the old version and from all that came after it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any

import attrs
import trio

from pyswarm.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfSequence,
)
from pyswarm.model import (
    Config,
    ConfigReference,
    ContainerSpec,
    FailureAction,
    Sealed,
    Secret,
    SecretReference,
    Service,
    ServiceSpec,
    Task,
)
from pyswarm.model.requests import (
    CreateConfig,
    CreateSecret,
    RemoveConfig,
    RemoveSecret,
    UpdateService,
)
from pyswarm.orchestrator.task import is_wanted
from pyswarm.runtime.front.convergence import Converged, Watcher
from pyswarm.runtime.front.handles import CHANGE_TRIES
from pyswarm.runtime.front.member import Member, limited
from pyswarm.secretstore import Kind, check_name
from pyswarm.store import Reader

Payload = Secret | Config
_VERSION = re.compile(r"(?P<base>.+)_v(?P<number>[1-9][0-9]*)")


def version_of(name: str) -> tuple[str, int]:
    """(name of the first version, number): ``("key", 2)`` of ``key_v2``, ``("key", 1)`` of it."""
    match = _VERSION.fullmatch(name)
    return (match["base"], int(match["number"])) if match else (name, 1)


def old_and_next(view: Reader, kind: Kind, name: str) -> tuple[list[Payload], str]:
    """The versions to be replaced, the named one first and then those after it, and the name of
    their successor. Raises ``NotFound``."""
    base, _ = version_of(name)
    numbers = {
        number: thing
        for thing in view.all(kind)
        for found, number in (version_of(thing.spec.name),)
        if found.lower() == base.lower()
    }
    old = view.by_name(kind, name) or (numbers[max(numbers)] if numbers else None)
    if old is None:
        raise NotFound(f"{kind} {name} not found")
    found, first = version_of(old.spec.name)
    later = [numbers[number] for number in sorted(numbers) if number > first]
    return [old, *later], f"{found}_v{max(numbers, default=1) + 1}"


def with_new(spec: ServiceSpec, old: Collection[str], new: Payload) -> ServiceSpec:
    """``spec`` with the new version wherever it refers to one of the old (their ids), under the
    same targets."""
    container = spec.task.container
    assert container is not None
    if isinstance(new, Secret):
        secrets = tuple(_moved(ref, old, new) for ref in container.secrets)
        container = attrs.evolve(container, secrets=secrets)
    else:
        configs = tuple(_moved(ref, old, new) for ref in container.configs)
        container = attrs.evolve(container, configs=configs)
    return attrs.evolve(spec, task=attrs.evolve(spec.task, container=container))


def _moved(ref: Any, old: Collection[str], new: Payload) -> Any:
    if isinstance(ref, SecretReference) and ref.secret_id in old:
        target = ref.target or ref.secret_name
        return attrs.evolve(ref, secret_id=new.id, secret_name=new.spec.name, target=target)
    if isinstance(ref, ConfigReference) and ref.config_id in old:
        target = ref.target or ref.config_name
        return attrs.evolve(ref, config_id=new.id, config_name=new.spec.name, target=target)
    return ref


async def rotate(
    member: Member,
    kind: Kind,
    name: str,
    sealed: Sealed,
    *,
    timeout: float | None = None,
    remove_old: bool = True,
) -> Payload:
    """See ``cluster.secrets.rotate``."""

    def late() -> DeadlineExceeded:
        return DeadlineExceeded(
            f"the rotation of {kind} {name} did not end within {timeout:g} s",
            hint="updates under way go on; the old version is still there",
        )

    begin = partial(_rotated, member, kind, name, sealed, remove_old)
    return await limited(begin, timeout, late)


async def _rotated(
    member: Member, kind: Kind, name: str, sealed: Sealed, remove_old: bool
) -> Payload:
    versions, next_name = await member.read(lambda view: old_and_next(view, kind, name))
    old, ids = versions[0], tuple(version.id for version in versions)
    check_name(next_name)
    if old.spec.driver is not None:
        raise InvalidArgument(f"a driver brings {kind} {old.spec.name}: rotate it there")
    spec = attrs.evolve(old.spec, name=next_name)
    create: Any = CreateSecret if kind == "secret" else CreateConfig
    new: Payload = await member.request(create(spec, sealed))
    users = await member.read(lambda view: _users(view, kind, ids))
    # A later version that nobody uses may have been made by hand, for something to come.
    left = [
        one
        for one in versions
        if one is old or any(_refers(user.spec.task.container, one) for user in users)
    ]
    async with trio.open_nursery() as nursery:
        results: dict[str, str] = {}
        for service in users:
            nursery.start_soon(_move, member, service.id, ids, new, results)
    failed = [results[service.id] for service in users if results.get(service.id)]
    if failed:
        raise FailedPrecondition(
            f"{kind} {next_name} was not taken by every service: {'; '.join(failed)}",
            hint=f"{kind} {old.spec.name} stays: mend the services, then rotate again",
            details={"new": new.id},
        )
    if remove_old:
        for version in left:
            await _remove(member, kind, version)
    return new


def _users(view: Reader, kind: Kind, ids: Iterable[str]) -> list[Service]:
    """The services that use one of these, each once."""
    found = {one.id: one for id in ids for one in view.services_using(kind, id)}
    return list(found.values())


async def _move(
    member: Member, service_id: str, old: Collection[str], new: Payload, results: dict[str, str]
) -> None:
    """Update one service and see it through; what went wrong goes into ``results``."""
    try:
        service = await _update(member, service_id, old, new)
    except (FailedPrecondition, InvalidArgument) as error:
        results[service_id] = str(error)
        return
    if service is None:
        return
    update = service.spec.update
    careful = update is not None and update.failure_action is FailureAction.ROLLBACK
    watcher = Watcher(service, member.make_scheduler, monitored=careful)
    try:
        await member.read(lambda view: None)  # this member holds the update now
        outcome: Any = await member.wait_until(watcher.look)
    except NotFound:
        return  # removed meanwhile: it uses nothing
    if not isinstance(outcome, Converged):
        results[service_id] = f"{service.spec.name}: {outcome.reason}"


async def _update(
    member: Member, service_id: str, old: Collection[str], new: Payload
) -> Service | None:
    for left in reversed(range(CHANGE_TRIES)):
        current = await member.read(lambda view: view.service(service_id))
        if current is None or with_new(current.spec, old, new) == current.spec:
            return None
        spec = with_new(current.spec, old, new)
        try:
            written: Service = await member.request(
                UpdateService(current.id, current.version, spec)
            )
            return written
        except OutOfSequence:
            if not left:
                raise
        except NotFound:
            return None
    raise AssertionError("unreachable")


async def _remove(member: Member, kind: Kind, old: Payload) -> None:
    """Remove the old version once no task needs it; it stays if somebody uses it again."""

    def is_free(view: Reader) -> bool | None:
        if view.services_using(kind, old.id):
            return False
        return None if any(_needs(task, old) for task in view.tasks()) else True

    if await member.wait_until(is_free):
        try:
            await member.request((RemoveSecret if kind == "secret" else RemoveConfig)(old.id))
        except (InvalidArgument, NotFound):
            return  # somebody took it up again, or was faster


def _needs(task: Task, old: Payload) -> bool:
    return is_wanted(task) and _refers(task.spec.container, old)


def _refers(container: ContainerSpec | None, old: Payload) -> bool:
    if container is None:
        return False
    if isinstance(old, Secret):
        return any(ref.secret_id == old.id for ref in container.secrets)
    return any(ref.config_id == old.id for ref in container.configs)
