"""A swarm of 3 managers and 2 workers in this process, through its paces, in under a minute.

The story itself is in ``pyswarm.cli.demo``, which ``pyswarm demo`` runs as well.
"""

from pyswarm.cli.demo import run

if __name__ == "__main__":
    run()
