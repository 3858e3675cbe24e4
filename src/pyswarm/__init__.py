"""Docker Swarm mode as a Python library.

The public names, and the module each lives in. Nothing is imported before it is used (PEP 562), so
``import pyswarm`` costs next to nothing and whoever takes one part pays for that part alone. To add
a name, put it into the table and beside it into the imports that type checkers read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyswarm.agent import TaskContext as TaskContext
    from pyswarm.cluster import AddService as AddService
    from pyswarm.cluster import Blocked as Blocked
    from pyswarm.cluster import ChangeService as ChangeService
    from pyswarm.cluster import Cluster as Cluster
    from pyswarm.cluster import Converged as Converged
    from pyswarm.cluster import Daemon as Daemon
    from pyswarm.cluster import Drain as Drain
    from pyswarm.cluster import Event as Event
    from pyswarm.cluster import Failed as Failed
    from pyswarm.cluster import Lose as Lose
    from pyswarm.cluster import Remove as Remove
    from pyswarm.cluster import Scale as Scale
    from pyswarm.cluster import Status as Status
    from pyswarm.cluster import WhatIf as WhatIf
    from pyswarm.cluster import run_in_asyncio as run_in_asyncio
    from pyswarm.errors import AlreadyExists as AlreadyExists
    from pyswarm.errors import Cancelled as Cancelled
    from pyswarm.errors import Compacted as Compacted
    from pyswarm.errors import DeadlineExceeded as DeadlineExceeded
    from pyswarm.errors import FailedPrecondition as FailedPrecondition
    from pyswarm.errors import Internal as Internal
    from pyswarm.errors import InvalidArgument as InvalidArgument
    from pyswarm.errors import Locked as Locked
    from pyswarm.errors import NotFound as NotFound
    from pyswarm.errors import OutOfSequence as OutOfSequence
    from pyswarm.errors import PermissionDenied as PermissionDenied
    from pyswarm.errors import ResourceExhausted as ResourceExhausted
    from pyswarm.errors import SwarmError as SwarmError
    from pyswarm.errors import Unauthenticated as Unauthenticated
    from pyswarm.errors import Unavailable as Unavailable
    from pyswarm.errors import Unimplemented as Unimplemented
    from pyswarm.model import Availability as Availability
    from pyswarm.model import Config as Config
    from pyswarm.model import ConfigReference as ConfigReference
    from pyswarm.model import ConfigSpec as ConfigSpec
    from pyswarm.model import ContainerSpec as ContainerSpec
    from pyswarm.model import EndpointSpec as EndpointSpec
    from pyswarm.model import FailureAction as FailureAction
    from pyswarm.model import Global as Global
    from pyswarm.model import GlobalJob as GlobalJob
    from pyswarm.model import Healthcheck as Healthcheck
    from pyswarm.model import Limits as Limits
    from pyswarm.model import Mount as Mount
    from pyswarm.model import MountType as MountType
    from pyswarm.model import Network as Network
    from pyswarm.model import NetworkAttachmentConfig as NetworkAttachmentConfig
    from pyswarm.model import NetworkSpec as NetworkSpec
    from pyswarm.model import Node as Node
    from pyswarm.model import NodeSpec as NodeSpec
    from pyswarm.model import NodeState as NodeState
    from pyswarm.model import Placement as Placement
    from pyswarm.model import PortConfig as PortConfig
    from pyswarm.model import Preference as Preference
    from pyswarm.model import PublishMode as PublishMode
    from pyswarm.model import Replicated as Replicated
    from pyswarm.model import ReplicatedJob as ReplicatedJob
    from pyswarm.model import ResourceRequirements as ResourceRequirements
    from pyswarm.model import Resources as Resources
    from pyswarm.model import RestartCondition as RestartCondition
    from pyswarm.model import RestartPolicy as RestartPolicy
    from pyswarm.model import Role as Role
    from pyswarm.model import Secret as Secret
    from pyswarm.model import SecretReference as SecretReference
    from pyswarm.model import SecretSpec as SecretSpec
    from pyswarm.model import Service as Service
    from pyswarm.model import ServiceSpec as ServiceSpec
    from pyswarm.model import Swarm as Swarm
    from pyswarm.model import SwarmSpec as SwarmSpec
    from pyswarm.model import Task as Task
    from pyswarm.model import TaskSpec as TaskSpec
    from pyswarm.model import TaskState as TaskState
    from pyswarm.model import UpdateConfig as UpdateConfig
    from pyswarm.model import UpdateOrder as UpdateOrder
    from pyswarm.model import UpdateState as UpdateState
    from pyswarm.model import service_spec as service_spec
    from pyswarm.raft import RaftConfig as RaftConfig
    from pyswarm.runtime import MemoryNetwork as MemoryNetwork
    from pyswarm.runtime import TlsNetwork as TlsNetwork
    from pyswarm.runtime.executors import CallableExecutor as CallableExecutor
    from pyswarm.runtime.executors import ProcessExecutor as ProcessExecutor
    from pyswarm.scheduler import BinPack as BinPack
    from pyswarm.scheduler import Filter as Filter
    from pyswarm.scheduler import Plan as Plan
    from pyswarm.scheduler import Spread as Spread
    from pyswarm.scheduler import Strategy as Strategy
    from pyswarm.scheduler import plan as plan
    from pyswarm.testing import LocalSwarm as LocalSwarm

_NAMES_BY_MODULE = {
    "pyswarm.errors": """
        AlreadyExists Cancelled Compacted DeadlineExceeded FailedPrecondition Internal
        InvalidArgument Locked NotFound OutOfSequence PermissionDenied ResourceExhausted
        SwarmError Unauthenticated Unavailable Unimplemented
    """,
    "pyswarm.model": """
        Availability Config ConfigReference ConfigSpec ContainerSpec EndpointSpec
        FailureAction Global GlobalJob Healthcheck Limits Mount MountType Network
        NetworkAttachmentConfig NetworkSpec Node NodeSpec NodeState Placement PortConfig
        Preference PublishMode Replicated ReplicatedJob ResourceRequirements Resources
        RestartCondition RestartPolicy Role Secret SecretReference SecretSpec Service
        ServiceSpec Swarm SwarmSpec Task TaskSpec TaskState UpdateConfig UpdateOrder
        UpdateState service_spec
    """,
    "pyswarm.scheduler": "BinPack Filter Plan Spread Strategy plan",
    "pyswarm.runtime": "MemoryNetwork TlsNetwork",
    "pyswarm.runtime.executors": "CallableExecutor ProcessExecutor",
    "pyswarm.agent": "TaskContext",
    "pyswarm.raft": "RaftConfig",
    "pyswarm.cluster": """
        AddService Blocked ChangeService Cluster Converged Daemon Drain Event Failed Lose Remove
        Scale Status WhatIf run_in_asyncio
    """,
    "pyswarm.testing": "LocalSwarm",
}
_HOME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names.split()}

__all__ = sorted([*_HOME, "__version__"])

if TYPE_CHECKING:
    __version__: str
else:
    # Hidden from type checkers, to which a module's __getattr__ would make every misspelt name Any.

    def __getattr__(name: str) -> object:
        """Import the module that ``name`` lives in, once."""
        if name == "__version__":
            from importlib.metadata import version

            value: object = version("pyswarm-orchestrator")
        elif name in _HOME:
            from importlib import import_module

            value = getattr(import_module(_HOME[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
