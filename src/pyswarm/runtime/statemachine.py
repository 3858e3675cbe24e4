"""What an application brings to a :class:`~pyswarm.runtime.raftnode.RaftNode`."""

from __future__ import annotations

from typing import Any, Protocol


class StateMachine(Protocol):
    """What is replicated. Each member has one; all are equal where they have applied the same."""

    def apply(self, command: bytes, /) -> Any:
        """Take one command in."""
        ...

    def snapshot(self) -> bytes:
        """The whole state."""
        ...

    def restore(self, data: bytes, /) -> None:
        """Become what ``snapshot`` gave."""
        ...
