"""Messages as bytes: one msgpack array each, versioned and checked.

``[version, code, to, from, term, epoch, ...fields in the order of the class]``. Entries are arrays
``[index, term, kind, data]``, a configuration is its own encoded form. Whatever does not fit is
refused with ``InvalidArgument`` before it reaches a replica.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import attrs
import msgpack

from pyswarm.errors import InvalidArgument
from pyswarm.raft.config import ENTRY_BYTES_MAX
from pyswarm.raft.configuration import decode_configuration, encode_configuration
from pyswarm.raft.entry import Entry, EntryKind, new_entry
from pyswarm.raft.message import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    ReadReply,
    ReadRequest,
    Removed,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from pyswarm.raft.snapshot import SNAPSHOT_CHUNK_BYTES_MAX

WIRE_VERSION = 1
"""First element of every message; another number is refused by name."""
MESSAGE_BYTES_MAX = 2 * ENTRY_BYTES_MAX
"""No message is larger: an append holds one entry of any size, or a batch far below this."""

CODES: dict[int, type[Message]] = {
    1: VoteRequest,
    2: VoteReply,
    3: AppendEntries,
    4: AppendReply,
    5: Heartbeat,
    6: HeartbeatReply,
    7: InstallSnapshot,
    8: SnapshotReply,
    9: TimeoutNow,
    10: ReadRequest,
    11: ReadReply,
    12: Removed,
}
"""Numbers are never used again for another message."""
_CODE_OF = {cls: code for code, cls in CODES.items()}
_FIELDS: dict[type[Message], tuple[attrs.Attribute[Any], ...]] = {
    cls: attrs.fields(cls) for cls in CODES.values()
}
_VALUES: dict[type[Message], Callable[[Any], tuple[Any, ...]]] = {
    cls: attrgetter(*(field.name for field in fields)) for cls, fields in _FIELDS.items()
}
_KINDS = tuple(EntryKind)


def to_form(message: Message) -> tuple[Any, ...]:
    """``message`` as msgpack takes it: for whoever packs it together with something else."""
    cls = type(message)
    values = _VALUES[cls](message)
    if cls is InstallSnapshot:
        values = tuple(
            encode_configuration(value) if field.name == "configuration" else value
            for field, value in zip(_FIELDS[cls], values, strict=True)
        )
    return (WIRE_VERSION, _CODE_OF[cls], *values)


def encode(message: Message) -> bytes:
    """The bytes of ``message``."""
    packed: bytes = msgpack.packb(to_form(message))
    return packed


def decode(data: bytes) -> Message:
    """The message in ``data``; ``InvalidArgument`` if there is none."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise InvalidArgument(f"raft: a message of {len(data)} bytes is over {MESSAGE_BYTES_MAX}")
    try:
        form: Any = msgpack.unpackb(data, use_list=False)
    except Exception as error:
        raise InvalidArgument("raft: a message is not readable") from error
    return from_form(form)


def from_form(form: Any) -> Message:
    """The message whose :func:`to_form` this is, unpacked with ``use_list=False``;
    ``InvalidArgument`` if it is none."""
    if not isinstance(form, tuple) or len(form) < 2:
        raise InvalidArgument("raft: a message is malformed")
    if form[0] != WIRE_VERSION:
        raise InvalidArgument(f"raft: a message of version {form[0]!r} is not understood")
    cls: Any = CODES.get(form[1]) if type(form[1]) is int else None
    if cls is None:
        raise InvalidArgument("raft: a message of an unknown type")
    shape = _SHAPES[cls]
    fields = form[2:]
    if tuple(map(type, fields)) != shape.types:
        raise InvalidArgument(f"raft: {cls.__name__} has other fields than it should")
    if min(shape.numbers(fields)) < 0:  # above 2**64 - 1 there are none in msgpack
        raise InvalidArgument(f"raft: {cls.__name__} has a negative number")
    if shape.inner is not None:
        position, read = shape.inner
        fields = (*fields[:position], read(fields[position]), *fields[position + 1 :])
    message: Message = cls(*fields)
    check_sense(message)
    return message


def check_sense(message: Message) -> None:
    """Refuses values that are well formed and cannot be meant."""
    if type(message) is AppendEntries:
        index, term = message.prev_index, message.prev_term
        last_term = message.term
        for entry_index, entry_term, _, _ in message.entries:
            index += 1
            if entry_index != index or not term <= entry_term <= last_term:
                raise InvalidArgument("raft: entries of an append are out of order")
            term = entry_term
    elif type(message) is InstallSnapshot and not (
        message.chunk < message.chunks and len(message.data) <= SNAPSHOT_CHUNK_BYTES_MAX
    ):
        raise InvalidArgument("raft: a snapshot's chunk is malformed")


def _entries(value: tuple[Any, ...]) -> tuple[Entry, ...]:
    """The entries of an append. One loop without calls: nothing runs as often on a follower."""
    entries: list[Entry] = []
    for item in value:
        if type(item) is not tuple or len(item) != 4:
            raise InvalidArgument("raft: an entry is malformed")
        index, term, kind, data = item
        if type(index) is not int or type(term) is not int or type(data) is not bytes:
            raise InvalidArgument("raft: an entry is malformed")
        if type(kind) is not int or not 0 <= kind < len(_KINDS) or index < 1 or term < 1:
            raise InvalidArgument("raft: an entry is of an unknown kind")
        if kind == EntryKind.MEMBERSHIP:
            decode_configuration(data)
        entries.append(new_entry(Entry, (index, term, _KINDS[kind], data)))
    return tuple(entries)


_TYPES: dict[Any, type] = {
    "int": int,
    "MemberID": int,
    "bool": bool,
    "bytes": bytes,
    "tuple[Entry, ...]": tuple,
    "Configuration": bytes,
}
"""What stands for a field on the wire, by its annotation in ``message.py``."""
_READERS: dict[Any, Callable[[Any], Any]] = {
    "tuple[Entry, ...]": _entries,
    "Configuration": decode_configuration,
}
"""Fields that are more than what stands for them; a message has one of them at most."""


class Shape:
    """How the fields of one class of messages are checked, and read: as a whole, for a call for
    each of them would be most of what a small message costs."""

    __slots__ = ("inner", "numbers", "types")

    def __init__(self, annotations: Sequence[Any]) -> None:
        self.types = tuple(_TYPES[one] for one in annotations)
        self.numbers: Callable[[tuple[Any, ...]], tuple[int, ...]] = itemgetter(
            *[position for position, type in enumerate(self.types) if type is int]
        )
        inner = [(at, _READERS[one]) for at, one in enumerate(annotations) if one in _READERS]
        assert len(inner) <= 1
        self.inner = inner[0] if inner else None
        """Where a field is that is more than it looks, and what reads it."""


_SHAPES = {cls: Shape([field.type for field in fields]) for cls, fields in _FIELDS.items()}
