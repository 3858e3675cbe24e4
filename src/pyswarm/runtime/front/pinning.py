"""What a service's request needs of a registry: its image's digest, and its credentials sealed.

Both happen here, in the runtime of the manager that takes the request, before the request is made.
"""

from __future__ import annotations

import attrs

from pyswarm.model import ServiceSpec
from pyswarm.model.auth import auth_text, sealed_auth
from pyswarm.runtime.front.member import Member
from pyswarm.runtime.images import keep_pinned, pin


async def prepared(
    member: Member,
    spec: ServiceSpec,
    *,
    current: ServiceSpec | None = None,
    anew: bool = False,
) -> tuple[ServiceSpec, tuple[str, ...]]:
    """``spec`` as it goes into a request, and warnings.

    With a ``current`` spec, the image is asked for if it is another one; with ``anew`` (somebody
    set it, perhaps to the same tag) in any case.
    """
    auth = spec.task.container.registry_auth if spec.task.container is not None else ""
    sealed = sealed_auth(auth)
    if sealed is not None:
        auth = (await member.open_sealed(sealed)).decode("utf-8", "replace")
    warning = ""
    kept = keep_pinned(spec, current) if current is not None and not anew else None
    if kept is not None:
        spec = kept
    elif current is None or anew or _image(spec) != _image(current):
        spec, warning = await pin(member.images, spec, auth=auth)
    if auth and sealed is None:
        spec = await _sealed(member, spec, current, auth)
    return spec, (warning,) if warning else ()


def _image(spec: ServiceSpec) -> str:
    return spec.task.container.image if spec.task.container is not None else ""


async def _sealed(
    member: Member, spec: ServiceSpec, current: ServiceSpec | None, auth: str
) -> ServiceSpec:
    """The credentials sealed; the very same text if the current spec holds the same ones."""
    container = spec.task.container
    assert container is not None
    text = ""
    known = current.task.container.registry_auth if current and current.task.container else ""
    before = sealed_auth(known)
    if before is not None and await member.open_sealed(before) == auth.encode():
        text = known
    text = text or auth_text(await member.seal(auth.encode()))
    container = attrs.evolve(container, registry_auth=text)
    return attrs.evolve(spec, task=attrs.evolve(spec.task, container=container))
