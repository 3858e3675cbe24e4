"""What requests about custom objects do: extensions (kinds that people register) and resources (the
objects of such a kind)."""

from __future__ import annotations

from pyswarm.errors import AlreadyExists, InvalidArgument, NotFound, OutOfSequence
from pyswarm.machine import Because
from pyswarm.model import Extension, Resource, replace
from pyswarm.model.requests import (
    CreateExtension,
    CreateResource,
    RemoveExtension,
    RemoveResource,
    UpdateResource,
)
from pyswarm.model.validate import validate_name
from pyswarm.node.context import Context
from pyswarm.node.lookup import free_id
from pyswarm.store import Transaction

USERS_NAMED_MAX = 10
"""How many resources a refusal names: Swarm's own limit, so that the sentence stays readable."""


def create_extension(tx: Transaction, request: CreateExtension, context: Context) -> Extension:
    """A new kind of resource."""
    spec = request.spec
    validate_name("extension", spec.name)
    if tx.by_name("extension", spec.name) is not None:
        raise AlreadyExists(f"extension {spec.name} already exists")
    made = Extension(id=request.id or free_id(tx, "extension", context.rng), spec=spec)
    written: Extension = tx.create(made, Because("create-extension", (spec.name,)))
    return written


def remove_extension(tx: Transaction, request: RemoveExtension, context: Context) -> None:
    """Refused while resources of this kind exist."""
    if not request.id:
        raise InvalidArgument("extension ID must be provided")
    extension: Extension | None = tx.get("extension", request.id)
    if extension is None:
        raise NotFound(f"could not find extension {request.id}")
    name = extension.spec.name
    users = [one.spec.name for one in tx.all("resource") if one.spec.kind == name]
    if users:
        raise InvalidArgument(
            f"extension '{name}' is in use by the following resource(s): "
            + ", ".join(users[:USERS_NAMED_MAX])
        )
    tx.delete("extension", extension.id, Because("remove-extension", (name,)))


def create_resource(tx: Transaction, request: CreateResource, context: Context) -> Resource:
    """A new object of a registered kind."""
    spec = request.spec
    validate_name("resource", spec.name)
    if not spec.kind:
        raise InvalidArgument("Resource must belong to an Extension")
    extension: Extension | None = tx.by_name("extension", spec.kind)
    if extension is None or extension.spec.name != spec.kind:
        raise InvalidArgument(f"Kind {spec.kind} is not registered")
    if tx.by_name("resource", spec.name) is not None:
        raise AlreadyExists(f"A resource with name {spec.name} already exists")
    made = Resource(id=request.id or free_id(tx, "resource", context.rng), spec=spec)
    written: Resource = tx.create(made, Because("create-resource", (spec.name,)))
    return written


def update_resource(tx: Transaction, request: UpdateResource, context: Context) -> Resource:
    """Payload and labels. A stale version is an ``InvalidArgument`` here, as in Swarm."""
    if not request.id or not request.version:
        raise InvalidArgument("must include ID and version")
    resource: Resource | None = tx.get("resource", request.id)
    if resource is None:
        raise NotFound(f"resource {request.id} not found")
    if request.spec.name != resource.spec.name:
        raise InvalidArgument("cannot change resource name")
    if request.spec.kind != resource.spec.kind:
        raise InvalidArgument("cannot change resource kind")
    try:
        written: Resource = tx.update(
            replace(resource, spec=request.spec),
            Because("update-resource", (resource.spec.name,)),
            expect=request.version,
        )
    except OutOfSequence as stale:
        raise InvalidArgument(stale.message, hint=stale.hint) from None
    return written


def remove_resource(tx: Transaction, request: RemoveResource, context: Context) -> None:
    """Nothing else depends on a resource."""
    if not request.id:
        raise InvalidArgument("resource ID must be provided")
    resource: Resource | None = tx.get("resource", request.id)
    if resource is None:
        raise NotFound(f"resource {request.id} not found")
    tx.delete("resource", resource.id, Because("remove-resource", (resource.spec.name,)))
