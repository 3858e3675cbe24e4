"""Messages as bytes: one msgpack array each, versioned and checked.

``[version, code, to, from, term, epoch, ...fields in the order of the class]``. Entries are arrays
``[index, term, kind, data]``, a configuration is its own encoded form. Whatever does not fit is
refused with ``InvalidArgument`` before it reaches a replica.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
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
_UINT64_MAX = 2**64 - 1


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
    cls = CODES.get(form[1]) if type(form[1]) is int else None
    if cls is None:
        raise InvalidArgument("raft: a message of an unknown type")
    checks = _CHECKS_OF[cls]
    if len(form) != len(checks) + 2:
        raise InvalidArgument(f"raft: {cls.__name__} has the wrong number of fields")
    message = cls(*[check(value) for check, value in zip(checks, form[2:], strict=True)])
    check_sense(message)
    return message


def check_sense(message: Message) -> None:
    """Refuses values that are well formed and cannot be meant."""
    if isinstance(message, AppendEntries):
        index, term = message.prev_index, message.prev_term
        last_term = message.term
        for entry_index, entry_term, _, _ in message.entries:
            index += 1
            if entry_index != index or not term <= entry_term <= last_term:
                raise InvalidArgument("raft: entries of an append are out of order")
            term = entry_term
    elif isinstance(message, InstallSnapshot) and not (
        message.chunk < message.chunks and len(message.data) <= SNAPSHOT_CHUNK_BYTES_MAX
    ):
        raise InvalidArgument("raft: a snapshot's chunk is malformed")


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _UINT64_MAX:
        raise InvalidArgument("raft: a message has something else where a number should be")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise InvalidArgument("raft: a message has something else where a flag should be")
    return value


def _data(value: Any) -> bytes:
    if type(value) is not bytes:
        raise InvalidArgument("raft: a message has something else where data should be")
    return value


def _entries(value: Any) -> tuple[Entry, ...]:
    """The entries of an append. One loop without calls: nothing runs as often on a follower."""
    if type(value) is not tuple:
        raise InvalidArgument("raft: a message has something else where entries should be")
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


_CHECKS: dict[Any, Callable[[Any], Any]] = {
    "int": _number,
    "MemberID": _number,
    "bool": _flag,
    "bytes": _data,
    "tuple[Entry, ...]": _entries,
    "Configuration": lambda value: decode_configuration(_data(value)),
}
"""By the annotation of a field, as it stands in ``message.py``."""
_CHECKS_OF = {cls: tuple(_CHECKS[field.type] for field in _FIELDS[cls]) for cls in _FIELDS}
