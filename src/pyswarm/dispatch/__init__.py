"""The manager's end of the sessions: heartbeats, assignments, and what agents report.

The leader alone holds sessions. ``session`` is one node's; ``dispatcher`` is all of them.
"""

from pyswarm.dispatch.dispatcher import Dispatcher as Dispatcher
from pyswarm.dispatch.dispatcher import ToNode as ToNode
from pyswarm.dispatch.session import Session as Session

__all__ = ["Dispatcher", "Session", "ToNode"]
