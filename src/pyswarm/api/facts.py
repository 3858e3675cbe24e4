"""What a host says of itself and of images, swarm or not."""

from __future__ import annotations

import attrs

from pyswarm.model.objects import Plugin
from pyswarm.model.resources import GenericResource, Platform


@attrs.frozen(kw_only=True)
class Facts:
    """The host as ``info`` and ``version`` show it. ``memory`` in bytes."""

    engine_id: str = ""
    name: str = ""
    version: str = ""
    labels: tuple[str, ...] = ()
    """``key=value``."""
    cpus: int = 0
    memory: int = 0
    kernel: str = ""
    operating_system: str = ""
    os_version: str = ""
    architecture: str = ""
    """As the kernel calls it: ``x86_64``."""
    root_dir: str = ""
    generic_resources: tuple[GenericResource, ...] = ()
    plugins: tuple[Plugin, ...] = ()
    """What the node's description names: drivers of logs, networks and volumes."""
    now: float = 0.0
    """Wall clock, seconds since the epoch."""
    open_files: int = 0
    tasks: int = 0
    """Trio's tasks, in the place of goroutines."""
    running: int = 0
    stopped: int = 0
    """Of this node's tasks."""
    images: int = 0


@attrs.frozen
class Described:
    """An image as a registry describes it; ``size`` is that of its manifest in bytes."""

    media_type: str
    digest: str
    size: int
    platforms: tuple[Platform, ...] = ()
