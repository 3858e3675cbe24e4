"""A service's spec with some keywords changed: ``update(image="v2", parallelism=2)``.

The keywords are those of :func:`pyswarm.model.build.service_spec`, and mean the same; what is not
named stays. Of a group (``update_…``, ``rollback_…``, ``restart_…``, ports and endpoint mode) only
the part that is named changes. Lists and mappings are replaced as wholes, or changed entry by entry
with Docker's forms (``env_add``, ``publish_rm`` …, see :mod:`pyswarm.model.change`). ``force=True``
replaces every task even if nothing else changes, which spreads them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.model import FailureAction, ReplicatedJob, ServiceSpec, UpdateOrder
from pyswarm.model.build import Duration, ServiceOptions, service_spec
from pyswarm.model.change import ChangeForms, apply_forms, split_forms
from pyswarm.model.hostports import AUTO, auto_order

Path = tuple[str, ...]


class Changes(ServiceOptions, ChangeForms, total=False):
    """The keywords of an update: those of a new service, and short words for how it rolls."""

    parallelism: int
    delay: Duration
    failure_action: FailureAction | str
    monitor: Duration
    max_failure_ratio: float
    order: UpdateOrder | str
    force: bool


SHORT = {
    "parallelism": "update_parallelism",
    "delay": "update_delay",
    "failure_action": "update_failure_action",
    "monitor": "update_monitor",
    "max_failure_ratio": "update_max_failure_ratio",
    "order": "update_order",
}
"""In an update, these words are about the update."""

CONTAINER = ("task", "container")
PLACEMENT = ("task", "placement")
LIMITS, RESERVED = ("task", "resources", "limits"), ("task", "resources", "reservations")

PATHS: dict[str, tuple[Path, ...]] = {
    **{
        key: ((*CONTAINER, key),)
        for key in (
            *("image", "command", "args", "env", "dir", "user", "groups", "hostname", "mounts"),
            *("secrets", "configs", "stop_signal", "stop_grace_period", "healthcheck", "tty"),
            *("open_stdin", "read_only", "init", "hosts", "sysctls"),
        )
    },
    "workdir": ((*CONTAINER, "dir"),),
    "container_labels": ((*CONTAINER, "labels"),),
    "cap_add": ((*CONTAINER, "capability_add"),),
    "cap_drop": ((*CONTAINER, "capability_drop"),),
    "labels": (("labels",),),
    "networks": (("task", "networks"),),
    "ports": (("endpoint",),),
    "endpoint_mode": (("endpoint",),),
    **dict.fromkeys(("mode", "replicas", "max_concurrent"), (("mode",),)),
    "constraints": ((*PLACEMENT, "constraints"),),
    "preferences": ((*PLACEMENT, "preferences"),),
    "max_replicas_per_node": ((*PLACEMENT, "max_replicas"),),
    "reserve_cpu": ((*RESERVED, "nano_cpus"),),
    "reserve_memory": ((*RESERVED, "memory_bytes"),),
    "generic": ((*RESERVED, "generic"),),
    "limit_cpu": ((*LIMITS, "nano_cpus"),),
    "limit_memory": ((*LIMITS, "memory_bytes"),),
    "limit_pids": ((*LIMITS, "pids"),),
    "cpu": ((*LIMITS, "nano_cpus"), (*RESERVED, "nano_cpus")),
    "memory": ((*LIMITS, "memory_bytes"), (*RESERVED, "memory_bytes")),
    "log_driver": (("task", "log_driver"),),
    "log_options": (("task", "log_driver"),),
    "force_update": (("task", "force_update"),),
}
"""Keyword → the fields of the spec that it sets."""

GROUPS: dict[str, Path] = {
    "restart": ("task", "restart"),
    "update": ("update",),
    "rollback": ("rollback",),
}
"""Prefix → the part of the spec that its keywords set together."""


def changed(
    spec: ServiceSpec,
    changes: Mapping[str, Any],
    *,
    network_id: Callable[[str], str] = lambda name: name,
) -> ServiceSpec:
    """``spec`` with the keywords of ``changes``; ``network_id`` finds a network's id by its name.

    Raises ``InvalidArgument`` for a value that cannot be right and for contradictions, ``NotFound``
    for the removal of what is not there, ``TypeError`` for a keyword that does not exist.
    """
    plain, forms = split_forms(changes)
    force = plain.pop("force", False)
    if not isinstance(force, bool):
        raise InvalidArgument(f"force must be True or False, not {force!r}")
    options = {SHORT.get(key, key): value for key, value in plain.items()}
    spec = apply_forms(_replaced(spec, options), forms, network_id=network_id)
    if options.get("update_order") == AUTO:
        spec = _put(spec, ("update", "order"), auto_order(spec.endpoint))
    if force:
        spec = _put(spec, ("task", "force_update"), spec.task.force_update + 1)
    return spec


def _replaced(spec: ServiceSpec, options: Mapping[str, Any]) -> ServiceSpec:
    for key in options:
        if key not in ServiceOptions.__annotations__:
            raise TypeError(f"update() got an unexpected keyword argument {key!r}")
    wanted = service_spec(spec.name, **{**_kept(spec, options), **options})
    for key in options:
        for path in _paths(key):
            spec = _put(spec, path, _get(wanted, path))
    return spec


def _paths(key: str) -> tuple[Path, ...]:
    if key in PATHS:
        return PATHS[key]
    return (GROUPS[key.partition("_")[0]],)


def _kept(spec: ServiceSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a group has now, under the parts that change."""
    kept: dict[str, Any] = {}
    for prefix, path in GROUPS.items():
        now = _get(spec, path)
        if now is not None and any(key.startswith(f"{prefix}_") for key in options):
            kept[prefix] = now
    if spec.endpoint is not None:
        kept["ports"] = spec.endpoint.ports
        kept["endpoint_mode"] = spec.endpoint.mode
    log = spec.task.log_driver
    if log is not None:
        kept["log_driver"] = log.name
        kept["log_options"] = log.options
    if isinstance(spec.mode, ReplicatedJob):
        kept["mode"] = "replicated-job"
        kept["max_concurrent"] = spec.mode.max_concurrent
        if spec.mode.total_completions is not None:
            kept["replicas"] = spec.mode.total_completions
    elif "replicas" in options and "mode" not in options:
        kept["mode"] = type(spec.mode).__name__.lower()
    return kept


def _get(value: Any, path: Path) -> Any:
    for name in path:
        value = getattr(value, name)
    return value


def _put(value: Any, path: Path, content: Any) -> Any:
    name, *rest = path
    if rest:
        content = _put(getattr(value, name), tuple(rest), content)
    return attrs.evolve(value, **{name: content})
