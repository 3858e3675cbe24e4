"""What nodes have and tasks reserve: nano-CPUs, bytes, and generic resources of any kind."""

from __future__ import annotations

import attrs

from pyswarm.model.value import value

NANO = 1_000_000_000
"""Nano-CPUs in one CPU."""


@value
@attrs.frozen(weakref_slot=False)
class GenericResource:
    """``count`` of a kind (discrete) or a set of named values of it (named, on nodes and tasks)."""

    kind: str
    count: int = 0
    names: tuple[str, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class Resources:
    """An amount: nano-CPUs, bytes of memory, generic resources in order of kind."""

    nano_cpus: int = 0
    memory_bytes: int = 0
    generic: tuple[GenericResource, ...] = ()


@value
@attrs.frozen(weakref_slot=False)
class Limits:
    """The most a task may use; never looked at by the scheduler. 0 = no limit."""

    nano_cpus: int = 0
    memory_bytes: int = 0
    pids: int = 0


@value
@attrs.frozen(weakref_slot=False)
class ResourceRequirements:
    """Limits and reservations of a task; only reservations count for scheduling."""

    limits: Limits = Limits()
    reservations: Resources = Resources()
    swap_bytes: int | None = None
    memory_swappiness: int | None = None


@value
@attrs.frozen(weakref_slot=False)
class Platform:
    """Operating system and architecture; in a wish an empty one matches any."""

    os: str = ""
    architecture: str = ""
