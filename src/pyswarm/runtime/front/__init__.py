"""What :class:`pyswarm.Cluster` does, verb by verb.

Read in this order: ``founding`` (a node is prepared), ``entering`` (it runs for a block),
``member`` (ask, look, wait), ``handles``, then the nouns: ``services`` (with ``changes``,
``convergence``), ``tasks`` (with ``logs``, ``logdesk``), ``nodes``, ``networks``, ``payloads``;
``swarm`` is the whole, ``events`` what happens to it, ``loops`` threads.
"""

from __future__ import annotations

from pyswarm.agent import Executor as Executor
from pyswarm.node.whatif import Hypothesis as Hypothesis
from pyswarm.node.whatif import WhatIf as WhatIf
from pyswarm.raft import RaftConfig as RaftConfig
from pyswarm.runtime.asyncio_host import run_in_asyncio as run_in_asyncio
from pyswarm.runtime.network import Network as Network
from pyswarm.runtime.observe import Observer as Observer

from .entering import Wait as Wait
from .entering import at_once as at_once
from .entering import entered as entered
from .entering import until_joined as until_joined
from .entering import until_ready as until_ready
from .events import Event as Event
from .events import events as events
from .founding import Prepare as Prepare
from .founding import Settings as Settings
from .founding import StateDir as StateDir
from .founding import checked_token as checked_token
from .founding import found as found
from .founding import join as join
from .founding import new_swarm as new_swarm
from .founding import remotes as remotes
from .founding import reopen as reopen
from .founding import reopen_or_found as reopen_or_found
from .founding import settings as settings
from .member import Member as Member
from .networks import Networks as Networks
from .nodes import NodeHandle as NodeHandle
from .nodes import Nodes as Nodes
from .payloads import Configs as Configs
from .payloads import Secrets as Secrets
from .services import Services as Services
from .swarm import Status as Status
from .swarm import check as check
from .swarm import explain as explain
from .swarm import join_token as join_token
from .swarm import leave as leave
from .swarm import own_node as own_node
from .swarm import plan as plan
from .swarm import rotate_join_token as rotate_join_token
from .swarm import status as status
from .swarm import swarm_object as swarm_object
from .swarm import update as update
from .swarm import wait_ready as wait_ready
from .tasks import Tasks as Tasks
