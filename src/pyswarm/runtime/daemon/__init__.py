"""A process that may be a node of a swarm: what dockerd is to swarm mode.

Read in this order: ``memory`` (what it remembers beside its node), ``life`` (one node, from its
preparation to its end), ``host`` (the verbs: init, join, leave, unlock); then the control socket:
``frames``, ``wire`` (values), ``verbs`` (what can be called), ``control`` (the daemon's end),
``remote`` (the client's).
"""

from pyswarm.runtime.daemon.host import Host as Host
from pyswarm.runtime.daemon.host import HostConfig as HostConfig
from pyswarm.runtime.daemon.host import open_host as open_host
from pyswarm.runtime.daemon.verbs import HostVerbs as HostVerbs

__all__ = ["Host", "HostConfig", "HostVerbs", "open_host"]
