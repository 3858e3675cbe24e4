"""``pyswarm`` in a terminal: one module of thin commands over the packages that do the work.

The commands need the ``cli`` extra. The base install carries the entry point all the same, so that
whoever types ``pyswarm`` without the extra is told its name in one line.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

# The modules that the extra brings; a missing one means that it is not installed.
EXTRA_MODULES = ("click", "rich", "yaml")
EXIT_USAGE = 2


def main() -> None:
    """Run the command line in ``sys.argv``; never returns."""
    try:
        from pyswarm.cli.commands import pyswarm

        pyswarm(prog_name="pyswarm")
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_MODULES:
            raise
        print(
            f"pyswarm: the command line needs the `cli` extra ({error.name} is not installed): "
            "pip install 'pyswarm-orchestrator[cli]'",
            file=sys.stderr,
        )
        raise SystemExit(EXIT_USAGE) from None
