"""Proving ground: a whole swarm in virtual time, with faults from a seed.

``world`` runs real node machines on simulated networks, disks and executors; ``simulation`` is one
history (suffer, heal, converge), ``campaign`` many of them; ``checkers`` is what must always hold;
``recording`` replays one node; ``certificates`` lets hosts believe each other by certificates that
expire and are replaced. The same seed gives the same history, event for event.
"""

from __future__ import annotations

from .certificates import Certificates as Certificates
from .checkers import Checker as Checker
from .checkers import Violation as Violation
from .checkers import check_settled as check_settled
from .checkers import check_view as check_view
from .faults import Faults as Faults
from .recording import Recording as Recording
from .recording import replay as replay
from .simulation import History as History
from .simulation import Simulation as Simulation
from .world import World as World

__all__ = [
    "Certificates",
    "Checker",
    "Faults",
    "History",
    "Recording",
    "Simulation",
    "Violation",
    "World",
    "check_settled",
    "check_view",
    "replay",
]
