"""``/system/df``: what lies on the node's disk, as far as it is known. Sizes are not."""

from __future__ import annotations

from collections import Counter

from pyswarm.api.asks import Local
from pyswarm.api.containerview import listed as show_container
from pyswarm.api.images import images
from pyswarm.api.images import listed as show_image
from pyswarm.api.local import Containers
from pyswarm.api.messages import Conversation, HttpRequest, Route
from pyswarm.api.rendering import answer
from pyswarm.api.volumes import show_volume, volumes

UNKNOWN = -1


def disk_usage(request: HttpRequest) -> Conversation:
    """Images, containers and volumes."""
    names = yield from images()
    containers: Containers = yield Local("containers")
    kept = yield from volumes()
    used = Counter(
        one.task.spec.container.image
        for one in containers.all
        if one.task.spec.container is not None
    )
    return answer(
        {
            "LayersSize": 0,
            "Images": [
                {**show_image(name), "SharedSize": 0, "Containers": _used(used, name)}
                for name in sorted(names)
            ],
            "Containers": [show_container(one, {}, containers.now) for one in containers.all],
            "Volumes": [
                {**show_volume(one), "UsageData": {"RefCount": int(one.in_use), "Size": UNKNOWN}}
                for one in kept
            ],
            "BuildCache": [],
            "BuilderSize": 0,
        }
    )


def _used(used: Counter[str], name: str) -> int:
    return used[name] + used[name.removesuffix(":latest")]


ROUTES: tuple[Route, ...] = (Route("GET", "/system/df", disk_usage),)
