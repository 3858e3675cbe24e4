"""What requests about secrets and configs do. The payload arrives sealed and stays so.

Its size is checked where it was still plain, by the runtime that sealed it; names, duplicates and
uses are checked here.
"""

from __future__ import annotations

from pyswarm.errors import AlreadyExists, InvalidArgument, NotFound
from pyswarm.machine import Because
from pyswarm.model import Config, Secret, replace
from pyswarm.model.requests import (
    CreateConfig,
    CreateSecret,
    RemoveConfig,
    RemoveSecret,
    UpdateConfig_,
    UpdateSecret,
)
from pyswarm.node.context import Context
from pyswarm.node.lookup import free_id
from pyswarm.secretstore import (
    Kind,
    already_exists_error,
    check_name,
    check_payload_size,
    in_use_error,
)
from pyswarm.store import Transaction


def create_secret(tx: Transaction, request: CreateSecret, context: Context) -> Secret:
    """A new secret; with a driver of its own it has no payload here."""
    written = _create(tx, "secret", request, context)
    assert isinstance(written, Secret)
    return written


def create_config(tx: Transaction, request: CreateConfig, context: Context) -> Config:
    """A new config."""
    written = _create(tx, "config", request, context)
    assert isinstance(written, Config)
    return written


def _create(
    tx: Transaction, kind: Kind, request: CreateSecret | CreateConfig, context: Context
) -> Secret | Config:
    spec = request.spec
    check_name(spec.name)
    driver = getattr(spec, "driver", None)
    if driver is None:
        check_payload_size(kind, request.payload.length if request.payload else 0)
    made = _made(free_id(tx, kind, context.rng), request)
    try:
        written: Secret | Config = tx.create(made, Because(f"create-{kind}", (spec.name,)))
    except AlreadyExists:  # the name: the id is free
        raise already_exists_error(kind, spec.name) from None
    return written


def _made(id: str, request: CreateSecret | CreateConfig) -> Secret | Config:
    if isinstance(request, CreateSecret):
        return Secret(id=id, spec=request.spec, payload=request.payload)
    return Config(id=id, spec=request.spec, payload=request.payload)


def update_secret(tx: Transaction, request: UpdateSecret, context: Context) -> Secret:
    """Labels only."""
    written = _update(tx, "secret", request.id, request)
    assert isinstance(written, Secret)
    return written


def update_config(tx: Transaction, request: UpdateConfig_, context: Context) -> Config:
    """Labels only."""
    written = _update(tx, "config", request.id, request)
    assert isinstance(written, Config)
    return written


def _update(
    tx: Transaction, kind: Kind, id: str, request: UpdateSecret | UpdateConfig_
) -> Secret | Config:
    found = tx.get(kind, id)
    if found is None:
        raise NotFound(f"{kind} {id} not found")
    spec = replace(found.spec, labels=request.labels)
    written: Secret | Config = tx.update(
        replace(found, spec=spec),
        Because(f"update-{kind}", (spec.name,)),
        expect=request.version,
    )
    return written


def remove_secret(tx: Transaction, request: RemoveSecret, context: Context) -> None:
    """Refused while a service's current spec refers to it."""
    _remove(tx, "secret", request.id)


def remove_config(tx: Transaction, request: RemoveConfig, context: Context) -> None:
    """Refused while a service's current spec refers to it."""
    _remove(tx, "config", request.id)


def _remove(tx: Transaction, kind: Kind, id: str) -> None:
    if not id:
        raise InvalidArgument(f"{kind} ID must be provided")
    found = tx.get(kind, id)
    if found is None:
        raise NotFound(f"could not find {kind} {id}")
    users = [service.spec.name for service in tx.services_using(kind, id)]
    if users:
        raise in_use_error(kind, found.spec.name, users)
    tx.delete(kind, id, Because(f"remove-{kind}", (found.spec.name,)))
