"""What requests about networks do: create and remove. Networks cannot be changed."""

from __future__ import annotations

from pyswarm.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unimplemented,
)
from pyswarm.ipam import check_ipam_config
from pyswarm.machine import Because
from pyswarm.model import Network, NetworkSpec, TaskState
from pyswarm.model.requests import CreateNetwork, RemoveNetwork
from pyswarm.model.validate import validate_name
from pyswarm.node.context import Context
from pyswarm.node.lookup import free_id
from pyswarm.store import Reader, Transaction

PREDEFINED_LABEL = "com.docker.swarm.predefined"
"""Marks the node-local networks ``bridge`` and ``host`` that every swarm has."""

PREDEFINED = ("bridge", "host")
INGRESS = "ingress"


def create_network(tx: Transaction, request: CreateNetwork, context: Context) -> Network:
    """A new network with its subnet; refused where no pool can serve it."""
    spec = request.spec
    validate_name("network", spec.name)
    _check_ipam(spec)
    if PREDEFINED_LABEL in spec.labels:
        raise PermissionDenied(
            f"label {PREDEFINED_LABEL} is for internally created predefined networks "
            "and cannot be applied by users"
        )
    if tx.by_name("network", spec.name) is not None:
        raise AlreadyExists(f"network with name {spec.name} already exists")
    if spec.ingress:
        _check_ingress(tx, spec, context)
    return _created(tx, spec, context)


def create_predefined(tx: Transaction, context: Context) -> None:
    """What every new swarm has: ``ingress``, and the node-local ``bridge`` and ``host``."""
    if tx.by_name("network", INGRESS) is None:
        _created(tx, NetworkSpec(name=INGRESS, ingress=True), context)
    for name in PREDEFINED:
        if tx.by_name("network", name) is None:
            spec = NetworkSpec(name=name, driver=name, labels={PREDEFINED_LABEL: "true"})
            _created(tx, spec, context)


def _created(tx: Transaction, spec: NetworkSpec, context: Context) -> Network:
    network = Network(id=free_id(tx, "network", context.rng), spec=spec)
    written: Network = tx.create(
        context.leases.allocate(tx, network), Because("create-network", (spec.name,))
    )
    return written


def _check_ipam(spec: NetworkSpec) -> None:
    """Subnets, ranges and gateways that were asked for must fit each other."""
    for config in spec.ipam.configs:
        if config.subnet:
            check_ipam_config(config.subnet, config.gateway or None, config.range or None)
        elif config.gateway or config.range:
            raise InvalidArgument("ipam configuration: a gateway or range needs its subnet")


def _check_ingress(tx: Transaction, spec: NetworkSpec, context: Context) -> None:
    if spec.driver != "overlay":
        raise Unimplemented("only overlay driver is currently supported for ingress network")
    if spec.attachable:
        raise InvalidArgument("ingress network cannot be attachable")
    if present := context.leases.ingress(tx):
        raise AlreadyExists(f"ingress network ({present}) is already present")


def remove_network(tx: Transaction, request: RemoveNetwork, context: Context) -> None:
    """Refused while a service or a live task uses it."""
    network = tx.network(request.id)
    if network is None:
        raise NotFound(f"network {request.id} not found")
    if PREDEFINED_LABEL in network.spec.labels:
        raise FailedPrecondition(
            f"network {network.spec.name} ({network.id}) is a swarm predefined network "
            "and cannot be removed"
        )
    if network.spec.ingress:
        _check_ingress_unused(tx)
    _check_unused(tx, network)
    tx.delete("network", network.id, Because("remove-network", (network.spec.name,)))


def _check_ingress_unused(reader: Reader) -> None:
    for service in reader.services_using("ingress", ""):
        raise FailedPrecondition(
            f"ingress network cannot be removed because service {service.id} depends on it"
        )


def _check_unused(reader: Reader, network: Network) -> None:
    for service in reader.services_using("network", network.id):
        raise FailedPrecondition(f"network {network.id} is in use by service {service.id}")
    for task in reader.tasks_using_network(network.id):
        if task.desired_state <= TaskState.RUNNING and task.state <= TaskState.RUNNING:
            raise FailedPrecondition(f"network {network.id} is in use by task {task.id}")
