"""``pyswarm daemon`` in a terminal: options to values, log lines to standard error."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import trio

from pyswarm.agent import Executor
from pyswarm.cluster import Cluster
from pyswarm.model import GenericResource
from pyswarm.runtime.daemon import HostConfig
from pyswarm.runtime.daemon.process import DaemonConfig, run_daemon
from pyswarm.runtime.executors import Image

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def pairs(given: tuple[str, ...], option: str) -> dict[str, str]:
    """``key=value`` texts as a dict; a label without a value is empty. Raises
    ``click.BadParameter``."""
    found = {}
    for text in given:
        key, _, value = text.partition("=")
        if not key:
            raise click.BadParameter(f"{text!r} has no key", param_hint=option)
        found[key] = value
    return found


def resources(given: tuple[str, ...]) -> tuple[GenericResource, ...]:
    """``gpu=2`` is a number of them; ``gpu=A`` and ``gpu=B`` are two that have names. Raises
    ``click.BadParameter``."""
    found: dict[str, GenericResource] = {}
    for text in given:
        kind, _, value = text.partition("=")
        known = found.get(kind)
        is_count = value.isascii() and value.isdigit()
        if not kind or not value or (known is not None and (is_count or known.count)):
            raise click.BadParameter(
                f"{text!r}: one gpu=2, or gpu=NAME for each that has a name",
                param_hint="--generic-resource",
            )
        if is_count:
            found[kind] = GenericResource(kind, count=int(value))
        else:
            names = known.names if known is not None else ()
            found[kind] = GenericResource(kind, names=(*names, value))
    return tuple(found.values())


def images(given: tuple[str, ...]) -> dict[str, Image]:
    """``nginx=sleep infinity``: a name, and what its tasks run by themselves; nothing after the
    sign for an image without a command. Raises ``click.BadParameter``."""
    found = {}
    for text in given:
        name, equals, command = text.partition("=")
        try:
            if not name or not equals:
                raise ValueError("NAME=COMMAND")
            found[name] = Image(command=tuple(shlex.split(command)))
        except ValueError as problem:
            raise click.BadParameter(f"{text!r}: {problem}", param_hint="--image") from None
    return found


def executor_maker(
    kind: str,
    state_dir: Path,
    generic: tuple[GenericResource, ...],
    images: Mapping[str, Image],
) -> Callable[[], Executor]:
    """Makes the executor of each node that the daemon will be."""
    assert kind == "process"

    def make() -> Executor:
        from pyswarm.runtime.executors import ProcessExecutor

        return ProcessExecutor(state_dir / "tasks", generic=generic, images=images)

    return make


def run(options: dict[str, Any]) -> None:
    """Run the daemon until a signal ends it."""
    if options["host"]:
        import_module("pyswarm.runtime.engine")  # a missing extra is told before anything is made
    level = logging.DEBUG if options["debug"] else logging.INFO
    logging.basicConfig(level=level, format=LOG_FORMAT)
    state_dir: Path = options["state_dir"].absolute()
    generic = resources(options["generic_resource"])
    if options["hostname"] == "":
        raise click.BadParameter("it must not be empty", param_hint="--hostname")
    host = HostConfig(
        state_dir=state_dir,
        executor=executor_maker(options["executor"], state_dir, generic, images(options["image"])),
        name=options["hostname"],
        labels=pairs(options["label"], "--label"),
        tune_gc=True,
    )
    control = options["control"]
    config = DaemonConfig(
        host=host,
        addresses=options["host"],
        control=control.absolute() if control is not None else None,
    )
    trio.run(run_daemon, config, Cluster)
