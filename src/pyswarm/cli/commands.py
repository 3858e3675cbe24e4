"""The commands: each reads its arguments, makes one call, and prints what came back.

What a command needs is imported inside it: ``pyswarm --help`` starts no cluster's worth of modules.
Exit codes: 0 done, 1 the answer is no (a broken invariant, a refused request), 2 wrong usage.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyswarm.errors import SwarmError, Unavailable

if TYPE_CHECKING:
    from pyswarm.runtime.backup import Backup

EXIT_REFUSED = 1
SECONDS_DEFAULT = 60.0  # virtual seconds of one simulated history: elections, updates, failures fit
MANAGERS_DEFAULT = 3  # the smallest number that survives the loss of one
WORKERS_DEFAULT = 5


class SwarmGroup(click.Group):
    """A group whose commands report a :class:`SwarmError` as one sentence and its hint."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SwarmError as error:
            click.echo(f"Error: {error}", err=True)
            if error.hint:
                click.echo(f"Hint: {error.hint}", err=True)
            ctx.exit(EXIT_REFUSED)


@click.group(
    cls=SwarmGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="pyswarm-orchestrator")
def pyswarm() -> None:
    """Docker Swarm mode as a Python library: try it, ask it, put it to the test."""


@pyswarm.command()
def demo() -> None:
    """Run a swarm of 3 managers and 2 workers here, in one process, through its paces."""
    from pyswarm.cli import demo as story

    story.run()


@pyswarm.command()
@click.option(
    "-H",
    "--host",
    multiple=True,
    metavar="ADDRESS",
    help="Serve the Docker Engine API at unix:///path.sock or tcp://127.0.0.1:PORT (repeatable).",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where all that must outlive the process is kept.",
)
@click.option(
    "--control",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The control socket, for Cluster.connect (default: control.sock in the state directory).",
)
@click.option("--hostname", help="What the node is called (default: this system's name).")
@click.option("--label", multiple=True, metavar="K=V", help="A label of the engine (repeatable).")
@click.option(
    "--generic-resource",
    multiple=True,
    metavar="KIND=N",
    help="What tasks can reserve here: gpu=2, or gpu=NAME for each one (repeatable).",
)
@click.option(
    "--image",
    multiple=True,
    metavar="NAME=COMMAND",
    help="A name that services may use, and what it runs: nginx='sleep infinity' (repeatable).",
)
@click.option("--executor", type=click.Choice(["process"]), default="process", show_default=True)
@click.option("-D", "--debug", is_flag=True, help="Log what is of use when something is wrong.")
def daemon(**options: Any) -> None:
    """Run a node in the background, in a swarm or not yet: what dockerd is to swarm mode.

    It goes on where its state directory left off. `docker -H unix:///path.sock swarm init` (or
    join, or unlock), or pyswarm.Daemon from Python, does the rest. Ends by SIGTERM.
    """
    from pyswarm.cli import daemon as process

    process.run(options)


@pyswarm.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(file: str, as_json: bool) -> None:
    """Say where the services of FILE would run on its nodes, and why not elsewhere.

    FILE is JSON or YAML with the keys `nodes`, `services` and, optionally, `existing`; `-` reads
    standard input.
    """
    from pyswarm.cli.document import load_document
    from pyswarm.scheduler.planfile import parse_plan, plan_to_dict

    with click.open_file(file, "rb") as stream:
        text = stream.read()
    made = parse_plan(load_document(text, file), file).run()
    if as_json:
        click.echo(json.dumps(plan_to_dict(made)))
        return
    click.echo(str(made))
    for service in dict.fromkeys(pending.service for pending in made.pending):
        click.echo(f"{service}: {made.explain(service)}", err=True)


@pyswarm.command()
@click.argument("source", metavar="STATE_DIR|SOCKET", type=click.Path(exists=True, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def backup(source: Path, target: Path, as_json: bool) -> None:
    """Back up a manager into the new directory TARGET.

    STATE_DIR is a stopped manager's, or that of a daemon that runs; SOCKET is a daemon's control
    socket. No key is needed, and what is sealed stays so. A manager within a program is backed up
    from there: `await cluster.backup(path)`.
    """
    made = _backed_up(source, target)
    if as_json:
        form = {"path": str(made.path), "files": len(made.files), "bytes": made.size}
        click.echo(json.dumps({**form, "locked": made.locked}))
        return
    click.echo(f"{made.path}: {len(made.files)} files, {made.size} bytes")
    if made.locked:
        click.echo("It is locked: keep the swarm's unlock key too, in another place.")


def _backed_up(source: Path, target: Path) -> Backup:
    """Of a daemon that answers there, through it; else of the files."""
    from pyswarm.runtime.backup import copy_stopped

    control = source / "control.sock" if source.is_dir() else source
    if control.is_socket():
        from pyswarm.blocking import Cluster

        try:
            with Cluster.connect(control) as cluster:
                made: Backup = cluster.backup(target)
                return made
        except Unavailable:
            if not source.is_dir():
                raise  # in a directory it may be left from a process that was killed
    return copy_stopped(source, target, time.time())


@pyswarm.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("state_dir", type=click.Path(path_type=Path))
@click.option("--unlock-key", help="The swarm's unlock key; `-` asks for it.", metavar="KEY")
@click.option("--advertise-addr", help="Where others will find the node (default: as before).")
def restore(
    source: Path, state_dir: Path, unlock_key: str | None, advertise_addr: str | None
) -> None:
    """Make the new STATE_DIR of the backup SOURCE, for a swarm with this manager alone.

    Every file is checked first. All objects, tokens and secrets are kept; workers find the manager
    at the address they know. The swarm's other managers must not be started again.
    """
    import trio

    from pyswarm.runtime.front.backup import restore as restored
    from pyswarm.secretstore import UnlockKey

    if unlock_key == "-":
        unlock_key = click.prompt("Please enter unlock key", hide_input=True, err=True)
    key = UnlockKey.parse(unlock_key) if unlock_key else None
    node_id = trio.run(
        partial(restored, source, state_dir, unlock_key=key, advertise_addr=advertise_addr)
    )
    click.echo(f"{state_dir}: manager {node_id} of a new cluster; start it with Cluster.open")


@pyswarm.command()
@click.option("--seeds", type=click.IntRange(min=1), required=True, help="How many histories.")
@click.option("--first", type=click.IntRange(min=0), default=0, help="The first seed.")
@click.option("--managers", type=click.IntRange(min=1), default=MANAGERS_DEFAULT)
@click.option("--workers", type=click.IntRange(min=0), default=WORKERS_DEFAULT)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=SECONDS_DEFAULT,
    help="Virtual seconds of each history.",
)
@click.option(
    "--workload",
    type=click.Choice(["mixed", "life", "members", "certificates"]),
    default="mixed",
    help="What people do meanwhile: a little of everything, services' whole lives, members that "
    "come and go, or certificates that run out (over 400 days) and roots that are replaced.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(
    seeds: int,
    first: int,
    managers: int,
    workers: int,
    seconds: float,
    workload: str,
    as_json: bool,
) -> None:
    """Run seeded histories of a swarm under faults and check its invariants.

    The same seeds give the same histories, and the same digest, on any machine. Exits 1 when an
    invariant is violated, with the command that replays the history.
    """
    from pyswarm.sim import campaign

    started = time.monotonic()
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=seeds, file=sys.stderr, hidden=hidden) as bar:
        summary: dict[str, Any] = campaign.run(
            seeds=seeds,
            first=first,
            managers=managers,
            workers=workers,
            seconds=seconds,
            workload=workload,
            on_history=lambda history: bar.update(1),
        )
    summary["wall_s"] = round(time.monotonic() - started, 3)
    shape: tuple[Any, ...] = (
        *("--managers", managers, "--workers", workers, "--seconds", seconds),
        *(("--workload", workload) if workload != "mixed" else ()),
    )
    for violation in summary["violations"]:
        words = ("pyswarm", "simulate", "--first", violation["seed"], "--seeds", 1, *shape)
        violation["replay"] = shlex.join(map(str, words))
    click.echo(json.dumps(summary)) if as_json else print_summary(summary)
    if summary["violations"]:
        raise click.exceptions.Exit(EXIT_REFUSED)


def print_summary(summary: Mapping[str, Any]) -> None:
    """The figures, the faults by kind, and each violation with its replay."""
    speed = summary["virtual_s"] / max(summary["wall_s"], 0.001)
    click.echo(
        f"{summary['seeds']} histories, {summary['virtual_s']:.0f} virtual seconds in "
        f"{summary['wall_s']:.1f} s ({speed:.0f} x real time)"
    )
    for kind, count in summary["faults"].items():
        click.echo(f"  {kind}: {count}")
    for violation in summary["violations"]:
        click.echo(f"seed {violation['seed']}: {violation['message']}")
        click.echo(f"  replay: {violation['replay']}")
    click.echo(f"{len(summary['violations'])} violations; digest {summary['digest']}")
