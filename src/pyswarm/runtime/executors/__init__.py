"""What really runs tasks, and the bridge between an executor and the agent that directs it.

:class:`ProcessExecutor` runs operating system processes (Linux), :class:`CallableExecutor` runs
async Python functions anywhere. Both keep :class:`pyswarm.agent.Executor`, as can anything else;
:mod:`pyswarm.testing.executors` puts an executor through all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyswarm.runtime.executors.bridge import ExecutorBridge as ExecutorBridge
from pyswarm.runtime.executors.bridge import open_bridge as open_bridge
from pyswarm.runtime.executors.callable import CallableExecutor as CallableExecutor
from pyswarm.runtime.executors.images import Image as Image

if TYPE_CHECKING:
    from pyswarm.runtime.executors.process import ProcessExecutor as ProcessExecutor

__all__ = ["CallableExecutor", "ExecutorBridge", "Image", "ProcessExecutor", "open_bridge"]


def __getattr__(name: str) -> Any:
    """``ProcessExecutor`` is loaded when it is used: it needs modules that only Unix has."""
    if name == "ProcessExecutor":
        from pyswarm.runtime.executors.process import ProcessExecutor

        return ProcessExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
