"""What an application brings to a :class:`~pyswarm.runtime.raftnode.RaftNode`.

Between two calls the loop answers peers; within one it answers nobody. So a state that takes longer
than a heartbeat to encode or to build up is given, and taken, in slices
(:class:`SlicedStateMachine`). A snapshot says which of the two it is, so that a machine that has
grown may read what it gave as a small one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from pyswarm.errors import InvalidArgument
from pyswarm.raft import SlicePacker, split_chunks, unpack_slices

SLICED = b"pyswarm: slices, format 1"
"""The first chunk of a snapshot in slices, and nothing else in it: the first chunk of another is
full, or the whole state."""


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


@runtime_checkable
class SlicedStateMachine(Protocol):
    """A state machine of any size. A slice should take some milliseconds: peers are answered, and
    commands applied, between one and the next."""

    def apply(self, command: bytes, /) -> Any:
        """Take one command in."""
        ...

    def snapshot_slices(self) -> Iterable[bytes]:
        """The whole state as it is when the first slice is taken, whatever is applied before the
        others are: a generator copies first what it goes through."""
        ...

    def restore_slices(self, slices: Iterator[bytes], /) -> Iterator[None]:
        """Become what ``snapshot_slices`` gave, slice by slice: a generator that yields after each.
        Nothing is applied meanwhile. It may never be finished: then this member has ended."""
        ...


AnyStateMachine: TypeAlias = StateMachine | SlicedStateMachine


def take(machine: AnyStateMachine) -> Generator[None, None, tuple[bytes, ...]]:
    """The chunks of a snapshot, of the state as it is at the first ``next``."""
    if not isinstance(machine, SlicedStateMachine):
        return split_chunks(machine.snapshot())
    packer = SlicePacker()
    for data in machine.snapshot_slices():
        packer.add(data)
        yield
    return (SLICED, *packer.chunks())


def restore(machine: AnyStateMachine, chunks: Sequence[bytes]) -> Iterator[None]:
    """Have ``machine`` become what a snapshot of ``chunks`` holds, a slice for each ``next``.

    Raises ``InvalidArgument`` if the machine cannot read that kind, and what the machine raises.
    """
    if chunks and chunks[0] == SLICED:
        if not isinstance(machine, SlicedStateMachine):
            raise InvalidArgument("the snapshot is in slices: the machine needs restore_slices()")
        yield from machine.restore_slices(unpack_slices(chunks[1:]))
    elif hasattr(machine, "restore"):
        machine.restore(b"".join(chunks))
    else:
        raise InvalidArgument("the snapshot is in one piece: the machine needs restore()")
