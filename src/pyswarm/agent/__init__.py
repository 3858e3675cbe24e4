"""The worker's end: each task through its states on an executor, and reports to the leader.

Start with :mod:`pyswarm.agent.progress` (the rule every task follows), then
:mod:`pyswarm.agent.worker` (all tasks of a node), :mod:`pyswarm.agent.session` (the line to the
leader) and :mod:`pyswarm.agent.agent`, which joins them. :mod:`pyswarm.agent.executor` is the
protocol for whatever really runs a task. Everything here is pure: the awaiting side is in
``pyswarm.runtime.executors``.
"""

from pyswarm.agent.agent import Agent as Agent
from pyswarm.agent.context import parse_environment as parse_environment
from pyswarm.agent.context import swarm_environment as swarm_environment
from pyswarm.agent.context import task_context as task_context
from pyswarm.agent.executor import Executor as Executor
from pyswarm.agent.executor import Exited as Exited
from pyswarm.agent.executor import LogLine as LogLine
from pyswarm.agent.executor import Started as Started
from pyswarm.agent.executor import TaskContext as TaskContext
from pyswarm.agent.executor import TaskFailed as TaskFailed
from pyswarm.agent.executor import TaskFile as TaskFile
from pyswarm.agent.executor import TaskGone as TaskGone
from pyswarm.agent.executor import TaskRejected as TaskRejected
from pyswarm.agent.executor import TemporaryFailure as TemporaryFailure
from pyswarm.agent.executor import Usage as Usage
from pyswarm.agent.health import Health as Health
from pyswarm.agent.health import HealthState as HealthState
from pyswarm.agent.health import Prober as Prober
from pyswarm.agent.vocabulary import AgentInput as AgentInput
from pyswarm.agent.vocabulary import AgentStopped as AgentStopped
from pyswarm.agent.vocabulary import DescriptionChanged as DescriptionChanged
from pyswarm.agent.vocabulary import FileSource as FileSource
from pyswarm.agent.vocabulary import FromManager as FromManager
from pyswarm.agent.vocabulary import ManagersKnown as ManagersKnown
from pyswarm.agent.vocabulary import Operation as Operation
from pyswarm.agent.vocabulary import OperationDone as OperationDone
from pyswarm.agent.vocabulary import Perform as Perform
from pyswarm.agent.vocabulary import SavedTask as SavedTask
from pyswarm.agent.vocabulary import SaveTask as SaveTask
from pyswarm.agent.vocabulary import SessionFound as SessionFound
from pyswarm.agent.vocabulary import SessionLost as SessionLost
from pyswarm.agent.vocabulary import SessionMissing as SessionMissing
from pyswarm.agent.vocabulary import Stop as Stop
from pyswarm.agent.vocabulary import TaskUnhealthy as TaskUnhealthy
from pyswarm.agent.vocabulary import Tick as Tick
from pyswarm.agent.vocabulary import ToManager as ToManager

__all__ = [
    "Agent", "AgentInput", "AgentStopped", "DescriptionChanged", "Executor", "Exited",
    "FileSource", "FromManager", "Health", "HealthState", "LogLine", "ManagersKnown", "Operation",
    "OperationDone", "Perform", "Prober", "SaveTask", "SavedTask", "SessionFound", "SessionLost",
    "SessionMissing", "Started", "Stop", "TaskContext", "TaskFailed", "TaskFile", "TaskGone",
    "TaskRejected", "TaskUnhealthy", "TemporaryFailure", "Tick", "ToManager", "Usage",
    "parse_environment", "swarm_environment", "task_context",
]  # fmt: skip
