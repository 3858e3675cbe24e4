"""What an image is where tasks are plain processes: a name for the host's own file tree.

``host``, ``busybox`` and ``alpine`` are there from the start; an embedder adds more, each with an
entrypoint, a default command, variables, a directory and a user, as in a container image. A tag, a
digest and Docker Hub's prefix do not matter, unless an image is registered under the full name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import attrs

from pyswarm.agent.executor import TaskContext, TaskRejected
from pyswarm.model.specs import ContainerSpec, Healthcheck

T = TypeVar("T")


@attrs.frozen
class Image:
    """What a task of this image runs where its service does not say otherwise."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)
    dir: str = ""
    user: str = ""
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None


HOST_IMAGES: Mapping[str, Image] = {
    "host": Image(),
    "busybox": Image(command=("sh",)),
    "alpine": Image(command=("/bin/sh",)),
}

_TAG = re.compile(r":[\w][\w.-]{0,127}$")
_HUB = ("docker.io/library/", "docker.io/", "library/")


def short_name(image: str) -> str:
    """``image`` without digest, tag and Docker Hub's prefix."""
    name = _TAG.sub("", image.partition("@")[0])
    for prefix in _HUB:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def find_image(images: Mapping[str, T], name: str) -> T:
    """The image of this full or short name; :class:`TaskRejected` as Docker says it."""
    for key in (name, short_name(name)):
        if key in images:
            return images[key]
    raise TaskRejected(f"No such image: {name}")


def command_line(image: Image, task: TaskContext | ContainerSpec) -> tuple[str, ...]:
    """What is run: a command replaces the entrypoint and drops the image's own arguments."""
    entrypoint = task.command or image.entrypoint
    args = task.args or (() if task.command else image.command)
    if not entrypoint and not args:
        raise TaskRejected("No command specified")
    return (*entrypoint, *args)
