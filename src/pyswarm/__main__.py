"""``python -m pyswarm …`` does whatever ``pyswarm …`` does."""

from __future__ import annotations

from pyswarm.cli import main

if __name__ == "__main__":
    main()
