"""This host's network interfaces with all their addresses, as the kernel tells them (rtnetlink).

The older way, asking an interface for *its* address, hides all but the first one.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator

import attrs

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")  # length, type

_ERROR, _DONE = 2, 3
_NEW_LINK, _GET_LINK, _NEW_ADDRESS, _GET_ADDRESS = 16, 18, 20, 22
_DUMP = 0x301  # a request, for all there are
_ATTRIBUTE_MASK = 0x3FFF
_LINK_NAME, _LINK_INFO, _LINK_INFO_KIND = 3, 18, 1
_REMOTE_ADDRESS, _LOCAL_ADDRESS = 1, 2  # the same, but on a line between two points
_UP, _LOOPBACK = 1, 8

_READ_BYTES = 1 << 16
"""The kernel fills at most half of it at a time."""
_PATIENCE_S = 1.0
"""The answer is there when the question has been asked."""


@attrs.frozen
class Interface:
    """A network interface."""

    name: str
    is_up: bool
    is_loopback: bool
    kind: str
    """``bridge``, ``veth``, ``vlan`` …; "" is a device."""
    addresses: tuple[str, ...]
    """IPv4 and IPv6, as the kernel orders them."""

    def usable(self, version: int) -> tuple[str, ...]:
        """The addresses of IP ``version`` by which one may be found: none of those that mean
        something on their own link only."""
        found = [ipaddress.ip_address(one) for one in self.addresses]
        return tuple(str(one) for one in found if one.version == version and not one.is_link_local)


def interfaces() -> tuple[Interface, ...]:
    """All of them, in the kernel's order; none where it does not say."""
    if not hasattr(socket, "AF_NETLINK"):
        return ()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as kernel:
            kernel.settimeout(_PATIENCE_S)
            links = list(_ask(kernel, _GET_LINK, _NEW_LINK, _LINK))
            addresses = list(_ask(kernel, _GET_ADDRESS, _NEW_ADDRESS, _ADDRESS))
    except OSError:
        return ()
    found: dict[int, list[str]] = {}
    for (family, _, _, _, index), has in addresses:
        packed = has.get(_LOCAL_ADDRESS, has.get(_REMOTE_ADDRESS))
        if packed is not None and family in (socket.AF_INET, socket.AF_INET6):
            found.setdefault(index, []).append(socket.inet_ntop(family, packed))
    return tuple(
        Interface(
            name=has[_LINK_NAME].rstrip(b"\0").decode(errors="replace"),
            is_up=bool(flags & _UP),
            is_loopback=bool(flags & _LOOPBACK),
            kind=_attributes(has.get(_LINK_INFO, b""))
            .get(_LINK_INFO_KIND, b"")
            .strip(b"\0")
            .decode(),
            addresses=tuple(found.get(index, ())),
        )
        for (_, _, index, flags, _), has in links
    )


def _ask(
    kernel: socket.socket, question: int, answer: int, form: struct.Struct
) -> Iterator[tuple[tuple[int, ...], dict[int, bytes]]]:
    """What the kernel has of one sort: the fields of ``form``, and attributes by their type."""
    size = _HEADER.size + form.size
    kernel.send(_HEADER.pack(size, question, _DUMP, question, 0) + bytes(form.size))
    while True:
        data = kernel.recv(_READ_BYTES)
        while data:
            length, type, _, sequence, _ = _HEADER.unpack_from(data)
            message, data = data[:length], data[_aligned(length) :]
            if sequence != question:
                continue
            if type == _DONE:
                return
            if type == _ERROR:
                raise OSError("the kernel does not list its network interfaces")
            if type == answer:
                yield form.unpack_from(message, _HEADER.size), _attributes(message[size:])


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, type = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[type & _ATTRIBUTE_MASK] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3
