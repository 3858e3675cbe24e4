"""From a tag to a digest, before a request is made of it.

A tag may stand for something else tomorrow; a digest never does. So the manager that takes a
request asks an *image resolver*, outside of any turn, and what goes into the request is
``name:tag@sha256:…``: all tasks of a service run the same image. It asks when a service is created
and when its image is set, never for another change. Where the resolver has no answer, the tag
stays, a warning says so, and each worker finds out for itself.
"""

from __future__ import annotations

import logging
from typing import Protocol, runtime_checkable

import attrs

from pyswarm.errors import InvalidArgument, SwarmError
from pyswarm.model import ServiceSpec
from pyswarm.model.images import ImageReference
from pyswarm.model.resources import Platform

logger = logging.getLogger("pyswarm.images")


@attrs.frozen
class Resolved:
    """What an image is now: its digest, and for which platforms there is one (empty: not said)."""

    digest: str
    platforms: tuple[Platform, ...] = ()
    media_type: str = ""
    """Of the manifest; "" where the resolver does not know."""
    size: int = 0
    """Of the manifest, in bytes."""


class ImageResolver(Protocol):
    """Knows what a tag stands for. ``auth`` is the text of Docker's ``X-Registry-Auth``."""

    async def resolve(self, image: ImageReference, auth: str = "", /) -> Resolved:
        """Raises an error of :class:`SwarmError` where it cannot tell."""
        ...


@runtime_checkable
class Registries(Protocol):
    """A resolver that can also try credentials. ``auth`` is the text of ``X-Registry-Auth``."""

    async def login(self, server: str, auth: str, /) -> str:
        """The identity token that stands for them from now on, "" for none. Raises an error of
        :class:`SwarmError` where they are not good, or nobody says."""
        ...


async def pin(
    resolver: ImageResolver | None, spec: ServiceSpec, *, auth: str = ""
) -> tuple[ServiceSpec, str]:
    """``spec`` with its image at the digest it has now, and a warning where that did not work.

    What has a digest already, and what is no image reference, stays as it is (the latter is refused
    in the turn). The platforms of an image that has several become those of the placement, unless
    it names some.
    """
    container = spec.task.container
    if resolver is None or container is None:
        return spec, ""
    try:
        image = ImageReference.parse(container.image)
    except InvalidArgument:
        return spec, ""
    if image.digest:
        return spec, ""
    try:
        resolved = await resolver.resolve(image.tagged, auth)
        pinned = str(image.pinned(resolved.digest))
    except SwarmError as error:
        warning = f"unable to pin image {image} to digest: {error}"
        logger.warning("%s", warning)
        return spec, warning
    placement = spec.task.placement
    if resolved.platforms and not placement.platforms:
        placement = attrs.evolve(placement, platforms=resolved.platforms)
    container = attrs.evolve(container, image=pinned)
    task = attrs.evolve(spec.task, container=container, placement=placement)
    return attrs.evolve(spec, task=task), ""


def keep_pinned(spec: ServiceSpec, current: ServiceSpec) -> ServiceSpec | None:
    """``spec`` at the digest that ``current`` has, if both name the same tag; None if not."""
    new, old = spec.task.container, current.task.container
    if new is None or old is None:
        return None
    try:
        wanted, known = ImageReference.parse(new.image), ImageReference.parse(old.image)
    except InvalidArgument:
        return None
    if wanted.digest or not known.digest or not wanted.names_same_as(known):
        return None
    placement = spec.task.placement
    if not placement.platforms:
        placement = attrs.evolve(placement, platforms=current.task.placement.platforms)
    container = attrs.evolve(new, image=old.image)
    task = attrs.evolve(spec.task, container=container, placement=placement)
    return attrs.evolve(spec, task=task)
