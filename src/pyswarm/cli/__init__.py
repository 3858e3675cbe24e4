"""``pyswarm`` in a terminal: one module of thin commands over the packages that do the work.

The commands need the ``cli`` extra, a daemon that speaks the Docker Engine API ``daemon``. The base
install carries the entry point all the same, so that whoever types ``pyswarm`` without the extra is
told its name in one line.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

# The modules that an extra brings; a missing one means that it is not installed.
EXTRAS = {"click": "cli", "rich": "cli", "yaml": "cli", "h11": "daemon"}
WHAT_NEEDS = {"cli": "the command line", "daemon": "the Docker Engine API"}
EXIT_USAGE = 2


def main() -> None:
    """Run the command line in ``sys.argv``; never returns."""
    try:
        from pyswarm.cli.commands import pyswarm

        pyswarm(prog_name="pyswarm")
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(error.name or "")
        if extra is None:
            raise
        print(
            f"pyswarm: {WHAT_NEEDS[extra]} needs the `{extra}` extra ({error.name} is not "
            f"installed): pip install 'pyswarm-orchestrator[{extra}]'",
            file=sys.stderr,
        )
        raise SystemExit(EXIT_USAGE) from None
