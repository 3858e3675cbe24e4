"""What nodes say to each other, as bytes: ``[version, kind, content]`` in msgpack.

Each kind of message has a number, a class, a *sender* (who may say it: anyone, a member, a manager;
whoever else says it is refused and counted) and a *lane* (which of two waiting messages leaves
first). Contents are written by :mod:`pyswarm.model.wire` and checked by the constructors on the way
in; what does not fit is refused with ``InvalidArgument`` before anybody sees it.

Numbers are never given to another message, and fields are added at the end of a class only. The
runtime's own messages are registered by their modules (:func:`register`).
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import attrs
import msgpack

from pyswarm.errors import Internal, InvalidArgument, SwarmError, from_wire
from pyswarm.model import session, wire
from pyswarm.model.objects import KINDS as OBJECTS
from pyswarm.model.requests import Request
from pyswarm.node.messages import Farewell, ForwardReply, ForwardRequest, RaftPacket
from pyswarm.raft import message
from pyswarm.raft import wire as raft_wire

WIRE_VERSION = 1
"""First element of every message; another number is refused by name."""

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""No message between members is larger. What comes closest is the full set of a node's tasks with
a hundred secrets and configs of the largest size."""
assert MESSAGE_BYTES_MAX > raft_wire.MESSAGE_BYTES_MAX

NEWER = "the node that says it may be of a newer version of pyswarm"

STRANGER_BYTES_MAX = 64 * 1024
"""And none of a peer without a certificate: a token, a request and a description of the node."""


class Sender(IntEnum):
    """Who may say something; each includes those below it."""

    ANYONE = 0
    MEMBER = 1
    MANAGER = 2


class Lane(IntEnum):
    """What leaves first. Messages of one lane stay in order.

    An agent counts on the order of what its session brings, so all of a session is one lane.
    """

    PULSE = 0
    """Raft's heartbeats, votes and reads: small, and late ones cost an election."""
    LOG = 1
    """Entries and their acknowledgements."""
    COMMON = 2
    BULK = 3
    """Snapshots and tasks' logs: large, and nobody's heartbeat waits for them."""


Encode = Callable[[Any], Any]
Decode = Callable[[Any], Any]
Choose = Callable[[Any], Lane]


@attrs.frozen
class Kind:
    """One kind of message."""

    number: int
    cls: type
    sender: Sender
    lane: Choose
    encode: Encode
    decode: Decode


_by_number: dict[int, Kind] = {}
_by_class: dict[type, Kind] = {}


def register(
    number: int,
    cls: type,
    sender: Sender,
    *,
    lane: Lane | Choose = Lane.COMMON,
    encode: Encode = wire.encode,
    decode: Decode | None = None,
) -> None:
    """Let nodes say ``cls``. Its number and class must be new."""
    assert number not in _by_number and cls not in _by_class, f"{cls.__name__} is there already"
    choose = lane if callable(lane) else _always(lane)
    kind = Kind(number, cls, sender, choose, encode, decode or _checked(cls))
    _by_number[number] = kind
    _by_class[cls] = kind


def _always(lane: Lane) -> Choose:
    return lambda _: lane


def kind_of(cls: type) -> Kind:
    """The kind of a message; raises ``Internal`` for what cannot be said over a wire."""
    kind = _by_class.get(cls)
    if kind is None:
        raise Internal(f"{cls.__name__} is no message between nodes")
    return kind


def kinds() -> tuple[Kind, ...]:
    """Every kind, by its number."""
    return tuple(_by_number[number] for number in sorted(_by_number))


def encode(said: Any) -> bytes:
    """The bytes of a message."""
    kind = kind_of(type(said))
    packed: bytes = msgpack.packb((WIRE_VERSION, kind.number, kind.encode(said)))
    return packed


def decode(data: bytes, limit: int = MESSAGE_BYTES_MAX) -> tuple[Kind, Any]:
    """The message in ``data`` and its kind; raises ``InvalidArgument`` if there is none."""
    kind, content = open_envelope(data, limit)
    return kind, decode_content(kind, content)


def open_envelope(data: bytes, limit: int = MESSAGE_BYTES_MAX) -> tuple[Kind, Any]:
    """The kind and the raw content: enough to refuse a sender before its content is looked at."""
    if len(data) > limit:
        raise InvalidArgument(f"a message of {len(data)} bytes is over {limit}")
    try:
        form = msgpack.unpackb(data, use_list=False, strict_map_key=False)
    except Exception:
        raise InvalidArgument("a message is not readable") from None
    if type(form) is not tuple or len(form) != 3:
        raise InvalidArgument("a message is malformed")
    version, number, content = form
    if version != WIRE_VERSION:
        raise InvalidArgument(f"a message of version {version!r} is not understood", hint=NEWER)
    kind = _by_number.get(number) if type(number) is int else None
    if kind is None:
        raise InvalidArgument(f"a message of an unknown kind: {str(number)[:20]}", hint=NEWER)
    return kind, content


def decode_content(kind: Kind, content: Any) -> Any:
    """The message of this kind; raises ``InvalidArgument``."""
    try:
        return kind.decode(content)
    except SwarmError as error:
        text = f"malformed {kind.cls.__name__}: {error}"
        raise InvalidArgument(text, hint=error.hint) from None
    except Exception as error:  # whatever a decoder stumbles over means the same
        raise InvalidArgument(f"malformed {kind.cls.__name__}: {type(error).__name__}") from None


def _checked(cls: type) -> Decode:
    plain: list[tuple[str, type]] | None = None

    def decode(content: Any) -> Any:
        nonlocal plain
        if plain is None:
            hints = typing.get_type_hints(cls)
            names = [field.name for field in attrs.fields(cls)]
            plain = [(name, hints[name]) for name in names if hints[name] in _PLAIN]
        made: Any = wire.decode(cls, content)
        for name, hint in plain:
            check_plain(getattr(made, name), hint)
        return made

    return decode


_PLAIN = (str, int, float, bool, bytes)


def check_plain(content: Any, *classes: type) -> Any:
    """``content``, which must be exactly of one of ``classes``."""
    if type(content) not in classes:
        raise InvalidArgument(f"{type(content).__name__} in the place of {classes[0].__name__}")
    return content


# -- errors and answers


def pack_error(error: SwarmError | None) -> bytes:
    """An error inside a message; nothing if there is none."""
    return b"" if error is None else msgpack.packb(error.to_wire(), default=str)


def unpack_error(data: bytes) -> SwarmError | None:
    """The inverse of :func:`pack_error`."""
    if not data:
        return None
    form = msgpack.unpackb(check_plain(data, bytes))
    check_plain(form, dict)
    check_plain(form.get("details"), dict)
    return from_wire(form)


_OBJECT_OF = {cls.__name__: cls for cls in OBJECTS.values()}


def _encode_reply(reply: ForwardReply) -> Any:
    value, error = reply.value, reply.error
    answer: Any = None
    if type(value).__name__ in _OBJECT_OF:
        answer = (type(value).__name__, wire.encode(value))
    elif value is None or isinstance(value, (str, int, float, bool, bytes)):
        answer = value
    else:
        error = Internal(f"a {type(value).__name__} cannot be brought over a wire")
    return (reply.number, answer, pack_error(error))


def _decode_reply(content: Any) -> ForwardReply:
    number, answer, error = content
    if type(answer) is tuple:
        name, data = answer
        answer = wire.decode(_OBJECT_OF[name], data)
    elif answer is not None:
        check_plain(answer, str, int, float, bool, bytes)
    return ForwardReply(check_plain(number, int), answer, unpack_error(error))


def _encode_request(asked: ForwardRequest) -> Any:
    return (asked.number, wire.encode(asked.request))


def _decode_request(content: Any) -> ForwardRequest:
    number, request = content
    return ForwardRequest(check_plain(number, int), wire.decode(Request, request))


def _raft_lane(packet: RaftPacket) -> Lane:
    if isinstance(packet.message, message.InstallSnapshot):
        return Lane.BULK
    is_entries = isinstance(packet.message, (message.AppendEntries, message.AppendReply))
    return Lane.LOG if is_entries else Lane.PULSE


def _decode_raft(content: Any) -> RaftPacket:
    return RaftPacket(raft_wire.decode(check_plain(content, bytes)))


register(
    10,
    RaftPacket,
    Sender.MANAGER,
    lane=_raft_lane,
    encode=lambda packet: raft_wire.encode(packet.message),
    decode=_decode_raft,
)
register(11, ForwardRequest, Sender.MANAGER, encode=_encode_request, decode=_decode_request)
register(12, ForwardReply, Sender.MANAGER, encode=_encode_reply, decode=_decode_reply)
register(13, Farewell, Sender.MEMBER)
register(20, session.OpenSession, Sender.MEMBER)
register(21, session.Heartbeat, Sender.MEMBER)
register(22, session.ReportStatus, Sender.MEMBER)
register(30, session.SessionOpened, Sender.MANAGER)
register(31, session.SessionRefused, Sender.MEMBER)  # also of one that lost its seat
register(32, session.HeartbeatAnswer, Sender.MANAGER)
register(33, session.SessionChanged, Sender.MANAGER)
register(34, session.Assignments, Sender.MANAGER)
register(35, session.StatusRecorded, Sender.MANAGER)
