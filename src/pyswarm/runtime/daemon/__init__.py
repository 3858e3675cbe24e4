"""A process that may be a node of a swarm: what dockerd is to swarm mode.

Read in this order: ``memory`` (what it remembers beside its node), ``life`` (one node, from its
preparation to its end), ``host`` (the verbs: init, join, leave, unlock).
"""

from pyswarm.runtime.daemon.host import Host as Host
from pyswarm.runtime.daemon.host import HostConfig as HostConfig
from pyswarm.runtime.daemon.host import open_host as open_host

__all__ = ["Host", "HostConfig", "open_host"]
