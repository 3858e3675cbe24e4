"""Swarm's placeholders: what a task, its service and its node are called, in the task's own fields.

Filled in are the values of the environment (what follows the first ``=``), sources and targets of
mounts, the values of a volume's labels and driver options, and the host name. It happens on the
node that runs the task. Before that, when a service is created or changed, the same fields are
filled in for a task that does not exist, so that a template that cannot work is refused at once.

In the payload of a config or secret whose template driver is ``golang``, three functions more:
``secret "target"`` and ``config "target"``, the payload of another one that the same task was given
(as it is: no template is looked for in it), and ``env "NAME"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from pyswarm.model import ContainerSpec, Mount, Task, replace
from pyswarm.model.labels import Labels
from pyswarm.model.objects import NodeDescription
from pyswarm.templating.engine import Lookup, check, expand
from pyswarm.templating.errors import TemplateError
from pyswarm.templating.lexer import go_quote
from pyswarm.templating.values import Failure, Struct

DRIVER = "golang"
"""The only template driver there is."""

PAYLOAD_FUNCTIONS = ("secret", "config", "env")


def context(
    *,
    service: tuple[str, str, Labels | None],
    node: tuple[str, str, str, str],
    task: tuple[str, str, str],
) -> Struct:
    """What ``.`` is: service (id, name, labels), node (id, hostname, architecture, operating
    system), task (id, name, slot)."""
    platform = Struct("template.Platform", Architecture=node[2], OS=node[3])
    return Struct(
        "*template.Context",
        Service=Struct(
            "struct { ID string; Name string; Labels map[string]string }",
            ID=service[0],
            Name=service[1],
            Labels=dict(service[2] or {}),
        ),
        Node=Struct(
            "struct { ID string; Hostname string; Platform template.Platform }",
            ID=node[0],
            Hostname=node[1],
            Platform=platform,
        ),
        Task=Struct(
            "struct { ID string; Name string; Slot string }",
            ID=task[0],
            Name=task[1],
            Slot=task[2],
        ),
    )


def task_context(task: Task, description: NodeDescription) -> Struct:
    """The names of a task on its node. A task without a slot has its node's id in its place."""
    platform = description.platform
    return context(
        service=(task.service_id, task.service_name, task.service_labels),
        node=(task.node_id, description.hostname, platform.architecture, platform.os),
        task=(task.id, task.name, str(task.slot) if task.slot else task.node_id),
    )


def expand_task(task: Task, description: NodeDescription) -> Task:
    """``task`` with its placeholders filled in. Raises :class:`TemplateError`."""
    container = task.spec.container
    if container is None:
        return task
    filled = expand_container(container, task_context(task, description))
    if filled is container:
        return task
    done: Task = replace(task, spec=attrs.evolve(task.spec, container=filled))
    return done


def check_container(container: ContainerSpec) -> ContainerSpec:
    """``container`` filled in for a task that does not exist, as Swarm does before it takes a
    service; such a task's service has no labels."""
    return expand_container(container, _STAND_IN)


_STAND_IN = context(
    service=("serviceid", "servicename", None),
    node=("nodeid", "nodeHostname", "architecture", "os"),
    task=("", "taskname", "1"),
)


def expand_container(container: ContainerSpec, values: Struct) -> ContainerSpec:
    """The fields of ``container`` that may hold placeholders, filled in from ``values``.

    The very same container where there are none. Raises :class:`TemplateError` in Swarm's words:
    ``expanding env failed: …``, ``expanding mounts failed: …``, ``expanding hostname failed: …``.
    """
    changes: dict[str, Any] = {}
    if _any(container.env):
        changes["env"] = tuple(_env(entry, values) for entry in container.env)
    if any(_any(_texts(mount)) for mount in container.mounts):
        changes["mounts"] = tuple(_mount(mount, values) for mount in container.mounts)
    if "{{" in container.hostname:
        changes["hostname"] = _filled(container.hostname, values, "expanding hostname failed")
    return attrs.evolve(container, **changes) if changes else container


def _any(texts: tuple[str, ...]) -> bool:
    return any("{{" in text for text in texts)


def _filled(text: str, values: Struct, *problem: str) -> str:
    try:
        return expand(text, values)
    except TemplateError as error:
        raise error.within(": ".join(problem)) from None


def _env(entry: str, values: Struct) -> str:
    name, sign, value = entry.partition("=")
    if "{{" not in value:
        return entry
    what = f"expanding env {go_quote(entry)}"
    return f"{name}{sign}{_filled(value, values, 'expanding env failed', what)}"


def _texts(mount: Mount) -> tuple[str, ...]:
    volume = mount.volume
    options = (*volume.labels.values(), *volume.driver_options.values()) if volume else ()
    return (mount.source, mount.target, *options)


def _mount(mount: Mount, values: Struct) -> Mount:
    problem = "expanding mounts failed"

    def one(what: str, text: str) -> str:
        return _filled(text, values, problem, f"expanding mount {what} {go_quote(text)}")

    def each(what: str, texts: Labels) -> dict[str, str]:
        return {
            key: _filled(text, values, problem, f"expanding {what}", _entry(key, text))
            for key, text in texts.items()
        }

    volume = mount.volume
    if volume is not None:
        volume = attrs.evolve(
            volume,
            labels=each("volume labels", volume.labels),
            driver_options=each("volume driver config", volume.driver_options),
        )
    source, target = one("source", mount.source), one("target", mount.target)
    return attrs.evolve(mount, source=source, target=target, volume=volume)


def _entry(key: str, text: str) -> str:
    return f"expanding map entry {go_quote(key)}={go_quote(text)}"


# -- payloads


def check_payload(data: bytes, driver: str) -> None:
    """Refuse the payload of a config or secret that is a template and cannot be read.

    A driver that does not exist is not refused here: Docker takes it, and rejects the tasks.
    """
    if driver == DRIVER:
        check(_text(data), functions=PAYLOAD_FUNCTIONS)


def expand_payload(
    data: bytes,
    driver: str,
    values: Struct,
    *,
    secrets: Mapping[str, bytes],
    configs: Mapping[str, bytes],
    env: Mapping[str, str],
) -> bytes:
    """The payload of a templated config or secret, filled in for one task.

    ``secrets`` and ``configs`` are the payloads the task was given, by the target of their file.
    Raises :class:`TemplateError`, also for another driver than ``golang``.
    """
    if driver != DRIVER:
        raise TemplateError(
            "unrecognized template type", hint="the template driver must be golang, or none"
        )

    def payload(kind: str, known: Mapping[str, bytes]) -> Lookup:
        def find(target: str) -> str:
            if target not in known:
                raise Failure(f"{kind} target {target} not found")
            return _text(known[target])

        return find

    functions: dict[str, Lookup] = {
        "secret": payload("secret", secrets),
        "config": payload("config", configs),
        "env": lambda name: env.get(name, ""),
    }
    text = expand(_text(data), values, functions=functions)
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
